/**
 * What the coroutines of one instance wait for. Every promise that workflow code may await comes from here.
 *
 * Invariants
 * 1. `size` counts the waits that may wake somebody: those that somebody listens to (wait-promise.ts), and those of `receive`.
 */
import type { Input } from '../protocol/index.ts'
import type { EffectId } from './effect.ts'
import type { Scope } from './scope.ts'
import { WaitPromise, type Watcher } from './wait-promise.ts'

interface Deferred {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
  readonly scope: Scope | undefined
  readonly promise: WaitPromise<unknown>
}

interface Condition {
  readonly predicate: () => boolean
  readonly resolve: (met: boolean) => void
  readonly reject: (error: unknown) => void
  readonly scope: Scope | undefined
  readonly timeout: EffectId | undefined
  readonly promise: WaitPromise<boolean>
}

interface Receiver {
  /** Empty: any name. */
  readonly names: ReadonlySet<string>
  readonly resolve: (input: Input) => void
  readonly reject: (error: unknown) => void
  readonly scope: Scope | undefined
}

export class Waits implements Watcher {
  /** A wait was made whose listeners may not have come yet: microtasks have to run. */
  isFresh = false
  readonly #effects = new Map<EffectId, Deferred>()
  #conditions: Condition[] = []
  #receivers: Receiver[] = []
  /** How many of the effects and conditions are heard. */
  #heard = 0

  /** Told by the promises. */
  heardChanged(isHeard: boolean): void {
    this.#heard += isHeard ? 1 : -1
  }

  /** How many open waits may wake somebody. A coroutine that has not ended although there is none waits for something unknown. */
  get size(): number {
    return this.#heard + this.#receivers.length
  }

  /** Whether there are waits that wake nobody. */
  get hasUnheard(): boolean {
    return this.#effects.size + this.#conditions.length > this.#heard
  }

  /** The effects, time-outs of conditions included, whose waits wake nobody. */
  unheard(): readonly EffectId[] {
    const effects = [...this.#effects].filter(([, { promise }]) => !promise.isHeard)
    const conditions = this.#conditions.filter(({ promise }) => !promise.isHeard)
    return [...effects.map(([id]) => id), ...conditions.flatMap(({ timeout }) => timeout ?? [])]
  }

  /** A promise for the result of an effect. */
  forEffect(id: EffectId, scope: Scope | undefined): Promise<unknown> {
    return this.#make<unknown>((resolve, reject, promise) => this.#effects.set(id, { resolve, reject, scope, promise }))
  }

  /** A promise for a timer: true when it fires, false when it is settled with false. */
  forTimer(id: EffectId, scope: Scope | undefined): Promise<boolean> {
    return this.#make<boolean>((resolve, reject, promise) =>
      this.#effects.set(id, { resolve: (value) => resolve(value !== false), reject, scope, promise }),
    )
  }

  /** What waits for one effect waits for another one from now on. */
  move(from: EffectId, to: EffectId): void {
    const deferred = this.#effects.get(from)
    if (deferred === undefined) return
    this.#effects.delete(from)
    this.#effects.set(to, deferred)
  }

  /** Nobody waits for the effect any more. Its promise stays as it is. */
  forget(id: EffectId): void {
    this.#take(id)
  }

  /** Settles the promise of an effect. False when nobody waits for it. */
  settle(id: EffectId, settle: (deferred: Deferred) => void): boolean {
    const deferred = this.#take(id)
    if (deferred === undefined) return false
    settle(deferred)
    return true
  }

  forCondition(predicate: () => boolean, timeout: EffectId | undefined, scope: Scope | undefined): Promise<boolean> {
    return this.#make<boolean>((resolve, reject, promise) =>
      this.#conditions.push({ predicate, resolve, reject, timeout, scope, promise }),
    )
  }

  /** Resolves every condition that holds now; gives the time-outs that are not needed any more, or undefined when none held. */
  checkConditions(): readonly EffectId[] | undefined {
    if (this.#conditions.length === 0) return undefined
    const met = this.#conditions.filter((condition) => condition.predicate())
    if (met.length === 0) return undefined
    this.#conditions = this.#conditions.filter((condition) => !met.includes(condition))
    for (const condition of met) this.#closed(condition).resolve(true)
    return met.flatMap(({ timeout }) => timeout ?? [])
  }

  /** Ends the condition whose time-out fired. False when there is none. */
  expireCondition(timeout: EffectId): boolean {
    const expired = this.#conditions.find((condition) => condition.timeout === timeout)
    if (expired === undefined) return false
    this.#conditions = this.#conditions.filter((condition) => condition !== expired)
    this.#closed(expired).resolve(false)
    return true
  }

  forSignal(names: ReadonlySet<string>, scope: Scope | undefined): Promise<Input> {
    return new Promise((resolve, reject) => this.#receivers.push({ names, resolve, reject, scope }))
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
    for (const wait of [...effects.map(([, deferred]) => deferred), ...conditions]) this.#closed(wait).reject(error)
    for (const { reject } of receivers) reject(error)
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

  #make<T>(
    open: (resolve: (value: T) => void, reject: (error: unknown) => void, promise: WaitPromise<T>) => void,
  ): Promise<T> {
    let settlers: [(value: T) => void, (error: unknown) => void] | undefined
    const promise = new WaitPromise<T>((resolve, reject) => (settlers = [resolve, reject]))
    if (settlers !== undefined) open(...settlers, promise)
    WaitPromise.watch(promise, this)
    this.isFresh = true
    return promise
  }

  #take(id: EffectId): Deferred | undefined {
    const deferred = this.#effects.get(id)
    if (deferred === undefined) return undefined
    this.#effects.delete(id)
    return this.#closed(deferred)
  }

  /** It is not open any more, so it is not counted. */
  #closed<Wait extends Deferred | Condition>(wait: Wait): Wait {
    if (wait.promise.isHeard) this.#heard -= 1
    WaitPromise.forget(wait.promise)
    return wait
  }
}
