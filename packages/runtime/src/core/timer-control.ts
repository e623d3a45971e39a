/** What `ctx.timers` gives: the timers of an instance, to set and cancel. */
import { toMs } from '../contract/duration.ts'
import { toMomentMs } from '../contract/moment.ts'
import { planCron, planEvery, type Plan } from '../contract/timer-handler.ts'
import type { TimerControl } from '../contract/timers.ts'
import { CarillonError } from '../errors.ts'
import type { Instance } from './instance.ts'
import { noteRepeat, planOf } from './repeats.ts'
import { armFirst, armOneOff, disarmTimer } from './timers.ts'

export function timerControls(instance: Instance): Readonly<Record<string, TimerControl>> {
  const names = [...instance.implementation.timers.keys()]
  return Object.fromEntries(names.map((name) => [name, timerControl(instance, name)]))
}

function timerControl(instance: Instance, name: string): TimerControl {
  const change = (plan: Plan): void => {
    armFirst(instance, name, plan)
    noteRepeat(instance, name, { plan })
  }
  return {
    set: (delay) => armOneOff(instance, name, instance.requireTurn().nowMs + toMs(delay)),
    setAt: (moment) => armOneOff(instance, name, toMomentMs(moment)),
    cancel() {
      instance.requireTurn()
      disarmTimer(instance, name)
      noteRepeat(instance, name, { isOneOff: false })
    },
    every: (period) => change(planEvery(period)),
    cron: (pattern, options) => change(planCron(pattern, options?.timeZone)),
    repeat() {
      const plan = planOf(instance, name)
      if (plan === undefined) throw noPlan(instance, name)
      armFirst(instance, name, plan)
    },
    get dueMs() {
      return instance.data.timers.get(name)?.dueMs
    },
  }
}

function noPlan({ type }: Instance, name: string): CarillonError {
  return new CarillonError(
    'INVALID_DEFINITION',
    `the timer ${name} of ${type} has no period to repeat: give it every or cron, in its implementation or by ctx.timers.${name}`,
  )
}
