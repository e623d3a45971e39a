/**
 * Keeps the pending effects of one partition going without holding them all in memory: what has no room now waits in the store.
 *
 * Invariants
 * 1. Every pending effect is handed to `admit` at least once while the partition is not muted, in the order of their turns.
 */
import { effectKey, effectRange } from '../core/index.ts'
import type { OrderedStore } from '../ports/index.ts'
import type { Partition } from '../protocol/index.ts'
import { decodePending, type PendingEffect } from './pending-effect.ts'

const PAGE = 500

export class PendingEffects {
  readonly #partition: Partition
  readonly #store: OrderedStore
  readonly #admit: (effect: PendingEffect) => boolean
  /** Everything up to this key has been admitted. */
  #cursor: string | undefined
  /** Behind the cursor, the store may hold effects that were not admitted. At first, all of them. */
  #behind = true
  #lastAdded = ''
  /** Effects of earlier turns than the cursor's, which an instance asked for when it was resumed: `refill` would not find them. */
  readonly #late: PendingEffect[] = []

  constructor(partition: Partition, store: OrderedStore, admit: (effect: PendingEffect) => boolean) {
    this.#partition = partition
    this.#store = store
    this.#admit = admit
  }

  /** A new effect. It goes at once if nothing waits in front of it and there is room; else `refill` finds it in the store. */
  add(effect: PendingEffect): void {
    const key = effectKey(this.#partition, effect.id, effect.key)
    if (this.#cursor !== undefined && key <= this.#cursor) {
      if (this.#late.length > 0 || !this.#admit(effect)) this.#late.push(effect)
      return
    }
    this.#lastAdded = key
    // Late ones wait in front of it: of one instance, they are the earlier ones.
    if (this.#behind || this.#late.length > 0 || !this.#admit(effect)) this.#behind = true
    else this.#cursor = key
  }

  /** Admits from the store while there is room. Called behind each commit, when the store holds everything added before it. */
  refill(): void {
    for (let next = this.#late[0]; next !== undefined; next = this.#late[0]) {
      if (!this.#admit(next)) return
      this.#late.shift()
    }
    while (this.#behind) {
      let rows = 0
      for (const { key, value } of this.#store.range('effect', effectRange(this.#partition, this.#cursor, PAGE))) {
        if (!this.#admit(decodePending(value))) return
        this.#cursor = key
        rows += 1
      }
      if (rows === PAGE) continue
      // What was added since the commit is not in the store yet: the next refill finds it.
      this.#behind = (this.#cursor ?? '') < this.#lastAdded
      return
    }
  }
}
