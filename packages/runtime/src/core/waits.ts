/** What the coroutines of one instance wait for. Every promise that workflow code may await comes from here. */
import type { Input } from '../protocol/index.ts'
import type { EffectId } from './effect.ts'
import type { Scope } from './scope.ts'

interface Deferred {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
  readonly scope: Scope | undefined
}

interface Condition {
  readonly predicate: () => boolean
  readonly resolve: (met: boolean) => void
  readonly reject: (error: unknown) => void
  readonly scope: Scope | undefined
  readonly timeout: EffectId | undefined
}

interface Receiver {
  /** Empty: any name. */
  readonly names: ReadonlySet<string>
  readonly resolve: (input: Input) => void
  readonly reject: (error: unknown) => void
  readonly scope: Scope | undefined
}

/** Nobody may await it, so a rejection must not count as unhandled. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
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
  forEffect(id: EffectId, scope: Scope | undefined): Promise<unknown> {
    const promise = new Promise((resolve, reject) => this.#effects.set(id, { resolve, reject, scope }))
    promise.catch(() => {})
    return promise
  }

  /** Nobody waits for the effect any more. Its promise stays as it is. */
  forget(id: EffectId): void {
    this.#effects.delete(id)
  }

  /** Settles the promise of an effect. False when nobody waits for it. */
  settle(id: EffectId, settle: (deferred: Deferred) => void): boolean {
    const deferred = this.#effects.get(id)
    if (deferred === undefined) return false
    this.#effects.delete(id)
    settle(deferred)
    return true
  }

  forCondition(predicate: () => boolean, timeout: EffectId | undefined, scope: Scope | undefined): Promise<boolean> {
    return quiet(
      new Promise((resolve, reject) => this.#conditions.push({ predicate, resolve, reject, timeout, scope })),
    )
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

  forSignal(names: ReadonlySet<string>, scope: Scope | undefined): Promise<Input> {
    return quiet(new Promise((resolve, reject) => this.#receivers.push({ names, resolve, reject, scope })))
  }

  /** Ends every wait that a cancel of the scope reaches; gives the effects that nobody waits for any more. */
  cancelWithin(cancelled: Scope, error: unknown): readonly EffectId[] {
    const isReached = ({ scope }: { readonly scope: Scope | undefined }): boolean => scope?.isWithin(cancelled) ?? false
    const effects = [...this.#effects].filter(([, deferred]) => isReached(deferred))
    const conditions = this.#conditions.filter(isReached)
    const receivers = this.#receivers.filter(isReached)
    for (const [id] of effects) this.#effects.delete(id)
    this.#conditions = this.#conditions.filter((condition) => !isReached(condition))
    this.#receivers = this.#receivers.filter((receiver) => !isReached(receiver))
    for (const { reject } of [...effects.map(([, deferred]) => deferred), ...conditions, ...receivers]) reject(error)
    return [...effects.map(([id]) => id), ...conditions.flatMap(({ timeout }) => timeout ?? [])]
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
