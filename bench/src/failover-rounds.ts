/** One fault, and what it did to signals. */
import type { NatsMember } from '@carillon/node'
import type { OwnerRecord } from '@carillon/runtime/protocol'

import type { BenchCluster } from './bench-cluster.ts'
import type { ClusterWatch } from './cluster-watch.ts'
import type { Accepted, Prober } from './failover-prober.ts'

export const NODE_FAULTS = ['killed', 'frozen', 'drained'] as const
export type NodeFault = (typeof NODE_FAULTS)[number]

/** All times in milliseconds. */
export interface NodeRound {
  readonly kind: NodeFault
  readonly node: string
  /** For each partition that the node owned: from the fault until a signal sent after it to the instance there is known to be applied. */
  readonly toApplied: readonly number[]
  /** For each of them: the longest that such a signal took from its sending until it was known to be applied. */
  readonly longestWait: readonly number[]
  /** For each of them: from the fault until a node wrote itself down as the owner. Part of `toApplied`. */
  readonly toOwner: readonly number[]
  /** Between two acknowledgements: the longest in the stretch before the fault, and in the one of the same length after it. */
  readonly gapBefore: number
  readonly gapAfter: number
  /** From the sending to the acknowledgement, of each signal in those stretches. */
  readonly acceptBefore: readonly number[]
  readonly acceptAfter: readonly number[]
  /** From the sending to applied, before the fault. */
  readonly appliedBefore: readonly number[]
}

export interface LeaderRound {
  readonly kind: 'leader'
  readonly server: string
  /** From the kill until a signal sent after it is accepted. */
  readonly toAccepted: number
  /** From the kill until one is applied, in every partition. */
  readonly toApplied: readonly number[]
  /** Partitions whose ownership record changed, though no node was touched. */
  readonly ownersChanged: number
}

export interface Stage {
  readonly cluster: BenchCluster
  readonly watch: ClusterWatch
  readonly prober: Prober
  readonly standbys: number
  /** The stretch before a fault, and the one after it. */
  readonly stretchMs: number
}

/** A process that is told to stop runs on for a moment: its answer must not be taken for one of its successor. */
const STILL_RUNNING_MS = 5
const SETTLED_WITHIN_MS = 120_000
/** Nodes that came back are given partitions when they have been stable for 30 s: such a move must not be taken for one that the loss of a server caused. */
const AT_REST_MS = 35_000
const APPLIED_WITHIN_MS = 60_000
/** Behind every grace that nodes give each other when a server is lost. */
const LEADER_WATCHED_MS = 12_000
const LOOK_EVERY_MS = 5
const ATTEMPTS_MAX = 20

/** @throws when the cluster does not come back, or a signal failed. */
export async function nodeRound(stage: Stage, kind: NodeFault, round: number): Promise<NodeRound> {
  const { cluster, watch, prober, stretchMs } = stage
  const { node, before, affected, normal } = await prepare(stage, round)
  const faultMs = performance.now()
  const over = strike(cluster, kind, node)
  if (kind === 'killed') await over
  const countsFromMs = kind === 'killed' ? performance.now() : faultMs + (kind === 'frozen' ? STILL_RUNNING_MS : 0)
  prober.burst()
  await until(
    () => prober.waitsFor(affected, countsFromMs) === undefined,
    APPLIED_WITHIN_MS,
    () => {
      return `partition ${prober.waitsFor(affected, countsFromMs)} applies nothing after ${node} was ${kind}`
    },
  )
  await over
  await pause(Math.max(0, faultMs + stretchMs - performance.now()))
  const after = await watch.owners()
  const kept = affected.filter((p) => after[p]?.node === node || (after[p]?.epoch ?? 0) <= (before[p]?.epoch ?? 0))
  if (kept.length > 0) throw new Error(`${node} was ${kind}, and still owns ${kept.join(', ')}`)
  const { accepted, applied } = prober.take()
  await heal(cluster, kind, node)
  const writes = watch.takeWrites()
  const counted = applied.filter(({ sentMs }) => sentMs >= countsFromMs)
  const of = (partition: number): typeof counted => counted.filter((one) => one.partition === partition)
  return {
    kind,
    node,
    toApplied: affected.map((p) => Math.min(...of(p).map(({ appliedMs }) => appliedMs - faultMs))),
    longestWait: affected.map((p) => Math.max(...of(p).map(({ sentMs, appliedMs }) => appliedMs - sentMs))),
    toOwner: affected
      .flatMap((p) => writes.find(({ partition }) => partition === p)?.atMs ?? [])
      .map((at) => at - faultMs),
    gapBefore: longestGap(normal.accepted, faultMs - stretchMs, faultMs),
    gapAfter: longestGap(accepted, faultMs, faultMs + stretchMs),
    acceptBefore: normal.accepted.map(latencyOf),
    acceptAfter: accepted.filter(({ sentMs }) => sentMs >= faultMs && sentMs < faultMs + stretchMs).map(latencyOf),
    appliedBefore: normal.applied.map(({ sentMs, appliedMs }) => appliedMs - sentMs),
  }
}

