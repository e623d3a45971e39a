/** Sleeps whose end may move. */
import type { Context } from '../contract/context.ts'
import type { Duration } from '../contract/duration.ts'
import { type Moment, type Timeout, toMomentMs } from '../contract/moment.ts'
import type { WaitTimer } from '../contract/wait-timer.ts'
import type { Instance } from './instance.ts'
import type { Scope } from './scope.ts'
import { dropSleep, startSleep } from './sleeps.ts'

/** Waits until the moment that the function gives, asked again after every turn: conditions with a deadline, one after the other. */
export async function sleepUntil(ctx: Context, moment: () => Moment): Promise<void> {
  let dueMs = toMomentMs(moment())
  while (dueMs > ctx.now()) {
    const until = dueMs
    const hasMoved = await ctx.condition(() => toMomentMs(moment()) !== until, { until })
    if (!hasMoved) return
    dueMs = toMomentMs(moment())
  }
}

/** A sleep that may be moved and cancelled. The promise is that of the wait itself: in races, and when nobody listens, it is as one of `ctx.sleep`. */
export function createWaitTimer(instance: Instance, scope: Scope | undefined, duration: Duration): WaitTimer {
  const { waits } = instance
  let id = startSleep(instance, duration)
  const dueMs = (): number | undefined => instance.data.sleeps.get(id)
  const move = (timeout: Timeout): boolean => {
    if (dueMs() === undefined) return false
    const next = startSleep(instance, timeout)
    waits.move(id, next)
    dropSleep(instance, id)
    id = next
    return true
  }
  const timer = waits.forTimer(id, scope)
  Reflect.defineProperty(timer, 'dueMs', { get: dueMs })
  return Object.assign(timer as Promise<boolean> & { readonly dueMs: number | undefined }, {
    reset: move,
    resetAt: (until: Moment) => move({ until }),
    cancel() {
      if (dueMs() === undefined) return
      instance.settleWait(id, { ok: true, value: false })
      dropSleep(instance, id)
    },
  })
}
