/**
 * The remote snapshots of one host: its store remembers what has changed, its partitions are restored before they are opened, and saved while it owns them.
 *
 * Owns: the checkpointer. Does not own: the store, the connection, the engine.
 */
import {
  CHECKPOINT_PACE,
  type CheckpointPace,
  Checkpointer,
  type CheckpointStatus,
  checkEvery,
  CodecStore,
  type Engine,
  type HostedPartition,
  JournalTrim,
  type KeptHistory,
  Mutex,
  noFailpoints,
  type ReachFailpoint,
  type RestoreContext,
  restoreWhereNeeded,
  TrackedStore,
} from '@carillon/runtime/engine'
import { CarillonError } from '@carillon/runtime'
import { type InputLog, type LogBounds, type Logger, type OrderedStore, systemClock } from '@carillon/runtime/ports'
import type { Partition, PayloadCodecs, Subjects } from '@carillon/runtime/protocol'
import type { NatsConnection } from '@nats-io/transport-node'

import { JetStreamSnapshots } from './jetstream-snapshots.ts'
import { JetStreamStoredJournal } from './stored-journal.ts'

export interface RemoteSnapshotsOptions {
  readonly nc: NatsConnection
  readonly subjects: Subjects
  readonly log: InputLog
  /** Of the log stream. */
  readonly identity: string
  /** As it lies on the disk. */
  readonly store: OrderedStore
  readonly codecs: PayloadCodecs | undefined
  /** The node's name. */
  readonly name: string
  readonly pace: Partial<CheckpointPace> | undefined
  /** What of the journal is kept behind the snapshots; everything when undefined. */
  readonly history: KeptHistory | undefined
  readonly reach: ReachFailpoint | undefined
  readonly logger: Logger
}

/** What is asked of the engine. */
type SavedEngine = Pick<Engine, 'hosted' | 'savePositions'>

/** Partitions that are looked at, and such that are restored, at the same time. */
const AT_ONCE = 64
const RESTORES_AT_ONCE = 4

export class RemoteSnapshots {
  /** What the engine is to use. */
  readonly store: OrderedStore
  readonly #restore: RestoreContext
  readonly #checkpointer: Checkpointer
  readonly #trim: JournalTrim | undefined
  readonly #stop = new AbortController()
  #engine: SavedEngine | undefined
  readonly #lanes = Array.from({ length: RESTORES_AT_ONCE }, () => new Mutex())
  #restores = 0
  readonly #restoring = new Set<Promise<unknown>>()

  /** @throws CONFIG_INVALID when the pace is none. */
  constructor({
    nc,
    subjects,
    log,
    identity,
    store,
    codecs,
    name,
    pace,
    history,
    reach,
    logger,
  }: RemoteSnapshotsOptions) {
    const snapshots = new JetStreamSnapshots(nc, subjects, { signal: this.#stop.signal })
    const tracked = new TrackedStore(store)
    this.store = codecs === undefined ? tracked : new CodecStore(tracked, codecs)
    const decoded = codecs === undefined ? store : new CodecStore(store, codecs)
    const common = { store, snapshots, clock: systemClock, logger, reach: reach ?? noFailpoints }
    this.#restore = { ...common, decoded, log, inTurn: (task) => this.#lane().run(task) }
    const paced = { ...CHECKPOINT_PACE, ...pace }
    checkEvery(paced.everyMs)
    this.#checkpointer = new Checkpointer({
      ...common,
      identity,
      writer: name,
      pace: paced,
      savePositions: async () => this.#engine?.savePositions(),
      hosted: () => this.#hosted.map(({ partition, role }) => ({ partition, isOwner: role === 'owner' })),
    })
    if (history === undefined) return
    this.#trim = new JournalTrim({
      ...common,
      ...paced,
      journal: new JetStreamStoredJournal(nc, subjects),
      partitions: subjects.partitions,
      keep: history,
      isJanitor: () => this.#hosted.some(({ partition, role }) => partition === 0 && role === 'owner'),
    })
  }

  /** As `restore`, of many. */
  async restoreAll(partitions: readonly Partition[], bounds: LogBounds): Promise<void> {
    for (let at = 0; at < partitions.length; at += AT_ONCE)
      await Promise.all(partitions.slice(at, at + AT_ONCE).map((partition) => this.restore(partition, bounds)))
  }

  /** To be called before a partition is opened. Throws as `restoreWhereNeeded`. */
  async restore(partition: Partition, bounds: LogBounds): Promise<void> {
    if (this.#stop.signal.aborted)
      throw new CarillonError('CLOSING', `partition ${partition} is not restored: this node stops`)
    const restoring = restoreWhereNeeded(this.#restore, partition, bounds).finally(() =>
      this.#restoring.delete(restoring),
    )
    this.#restoring.add(restoring)
    await restoring
  }

  /** Saves from now on what the engine owns. */
  start(engine: SavedEngine): void {
    this.#engine = engine
    this.#checkpointer.start()
    this.#trim?.start()
  }

  #lane(): Mutex {
    return this.#lanes[this.#restores++ % RESTORES_AT_ONCE] as Mutex
  }

  get #hosted(): readonly HostedPartition[] {
    return this.#engine?.hosted() ?? []
  }

  get status(): readonly CheckpointStatus[] {
    return this.#checkpointer.status
  }

  get bytesStored(): number {
    return this.#checkpointer.counts.bytesStored
  }

  /** Messages that this host has removed from the journal since it started. */
  get trimmed(): number {
    return this.#trim?.removed ?? 0
  }

  /** Saves every owned partition now, without waiting for the next round. */
  saveNow(): Promise<void> {
    return this.#checkpointer.round()
  }

  /** Gives up what is under way. Resolves when nothing of it runs. */
  async close(): Promise<void> {
    this.#stop.abort()
    await this.#trim?.close()
    await this.#checkpointer.close()
    await Promise.allSettled(this.#restoring)
  }
}
