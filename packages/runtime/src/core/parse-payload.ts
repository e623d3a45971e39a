/** Where payloads from outside are parsed. */
import { type ErrorData, hasCode } from '../errors.ts'
import { toPlainError } from './plain-error.ts'

/** Runs a parser of what came from outside: a refusal is the sender's, anything else a bug. */
export function parsePayload<T>(
  parse: () => T,
): { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: ErrorData } {
  try {
    return { ok: true, value: parse() }
  } catch (error) {
    if (!hasCode(error, 'INVALID_PAYLOAD') && !hasCode(error, 'CODEC_REQUIRED')) throw error
    return { ok: false, error: toPlainError(error, 'INVALID_PAYLOAD') }
  }
}
