/**
 * What a node does about the partitions, as a function of what it knows: no I/O, no time of its own, no memory.
 *
 * Owns: the rules of who takes, gives, follows and lets go. Does not own: how an action is carried out, nor when it is tried again.
 *
 * Invariants
 * 1. Ownership follows the records: a node promotes only what they give it, and demotes what they give to somebody else.
 * 2. A record is changed for two reasons: its owner is dead or there is none (`take`), or its owner gives it away (`assign`).
 * 3. Nothing is taken from, moved to, or let go in favour of a node that is not known to live and to be caught up.
 * 4. At most `MOVES_MAX` partitions are on the move from this node.
 */
import type { OwnerRecord, Partition } from '@carillon/runtime/protocol'

import { placePartitions, type Placement, type PlacementOptions } from '../placement/index.ts'
import { FOLLOWS_MAX, MOVE_LAG_MAX, MOVES_MAX, REPLACE_AFTER_MS, TAKE_STEP_MS } from './cluster-timing.ts'
import type { StoredOwner } from './owner-store.ts'
import type { HostedPartition, HostedRole } from './partition-host.ts'
import type { Peer } from './peers.ts'

export type HostAction =
  | { readonly kind: 'follow' | 'promote' | 'drop'; readonly partition: Partition }
  /** `to`: whoever it is given to; undefined where it is lost. */
  | { readonly kind: 'demote'; readonly partition: Partition; readonly to: Successor | undefined }

/** A change of the record, by compare-and-set on the revision. */
export interface RecordAction {
  readonly kind: 'take' | 'assign'
  readonly partition: Partition
  readonly record: OwnerRecord
  readonly revision: number
}

/** `keep`: a move that had begun is given up. */
export type Action = HostAction | RecordAction | { readonly kind: 'keep'; readonly partition: Partition }

export interface Successor {
  readonly node: string
  readonly incarnation: string
}

/** An ownership record, or that there is none, as it was read last. */
export interface OwnerEntry extends StoredOwner {
  /** The highest epoch that is known of it, whoever told. */
  readonly epoch: number
}

export interface Self {
  readonly node: string
  readonly incarnation: string
  readonly weight: number
  readonly standbys: number
  readonly isDraining: boolean
  /** As of other nodes: nothing is moved to it before. It takes what is ownerless only behind others. */
  readonly unsettledUntilMs: number
}

export interface ClusterView {
  readonly self: Self
  readonly peers: readonly Peer[]
  readonly partitions: number
  readonly hosted: ReadonlyMap<Partition, HostedPartition>
  readonly owners: ReadonlyMap<Partition, OwnerEntry>
  /** Partitions that this node is giving away. */
  readonly moves: ReadonlyMap<Partition, Successor>
  /** Since when a partition has no owner that lives. */
  readonly ownerlessSinceMs: ReadonlyMap<Partition, number>
  /** Partitions that are not moved before, because they have come from another node. */
  readonly heldUntilMs: ReadonlyMap<Partition, number>
  /** With an action of the host, or of the records, under way or waiting to be tried again. */
  readonly hostBusy: ReadonlySet<Partition>
  readonly recordBusy: ReadonlySet<Partition>
  /** Partitions that are catching up by an action under way. */
  readonly following: number
  /** Whether this node may judge others by what it hears. */
  readonly canTake: boolean
  /** Whether what it knows of others and of the records is fresh enough to move what works. */
  readonly canMove: boolean
  /** An operator has asked to move at once what belongs to others. */
  readonly isRebalancing: boolean
}

export type Place = (options: PlacementOptions) => readonly Placement[]

/** What to do now, at most one action of the host and one of the record for each partition, the most urgent first. */
export function decide(view: ClusterView, nowMs: number, place: Place = placePartitions): readonly Action[] {
  const scene = sceneOf(view, nowMs, place)
  const actions: Action[] = []
  for (let number = 0; number < view.partitions; number++) decideOne(scene, number as Partition, actions)
  // What is without an owner comes first, what only costs comes last.
  return actions.toSorted((a, b) => URGENCY.indexOf(a.kind) - URGENCY.indexOf(b.kind))
}

