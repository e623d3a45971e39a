/** What becomes of an input whose handler throws. */
import { CarillonError } from '../errors.ts'
import { type Duration, toMs } from './duration.ts'

/**
 * `suspend` (the default): the instance stands in front of the input until an operator retries, skips or resumes. `dead-letter`: the input becomes a dead
 * letter, its sender is told the error, and the instance goes on as if it had not come. With `retries` it is tried again before that: `wait` later (default
 * one second), then twice as long after, and so on. It is the same state and the same code that tries again, so that helps only against what a deploy mends.
 */
export type OnError =
  | 'suspend'
  | 'dead-letter'
  | { readonly retries: number; readonly wait?: Duration; readonly finally: 'suspend' | 'dead-letter' }

/** As the engine goes by it. */
export interface ErrorPolicy {
  readonly retries: number
  readonly waitMs: number
  readonly finally: 'suspend' | 'dead-letter'
}

/** More would be waiting for something that does not come. */
const RETRIES_MAX = 100
const WAIT_MS_DEFAULT = 1000
/** However often it has been tried, unless the first wait is longer. */
const WAIT_MS_MAX = 3_600_000

/** @throws INVALID_DEFINITION @throws INVALID_DURATION */
export function parseOnError(onError: OnError | undefined, refuse: (message: string) => never): ErrorPolicy {
  if (onError === undefined || onError === 'suspend' || onError === 'dead-letter')
    return { retries: 0, waitMs: WAIT_MS_DEFAULT, finally: onError ?? 'suspend' }
  if (typeof onError !== 'object' || onError === null)
    return refuse(
      `has onError ${JSON.stringify(onError)}: give 'suspend', 'dead-letter' or { retries, wait?, finally }`,
    )
  const { retries, wait, finally: last } = onError
  if (!Number.isInteger(retries) || retries < 0 || retries > RETRIES_MAX)
    return refuse(`has ${JSON.stringify(retries)} retries in onError: give a whole number from 0 to ${RETRIES_MAX}`)
  if (last !== 'suspend' && last !== 'dead-letter')
    return refuse(`has onError.finally ${JSON.stringify(last)}: give 'suspend' or 'dead-letter'`)
  return { retries, waitMs: wait === undefined ? WAIT_MS_DEFAULT : checkWait(toMs(wait)), finally: last }
}

/** How long to wait before the next try, after so many. Milliseconds. */
export function waitBefore({ waitMs }: ErrorPolicy, tries: number): number {
  return Math.min(Math.max(WAIT_MS_MAX, waitMs), waitMs * 2 ** tries)
}

function checkWait(ms: number): number {
  if (ms >= 1) return ms
  throw new CarillonError('INVALID_DURATION', `onError.wait is ${ms} ms: give at least one`)
}
