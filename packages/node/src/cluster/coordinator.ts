/**
 * What one node knows of the cluster, and what it does next: a state machine without I/O. Whoever runs it carries out its commands and tells it what
 * came of them (`ClusterSession`; in tests the simulated cluster).
 *
 * Owns: the view (peers, records, what is under way), the verdicts, the pace of beats, pings and reads.
 * Does not own: the rules (`decide`), sockets, timers, the host of the partitions.
 *
 * Invariants
 * 1. One action of the host and one of the record at a time for each partition.
 * 2. Nobody is judged while this node hears nobody: without the echo of its own beats it takes nothing.
 * 3. After a sleep nothing is promoted, taken or moved before the records have been read again.
 */
import { CarillonError, toErrorData } from '@carillon/runtime'
import type { NodeBeat, NodeRequest, OwnerRecord, Partition, PingAnswer } from '@carillon/runtime/protocol'

import {
  BEAT_MS,
  BLIND_MS,
  DISCOVER_MS,
  MOVE_MS_MAX,
  OWNERS_EVERY_MS,
  OWNERS_FRESH_MS,
  PINGS_MAX,
  RETURN_SETTLE_MS,
  SERVER_LOSS_MS,
  HOLD_MS,
} from './cluster-timing.ts'
import {
  type ClusterView,
  decide,
  type HostAction,
  type OwnerEntry,
  ownershipOf,
  type Place,
  type RecordAction,
  type Successor,
} from './decide.ts'
import { JudgeClock } from './judge-clock.ts'
import { Lanes } from './lanes.ts'
import { OwnerTable } from './owner-table.ts'
import type { StoredOwner } from './owner-store.ts'
import type { HostedPartition } from './partition-host.ts'
import { type Change, type Peer, Peers } from './peers.ts'

export type Command =
  | { readonly kind: 'beat' }
  | { readonly kind: 'ping'; readonly node: string }
  | { readonly kind: 'read-owners'; readonly askedMs: number }
  /** From the leader of the bucket. */
  | { readonly kind: 'read-owner'; readonly partition: Partition }
  | { readonly kind: 'effects-done'; readonly partition: Partition; readonly seq: number }
  | { readonly kind: 'act'; readonly action: HostAction | RecordAction }
  | {
      readonly kind: 'tell'
      readonly level: 'info' | 'warn'
      readonly fields: Readonly<Record<string, unknown>>
      readonly text: string
    }
  /** This node cannot go on. */
  | { readonly kind: 'stop'; readonly error: CarillonError }

export interface CoordinatorOptions {
  readonly node: string
  readonly incarnation: string
  readonly weight: number
  readonly standbys: number
  readonly build: string
  /** When the process started, milliseconds since 1970. */
  readonly sinceMs: number
  readonly partitions: number
  /**
   * When nobody answered this node's question who is there, so that it need not listen before it takes anything; by the same clock as all times here.
   * Undefined when somebody did.
   */
  readonly aloneSinceMs: number | undefined
  readonly place?: Place
}

/** Counted since the start. */
export interface ClusterCounts {
  /** Partitions taken because their owner was dead or there was none. */
  readonly taken: number
  /** Partitions given to another node, and received from one. */
  readonly given: number
  readonly received: number
  /** Partitions lost to another node that took this one for dead. */
  readonly lost: number
  /** Changes of any partition's ownership that this node has seen. */
  readonly changes: number
}

/** Between two lines about the same thing. */
const TOLD_EVERY_MS = 30_000

