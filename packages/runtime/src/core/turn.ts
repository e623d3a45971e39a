/**
 * One turn: the application of one input to one instance.
 *
 * Owns: the turn's time, its random numbers, its effect ids, its list of effects; and which turn is running now.
 * Does not own: the instance.
 *
 * Invariants
 * 1. At most one turn runs at a time in a thread, and the host does no I/O of its own between `enterTurn` and `leaveTurn`.
 * 2. Time, randomness and effect ids depend on (instance, input) alone.
 */
import type { InstanceKey } from '../protocol/index.ts'
import type { Effect, EffectId } from './effect.ts'
import { Random } from './random.ts'

export class Turn {
  readonly key: InstanceKey
  readonly seq: number
  /** The input's time, never before an earlier turn's of the instance. Milliseconds since the epoch. */
  readonly nowMs: number
  readonly effects: Effect[] = []
  /** Times that the instance has continued as new in this turn. */
  renewals = 0
  #index = 0
  #random: Random | undefined
  /** Where it was taken up, if it was: random numbers begin anew there. */
  #place: number | undefined

  constructor(key: InstanceKey, seq: number, nowMs: number) {
    this.key = key
    this.seq = seq
    this.nowMs = nowMs
  }

  nextEffectId(): EffectId {
    return `${this.seq}.${this.#index++}`
  }

  get random(): Random {
    this.#random ??= new Random(`${this.key}/${this.seq}${this.#place === undefined ? '' : `/${this.#place}`}`)
    return this.#random
  }

  /** A place at which the turn can be taken up again: what follows depends on (instance, input, place) alone. */
  mark(): number {
    const place = this.#index
    this.resumeAt(place)
    return place
  }

  resumeAt(place: number): void {
    this.#index = place + 1
    this.#place = place
    this.#random = undefined
  }
}

let running: Turn | undefined

/** The turn that runs now, or undefined outside of turns. What the guarded globals ask. */
export function currentTurn(): Turn | undefined {
  return running
}

export function enterTurn(turn: Turn): void {
  running = turn
}

export function leaveTurn(): void {
  running = undefined
}

const nextTick = process.nextTick.bind(process)

/**
 * Resolves when every microtask that is queued, and every one that those queue, has run: user code has gone as far as it can.
 *
 * The first await leaves the caller's macrotask, if it is in one; from within the microtask queue, Node runs a tick only once that queue is empty.
 */
export async function drainMicrotasks(): Promise<void> {
  await Promise.resolve()
  await new Promise<void>((resolve) => nextTick(resolve))
}
