/** The timers of an implementation, checked. */
import { CarillonError, codeOf } from '../errors.ts'
import type { Context } from './context.ts'
import { parseCron } from './cron.ts'
import { type Duration, toMs } from './duration.ts'
import type { CatchUp, Firing, Overlap } from './timers.ts'

/** How a timer repeats. */
export type Plan =
  | { readonly kind: 'every'; readonly everyMs: number }
  | { readonly kind: 'cron'; readonly pattern: string; readonly timeZone: string }

/** A timer as the core runs it. */
export interface TimerHandler {
  /** Undefined: it is set by code only. */
  readonly plan: Plan | undefined
  readonly catchUp: CatchUp
  readonly overlap: Overlap
  readonly jitterMs: number
  readonly run: (ctx: Context, firing: Firing) => unknown
}

/** A timer's definition before it is checked. */
export interface LooseTimer {
  readonly every?: Duration
  readonly cron?: string
  readonly timeZone?: string
  readonly catchUp?: CatchUp
  readonly overlap?: Overlap
  readonly jitter?: Duration
  readonly run: (ctx: Context, firing: Firing) => unknown
}

/** A plan by a period of at least one millisecond. @throws INVALID_DURATION */
export function planEvery(period: Duration): Plan {
  return { kind: 'every', everyMs: Math.max(1, toMs(period)) }
}

/** A plan by a cron pattern. @throws INVALID_CRON */
export function planCron(pattern: string, timeZone = 'UTC'): Plan {
  parseCron(pattern, timeZone)
  return { kind: 'cron', pattern, timeZone }
}

/** Checks a timer of an implementation; `refuse` throws. */
export function toTimerHandler(name: string, timer: LooseTimer, refuse: (message: string) => never): TimerHandler {
  const { every, cron, timeZone, catchUp = 'once', overlap = 'queue', jitter = 0, run } = timer
  if (typeof run !== 'function') refuse(`has no function run for the timer ${name}`)
  if (every !== undefined && cron !== undefined)
    refuse(`has both every and cron for the timer ${name}: keep one of them`)
  if (timeZone !== undefined && cron === undefined)
    refuse(`has a timeZone for the timer ${name}, but no cron pattern: a period is the same everywhere`)
  if (!['once', 'skip', 'all'].includes(catchUp))
    refuse(`has catchUp ${catchUp} for the timer ${name}: give once, skip or all`)
  if (!['queue', 'skip', 'allow'].includes(overlap))
    refuse(`has overlap ${overlap} for the timer ${name}: give queue, skip or allow`)
  const plan =
    cron !== undefined ? cronOf(name, cron, timeZone, refuse) : every === undefined ? undefined : planEvery(every)
  return { plan, catchUp, overlap, jitterMs: toMs(jitter), run }
}

function cronOf(name: string, cron: string, timeZone: string | undefined, refuse: (message: string) => never): Plan {
  try {
    return planCron(cron, timeZone)
  } catch (error) {
    if (codeOf(error) !== 'INVALID_CRON' || !(error instanceof CarillonError)) throw error
    return refuse(`cannot set the timer ${name}: ${error.message}`)
  }
}
