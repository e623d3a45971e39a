/** How a call is tried: the options of its contract and of the call itself, in numbers; and what a failed attempt means. */
import type { ActivityOptions } from '../contract/contract.ts'
import { toMs } from '../contract/duration.ts'
import { toPlainError } from '../core/index.ts'
import { codeOf, type ErrorData } from '../errors.ts'

const DEFAULTS = { startToCloseMs: 60_000, initialMs: 200, backoff: 2, maxMs: 60_000 } as const

export interface ActivityPolicy {
  /** Attempts in all. */
  readonly attempts: number
  readonly initialMs: number
  readonly backoff: number
  readonly maxMs: number
  readonly startToCloseMs: number
  /** Undefined: no heartbeats are asked for. */
  readonly heartbeatMs: number | undefined
  readonly nonRetryable: readonly string[]
}

/** What the call says goes before what the contract says. @throws INVALID_DURATION */
export function policyOf(contract: ActivityOptions | undefined, call: ActivityOptions | undefined): ActivityPolicy {
  const { startToClose, heartbeat, retry } = call === undefined ? (contract ?? {}) : merge(contract, call)
  return {
    attempts: retry?.attempts ?? Infinity,
    initialMs: retry?.initial === undefined ? DEFAULTS.initialMs : toMs(retry.initial),
    backoff: retry?.backoff ?? DEFAULTS.backoff,
    maxMs: retry?.max === undefined ? DEFAULTS.maxMs : toMs(retry.max),
    startToCloseMs: startToClose === undefined ? DEFAULTS.startToCloseMs : toMs(startToClose),
    heartbeatMs: heartbeat === undefined ? undefined : toMs(heartbeat),
    nonRetryable: retry?.nonRetryable ?? [],
  }
}

/** The pause behind a failed attempt, counted from 1. */
export function pauseMs({ initialMs, backoff, maxMs }: ActivityPolicy, attempt: number): number {
  return attempt === 1 ? initialMs : Math.min(initialMs * backoff ** (attempt - 1), maxMs)
}

/** Whether an error ends the attempts, whichever attempt threw it. */
export function isFinal(error: unknown, { nonRetryable }: Pick<ActivityPolicy, 'nonRetryable'>): boolean {
  const name = error instanceof Error ? error.name : undefined
  if (name === 'NonRetryable') return true
  const code = codeOf(error)
  // The same value would be refused again.
  if (
    code === 'INVALID_PAYLOAD' ||
    code === 'PAYLOAD_TOO_LARGE' ||
    code === 'INVALID_STATE' ||
    code === 'INVALID_DURATION'
  )
    return true
  return (name !== undefined && nonRetryable.includes(name)) || (code !== undefined && nonRetryable.includes(code))
}

/** What the workflow is told of a call that failed for good. */
export function describeFailure(error: unknown, attempts: number): ErrorData {
  const { code, message, details } = toPlainError(error, 'ACTIVITY_FAILED')
  const cause =
    error instanceof Error
      ? {
          name: error.name.slice(0, 200).toWellFormed(),
          code: codeOf(error)?.slice(0, 200).toWellFormed(),
          attempts,
        }
      : { attempts }
  return { code, message, details: details === undefined ? cause : { ...cause, details } }
}

function merge(contract: ActivityOptions | undefined, call: ActivityOptions): ActivityOptions {
  return { ...contract, ...call, retry: { ...contract?.retry, ...call.retry } }
}