const URGENCY: readonly Action['kind'][] = ['demote', 'take', 'assign', 'promote', 'keep', 'follow', 'drop']
const CAUGHT_UP: ReadonlySet<HostedRole | undefined> = new Set<HostedRole>(['standby', 'promoting', 'owner'])

interface Scene {
  readonly view: ClusterView
  readonly nowMs: number
  /** Where every partition belongs, by who lives; undefined when nobody may have any. */
  readonly ideal: readonly Placement[] | undefined
  /** The same with nodes that have been away for a moment only: who stands by is not changed for that. */
  readonly lasting: readonly Placement[] | undefined
  /** Somebody has just gone, and may come back in a moment. */
  readonly isUnsteady: boolean
  /** Live, not draining, heard of, by name. */
  readonly takers: ReadonlyMap<string, Peer>
  readonly peerOf: (incarnation: string) => Peer | undefined
  /** How much may still be begun. */
  readonly room: { moves: number; follows: number }
}

function sceneOf(view: ClusterView, nowMs: number, place: Place): Scene {
  const byIncarnation = new Map(view.peers.map((peer) => [peer.incarnation, peer]))
  const heard = view.peers.filter(({ isHeard }) => isHeard)
  const takers = heard.filter(({ verdict, state }) => verdict === 'live' && state === 'live')
  const standbys = standbysOf(view)
  const isAway = ({ awaySinceMs }: Peer): boolean => awaySinceMs !== undefined && nowMs - awaySinceMs < REPLACE_AFTER_MS
  const lasting = heard.filter((peer) => takers.includes(peer) || (isAway(peer) && standbys > 0))
  const placed = (peers: readonly Peer[]): readonly Placement[] | undefined => {
    const members = new Map(peers.map(({ node, weight }) => [node, { name: node, weight }]))
    if (!view.self.isDraining) members.set(view.self.node, { name: view.self.node, weight: view.self.weight })
    if (members.size === 0) return undefined
    return place({ partitions: view.partitions, members: [...members.values()], standbys })
  }
  const ideal = placed(takers)
  return {
    view,
    nowMs,
    ideal,
    lasting: lasting.length === takers.length ? ideal : placed(lasting),
    isUnsteady: heard.some(isAway),
    takers: new Map(takers.map((peer) => [peer.node, peer])),
    peerOf: (incarnation) => byIncarnation.get(incarnation),
    room: {
      moves: MOVES_MAX - unservedOf(view),
      follows: takers.length === 0 ? Infinity : FOLLOWS_MAX - view.following,
    },
  }
}

/** Partitions of this node that are on the move, or back from one and not served yet. */
function unservedOf({ self, owners, hosted, moves }: ClusterView): number {
  let count = 0
  for (const { partition, record } of owners.values())
    if (record?.incarnation === self.incarnation && (moves.has(partition) || hosted.get(partition)?.role !== 'owner'))
      count += 1
  return count
}

/** The most that any node that lives asks for: nodes with different options agree, and one that is restarted may lower it. */
function standbysOf({ self, peers }: Pick<ClusterView, 'self' | 'peers'>): number {
  const asked = peers.filter(({ isHeard, verdict }) => isHeard && verdict === 'live').map(({ standbys }) => standbys)
  return Math.max(self.standbys, ...asked)
}

/** Whose a partition is, as seen from here. */
export type Ownership = 'mine' | 'live' | 'dead' | 'none'

export function ownershipOf(
  self: Successor,
  peerOf: (incarnation: string) => Peer | undefined,
  record: OwnerRecord | undefined,
): Ownership {
  if (record === undefined) return 'none'
  if (record.incarnation === self.incarnation && record.node === self.node) return 'mine'
  // The name is this node's now: whoever had it has ended.
  if (record.node === self.node) return 'dead'
  return peerOf(record.incarnation)?.verdict === 'live' ? 'live' : 'dead'
}

