/**
 * What is known of a cluster at one moment, from what its nodes say and what is recorded. This is the shape that `carillon cluster --json` prints: it is
 * documented in docs/operations.md, and changes of meaning raise its version.
 */
import type { BeatPartition, NodeBeat, OwnerRecord, Partition, PartitionRole } from '@carillon/runtime/protocol'

export const SNAPSHOT_VERSION = 1
/** A node that says nothing for so long is shown as silent. */
const SILENT_MS = 2000
/** One that has left is shown for so long. */
const LEFT_MS_MAX = 10_000
/** Rates are counted over at least so much: two beats that come together say nothing. */
const RATE_MS_MIN = 200

/** What was heard of one node. */
export interface HeardNode {
  readonly beat: NodeBeat
  /** How long ago, milliseconds. */
  readonly silentMs: number
  /** An earlier one of the same incarnation, for rates; undefined when there is none. */
  readonly earlier: NodeBeat | undefined
}

/** Everything that the shape is computed from. */
export interface ClusterFacts {
  readonly namespace: string
  readonly partitions: number
  readonly timeMs: number
  readonly nodes: readonly HeardNode[]
  /** By partition; undefined while the bucket gives no answer. */
  readonly owners: ReadonlyMap<Partition, OwnerRecord> | undefined
  /** The end of the journal; undefined while the stream gives no answer. */
  readonly lastSeq: number | undefined
  /** Inputs that the journal took per second of late; undefined until that is known. */
  readonly acceptedPerSecond: number | undefined
  /** The owner that each partition should have, by partition, among the nodes that are live; empty where there are none. */
  readonly ideal: readonly string[]
}

