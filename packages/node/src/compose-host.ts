/**
 * Builds what one engine needs over one connection: the journal, the store of a data folder, the controls, and the engine itself. A node has one of them in
 * its own process, or one in each process of its engines; they share nothing.
 *
 * Owns: all of it but the connection.
 */
import { JetStreamControls } from '@carillon/client'
import {
  type CheckpointPace,
  Engine,
  type EngineLimits,
  type KeptHistory,
  type NodeIdentity,
  type ReachFailpoint,
  type TurnWatchOptions,
} from '@carillon/runtime/engine'
import { type Logger, systemClock } from '@carillon/runtime/ports'
import type { ClusterRecord, Partition, PayloadCodecs, Subjects } from '@carillon/runtime/protocol'
import type { NatsConnection } from '@nats-io/transport-node'

import { JetStreamLog } from './jetstream-log.ts'
import { NatsBus } from './nats-bus.ts'
import type { Workflows } from './node.ts'
import { openLmdbStore } from './open-lmdb-store.ts'
import { openQueues } from './open-queues.ts'
import { RemoteSnapshots } from './remote-snapshots.ts'
import { identityOf } from './stream-state.ts'

export interface HostOptions {
  readonly nc: NatsConnection
  readonly record: ClusterRecord
  readonly subjects: Subjects
  /** The folder of this host's snapshots; made when it is missing. */
  readonly dataDir: string
  /** `held`: whoever composes it has locked that folder, or one around it. Default: it is locked here. */
  readonly lock?: 'held' | undefined
  /** See `OpenLmdbStoreOptions`. */
  readonly isProven?: boolean | undefined
  /** Those that it applies from the start. */
  readonly partitions: readonly Partition[]
  readonly workflows: Workflows
  /** What its node calls itself: it is asked by that name, and compares digests with owners. */
  readonly node?: NodeIdentity | undefined
  readonly codecs?: PayloadCodecs | undefined
  readonly limits?: Partial<EngineLimits> | undefined
  readonly reach?: ReachFailpoint | undefined
  /** The node's name, for people. */
  readonly name?: string | undefined
  /** How its partitions are saved remotely; see `CheckpointPace`. */
  readonly checkpoints?: Partial<CheckpointPace> | undefined
  /** What of the journal is kept behind the snapshots; everything when undefined. */
  readonly history?: KeptHistory | undefined
  /** Default: nobody watches the turns. */
  readonly watch?: TurnWatchOptions | undefined
  readonly logger: Logger
  /** Called once when the engine cannot go on; close the host then. */
  readonly onFailed: (error: unknown) => void
}

export interface ComposedHost {
  readonly engine: Engine
  readonly log: JetStreamLog
  readonly remote: RemoteSnapshots
  /** Finishes what runs, commits, and closes the data; not the connection. */
  close(): Promise<void>
}

/** Results of activities and timers on their way into the journal get so long when a host closes. */
const CLOSE_APPENDS_MS = 2000

/**
 * Opens the data and makes an engine that has not started yet.
 *
 * @throws CarillonError as `openLmdbStore` does.
 */
export async function composeHost(options: HostOptions): Promise<ComposedHost> {
  const { nc, record, subjects, workflows, codecs, logger, limits, reach } = options
  const appends = new AbortController()
  const log = new JetStreamLog(nc, subjects, {
    publisher: { signal: appends.signal },
    log: (line) => logger.warn({}, line),
  })
  const bounds = await log.bounds()
  const { identity } = bounds
  await openQueues(nc, subjects, workflows.implementations)
  const workQueue = await identityOf(nc, subjects.callStream)
  const { store } = await openLmdbStore({
    path: options.dataDir,
    cluster: { clusterId: record.clusterId, clusterName: record.namespace, logIdentity: identity },
    log: logger,
    lock: options.lock,
    isProven: options.isProven,
  })
  let remote: RemoteSnapshots
  try {
    remote = new RemoteSnapshots({
      nc,
      subjects,
      log,
      identity,
      store,
      codecs,
      name: options.name ?? 'unnamed',
      pace: options.checkpoints,
      history: options.history,
      reach,
      logger,
    })
    await remote.restoreAll(options.partitions, bounds)
  } catch (error) {
    await store.close()
    throw error
  }
  const controls = await JetStreamControls.open({ nc, subjects, clock: systemClock, logger })
  const engine = new Engine({
    subjects,
    taskSecret: record.clusterId,
    workQueue,
    partitions: options.partitions,
    node: options.node,
    ...workflows,
    log,
    store: remote.store,
    restore: (partition, now) => remote.restore(partition, now),
    codecs,
    bus: new NatsBus(nc),
    clock: systemClock,
    controls,
    logger,
    onFailed: options.onFailed,
    watch: options.watch,
    ...(limits === undefined ? {} : { limits }),
    ...(reach === undefined ? {} : { reach }),
  })
  remote.start(engine)
  return {
    engine,
    log,
    remote,
    async close() {
      // What is pending stays pending, so a journal that does not answer holds nobody up.
      const cancel = systemClock.after(CLOSE_APPENDS_MS, () => appends.abort())
      await remote.close()
      await engine.close()
      await controls.close()
      await log.close()
      cancel()
      await store.close()
    },
  }
}
