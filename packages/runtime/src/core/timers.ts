/** Timers with a handler: set, cancelled, fired. */
import { CarillonError } from '../errors.ts'
import type { Instance } from './instance.ts'
import { INSTANCE_LIMITS } from './instance-data.ts'

/** Sets a timer, in place of the one of its name. */
export function armTimer(instance: Instance, name: string, dueMs: number): void {
  disarmTimer(instance, name)
  const { timers, sleeps } = instance.data
  if (timers.size + sleeps.size >= INSTANCE_LIMITS.timers)
    throw new CarillonError(
      'LIMIT_REACHED',
      `${instance.type}/${instance.id} has ${INSTANCE_LIMITS.timers} timers set, the most there may be`,
    )
  const effect = instance.requireTurn().nextEffectId()
  timers.set(name, { effect, dueMs })
  instance.emit({ kind: 'timer', id: effect, name, dueMs })
}

/** Cancels a timer. A firing that is on its way is ignored, because its effect is not set any more. */
export function disarmTimer(instance: Instance, name: string): void {
  const set = instance.data.timers.get(name)
  if (set === undefined) return
  instance.data.timers.delete(name)
  instance.emit({ kind: 'timer-done', id: set.effect, dueMs: set.dueMs })
}

/** Sets the timers that repeat by themselves: at the start of an instance. */
export function armRepeating(instance: Instance): void {
  for (const [name, { everyMs }] of instance.implementation.timers) {
    if (everyMs !== undefined) armTimer(instance, name, instance.requireTurn().nowMs + everyMs)
  }
}

/** The next moment of a repeating timer after `nowMs`, in step with the one that was due: periods missed are skipped. */
export function nextPeriod(dueMs: number, everyMs: number, nowMs: number): number {
  return dueMs + everyMs * Math.max(1, Math.floor((nowMs - dueMs) / everyMs) + 1)
}
