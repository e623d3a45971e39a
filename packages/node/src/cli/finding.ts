/** What one check of `carillon doctor` found. */
import { type ErrorCode, toErrorData } from '@carillon/runtime'

import { oneLine } from './output.ts'

export type Verdict = 'ok' | 'warn' | 'fail' | 'skipped'

export interface Finding {
  readonly check: string
  readonly verdict: Verdict
  readonly detail: string
  /** What to do about it; errors say so in their detail. */
  readonly next?: string
  /** The code of the error, of a failure. */
  readonly code?: string
}

export function ok(check: string, detail: string): Finding {
  return { check, verdict: 'ok', detail }
}

export function warn(check: string, detail: string, next: string): Finding {
  return { check, verdict: 'warn', detail, next }
}

export function skipped(check: string, detail: string): Finding {
  return { check, verdict: 'skipped', detail }
}

/** A failure from what was thrown. */
export function fail(check: string, error: unknown, fallback: ErrorCode): Finding {
  const { code, message } = toErrorData(error, fallback)
  return { check, verdict: 'fail', detail: oneLine(message), code }
}

/** Lines for people. */
export function formatFinding({ check, verdict, detail, next, code }: Finding): string[] {
  const head = `${verdict.padEnd(7)}  ${check.padEnd(11)}  ${code === undefined ? '' : `${code}: `}${detail}`
  return next === undefined ? [head] : [head, `${' '.repeat(22)}next: ${next}`]
}