/** Nodes that are there to own partitions. */
export function membersOf(nodes: readonly HeardNode[]): readonly { readonly name: string; readonly weight: number }[] {
  return nodes
    .filter((node) => stateOf(node) === 'live')
    .map(({ beat: { node: name, weight } }) => ({ name, weight }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

export type ShownState = NodeBeat['state'] | 'silent'

export interface NodeView {
  readonly node: string
  readonly state: ShownState
  /** Milliseconds since its last heartbeat. */
  readonly silentMs: number
  readonly incarnation: string
  readonly build: string
  /** The NATS server that it is connected to. */
  readonly server: string
  readonly since: string
  readonly weight: number
  /** Partitions by what it is to them. */
  readonly owns: number
  readonly promoting: number
  readonly standsBy: number
  readonly catchingUp: number
  /** Inputs of the journal that the furthest behind of its partitions has not applied; null when it hosts none, or the journal's end is not known. */
  readonly lag: number | null
  /** Inputs applied per second, those of partitions that it stands by for included; null until two heartbeats of it have come. */
  readonly appliedPerSecond: number | null
  /** Digests that it has compared with those of owners, and how many differed: each is an alarm. */
  readonly digests: { readonly compared: number; readonly differing: number }
  /** As it counts them. */
  readonly counters: Readonly<Record<string, number>>
}

export interface ReplicaView {
  readonly node: string
  readonly role: PartitionRole
  readonly appliedSeq: number
  /** Inputs that it has not applied and its owner has; null while there is no owner that speaks. */
  readonly behind: number | null
}

/** `unowned`: nobody serves it; `silent`: its owner says nothing; `moving`: its owner by record does not serve it yet, or no more. */
export type PartitionState = 'served' | 'moving' | 'silent' | 'unowned'

export interface PartitionView {
  readonly partition: number
  readonly state: PartitionState
  /** By the record; null when there is none. */
  readonly owner: string | null
  readonly epoch: number
  /** The node that should own it, among those that are live; null where there is none. */
  readonly ideal: string | null
  readonly appliedSeq: number | null
  /** Inputs of the journal that the owner has not applied. */
  readonly lag: number | null
  /** Everyone else who hosts it. */
  readonly replicas: readonly ReplicaView[]
}

export interface ClusterSnapshot {
  readonly version: typeof SNAPSHOT_VERSION
  readonly namespace: string
  readonly time: string
  /** The end of the journal; null while it is not known. */
  readonly lastSeq: number | null
  readonly summary: {
    readonly nodes: number
    readonly partitions: number
    readonly served: number
    /** Standbys that each partition is to have: the most that any node asks for, as far as there are nodes. */
    readonly standbys: number
    /** Partitions with fewer caught-up standbys than that. */
    readonly exposed: number
    /** Partitions that have an owner, and should have another one. */
    readonly misplaced: number
    readonly lag: number | null
    /** Inputs that the journal takes per second; null until that is known. */
    readonly acceptedPerSecond: number | null
    /** Differing digests, over all nodes. */
    readonly differing: number
  }
  readonly nodes: readonly NodeView[]
  readonly partitions: readonly PartitionView[]
}

export function snapshotOf(facts: ClusterFacts): ClusterSnapshot {
  const heard = facts.nodes
    .filter(({ beat, silentMs }) => beat.state !== 'left' || silentMs <= LEFT_MS_MAX)
    .toSorted((a, b) => (a.beat.node < b.beat.node ? -1 : 1))
  const speaking = heard.filter((node) => stateOf(node) === 'live' || stateOf(node) === 'draining')
  const hosts = hostsOf(speaking)
  const partitions = Array.from({ length: facts.partitions }, (_, p) =>
    partitionOf(p as Partition, facts, hosts.get(p as Partition) ?? []),
  )
  const nodes = heard.map((node) => nodeOf(node, facts))
  const wanted = Math.min(
    Math.max(0, ...speaking.map(({ beat }) => beat.standbys)),
    Math.max(0, speaking.filter(({ beat }) => beat.state === 'live').length - 1),
  )
  return {
    version: SNAPSHOT_VERSION,
    namespace: facts.namespace,
    time: new Date(facts.timeMs).toISOString(),
    lastSeq: facts.lastSeq ?? null,
    summary: {
      nodes: speaking.length,
      partitions: facts.partitions,
      served: partitions.filter(({ state }) => state === 'served').length,
      standbys: wanted,
      exposed: partitions.filter(({ replicas }) => caughtUp(replicas) < wanted).length,
      misplaced: partitions.filter(({ owner, ideal }) => owner !== null && ideal !== null && owner !== ideal).length,
      lag: maxOf(partitions.map(({ lag }) => lag)),
      acceptedPerSecond: facts.acceptedPerSecond ?? null,
      differing: nodes.reduce((sum, { digests }) => sum + digests.differing, 0),
    },
    nodes,
    partitions,
  }
}

function caughtUp(replicas: readonly ReplicaView[]): number {
  return replicas.filter(({ role }) => role === 'standby').length
}

function stateOf({ beat, silentMs }: HeardNode): ShownState {
  return beat.state !== 'left' && silentMs > SILENT_MS ? 'silent' : beat.state
}

function nodeOf(heard: HeardNode, { lastSeq }: ClusterFacts): NodeView {
  const { beat, silentMs } = heard
  const { node, incarnation, build, server, sinceMs, weight, partitions, counters } = beat
  const count = (role: PartitionRole): number => partitions.filter((one) => one.role === role).length
  const state = stateOf(heard)
  return {
    node,
    state,
    silentMs: Math.round(silentMs),
    incarnation,
    build,
    server,
    since: new Date(sinceMs).toISOString(),
    weight,
    owns: count('owner'),
    promoting: count('promoting'),
    standsBy: count('standby'),
    catchingUp: count('catching-up'),
    lag: lastSeq === undefined ? null : maxOf(partitions.map(({ appliedSeq }) => Math.max(0, lastSeq - appliedSeq))),
    appliedPerSecond: state === 'silent' || state === 'left' ? null : rateOf(heard),
    digests: { compared: counters['digestsCompared'] ?? 0, differing: counters['digestsDiffering'] ?? 0 },
    counters,
  }
}

function rateOf({ beat, earlier }: HeardNode): number | null {
  const { upMs, counters } = beat
  const before = earlier?.counters['applied']
  if (earlier === undefined || before === undefined || upMs - earlier.upMs < RATE_MS_MIN) return null
  return Math.round((((counters['applied'] ?? 0) - before) * 1000) / (upMs - earlier.upMs))
}

interface Host extends BeatPartition {
  readonly node: string
  readonly incarnation: string
}

/** Who hosts what, looked up once: a cluster may have thousands of partitions. */
function hostsOf(speaking: readonly HeardNode[]): ReadonlyMap<Partition, readonly Host[]> {
  const hosts = new Map<Partition, Host[]>()
  for (const { beat } of speaking)
    for (const hosted of beat.partitions) {
      const host = { node: beat.node, incarnation: beat.incarnation, ...hosted }
      const known = hosts.get(hosted.partition)
      if (known === undefined) hosts.set(hosted.partition, [host])
      else known.push(host)
    }
  return hosts
}

function partitionOf(partition: Partition, facts: ClusterFacts, hosts: readonly Host[]): PartitionView {
  const record = facts.owners?.get(partition)
  const isOwner = ({ node, incarnation }: { node: string; incarnation: string }): boolean =>
    record === undefined || (record.node === node && record.incarnation === incarnation)
  const serving = hosts
    .filter(({ role }) => role === 'owner')
    .filter(isOwner)
    .toSorted((a, b) => b.epoch - a.epoch)[0]
  const named = serving ?? (record === undefined ? undefined : hosts.find(isOwner))
  const { lastSeq } = facts
  return {
    partition,
    state:
      serving !== undefined ? 'served' : named !== undefined ? 'moving' : record === undefined ? 'unowned' : 'silent',
    owner: record?.node ?? serving?.node ?? null,
    epoch: record?.epoch ?? serving?.epoch ?? 0,
    ideal: facts.ideal[partition] ?? null,
    appliedSeq: named?.appliedSeq ?? null,
    lag: named === undefined || lastSeq === undefined ? null : Math.max(0, lastSeq - named.appliedSeq),
    replicas: hosts
      .filter((host) => host !== named)
      .map(({ node, role, appliedSeq }) => ({
        node,
        role,
        appliedSeq,
        behind: serving === undefined ? null : Math.max(0, serving.appliedSeq - appliedSeq),
      })),
  }
}

function maxOf(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null)
  return known.length === 0 ? null : known.reduce((max, value) => Math.max(max, value))
}
