/**
 * Cancellation scopes: which waits end together. A wait belongs to the scope of the `ctx` that it was made with; scopes form a tree, whose root is
 * `run`.
 *
 * Invariants
 * 1. Cancelling a scope ends every wait in it and below it, except below a shielded scope, and every later one at once.
 * 2. What a wait was for is let go with it: the activity is aborted, the timer is dropped.
 */
import type { CarillonError } from '../errors.ts'
import type { Instance } from './instance.ts'
import { letGoOfTask } from './tasks.ts'

const scopes = new WeakMap<object, Scope>()

/** The scope of a `ctx`; undefined where nothing can cancel. */
export function scopeOf(ctx: object): Scope | undefined {
  return scopes.get(ctx)
}

/** Says which scope a `ctx` is of. */
export function bindScope(ctx: object, scope: Scope): void {
  scopes.set(ctx, scope)
}

export class Scope {
  readonly #parent: Scope | undefined
  /** A cancel from above does not reach into it. */
  readonly #isShielded: boolean
  #error: CarillonError | undefined

  constructor(parent?: Scope, isShielded = false) {
    this.#parent = parent
    this.#isShielded = isShielded
  }

  /** Why waits in here end; undefined while it is not cancelled. */
  get error(): CarillonError | undefined {
    return this.#error ?? (this.#isShielded ? undefined : this.#parent?.error)
  }

  /** Whether a cancel of `other` reaches in here. */
  isWithin(other: Scope): boolean {
    if (this === other) return true
    return !this.#isShielded && (this.#parent?.isWithin(other) ?? false)
  }

  /** Cancels it, once; within a turn. */
  cancel(instance: Instance, error: CarillonError): void {
    if (this.#error !== undefined) return
    this.#error = error
    instance.unsettled = true
    const { data } = instance
    for (const id of instance.waits.cancelWithin(this, error)) {
      const dueMs = data.sleeps.get(id)
      data.sleeps.delete(id)
      // Its answer finds nobody. A child stays one: what ends is the wait.
      data.calls.delete(id)
      letGoOfTask(instance, id)
      if (data.activities.delete(id)) instance.emit({ kind: 'activity-done', id })
      else if (dueMs !== undefined) instance.emit({ kind: 'timer-done', id, dueMs })
    }
  }
}
