/** Which moments a repeating timer comes to. Pure. */
import { parseCron } from '../contract/cron.ts'
import type { Plan } from '../contract/timer-handler.ts'

/** Periods of one timer that are counted or caught up with at once: more would be hours of work that nobody expects. */
export const PERIODS_MAX = 1000

/** The periods from one that is due up to now. */
export interface DuePeriods {
  /** The last ones, at most PERIODS_MAX, the earliest first. Never empty. */
  readonly moments: readonly number[]
  /** Those before `moments`, as far as they are counted. */
  readonly dropped: number
  readonly nextMs: number | undefined
}

/** The first moment of a plan that begins now; undefined when a pattern has none any more. */
export function firstPeriod(plan: Plan, nowMs: number): number | undefined {
  return plan.kind === 'every' ? nowMs + plan.everyMs : parseCron(plan.pattern, plan.timeZone).next(nowMs)
}

/** All periods from `dueMs`, which is one whatever the plan says, up to `nowMs`. */
export function duePeriods(plan: Plan, dueMs: number, nowMs: number): DuePeriods {
  return plan.kind === 'every' ? everyPeriods(plan.everyMs, dueMs, nowMs) : cronPeriods(plan, dueMs, nowMs)
}

function everyPeriods(everyMs: number, dueMs: number, nowMs: number): DuePeriods {
  const count = Math.max(1, Math.floor((nowMs - dueMs) / everyMs) + 1)
  const kept = Math.min(count, PERIODS_MAX)
  const moments = Array.from({ length: kept }, (_, index) => dueMs + (count - kept + index) * everyMs)
  return { moments, dropped: Math.min(count - kept, PERIODS_MAX), nextMs: dueMs + count * everyMs }
}

function cronPeriods(plan: Plan & { readonly kind: 'cron' }, dueMs: number, nowMs: number): DuePeriods {
  const times = parseCron(plan.pattern, plan.timeZone)
  const moments = [dueMs]
  let nextMs = times.next(dueMs)
  while (nextMs !== undefined && nextMs <= nowMs && moments.length <= PERIODS_MAX) {
    moments.push(nextMs)
    nextMs = times.next(nextMs)
  }
  if (moments.length <= PERIODS_MAX) return { moments, dropped: 0, nextMs }
  const last = times.last(nowMs, PERIODS_MAX)
  // How many there were before them would have to be counted one by one.
  return { moments: last, dropped: PERIODS_MAX, nextMs: times.next(nowMs) }
}
