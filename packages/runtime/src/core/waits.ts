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

const NONE: readonly Deferred[] = []

/** The very promise of a wait, which knows who listens; what is thrown on the way to it rejects, as in an async function. */
export function promised<T>(wait: () => Promise<T>): Promise<T> {
  try {
    return wait()
  } catch (error) {
    // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- whatever was thrown
    return Promise.reject(error)
  }
}

export class Waits implements Watcher {
  /** A wait was made whose listeners may not have come yet: microtasks have to run. */
  isFresh = false
  /** Of most effects there is one; the result of a child may be waited for in several scopes. */
  readonly #effects = new Map<EffectId, readonly Deferred[]>()
  #conditions: Condition[] = []
  #receivers: Receiver[] = []
  /** How many waits for effects and conditions are open, and how many of them are heard. */
  #open = 0
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
    return this.#open > this.#heard
  }

  /** The effects, time-outs of conditions included, whose waits wake nobody. */
  unheard(): readonly EffectId[] {
    const effects = [...this.#effects].filter(([, waits]) => waits.every(({ promise }) => !promise.isHeard))
    const conditions = this.#conditions.filter(({ promise }) => !promise.isHeard)
    return [...effects.map(([id]) => id), ...conditions.flatMap(({ timeout }) => timeout ?? [])]
  }

  /** A promise for the result of an effect. */
  forEffect(id: EffectId, scope: Scope | undefined): Promise<unknown> {
    return this.#make<unknown>((resolve, reject, promise) =>
      this.#effects.set(id, [...(this.#effects.get(id) ?? NONE), { resolve, reject, scope, promise }]),
    )
  }

  /** A promise for a timer: true when it fires, false when it is settled with false. */
  forTimer(id: EffectId, scope: Scope | undefined): Promise<boolean> {
    return this.#make<boolean>((resolve, reject, promise) =>
      this.#effects.set(id, [{ resolve: (value) => resolve(value !== false), reject, scope, promise }]),
    )
  }

  /** What waits for one effect waits for another one from now on. */
  move(from: EffectId, to: EffectId): void {
    const waits = this.#effects.get(from)
    if (waits === undefined) return
    this.#effects.delete(from)
    this.#effects.set(to, waits)
  }

  /** Nobody waits for the effect any more. Its promise stays as it is. */
  forget(id: EffectId): void {
    this.#take(id)
  }

  /** Settles the promises of an effect. False when nobody waits for it. */
  settle(id: EffectId, settle: (deferred: Deferred) => void): boolean {
    const waits = this.#take(id)
    for (const deferred of waits) settle(deferred)
    return waits.length > 0
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
    const effects = [...this.#effects].filter(([, waits]) => waits.some(isReached))
    const conditions = this.#conditions.filter(isReached)
    const receivers = this.#receivers.filter(isReached)
    const left = effects.map(([id, waits]) => [id, waits.filter((wait) => !isReached(wait))] as const)
    for (const [id, waits] of left) {
      if (waits.length > 0) this.#effects.set(id, waits)
      else this.#effects.delete(id)
    }
    this.#conditions = this.#conditions.filter((condition) => !isReached(condition))
    this.#receivers = this.#receivers.filter((receiver) => !isReached(receiver))
    for (const wait of [...effects.flatMap(([, waits]) => waits.filter(isReached)), ...conditions])
      this.#closed(wait).reject(error)
    for (const { reject } of receivers) reject(error)
    const unawaited = left.flatMap(([id, waits]) => (waits.length === 0 ? id : []))
    return [...unawaited, ...conditions.flatMap(({ timeout }) => timeout ?? [])]
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
    this.#open += 1
    this.isFresh = true
    return promise
  }

  #take(id: EffectId): readonly Deferred[] {
    const waits = this.#effects.get(id)
    if (waits === undefined) return NONE
    this.#effects.delete(id)
    for (const wait of waits) this.#closed(wait)
    return waits
  }

  /** It is not open any more, so it is not counted. */
  #closed<Wait extends Deferred | Condition>(wait: Wait): Wait {
    this.#open -= 1
    if (wait.promise.isHeard) this.#heard -= 1
    WaitPromise.forget(wait.promise)
    return wait
  }
}
