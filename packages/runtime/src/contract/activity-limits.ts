/** How much of one activity may go on at once, as its contract says it. */
import { CarillonError } from '../errors.ts'
import { quote } from '../protocol/ids.ts'
import { type Duration, toMs } from './duration.ts'

/** At most `limit` attempts begin within any time of this length. */
export interface Rate {
  readonly limit: number
  readonly per: Duration
}

/** Bounds of one activity in one process: a node, or a remote worker. What is over them waits, and holds back no other activity. */
export interface ActivityLimits {
  /** Attempts that run at once; default: as many as the process runs in all. */
  readonly concurrency?: number
  /** Attempts that begin within a time, first ones and repeats; default: no limit. The count begins anew with the process. */
  readonly rate?: Rate
}

/** The limits, in numbers. */
export interface ParsedLimits {
  readonly concurrency: number
  readonly rate: { readonly limit: number; readonly perMs: number } | undefined
}

/** Each begun attempt within a rate's time is remembered, as 8 bytes. */
const RATE_LIMIT_MAX = 100_000

/** @throws INVALID_DEFINITION, INVALID_DURATION when one makes no sense. */
export function parseLimits({ concurrency = Infinity, rate }: ActivityLimits, what: string): ParsedLimits {
  if (concurrency !== Infinity && !isWholeTo(concurrency, Number.MAX_SAFE_INTEGER))
    throw new CarillonError(
      'INVALID_DEFINITION',
      `${what} has the concurrency ${quote(concurrency)}: give a whole number from 1`,
    )
  if (rate === undefined) return { concurrency, rate: undefined }
  const perMs = toMs(rate.per)
  if (!isWholeTo(rate.limit, RATE_LIMIT_MAX) || perMs === 0)
    throw new CarillonError(
      'INVALID_DEFINITION',
      `${what} has the rate ${quote(rate.limit)} per ${quote(rate.per)}: give a limit from 1 to ${RATE_LIMIT_MAX}, and a time above 0`,
    )
  return { concurrency, rate: { limit: rate.limit, perMs } }
}

function isWholeTo(value: unknown, max: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max
}