/** Kills the server that leads the journal's stream. @throws as `nodeRound`. */
export async function leaderRound({ cluster, watch, prober, standbys, stretchMs }: Stage): Promise<LeaderRound> {
  const { nats, nodes, subjects } = cluster
  await watch.atRest(AT_REST_MS, SETTLED_WITHIN_MS)
  await watch.settled(nodes.names, standbys, SETTLED_WITHIN_MS)
  const all = Array.from({ length: subjects.partitions }, (_, partition) => partition)
  prober.aim(all)
  await pause(stretchMs)
  const before = await watch.owners()
  const leader: NatsMember = await nats.leaderOf(subjects.logStream)
  prober.take()
  const killMs = performance.now()
  await leader.kill9()
  const countsFromMs = performance.now()
  await until(
    () => prober.waitsFor(all, countsFromMs) === undefined,
    APPLIED_WITHIN_MS,
    () => {
      return `partition ${prober.waitsFor(all, countsFromMs)} applies nothing after ${leader.name} was killed`
    },
  )
  await pause(Math.max(0, killMs + LEADER_WATCHED_MS - performance.now()))
  const after = await watch.owners()
  const { accepted, applied } = prober.take()
  await leader.restart()
  await nats.ready()
  const counted = applied.filter(({ sentMs }) => sentMs >= countsFromMs)
  const firstMs = (p: number): number =>
    Math.min(...counted.filter(({ partition }) => partition === p).map(({ appliedMs }) => appliedMs - killMs))
  return {
    kind: 'leader',
    server: leader.name,
    toAccepted: Math.min(
      ...accepted.filter(({ sentMs }) => sentMs >= countsFromMs).map(({ ackedMs }) => ackedMs - killMs),
    ),
    toApplied: all.map(firstMs),
    ownersChanged: all.filter((p) => before[p]?.epoch !== after[p]?.epoch || before[p]?.node !== after[p]?.node).length,
  }
}

interface Prepared {
  readonly node: string
  readonly before: readonly (OwnerRecord | undefined)[]
  readonly affected: readonly number[]
  /** The stretch without a fault, which ends now. */
  readonly normal: ReturnType<Prober['take']>
}

/** Waits until all is well, and sends for a stretch to the instances of the next node in turn that owns some. */
async function prepare({ cluster, watch, prober, standbys, stretchMs }: Stage, round: number): Promise<Prepared> {
  const { names } = cluster.nodes
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    await watch.settled(names, standbys, SETTLED_WITHIN_MS)
    const before = await watch.owners()
    const owned = names.map((name) => before.flatMap((owner, p) => (owner?.node === name ? [p] : [])))
    const turns = names.map((_, i) => (round + i) % names.length)
    const turn = turns.find((i) => (owned[i] ?? []).length > 0) ?? 0
    const [node, affected] = [names[turn], owned[turn]]
    if (node === undefined || affected === undefined || affected.length === 0) throw new Error('no node owns anything')
    prober.aim(affected)
    await prober.all()
    prober.take()
    await pause(stretchMs)
    const normal = prober.take()
    const isSettled = await watch.settled(names, standbys, 0).then(
      () => true,
      () => false,
    )
    // Moves that were about to happen when all looked settled: the stretch was not without a change.
    if (!isSettled || !isSame(before, await watch.owners())) continue
    watch.takeWrites()
    return { node, before, affected, normal }
  }
  throw new Error(`ownership has not come to rest in ${ATTEMPTS_MAX} stretches`)
}

async function strike({ nodes }: BenchCluster, kind: NodeFault, name: string): Promise<void> {
  if (kind === 'killed') return nodes.kill(name)
  if (kind === 'drained') return nodes.drain(name)
  return nodes.freeze(name)
}

async function heal({ nodes }: BenchCluster, kind: NodeFault, name: string): Promise<void> {
  if (kind === 'frozen') nodes.thaw(name)
  else await nodes.start(name)
}

/** A stretch without any acknowledgement is one gap as a whole. */
function longestGap(accepted: readonly Accepted[], fromMs: number, toMs: number): number {
  const acked = accepted.map(({ ackedMs }) => ackedMs).filter((ms) => ms >= fromMs && ms < toMs)
  const moments = [fromMs, ...acked.toSorted((a, b) => a - b), toMs]
  return Math.max(...moments.slice(1).map((ms, i) => ms - (moments[i] ?? ms)))
}

function latencyOf({ sentMs, ackedMs }: Accepted): number {
  return ackedMs - sentMs
}

function isSame(a: readonly (OwnerRecord | undefined)[], b: readonly (OwnerRecord | undefined)[]): boolean {
  return a.every((owner, p) => owner?.node === b[p]?.node && owner?.epoch === b[p]?.epoch)
}

async function until(condition: () => boolean, withinMs: number, what: () => string): Promise<void> {
  const deadlineMs = performance.now() + withinMs
  while (!condition()) {
    if (performance.now() > deadlineMs) throw new Error(`${what()} within ${withinMs} ms`)
    await pause(LOOK_EVERY_MS)
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms))
}
