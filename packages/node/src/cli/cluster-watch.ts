/**
 * What the nodes of a cluster say, and what is recorded of its partitions, as it comes in.
 *
 * Owns: the subscription to heartbeats, and the last of each node.
 * Does not own: the connection.
 *
 * Invariants
 * 1. A late or repeated heartbeat never replaces a later one of the same life, and an earlier life never a later one.
 */
import { type NodeBeat, type OwnerRecord, parseBeat, type Partition, type Subjects } from '@carillon/runtime/protocol'
import { type JetStreamManager, jetstreamManager } from '@nats-io/jetstream'
import { createInbox, type NatsConnection, type Subscription } from '@nats-io/transport-node'

import { KvOwnerStore } from '../cluster/kv-owner-store.ts'
import type { OwnerStore, StoredOwner } from '../cluster/owner-store.ts'
import { placePartitions } from '../placement/index.ts'
import type { ClusterConnection } from './cluster-connection.ts'
import { type ClusterFacts, type HeardNode, membersOf } from './cluster-snapshot.ts'

/** A server that does not answer is shown as one that does not know. */
const REQUEST_MS = 1500
/** Rates are over about so much. */
const RATE_MS = 2000
const RATE_MS_MIN = 200
/** Nodes that are remembered: more is a mistake of names, and the eldest goes. */
const NODES_MAX = 4096

interface Heard {
  beats: { readonly beat: NodeBeat; readonly atMs: number }[]
}

export class ClusterWatch {
  readonly #nc: NatsConnection
  readonly #subjects: Subjects
  readonly #manager: JetStreamManager
  readonly #owners: OwnerStore
  readonly #subscription: Subscription
  readonly #nodes = new Map<string, Heard>()
  /** The journal's end at earlier moments. */
  #ends: { readonly lastSeq: number; readonly atMs: number }[] = []
  #ideal: { readonly members: string; readonly owners: readonly string[] } = { members: '[]', owners: [] }

  private constructor({ nc, subjects }: ClusterConnection, manager: JetStreamManager, owners: OwnerStore) {
    this.#nc = nc
    this.#subjects = subjects
    this.#manager = manager
    this.#owners = owners
    this.#subscription = nc.subscribe(subjects.nodeBeat, {
      callback: (error, { data }) => {
        const beat = error === null ? parseBeat(data, subjects.partitions) : undefined
        if (beat !== undefined) this.#hear(beat)
      },
    })
  }

  static async open(connection: ClusterConnection): Promise<ClusterWatch> {
    const { nc, subjects, jsPrefix } = connection
    const api = jsPrefix === undefined ? {} : { apiPrefix: jsPrefix }
    const manager = await jetstreamManager(nc, { checkAPI: false, timeout: REQUEST_MS, ...api })
    const watch = new ClusterWatch(connection, manager, await KvOwnerStore.open(nc, subjects, jsPrefix))
    // All beat at once: nobody has to wait for the next round.
    nc.publish(subjects.nodeDiscover, '', { reply: createInbox() })
    await nc.flush()
    return watch
  }

  /** What is known now. Never rejects: what cannot be read is not known. */
  async facts(): Promise<ClusterFacts> {
    const [owners, lastSeq] = await Promise.all([
      this.#owners.readAll().then(recordsOf, () => undefined),
      this.#lastSeq().catch(() => undefined),
    ])
    const nowMs = performance.now()
    const nodes = [...this.#nodes.values()].flatMap(({ beats }): HeardNode[] => {
      const last = beats.at(-1)
      if (last === undefined) return []
      const earlier = beats.length > 1 ? beats[0]?.beat : undefined
      return [{ beat: last.beat, silentMs: nowMs - last.atMs, earlier }]
    })
    return {
      namespace: this.#subjects.namespace,
      partitions: this.#subjects.partitions,
      timeMs: Date.now(),
      nodes,
      owners,
      lastSeq,
      acceptedPerSecond: lastSeq === undefined ? undefined : this.#rate(lastSeq, nowMs),
      ideal: this.#idealOf(nodes),
    }
  }

  close(): void {
    if (!this.#nc.isClosed()) this.#subscription.unsubscribe()
  }

  #rate(lastSeq: number, atMs: number): number | undefined {
    this.#ends = [...this.#ends.filter((end) => atMs - end.atMs <= RATE_MS), { lastSeq, atMs }]
    const first = this.#ends[0]
    if (first === undefined || atMs - first.atMs < RATE_MS_MIN) return undefined
    return Math.round((Math.max(0, lastSeq - first.lastSeq) * 1000) / (atMs - first.atMs))
  }

  /** Placing the partitions of a large cluster takes a while: it is done when its members change. */
  #idealOf(nodes: readonly HeardNode[]): readonly string[] {
    const members = membersOf(nodes)
    const key = JSON.stringify(members)
    if (key === this.#ideal.members) return this.#ideal.owners
    const { partitions } = this.#subjects
    const owners =
      members.length === 0 ? [] : placePartitions({ partitions, members, standbys: 0 }).map(({ owner }) => owner)
    this.#ideal = { members: key, owners }
    return owners
  }

  #hear(beat: NodeBeat): void {
    const atMs = performance.now()
    const heard = this.#nodes.get(beat.node) ?? { beats: [] }
    const last = heard.beats.at(-1)?.beat
    if (last !== undefined && isEarlier(beat, last)) return
    const isSameLife = last?.incarnation === beat.incarnation
    const kept = isSameLife ? heard.beats.filter((one) => atMs - one.atMs <= RATE_MS) : []
    this.#nodes.set(beat.node, { beats: [...kept, { beat, atMs }] })
    const [eldest] = this.#nodes.keys()
    if (this.#nodes.size > NODES_MAX && eldest !== undefined) this.#nodes.delete(eldest)
  }

  async #lastSeq(): Promise<number> {
    const { state } = await this.#manager.streams.info(this.#subjects.logStream)
    return state.last_seq
  }
}

/** Of one life by its count, of two by when they began. */
function isEarlier(beat: NodeBeat, than: NodeBeat): boolean {
  return beat.incarnation === than.incarnation ? beat.beat <= than.beat : beat.sinceMs < than.sinceMs
}

function recordsOf(stored: readonly StoredOwner[]): ReadonlyMap<Partition, OwnerRecord> {
  const records = stored.flatMap(({ partition, record }): [Partition, OwnerRecord][] =>
    record === undefined ? [] : [[partition, record]],
  )
  return new Map(records)
}
