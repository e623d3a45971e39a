/** Durations as people write them: `'30 days'`, `'1.5h'`, or milliseconds as a number. */
import { CarillonError } from '../errors.ts'
import { quote } from '../protocol/ids.ts'

const UNITS = {
  ms: 1,
  millisecond: 1,
  milliseconds: 1,
  s: 1000,
  second: 1000,
  seconds: 1000,
  m: 60_000,
  minute: 60_000,
  minutes: 60_000,
  h: 3_600_000,
  hour: 3_600_000,
  hours: 3_600_000,
  d: 86_400_000,
  day: 86_400_000,
  days: 86_400_000,
  w: 604_800_000,
  week: 604_800_000,
  weeks: 604_800_000,
} as const

type Unit = keyof typeof UNITS

/** Milliseconds, or a number with a unit: `250`, `'250ms'`, `'30 seconds'`, `'1.5h'`, `'30 days'`. A day is 24 hours. */
export type Duration = number | `${number}${Unit}` | `${number} ${Unit}`

/** The longest duration: 100 years. Longer ones are a mistake of units. */
export const DURATION_MS_MAX = 100 * 365 * 86_400_000

/**
 * A duration in whole milliseconds.
 *
 * @throws INVALID_DURATION when it is not a number with a known unit, negative, or over 100 years.
 */
export function toMs(duration: Duration): number {
  const ms = typeof duration === 'number' ? duration : parse(duration)
  if (!Number.isFinite(ms) || ms < 0 || ms > DURATION_MS_MAX) {
    throw new CarillonError(
      'INVALID_DURATION',
      `${quote(duration)} is not a duration of 0 to 100 years: write milliseconds as a number or text such as '30 days'`,
    )
  }
  return Math.round(ms)
}

function parse(text: string): number {
  const match = /^(\d+(?:\.\d+)?) ?([a-z]+)$/.exec(text)
  const unit = match?.[2]
  return unit !== undefined && Object.hasOwn(UNITS, unit) ? Number(match?.[1]) * UNITS[unit as Unit] : Number.NaN
}