export class Coordinator {
  readonly #options: CoordinatorOptions
  readonly #clock: JudgeClock
  readonly #startMs: number
  readonly #peers: Peers
  readonly #owners = new OwnerTable()
  /** Of the last record of each partition that named this node. */
  readonly #ownEpochs = new Map<Partition, number>()
  readonly #hostLanes = new Lanes()
  readonly #recordLanes = new Lanes()
  readonly #moves = new Map<Partition, Successor & { readonly sinceMs: number }>()
  readonly #ownerlessSinceMs = new Map<Partition, number>()
  readonly #heldUntilMs = new Map<Partition, number>()
  readonly #effectsDone = new Map<Partition, number>()
  readonly #counts = { taken: 0, given: 0, received: 0, lost: 0, changes: 0 }
  /** Collected between two steps. */
  #commands: Command[] = []
  #hosted: ReadonlyMap<Partition, HostedPartition> = new Map()
  #beat = 0
  #beatDueMs: number
  #server = ''
  #isLossTold = true
  #isConnected = true
  #echoMs = -Infinity
  #isBlind = true
  /** When what it knew became old last. */
  #listensSinceMs: number
  #listensUntilMs: number
  #unsettledUntilMs = 0
  /** When all records were read last, and whether that is from before a sleep (invariant 3). */
  #ownersReadMs = -Infinity
  #ownersAskedMs = -Infinity
  #areOwnersOld = true
  readonly #asked = new Set<Partition>()
  #movesPausedUntilMs = 0
  #state: NodeBeat['state'] = 'live'
  #sleeps = 0
  #sleepToldMs = -Infinity
  #isRebalancing = false
  #isSettled = false
  #pingOffset = 0

  constructor(options: CoordinatorOptions, nowMs: number) {
    this.#options = options
    this.#clock = new JudgeClock(nowMs)
    this.#startMs = nowMs
    this.#beatDueMs = nowMs
    this.#listensSinceMs = nowMs
    const { aloneSinceMs } = options
    this.#listensUntilMs = aloneSinceMs === undefined ? nowMs + DISCOVER_MS : nowMs
    this.#peers = new Peers(aloneSinceMs === undefined ? undefined : aloneSinceMs - nowMs)
  }

