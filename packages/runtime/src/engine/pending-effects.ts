/**
 * Keeps the pending effects of one partition going without holding them all in memory: what has no room now waits in the store.
 *
 * Invariants
 * 1. Every pending effect is handed to `admit` at least once while the partition is not muted; those of one lane in the order of their turns.
 * 2. A lane without room holds back no other lane: the others go past what it leaves in the store.
 */
import { effectKey, effectRange } from '../core/index.ts'
import type { OrderedStore } from '../ports/index.ts'
import type { Partition } from '../protocol/index.ts'
import { decodePending, type PendingEffect } from './pending-effect.ts'

/** Rows of one step: each takes some microseconds. */
const PAGE = 250

export interface PendingEffectsOptions {
  readonly partition: Partition
  readonly store: OrderedStore
  /** False when there is no room for it now: the lane waits until `refill`. */
  readonly admit: (effect: PendingEffect) => boolean
  /** Effects of one lane go in order and share their room. Any value that is the same for the same lane. */
  readonly laneOf: (effect: PendingEffect) => unknown
}

/** A lane that had no room: what of it was passed by. */
interface Passed {
  /** All of the lane up to this key has been admitted. */
  cursor: string | undefined
  /** The last one that was passed by. */
  last: string
  /** Effects of earlier turns than the cursor of all, which an instance asked for when it was resumed. They go first. */
  readonly late: PendingEffect[]
  /** Keys of late ones that were admitted although the lane's cursor comes by them yet. */
  readonly taken: Set<string>
}

export class PendingEffects {
  readonly #options: PendingEffectsOptions
  /** Everything up to this key has been admitted, or passed by. */
  #cursor: string | undefined
  /** Behind the cursor, the store may hold effects that were not looked at. At first, all of them. */
  #behind = true
  #lastAdded = ''
  readonly #passed = new Map<unknown, Passed>()

  constructor(options: PendingEffectsOptions) {
    this.#options = options
  }

  /** A new effect. It goes at once if nothing of its lane waits in front of it and there is room; else `refill` finds it in the store. */
  add(effect: PendingEffect): void {
    const key = effectKey(this.#options.partition, effect.id, effect.key)
    if (this.#cursor !== undefined && key <= this.#cursor) return this.#addLate(effect, this.#cursor)
    this.#lastAdded = key
    if (this.#behind) return
    this.#offer(effect, key)
  }

  /** Admits from the store while there is room. Called behind each commit, when the store holds everything added before it. True: call it again soon. */
  refill(): boolean {
    let isMore = false
    for (const [lane, passed] of this.#passed) if (this.#catchUp(lane, passed)) isMore = true
    return this.#goOn() || isMore
  }

  /** One step of those that nobody has looked at. */
  #goOn(): boolean {
    if (!this.#behind) return false
    const { store, partition } = this.#options
    let rows = 0
    for (const { key, value } of store.range('effect', effectRange(partition, this.#cursor, PAGE))) {
      this.#offer(decodePending(value), key)
      rows += 1
    }
    if (rows === PAGE) return true
    // What was added since the commit is not in the store yet: the next refill finds it.
    this.#behind = (this.#cursor ?? '') < this.#lastAdded
    return false
  }

  /** The next effect behind the cursor. */
  #offer(effect: PendingEffect, key: string): void {
    const lane = this.#options.laneOf(effect)
    const passed = this.#passed.get(lane)
    if (passed !== undefined) passed.last = key
    else if (!this.#options.admit(effect))
      this.#passed.set(lane, { cursor: this.#cursor, last: key, late: [], taken: new Set() })
    this.#cursor = key
  }

  #addLate(effect: PendingEffect, cursor: string): void {
    const lane = this.#options.laneOf(effect)
    const passed = this.#passed.get(lane)
    if (passed === undefined) {
      if (!this.#options.admit(effect)) this.#passed.set(lane, { cursor, last: '', late: [effect], taken: new Set() })
    } else if (passed.late.length > 0 || !this.#takeLate(effect, passed)) passed.late.push(effect)
  }

  #takeLate(effect: PendingEffect, { cursor, taken }: Passed): boolean {
    if (!this.#options.admit(effect)) return false
    const key = effectKey(this.#options.partition, effect.id, effect.key)
    if (key > (cursor ?? '')) taken.add(key)
    return true
  }

  /** One step through what was passed by of one lane, up to where the others are. */
  #catchUp(lane: unknown, passed: Passed): boolean {
    const { store, partition, admit, laneOf } = this.#options
    for (let next = passed.late[0]; next !== undefined; next = passed.late[0]) {
      if (!this.#takeLate(next, passed)) return false
      passed.late.shift()
    }
    let rows = 0
    for (const { key, value } of store.range('effect', effectRange(partition, passed.cursor, PAGE, this.#cursor))) {
      if (!passed.taken.delete(key)) {
        const effect = decodePending(value)
        if (laneOf(effect) === lane && !admit(effect)) return false
      }
      passed.cursor = key
      rows += 1
    }
    if (rows === PAGE) return true
    if ((passed.cursor ?? '') >= passed.last) this.#passed.delete(lane)
    return false
  }
}
