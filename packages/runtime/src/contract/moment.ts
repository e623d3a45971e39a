/** Moments: milliseconds since the epoch, or a `Date`. */
import { CarillonError } from '../errors.ts'
import { type Duration, toMs } from './duration.ts'

/** Milliseconds since the epoch, or a `Date`. */
export type Moment = number | Date

/** How long to wait: so long, or until a moment. */
export type Timeout = Duration | { readonly until: Moment }

/** The latest moment of a timer: its key in the store has 12 hex digits. */
const MOMENT_MS_MAX = 2 ** 47 - 1

/**
 * A moment in whole milliseconds since the epoch. One in the past is a moment too.
 *
 * @throws INVALID_DURATION when it is none, or in the year 6429 or later.
 */
export function toMomentMs(moment: Moment): number {
  const ms = moment instanceof Date ? moment.getTime() : moment
  if (typeof ms !== 'number' || !Number.isFinite(ms) || ms > MOMENT_MS_MAX)
    throw new CarillonError(
      'INVALID_DURATION',
      `${String(moment)} is not a moment: give a Date or milliseconds since the epoch, before the year 6429`,
    )
  return Math.round(ms)
}

/** When a time-out ends that begins now. @throws INVALID_DURATION */
export function endOf(timeout: Timeout, nowMs: number): number {
  return typeof timeout === 'object' ? toMomentMs(timeout.until) : nowMs + toMs(timeout)
}