function decideOne(scene: Scene, partition: Partition, actions: Action[]): void {
  const { view } = scene
  const entry = view.owners.get(partition)
  // Nothing is known before the records have been read (invariant 1).
  if (entry === undefined) return
  const role = view.hosted.get(partition)?.role
  const ownership = ownershipOf(view.self, scene.peerOf, entry.record)
  if (ownership === 'mine') return decideMine(scene, entry, role, actions)
  if ((role === 'owner' || role === 'promoting') && ownership !== 'none') {
    if (!view.hostBusy.has(partition)) actions.push({ kind: 'demote', partition, to: undefined })
  }
  const takes = ownership !== 'live' && isNext(scene, entry)
  if (takes) actions.push(take(view, entry))
  if (view.hostBusy.has(partition)) return
  const wanted = takes || isWanted(scene, partition)
  if (role === undefined || role === 'catching-up') {
    if (wanted && (takes || scene.room.follows > 0)) follow(scene, partition, actions)
    else if (!wanted && role !== undefined && isCovered(scene, entry)) actions.push({ kind: 'drop', partition })
  } else if (role === 'standby' && !wanted && isCovered(scene, entry)) actions.push({ kind: 'drop', partition })
}

function follow(scene: Scene, partition: Partition, actions: Action[]): void {
  scene.room.follows -= 1
  actions.push({ kind: 'follow', partition })
}

function decideMine(scene: Scene, entry: OwnerEntry, role: HostedRole | undefined, actions: Action[]): void {
  const { view } = scene
  const { partition } = entry
  const isFree = !view.hostBusy.has(partition)
  const to = view.moves.get(partition)
  if (to !== undefined) {
    if (view.recordBusy.has(partition)) return
    if (!isReady(scene, partition, to)) actions.push({ kind: 'keep', partition })
    else if (role !== 'standby') {
      if (isFree) actions.push({ kind: 'demote', partition, to })
    } else if (isFree) actions.push(assign(entry, to))
    return
  }
  if (!isFree) return
  if (role === undefined || role === 'catching-up') return follow(scene, partition, actions)
  if (role !== 'owner') return void actions.push({ kind: 'promote', partition })
  const successor = successorOf(scene, partition)
  if (successor === undefined || scene.room.moves <= 0) return
  scene.room.moves -= 1
  actions.push({ kind: 'demote', partition, to: successor })
}

/** Whether the move that has begun may go on. */
function isReady({ takers }: Scene, partition: Partition, to: Successor): boolean {
  const peer = takers.get(to.node)
  return peer?.incarnation === to.incarnation && isCaughtUp(peer, partition)
}

/** Who a partition of this node's is to be given to; undefined when it stays. */
function successorOf(scene: Scene, partition: Partition): Successor | undefined {
  const { view, nowMs, ideal, takers } = scene
  const owner = ideal?.[partition]?.owner
  if (!view.canMove || owner === undefined) return undefined
  if (view.self.isDraining) return bestSuccessor(scene, partition, owner)
  const peer = takers.get(owner)
  if (peer === undefined || lagOf(view, partition, peer) > MOVE_LAG_MAX) return undefined
  const isHeld = nowMs < (view.heldUntilMs.get(partition) ?? 0)
  const isEarly = scene.isUnsteady || nowMs < peer.unsettledUntilMs || isHeld
  return isEarly && !view.isRebalancing ? undefined : successor(peer)
}

/** A node that drains is glad of any that is caught up: where the partition belongs, else the one that is least behind. */
function bestSuccessor({ view, nowMs, takers }: Scene, partition: Partition, owner: string): Successor | undefined {
  const order = (peer: Peer): readonly number[] => [
    peer.node === owner ? 0 : 1,
    nowMs < peer.unsettledUntilMs ? 1 : 0,
    lagOf(view, partition, peer),
  ]
  const [best] = [...takers.values()]
    .filter((peer) => isCaughtUp(peer, partition))
    .toSorted((a, b) => compare(order(a), order(b)))
  return best === undefined ? undefined : successor(best)
}

