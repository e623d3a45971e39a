/**
 * Promises that know whether anybody listens to them: what `ctx` gives workflow code to await.
 *
 * Whoever listens, by `await`, `then`, `Promise.all` or in any other way, makes the engine read `constructor` of the promise (ECMAScript:
 * PromiseResolve, SpeciesConstructor), once per listener and before the microtasks of the turn are done. So a promise whose `constructor` nobody
 * has read wakes nobody. It behaves as any promise otherwise.
 *
 * Invariants
 * 1. A promise that is not heard has no reaction that does anything: settling it runs no code. The other way round it may be wrong: who has once
 *    listened counts for good.
 * 2. A race (race.ts) listens only until it is over.
 */
export interface Watcher {
  /** Told of each change. */
  heardChanged(isHeard: boolean): void
}

export class WaitPromise<T> extends Promise<T> {
  #isHeard = false
  /** Races that are not over and have it among their contenders. */
  #races = 0
  /** True while it is read on our own behalf. */
  #isOurs = false
  #watcher: Watcher | undefined

  static override get [Symbol.species](): PromiseConstructor {
    return Promise
  }

  /** Whether settling it may wake anybody. */
  get isHeard(): boolean {
    return this.#isHeard || this.#races > 0
  }

  /** Tells of each change of `isHeard` from now on. A rejection that nobody hears does not count as unhandled. */
  static watch(promise: WaitPromise<unknown>, watcher: Watcher): void {
    promise.#watcher = watcher
    promise.#listen(undefined, () => {})
  }

  /** Nobody is told any more. */
  static forget(promise: WaitPromise<unknown>): void {
    promise.#watcher = undefined
  }

  /** Somebody listens, for good. */
  static hear(promise: WaitPromise<unknown>): void {
    if (promise.#isOurs || promise.#isHeard) return
    const before = promise.isHeard
    promise.#isHeard = true
    if (!before) promise.#watcher?.heardChanged(true)
  }

  /** Listens as a race does. */
  static join<T>(promise: WaitPromise<T>, resolve: (value: T) => void, reject: (error: unknown) => void): void {
    const before = promise.isHeard
    promise.#races += 1
    promise.#listen(resolve, reject)
    if (!before) promise.#watcher?.heardChanged(true)
  }

  /** The race is over. */
  static leave(promise: WaitPromise<unknown>): void {
    promise.#races -= 1
    if (!promise.isHeard) promise.#watcher?.heardChanged(false)
  }

  #listen(resolve: ((value: T) => void) | undefined, reject: (error: unknown) => void): void {
    this.#isOurs = true
    void super.then(resolve, reject)
    this.#isOurs = false
  }
}

// A class cannot declare it. What is read is what any promise of the language has there.
Reflect.defineProperty(WaitPromise.prototype, 'constructor', {
  configurable: true,
  get(this: WaitPromise<unknown>) {
    if (this instanceof WaitPromise) WaitPromise.hear(this)
    return Promise
  },
})
