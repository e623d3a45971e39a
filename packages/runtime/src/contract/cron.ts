/**
 * Cron patterns: which moments they mean in a time zone. Pure: the answer depends on the pattern, the zone, the given moment and the time zone
 * database of this build of Node.js (its ICU data, `process.versions.tz`); never on the host's clock or its own zone.
 *
 * When the clocks go forward, a time of day that does not exist is taken at the first moment behind the gap. When they go back, a time of day that
 * comes twice is taken once, the first time; patterns that repeat within the hour or the day (a `*`, a step or a range of minutes or hours) go on
 * through both hours. The rules are those of Vixie cron; croner computes them.
 */
import { Cron as Croner } from 'croner'

import { CarillonError } from '../errors.ts'
import { quote } from '../protocol/ids.ts'

/** Patterns that are kept compiled, 80 KiB each. More are compiled again when they are asked for, which takes microseconds. */
const COMPILED_MAX = 100
/** Characters of a pattern: instances may keep one of their own. */
const PATTERN_CHARS_MAX = 200
/** croner also takes dates: those are no patterns. */
const FIELDS = /^(?:@[a-z]+|\S+(?:\s+\S+){4,5})$/i

const compiled = new Map<string, CronTimes>()

/** The moments of one pattern, milliseconds since the epoch. */
export class CronTimes {
  readonly #croner: Croner
  /** The last answer. Instances with one pattern mostly ask for the same. */
  #fromMs = Number.NaN
  #nextMs: number | undefined

  constructor(croner: Croner) {
    this.#croner = croner
  }

  /** The first moment after the given one; undefined when there is none before the year 3000. */
  next(afterMs: number): number | undefined {
    if (afterMs === this.#fromMs) return this.#nextMs
    this.#nextMs = this.#croner.nextRun(new Date(afterMs))?.getTime()
    this.#fromMs = afterMs
    return this.#nextMs
  }

  /** The last moments up to and with the given one, at most so many, the earliest first. */
  last(untilMs: number, count: number): readonly number[] {
    return this.#croner
      .previousRuns(count, new Date(untilMs + 1))
      .map((date) => date.getTime())
      .toReversed()
  }
}

/**
 * Parses a cron pattern of 5 fields, 6 with seconds in front, or a nickname such as `@daily`.
 *
 * @param timeZone a name of the IANA database, such as `Europe/Berlin`; default UTC.
 * @throws INVALID_CRON when pattern or zone are not valid, or the pattern never comes (30 February).
 */
export function parseCron(pattern: string, timeZone = 'UTC'): CronTimes {
  const key = `${timeZone} ${pattern}`
  const known = compiled.get(key)
  if (known !== undefined) return known
  const times = compile(pattern, timeZone)
  if (compiled.size >= COMPILED_MAX) compiled.clear()
  compiled.set(key, times)
  return times
}

function compile(pattern: string, timeZone: string): CronTimes {
  if (typeof pattern !== 'string') throw invalid(String(pattern), 'it is no text')
  if (pattern.length > PATTERN_CHARS_MAX)
    throw invalid(pattern.slice(0, PATTERN_CHARS_MAX), `it is longer than ${PATTERN_CHARS_MAX} characters`)
  if (!FIELDS.test(pattern.trim()))
    throw invalid(pattern, 'it has not 5 fields (minute, hour, day, month, day of week), or 6 with seconds in front')
  checkTimeZone(pattern, timeZone)
  let times: CronTimes
  try {
    times = new CronTimes(new Croner(pattern, { timezone: timeZone, mode: '5-or-6-parts' }))
  } catch (error) {
    throw invalid(pattern, error instanceof Error ? error.message.replace(/^CronPattern: /, '') : String(error))
  }
  if (times.next(0) === undefined) throw invalid(pattern, 'no moment before the year 3000 fits it')
  return times
}

function checkTimeZone(pattern: string, timeZone: string): void {
  try {
    Intl.DateTimeFormat('en', { timeZone }).format(0)
  } catch {
    throw invalid(pattern, `${quote(timeZone)} is not a time zone: give a name such as 'Europe/Berlin'`)
  }
}

function invalid(pattern: string, reason: string): CarillonError {
  return new CarillonError('INVALID_CRON', `the cron pattern ${quote(pattern)} is not valid: ${reason}`)
}