function successor({ node, incarnation }: Peer): Successor {
  return { node, incarnation }
}

/** Inputs of the journal that it is behind this node; Infinity when it has not caught up. */
function lagOf({ hosted }: ClusterView, partition: Partition, peer: Peer): number {
  if (!isCaughtUp(peer, partition)) return Infinity
  const own = hosted.get(partition)?.appliedSeq ?? 0
  return Math.max(0, own - (peer.partitions.get(partition)?.appliedSeq ?? 0))
}

function isCaughtUp(peer: Peer, partition: Partition): boolean {
  return CAUGHT_UP.has(peer.partitions.get(partition)?.role)
}

/** Whether this node is the one to take a partition that has no owner that lives. */
function isNext(scene: Scene, { partition }: OwnerEntry): boolean {
  const { view, nowMs } = scene
  if (!view.canTake || view.self.isDraining || view.recordBusy.has(partition)) return false
  const waitedMs = nowMs - (view.ownerlessSinceMs.get(partition) ?? nowMs)
  return waitedMs >= rankOf(scene, partition) * TAKE_STEP_MS
}

/** How many other nodes come before this one. Nodes that know different things may come to different orders: the record decides between them. */
function rankOf({ view, nowMs, ideal, takers }: Scene, partition: Partition): number {
  const { owner, standbys } = ideal?.[partition] ?? { owner: '', standbys: [] }
  const belongs = [owner, ...standbys]
  const order = (
    node: string,
    role: HostedRole | undefined,
    unsettledUntilMs: number,
  ): readonly (number | string)[] => [
    CAUGHT_UP.has(role) ? 0 : 1,
    nowMs < unsettledUntilMs ? 1 : 0,
    role === undefined ? 1 : 0,
    belongs.includes(node) ? belongs.indexOf(node) : belongs.length,
    node,
  ]
  const own = order(view.self.node, view.hosted.get(partition)?.role, view.self.unsettledUntilMs)
  let rank = 0
  for (const { node, partitions, unsettledUntilMs } of takers.values())
    if (compare(order(node, partitions.get(partition)?.role, unsettledUntilMs), own) < 0) rank += 1
  return rank
}

/** Whether this node is to apply a partition that it does not own. */
function isWanted({ view, ideal, lasting }: Scene, partition: Partition): boolean {
  const { node, isDraining } = view.self
  if (isDraining) return false
  const placement = lasting?.[partition]
  return ideal?.[partition]?.owner === node || placement?.owner === node || placement?.standbys.includes(node) === true
}

/** Whether a partition can do without this node: it has its owner, and everybody who is to apply it has caught up. */
function isCovered({ view, ideal, takers }: Scene, { partition, record }: OwnerEntry): boolean {
  const placement = ideal?.[partition]
  if (view.self.isDraining || placement === undefined || record === undefined) return false
  const hasOwner = [...takers.values()].some(({ incarnation }) => incarnation === record.incarnation)
  const others = [placement.owner, ...placement.standbys]
  return hasOwner && others.every((node) => isCaughtUpNode(takers.get(node), partition))
}

function isCaughtUpNode(peer: Peer | undefined, partition: Partition): boolean {
  return peer !== undefined && isCaughtUp(peer, partition)
}

function take({ self }: ClusterView, entry: OwnerEntry): RecordAction {
  return { ...assign(entry, self), kind: 'take' }
}

function assign({ partition, revision, epoch }: OwnerEntry, { node, incarnation }: Successor): RecordAction {
  return { kind: 'assign', partition, record: { node, incarnation, epoch: epoch + 1 }, revision }
}

function compare(a: readonly (number | string)[], b: readonly (number | string)[]): number {
  for (const [i, value] of a.entries()) {
    const other = b[i] as number | string
    if (value !== other) return value < other ? -1 : 1
  }
  return 0
}
