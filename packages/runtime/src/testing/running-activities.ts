/**
 * The activities that run in a world.
 *
 * Owns: which attempts run, so that time stands still meanwhile; and what they answered, for a world that crashes between turns.
 *
 * Invariants
 * 1. An engine that is over starts no attempt, and hears of no result.
 * 2. With `joins`, an attempt that is made again because of a crash joins the one that runs, or gets its result: as from a system that knows the
 *    call's id. Without, it runs again: at least once.
 */
import type { ActivityContext, ActivityFunction, ActivityImplementations } from '../contract/activities.ts'

/** From the start of an engine to its end. */
export interface Life {
  isOver: boolean
}

const hanging = new WeakSet<Promise<never>>()

/** What an attempt that never answers returns: time does not stand still for it. */
export function neverAnswers(): Promise<never> {
  const promise = new Promise<never>(() => {})
  hanging.add(promise)
  return promise
}

export class RunningActivities {
  readonly #joins: boolean
  readonly #attempts = new Map<string, Promise<unknown>>()
  readonly #done = new Map<string, unknown>()
  /** When each attempt that runs was begun, by the host's clock. */
  readonly #since = new Map<object, number>()
  /** Attempts that were begun or have ended. */
  changes = 0

  constructor(joins: boolean) {
    this.#joins = joins
  }

  /** Whether one runs that was begun less than `patienceMs` of the host's time ago. */
  isBusy(patienceMs: number): boolean {
    if (this.#since.size === 0) return false
    const nowMs = performance.now()
    for (const sinceMs of this.#since.values()) if (nowMs - sinceMs < patienceMs) return true
    return false
  }

  /** The engine is over: what it had begun keeps nobody waiting, unless the next one joins it. */
  lifeEnded(): void {
    if (!this.#joins) this.#since.clear()
  }

  /** The activities as one engine is to run them. */
  of(all: readonly ActivityImplementations[], life: Life): readonly ActivityImplementations[] {
    return all.map((activities) => ({
      ...activities,
      functions: new Map(
        [...activities.functions].map(([name, fn]): [string, ActivityFunction] => [
          name,
          (input, ctx) => this.#call(fn, input, ctx, life),
        ]),
      ),
    }))
  }

  async #call(fn: ActivityFunction, input: unknown, ctx: ActivityContext, life: Life): Promise<unknown> {
    if (life.isOver) return neverAnswers()
    const { callId, attempt } = ctx
    if (this.#done.has(callId)) return this.#done.get(callId)
    const key = `${callId}#${attempt}`
    const running = this.#attempts.get(key) ?? this.#begin(fn, input, ctx, key)
    try {
      const value = await running
      return life.isOver ? await neverAnswers() : value
    } catch (error) {
      if (life.isOver) return neverAnswers()
      throw error
    }
  }

  async #begin(fn: ActivityFunction, input: unknown, ctx: ActivityContext, key: string): Promise<unknown> {
    this.changes += 1
    const attempt = {}
    const running = Promise.resolve().then(() => {
      const answer = fn(input, ctx)
      if (answer instanceof Promise && hanging.has(answer as Promise<never>)) this.#since.delete(attempt)
      return answer
    })
    this.#since.set(attempt, performance.now())
    ctx.signal.addEventListener('abort', () => this.#since.delete(attempt), { once: true })
    if (this.#joins) this.#attempts.set(key, running)
    try {
      const value = await running
      if (this.#joins) this.#done.set(ctx.callId, value)
      return value
    } finally {
      this.#since.delete(attempt)
      this.#attempts.delete(key)
      this.changes += 1
    }
  }
}
