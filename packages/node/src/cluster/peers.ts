/**
 * The other nodes, as this one has heard of them, and what it makes of that.
 *
 * Owns: when each was heard of last, and since when it is silent, absent or away. All times are those of `JudgeClock`.
 * Does not own: what follows from it for partitions.
 *
 * Invariants
 * 1. Of two lives under one name the one that began later counts; the other one is gone.
 * 2. A verdict is about what was to be heard: after the loss of a NATS server, after a sleep of this node, and while it hears nobody, everybody gets a
 *    fresh grace.
 */
import type { BeatPartition, NodeBeat, NodeState, Partition, PingAnswer } from '@carillon/runtime/protocol'

import {
  ABSENCES_MIN,
  AFTER_LOSS_MS,
  CONTRADICTED_MS,
  CONTRADICTED_MS_MAX,
  FORGET_MS,
  JOIN_SETTLE_MS,
  PEERS_MAX,
  RETURN_SETTLE_MS,
  SERVER_LOSS_MS,
  SILENCE_MS,
  TICK_MS,
  UNSTABLE_GAP_MS,
  WAKE_MS,
} from './cluster-timing.ts'

/** `gone`: its process has ended; `frozen`: nothing is heard of it. Either way others go on with its partitions. */
export type Verdict = 'live' | 'gone' | 'frozen'

/** Another node, in one of its lives. */
export interface Peer {
  readonly node: string
  readonly incarnation: string
  readonly state: NodeState
  readonly weight: number
  readonly standbys: number
  readonly server: string
  readonly partitions: ReadonlyMap<Partition, BeatPartition>
  /** False of a life that only an ownership record has told of. */
  readonly isHeard: boolean
  readonly verdict: Verdict
  /** Nothing is given to it before. */
  readonly unsettledUntilMs: number
  /** Since when it is not live, or not in the state `live`; undefined while it is both. */
  readonly awaySinceMs: number | undefined
}

/** What is known of it beyond that. */
interface Known extends Peer {
  state: NodeState
  weight: number
  standbys: number
  server: string
  partitions: ReadonlyMap<Partition, BeatPartition>
  isHeard: boolean
  verdict: Verdict
  unsettledUntilMs: number
  awaySinceMs: number | undefined
  /** By its own clock; 0 while it is not heard. */
  sinceMs: number
  beat: number
  lastHeardMs: number
  graceMs: number
  /** Since it was taken for dead. */
  isHeardSince: boolean
  absences: number
  absentSinceMs: number
  isSuperseded: boolean
  contradictedUntilMs: number
  contradictions: number
}

export interface Change {
  readonly peer: Peer
  readonly was: Verdict
}

export interface ReviewOptions {
  /** Whether an ownership record names this life: it is not forgotten then. */
  readonly isNamed: (incarnation: string) => boolean
  /** Whether this node would be told if that NATS server had left. Of others, any silence may be the server's. */
  readonly isLossTold: (server: string) => boolean
}

const NO_PARTITIONS: ReadonlyMap<Partition, BeatPartition> = new Map()

export class Peers {
  /** By incarnation. */
  readonly #known = new Map<string, Known>()
  readonly #aloneSinceMs: number | undefined
  #lossMs = -Infinity

  /** `aloneSinceMs`: when nobody answered this node's question who is there; undefined when somebody did. */
  constructor(aloneSinceMs?: number) {
    this.#aloneSinceMs = aloneSinceMs
  }

