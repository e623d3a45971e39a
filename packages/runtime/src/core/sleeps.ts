/** Timers without a handler: of sleeps, of time-outs, of deadlines. */
import { endOf, type Timeout } from '../contract/moment.ts'
import { CarillonError } from '../errors.ts'
import type { EffectId } from './effect.ts'
import type { Instance } from './instance.ts'
import { INSTANCE_LIMITS } from './instance-data.ts'

/** Sets one; the caller waits for its effect. @throws INVALID_DURATION, LIMIT_REACHED */
export function startSleep(instance: Instance, timeout: Timeout): EffectId {
  const { data } = instance
  const turn = instance.requireTurn()
  const count = data.sleeps.size + data.timers.size
  if (count >= INSTANCE_LIMITS.timers)
    throw new CarillonError(
      'LIMIT_REACHED',
      `the instance has ${count} timers open, the most there may be: end some first`,
    )
  const id = turn.nextEffectId()
  const dueMs = endOf(timeout, turn.nowMs)
  data.sleeps.set(id, dueMs)
  instance.emit({ kind: 'timer', id, name: 'sleep', dueMs })
  return id
}

/** Drops one that has not fired. */
export function dropSleep(instance: Instance, id: EffectId): void {
  const dueMs = instance.data.sleeps.get(id)
  if (dueMs === undefined) return
  instance.data.sleeps.delete(id)
  instance.waits.forget(id)
  instance.emit({ kind: 'timer-done', id, dueMs })
}