  get counts(): ClusterCounts {
    return { ...this.#counts }
  }

  get peers(): readonly Peer[] {
    return this.#peers.all()
  }

  get owners(): ReadonlyMap<Partition, OwnerEntry> {
    return this.#owners.entries
  }

  /** Whether this node has taken its part: all that it is to host has caught up, all that it owns is served, and nothing is without an owner. */
  get isSettled(): boolean {
    return this.#isSettled
  }

  get isDraining(): boolean {
    return this.#state !== 'live'
  }

  /** Partitions that the records give to this node. */
  get owned(): number {
    let count = 0
    for (const { record } of this.#owners.entries.values()) if (this.#ownership(record) === 'mine') count += 1
    return count
  }

  /** Whether there is another node that takes partitions. */
  get hasTakers(): boolean {
    return this.#peers.all().some(({ isHeard, verdict, state }) => isHeard && verdict === 'live' && state === 'live')
  }

  /** The next heartbeat. */
  nextBeat(counters: Readonly<Record<string, number>>, nowMs: number): NodeBeat {
    const { node, incarnation, weight, standbys, build, sinceMs } = this.#options
    this.#beat += 1
    return {
      node,
      incarnation,
      state: this.#state,
      weight,
      standbys,
      build,
      server: this.#server,
      sinceMs,
      upMs: Math.round(nowMs - this.#startMs),
      beat: this.#beat,
      partitions: [...this.#hosted.values()].map(({ partition, role, appliedSeq, effectsDoneSeq }) => ({
        partition,
        role,
        // One that serves on until it is demoted does so in the epoch that it was given, whatever it has heard since.
        epoch: role === 'owner' ? (this.#ownEpochs.get(partition) ?? 0) : this.#owners.epochOf(partition),
        appliedSeq,
        effectsDoneSeq: role === 'owner' ? effectsDoneSeq : (this.#effectsDone.get(partition) ?? 0),
      })),
      counters,
    }
  }

  /** True when it tells something that is to be looked at at once. */
  heard(beat: NodeBeat, nowMs: number): boolean {
    this.#advance(nowMs)
    const { node, incarnation, sinceMs } = this.#options
    if (beat.node === node) {
      if (beat.incarnation === incarnation) {
        const wasBlind = this.#isBlind
        this.#echoMs = nowMs
        return wasBlind
      }
      const isLater = beat.sinceMs > sinceMs || (beat.sinceMs === sinceMs && beat.incarnation > incarnation)
      if (isLater && beat.state !== 'left') this.#stopAsNamesake()
      return isLater
    }
    const before = this.#peers.of(beat.incarnation)
    const [wasHeard, wasVerdict, stateBefore] = [before?.isHeard, before?.verdict, before?.state]
    if (!this.#peers.heard(beat, this.#clock.nowMs)) return false
    const unread = beat.partitions.filter(({ partition, epoch }) => this.#owners.heard(partition, epoch))
    for (const { partition } of unread) this.#readOwner(partition)
    return unread.length > 0 || wasHeard !== true || wasVerdict !== 'live' || stateBefore !== beat.state
  }

  pinged(node: string, answer: PingAnswer | 'absent', nowMs: number): void {
    this.#advance(nowMs)
    this.#peers.pinged(node, answer, this.#clock.nowMs)
  }

  /** All records, as of some time behind `askedMs`. */
  ownersRead(entries: readonly StoredOwner[], askedMs: number, nowMs: number): void {
    this.#advance(nowMs)
    for (const entry of entries) this.#noteOwner(entry, false)
    if (askedMs < this.#listensSinceMs) return
    this.#ownersReadMs = nowMs
    this.#areOwnersOld = false
  }

  /** One record, from the leader; undefined when it could not be read. */
  ownerRead(partition: Partition, entry: StoredOwner | undefined, nowMs: number): void {
    this.#advance(nowMs)
    this.#asked.delete(partition)
    if (entry !== undefined) this.#noteOwner(entry, true)
  }

  hostDone(action: HostAction, nowMs: number): void {
    this.#advance(nowMs)
    this.#hostLanes.done(action.partition)
    this.#beatDueMs = nowMs
  }

  hostFailed({ kind, partition }: HostAction, error: unknown, nowMs: number): void {
    this.#advance(nowMs)
    const failures = this.#hostLanes.failed(partition, nowMs)
    const { code, message } = toErrorData(error, 'STORAGE_FAILED')
    this.#tell(
      'warn',
      { partition, code, failures, reason: message },
      `the partition could not ${kind}: it is tried again`,
    )
  }

  /** The record is changed: `revision`; or somebody was faster: undefined. */
  recordDone({ kind, partition, record }: RecordAction, revision: number | undefined, nowMs: number): void {
    this.#advance(nowMs)
    this.#recordLanes.done(partition)
    if (revision === undefined) return this.#readOwner(partition)
    if (kind === 'take') this.#noteTaken(partition)
    else this.#counts.given += 1
    this.#moves.delete(partition)
    this.#noteOwner({ partition, record, revision }, false)
    this.#beatDueMs = nowMs
  }

  /** No answer: the record may be changed or not, or be changed yet. */
  recordFailed({ kind, partition }: RecordAction, error: unknown, nowMs: number): void {
    this.#advance(nowMs)
    const failures = this.#recordLanes.failed(partition, nowMs)
    if (kind === 'assign') this.#movesPausedUntilMs = nowMs + MOVE_MS_MAX
    this.#readOwner(partition)
    // Without a leader all of them fail, again and again: one line in a while says it.
    if (failures !== 3) return
    const { message } = toErrorData(error, 'NOT_ACKNOWLEDGED')
    this.#tell(
      'warn',
      { partition, reason: message },
      'the ownership of a partition cannot be changed: JetStream does not answer; it is tried again',
    )
  }

  /** This node's connection: the server that it is with, and whether that would tell when another one leaves. */
  connected(server: string, isLossTold: boolean, nowMs: number): void {
    this.#advance(nowMs)
    if (!this.#isConnected) this.#peers.serverLost(this.#clock.nowMs)
    this.#isConnected = true
    this.#server = server
    this.#isLossTold = isLossTold
    this.#beatDueMs = nowMs
  }

  disconnected(nowMs: number): void {
    this.#advance(nowMs)
    this.#isConnected = false
    this.#echoMs = -Infinity
  }

  /** Another server of the NATS cluster is gone. */
  serverLost(nowMs: number): void {
    this.#advance(nowMs)
    this.#peers.serverLost(this.#clock.nowMs)
  }

  asked({ op }: NodeRequest, nowMs: number): void {
    this.#advance(nowMs)
    if (op === 'rebalance') this.#isRebalancing = true
    else if (this.#state !== 'left') this.#state = op === 'drain' ? 'draining' : 'live'
    this.#beatDueMs = nowMs
    this.#tell('info', { op }, 'asked by an operator')
  }

  /** From now on it gives everything away. */
  drain(nowMs: number): void {
    this.#advance(nowMs)
    this.#state = 'draining'
    this.#beatDueMs = nowMs
  }

  /** The last beat says that it leaves. */
  leave(): void {
    this.#state = 'left'
  }

  /** What is to be done by now. Called every `TICK_MS`, and when something has happened that is not to wait. */
  step(hosted: readonly HostedPartition[], nowMs: number): readonly Command[] {
    this.#advance(nowMs)
    this.#hosted = new Map(hosted.map((one) => [one.partition, one]))
    this.#lookForEcho(nowMs)
    this.#review()
    this.#giveUpMoves(nowMs)
    if (this.#isConnected) this.#converse(nowMs)
    this.#act(nowMs)
    const commands = this.#commands
    this.#commands = []
    return commands
  }

  #advance(nowMs: number): void {
    if (!this.#clock.advance(nowMs)) return
    this.#sleeps += 1
    this.#listenAnew(nowMs)
    // On a starved machine it would be said all the time.
    if (nowMs - this.#sleepToldMs < TOLD_EVERY_MS) return
    this.#sleepToldMs = nowMs
    this.#tell(
      'warn',
      { times: this.#sleeps },
      'this node has slept, or had no CPU, for over a second: what it knows of the others is old',
    )
  }

  #listenAnew(nowMs: number): void {
    this.#peers.grace(this.#clock.nowMs)
    this.#areOwnersOld = true
    this.#ownersAskedMs = -Infinity
    this.#listensSinceMs = nowMs
    this.#listensUntilMs = Math.max(this.#listensUntilMs, nowMs + DISCOVER_MS)
    this.#unsettledUntilMs = this.#clock.nowMs + RETURN_SETTLE_MS
  }

  /** Invariant 2. */
  #lookForEcho(nowMs: number): void {
    const isBlind = !this.#isConnected || nowMs - this.#echoMs > BLIND_MS
    if (this.#isBlind && !isBlind && this.#beat > 1) this.#listenAnew(nowMs)
    this.#isBlind = isBlind
  }

  #review(): void {
    if (!this.#isBlind) this.#judge()
    for (const { partition, record } of this.#owners.entries.values()) {
      const ownership = this.#ownership(record)
      if (ownership === 'mine' || ownership === 'live') this.#ownerlessSinceMs.delete(partition)
      else if (!this.#ownerlessSinceMs.has(partition)) this.#ownerlessSinceMs.set(partition, this.#clock.nowMs)
    }
  }

  #judge(): void {
    const named = new Set<string>()
    for (const { record } of this.#owners.entries.values()) if (record !== undefined) named.add(record.incarnation)
    const changes = this.#peers.review(this.#clock.nowMs, {
      isNamed: (incarnation) => named.has(incarnation),
      isLossTold: (server) => this.#isLossTold || server === this.#server,
    })
    for (const change of changes) this.#tellChange(change)
  }

  #giveUpMoves(nowMs: number): void {
    for (const [partition, { sinceMs, node }] of this.#moves) {
      const isOver = this.#ownership(this.#owners.entries.get(partition)?.record) !== 'mine'
      // In the time of verdicts: what this node slept through was nobody's delay.
      if (!isOver && this.#clock.nowMs - sinceMs < MOVE_MS_MAX) continue
      this.#moves.delete(partition)
      if (isOver) continue
      this.#movesPausedUntilMs = nowMs + MOVE_MS_MAX
      this.#tell('warn', { partition, to: node }, 'the partition could not be given away in time: it is served on here')
    }
  }

  #converse(nowMs: number): void {
    if (nowMs >= this.#beatDueMs) {
      this.#beatDueMs = nowMs + BEAT_MS
      this.#commands.push({ kind: 'beat' })
    }
    if (nowMs - this.#ownersAskedMs >= OWNERS_EVERY_MS) {
      this.#ownersAskedMs = nowMs
      this.#asked.clear()
      this.#commands.push({ kind: 'read-owners', askedMs: nowMs })
    }
    if (!this.#isBlind) for (const node of this.#toPing()) this.#commands.push({ kind: 'ping', node })
    for (const { partition, role } of this.#hosted.values())
      if (role === 'standby' || role === 'catching-up') this.#passOnEffectsDone(partition)
  }

  /** Those whose partitions this node would go on with; in a small cluster all owners. */
  #toPing(): readonly string[] {
    const names = new Set<string>()
    for (const { partition, record } of this.#owners.entries.values()) {
      if (record === undefined || record.node === this.#options.node) continue
      const peer = this.#peers.of(record.incarnation)
      if (peer === undefined || peer.verdict === 'gone') continue
      if (this.#hosted.has(partition) || !peer.isHeard || this.#peers.all().length <= PINGS_MAX) names.add(record.node)
    }
    const all = [...names]
    this.#pingOffset = all.length > PINGS_MAX ? (this.#pingOffset + PINGS_MAX) % all.length : 0
    return [...all.slice(this.#pingOffset), ...all.slice(0, this.#pingOffset)].slice(0, PINGS_MAX)
  }

  #passOnEffectsDone(partition: Partition): void {
    const record = this.#owners.entries.get(partition)?.record
    const said = record === undefined ? undefined : this.#peers.of(record.incarnation)?.partitions.get(partition)
    // Only what the owner of this epoch says counts.
    if (said === undefined || said.role !== 'owner' || said.epoch !== record?.epoch) return
    if (said.effectsDoneSeq <= (this.#effectsDone.get(partition) ?? 0)) return
    this.#effectsDone.set(partition, said.effectsDoneSeq)
    this.#commands.push({ kind: 'effects-done', partition, seq: said.effectsDoneSeq })
  }

  #act(nowMs: number): void {
    const view = this.#view(nowMs)
    const actions = decide(view, this.#clock.nowMs, this.#options.place)
    for (const action of actions) {
      if (action.kind === 'keep') {
        this.#moves.delete(action.partition)
        continue
      }
      if (action.kind === 'take' || action.kind === 'assign') this.#recordLanes.begin(action.partition, action.kind)
      else this.#hostLanes.begin(action.partition, action.kind)
      if (action.kind === 'demote') this.#noteDemotion(action.partition, action.to)
      this.#commands.push({ kind: 'act', action })
    }
    const isQuiet = actions.length === 0 && view.hostBusy.size === 0 && view.recordBusy.size === 0
    this.#isSettled = isQuiet && view.canTake && this.#ownerlessSinceMs.size === 0
    if (isQuiet) this.#isRebalancing = false
    this.#tellTakes(actions.filter(({ kind }) => kind === 'take').map(({ partition }) => partition))
  }

  #view(nowMs: number): ClusterView {
    const { node, incarnation, weight, standbys } = this.#options
    const unsettledUntilMs = this.#unsettledUntilMs
    const canTake = !this.#isBlind && !this.#areOwnersOld && nowMs >= this.#listensUntilMs
    return {
      self: { node, incarnation, weight, standbys, isDraining: this.isDraining, unsettledUntilMs },
      peers: this.#peers.all(),
      partitions: this.#options.partitions,
      hosted: this.#hosted,
      owners: this.#areOwnersOld ? new Map() : this.#owners.entries,
      moves: this.#moves,
      ownerlessSinceMs: this.#ownerlessSinceMs,
      heldUntilMs: this.#heldUntilMs,
      hostBusy: this.#hostLanes.busy(nowMs),
      // What is being read may be another one by now.
      recordBusy: new Set([...this.#recordLanes.busy(nowMs), ...this.#asked]),
      following: this.#hostLanes.count('follow'),
      canTake,
      canMove:
        canTake &&
        nowMs - this.#ownersReadMs < OWNERS_FRESH_MS &&
        nowMs >= this.#movesPausedUntilMs &&
        this.#clock.nowMs - this.#peers.lossMs >= SERVER_LOSS_MS,
      isRebalancing: this.#isRebalancing,
    }
  }

  #ownership(record: OwnerRecord | undefined): ReturnType<typeof ownershipOf> {
    return ownershipOf(this.#options, (incarnation) => this.#peers.of(incarnation), record)
  }

  #noteOwner(entry: StoredOwner, isFromLeader: boolean): void {
    const { partition, record } = entry
    const before = this.#owners.entries.get(partition)
    if (!this.#owners.set(entry, isFromLeader)) return
    this.#ownerlessSinceMs.delete(partition)
    if (before !== undefined) this.#counts.changes += 1
    if (record === undefined) return
    const isMine = this.#ownership(record) === 'mine'
    if (isMine) this.#ownEpochs.set(partition, record.epoch)
    if (!isMine && record.node !== this.#options.node)
      this.#peers.named(record.node, record.incarnation, before !== undefined, this.#clock.nowMs)
    // What this node has taken itself is noted when it takes it.
    if (!isMine || before?.record === undefined || this.#ownership(before.record) !== 'live') return
    this.#counts.received += 1
    this.#heldUntilMs.set(partition, this.#clock.nowMs + HOLD_MS)
  }

  #noteTaken(partition: Partition): void {
    this.#counts.taken += 1
    const record = this.#owners.entries.get(partition)?.record
    const owner = record === undefined ? undefined : this.#peers.of(record.incarnation)
    // A node that seemed dead may be back in a moment. One that has left, or was never heard of, is not.
    if (owner?.isHeard === true && owner.state !== 'left') this.#heldUntilMs.set(partition, this.#clock.nowMs + HOLD_MS)
  }

  #noteDemotion(partition: Partition, to: Successor | undefined): void {
    if (to !== undefined) {
      if (!this.#moves.has(partition)) this.#moves.set(partition, { ...to, sinceMs: this.#clock.nowMs })
      return
    }
    this.#counts.lost += 1
    const record = this.#owners.entries.get(partition)?.record
    this.#tell(
      'warn',
      { partition, owner: record?.node, epoch: record?.epoch },
      'another node owns the partition now, this one was taken for dead: it stands by',
    )
  }

  #readOwner(partition: Partition): void {
    if (this.#asked.has(partition)) return
    this.#asked.add(partition)
    this.#commands.push({ kind: 'read-owner', partition })
  }

  #tellTakes(partitions: readonly Partition[]): void {
    if (partitions.length === 0) return
    const from = new Set(partitions.map((partition) => this.#owners.entries.get(partition)?.record?.node ?? 'nobody'))
    this.#tell('info', { partitions, from: [...from] }, 'taking partitions that have no owner')
  }

  #tellChange({ peer: { node, state, verdict }, was }: Change): void {
    if (state === 'left') return this.#tell('info', { peer: node }, 'a node has left')
    if (verdict === 'gone') return this.#tell('warn', { peer: node }, 'a node is gone: its process has ended')
    if (verdict === 'frozen')
      return this.#tell('warn', { peer: node }, 'nothing is heard of a node: it counts as frozen')
    if (was !== 'live') this.#tell('info', { peer: node }, 'a node is back')
  }

  #stopAsNamesake(): void {
    const { node } = this.#options
    const error = new CarillonError(
      'NODE_NAME_IN_USE',
      `another node that is called ${node} has joined the cluster, and began later: this one stops; give each node a name of its own (--name)`,
    )
    this.#commands.push({ kind: 'stop', error })
  }

  #tell(level: 'info' | 'warn', fields: Readonly<Record<string, unknown>>, text: string): void {
    this.#commands.push({ kind: 'tell', level, fields, text })
  }
}