  all(): readonly Peer[] {
    return [...this.#known.values()]
  }

  of(incarnation: string): Peer | undefined {
    return this.#known.get(incarnation)
  }

  /** When a NATS server left last. */
  get lossMs(): number {
    return this.#lossMs
  }

  /** False when the beat is late, or of a life that another one has followed: it says nothing. */
  heard(beat: NodeBeat, nowMs: number): boolean {
    const known = this.#known.get(beat.incarnation) ?? this.#add(beat.node, beat.incarnation, nowMs)
    if (known === undefined || beat.beat <= known.beat || this.#hasLaterLife(known, beat)) return false
    if (!known.isHeard) this.#begins(known, beat, nowMs)
    const silentMs = nowMs - Math.max(known.lastHeardMs, known.graceMs)
    if (known.isHeard && (known.verdict !== 'live' || silentMs >= UNSTABLE_GAP_MS))
      known.unsettledUntilMs = nowMs + RETURN_SETTLE_MS
    Object.assign(known, {
      state: beat.state,
      weight: beat.weight,
      standbys: beat.standbys,
      server: beat.server,
      isHeard: true,
      sinceMs: beat.sinceMs,
      beat: beat.beat,
      partitions: new Map(beat.partitions.map((hosted) => [hosted.partition, hosted])),
      lastHeardMs: nowMs,
      isHeardSince: true,
      absences: 0,
      isSuperseded: false,
      contradictedUntilMs: -Infinity,
      contradictions: 0,
    })
    return true
  }

  /** What became of a ping: an answer, or nobody behind the subject. (No answer in time says nothing that missing beats do not say better.) */
  pinged(node: string, answer: PingAnswer | 'absent', nowMs: number): void {
    for (const known of this.#known.values()) {
      if (known.node !== node) continue
      if (answer === 'absent') {
        if (known.absences === 0) known.absentSinceMs = nowMs
        known.absences += 1
      } else if (answer.incarnation === known.incarnation) known.absences = 0
      else if (answer.sinceMs > known.sinceMs) known.isSuperseded = true
    }
  }

  /** An ownership record names this life as the owner since now: somebody who writes, or is written of, lives. */
  named(node: string, incarnation: string, isNews: boolean, nowMs: number): void {
    const known = this.#known.get(incarnation) ?? this.#add(node, incarnation, nowMs)
    const isTold = known !== undefined && nowMs < known.contradictedUntilMs
    if (known === undefined || !isNews || known.verdict === 'live' || known.isSuperseded || isTold) return
    known.contradictedUntilMs = nowMs + Math.min(CONTRADICTED_MS * 2 ** known.contradictions, CONTRADICTED_MS_MAX)
    known.contradictions = Math.min(known.contradictions + 1, 10)
  }

  /** A NATS server has left, this node's own one or another. */
  serverLost(nowMs: number): void {
    this.#lossMs = nowMs
  }

  /** This node has slept, or has heard nobody: what it has not heard says nothing (invariant 2). */
  grace(nowMs: number): void {
    for (const known of this.#known.values())
      if (known.verdict === 'live') Object.assign(known, { graceMs: nowMs, absences: 0 })
  }

  /** Judges everybody anew; gives whose verdict has changed. */
  review(nowMs: number, { isNamed, isLossTold }: ReviewOptions): readonly Change[] {
    const changes: Change[] = []
    for (const known of this.#known.values()) {
      const was = known.verdict
      known.verdict = this.#judge(known, nowMs, isLossTold(known.server))
      if (known.verdict !== 'live') known.isHeardSince = false
      if (known.verdict !== was) changes.push({ peer: known, was })
      if (known.verdict === 'live' && known.state === 'live') known.awaySinceMs = undefined
      else known.awaySinceMs ??= nowMs
      const isOver = known.verdict !== 'live' && nowMs - known.lastHeardMs > FORGET_MS && !isNamed(known.incarnation)
      if (isOver) this.#known.delete(known.incarnation)
    }
    return changes
  }

  #judge(known: Known, nowMs: number, isLossTold: boolean): Verdict {
    if (known.isSuperseded || known.state === 'left') return 'gone'
    if (nowMs < known.contradictedUntilMs) return 'live'
    // Who was taken for dead is so until it is heard, whatever else is known by now.
    if (known.verdict !== 'live' && !known.isHeardSince) return known.absences >= ABSENCES_MIN ? 'gone' : known.verdict
    // Whoever was heard of behind the loss has found its way.
    const isAffected = !isLossTold || known.lastHeardMs < this.#lossMs + AFTER_LOSS_MS
    const absentMs = nowMs - known.absentSinceMs
    if (known.absences >= ABSENCES_MIN && absentMs >= (isAffected ? SERVER_LOSS_MS : TICK_MS)) return 'gone'
    const silentMs = nowMs - Math.max(known.lastHeardMs, known.graceMs)
    return silentMs >= (isAffected ? SERVER_LOSS_MS : SILENCE_MS) ? 'frozen' : 'live'
  }

  #add(node: string, incarnation: string, nowMs: number): Known | undefined {
    if (this.#known.size >= PEERS_MAX) return undefined
    const known = unheard(node, incarnation, nowMs)
    // Whoever a record names, and was not there a moment ago, need not be missed twice more.
    if (this.#aloneSinceMs !== undefined && nowMs - this.#aloneSinceMs < WAKE_MS)
      Object.assign(known, { absences: 1, absentSinceMs: this.#aloneSinceMs })
    this.#known.set(incarnation, known)
    return known
  }

  /** Whether a later life under the name is there (invariant 1). One that came later, and has ended, is not. */
  #hasLaterLife(known: Known, { node, sinceMs }: NodeBeat): boolean {
    return [...this.#known.values()].some(
      (other) =>
        other !== known &&
        other.node === node &&
        other.isHeard &&
        other.sinceMs > sinceMs &&
        other.verdict === 'live' &&
        other.state !== 'left',
    )
  }

  /** The first beat of a life: it follows all others under its name (invariant 1). */
  #begins(known: Known, { node }: NodeBeat, nowMs: number): void {
    const others = [...this.#known.values()].filter((other) => other !== known && other.isHeard && other.node === node)
    for (const other of others) other.isSuperseded = true
    // One that crashes and comes back again and again must not get partitions each time.
    const hasCrashed = others.some(({ state }) => state === 'live')
    known.unsettledUntilMs = nowMs + (hasCrashed ? RETURN_SETTLE_MS : JOIN_SETTLE_MS)
  }
}

/** A life that a record names and nobody has heard of yet: it has the time that any other one has. */
function unheard(node: string, incarnation: string, nowMs: number): Known {
  return {
    node,
    incarnation,
    state: 'live',
    weight: 1,
    standbys: 0,
    server: '',
    partitions: NO_PARTITIONS,
    isHeard: false,
    verdict: 'live',
    unsettledUntilMs: nowMs,
    awaySinceMs: undefined,
    sinceMs: 0,
    beat: -1,
    lastHeardMs: nowMs,
    graceMs: nowMs,
    isHeardSince: false,
    absences: 0,
    absentSinceMs: nowMs,
    isSuperseded: false,
    contradictedUntilMs: -Infinity,
    contradictions: 0,
  }
}
