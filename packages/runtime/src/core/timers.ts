/** Timers with a handler: set and cancelled. */
import type { Plan } from '../contract/timer-handler.ts'
import { CarillonError } from '../errors.ts'
import type { Instance } from './instance.ts'
import { INSTANCE_LIMITS } from './instance-data.ts'
import { firstPeriod } from './periods.ts'
import { jitterOf, noteRepeat, planOf } from './repeats.ts'

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
  for (const [name, { plan }] of instance.implementation.timers) {
    if (plan !== undefined) armFirst(instance, name, plan)
  }
}

/** Sets a timer to a moment that code chose, in place of its next period if it has any. */
export function armOneOff(instance: Instance, name: string, dueMs: number): void {
  armTimer(instance, name, dueMs)
  noteRepeat(instance, name, { isOneOff: planOf(instance, name) !== undefined })
}

/** Sets a timer to a period of its plan, or to none when there is no more. */
export function armPeriod(instance: Instance, name: string, periodMs: number | undefined): void {
  if (periodMs === undefined) disarmTimer(instance, name)
  else armTimer(instance, name, periodMs + jitterOf(instance, name))
  noteRepeat(instance, name, { isOneOff: false })
}

/** Sets a timer to the first period of a plan that begins now. */
export function armFirst(instance: Instance, name: string, plan: Plan): void {
  armPeriod(instance, name, firstPeriod(plan, instance.requireTurn().nowMs))
}
