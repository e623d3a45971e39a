/** What the coroutines of one instance wait for. Every promise that workflow code may await comes from here. */
import type { Input } from '../protocol/index.ts'
import type { EffectId } from './effect.ts'

interface Deferred {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

interface Condition {
  readonly predicate: () => boolean
  readonly resolve: (met: boolean) => void
  readonly timeout: EffectId | undefined
}

interface Receiver {
  /** Empty: any name. */
  readonly names: ReadonlySet<string>
  readonly resolve: (input: Input) => void
}

export class Waits {
  readonly #effects = new Map<EffectId, Deferred>()
  #conditions: Condition[] = []
  #receivers: Receiver[] = []

  /** How many waits are open. A coroutine that has not ended although none is open waits for something unknown. */
  get size(): number {
    return this.#effects.size + this.#conditions.length + this.#receivers.length
  }

  /** A promise for the result of an effect. Nobody may await it, so a rejection must not count as unhandled. */
  forEffect(id: EffectId): Promise<unknown> {
    const promise = new Promise((resolve, reject) => this.#effects.set(id, { resolve, reject }))
    promise.catch(() => {})
    return promise
  }

  /** Settles the promise of an effect. False when nobody waits for it. */
  settle(id: EffectId, settle: (deferred: Deferred) => void): boolean {
    const deferred = this.#effects.get(id)
    if (deferred === undefined) return false
    this.#effects.delete(id)
    settle(deferred)
    return true
  }

  forCondition(predicate: () => boolean, timeout: EffectId | undefined): Promise<boolean> {
    return new Promise((resolve) => this.#conditions.push({ predicate, resolve, timeout }))
  }

  /** Resolves every condition that holds now; gives the time-outs that are not needed any more, or undefined when none held. */
  checkConditions(): readonly EffectId[] | undefined {
    if (this.#conditions.length === 0) return undefined
    const met = this.#conditions.filter((condition) => condition.predicate())
    if (met.length === 0) return undefined
    this.#conditions = this.#conditions.filter((condition) => !met.includes(condition))
    for (const condition of met) condition.resolve(true)
    return met.flatMap(({ timeout }) => timeout ?? [])
  }

  /** Ends the condition whose time-out fired. False when there is none. */
  expireCondition(timeout: EffectId): boolean {
    const expired = this.#conditions.find((condition) => condition.timeout === timeout)
    if (expired === undefined) return false
    this.#conditions = this.#conditions.filter((condition) => condition !== expired)
    expired.resolve(false)
    return true
  }

  forSignal(names: ReadonlySet<string>): Promise<Input> {
    return new Promise((resolve) => this.#receivers.push({ names, resolve }))
  }

  /** Hands a signal to the first receiver that takes its name. False when none does. */
  offer(input: Input): boolean {
    const index = this.#receivers.findIndex(({ names }) => names.size === 0 || names.has(input.name))
    if (index === -1) return false
    const [receiver] = this.#receivers.splice(index, 1)
    receiver?.resolve(input)
    return true
  }
}
