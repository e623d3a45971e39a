/** Errors of user code as data that can be kept: what is thrown may be, and hold, anything. */
import { type ErrorCode, type ErrorData, toErrorData } from '../errors.ts'
import { decodeValue, encodeValue } from '../protocol/index.ts'

/** Characters of a message that are kept: it travels in records, replies and headers. */
const MESSAGE_CHARS_MAX = 2000
/** Encoded bytes of the details that are kept; larger ones, and ones that cannot be encoded, are left out. */
const DETAILS_BYTES_MAX = 16 * 1024

/** An error as plain data of bounded size, which can be encoded. Anything without a known code gets `fallback`. Never throws. */
export function toPlainError(error: unknown, fallback: ErrorCode): ErrorData {
  try {
    const { code, message, details } = toErrorData(error, fallback)
    const short = cut(message)
    const kept = details === undefined ? undefined : copyBounded(details)
    return kept === undefined ? { code, message: short } : { code, message: short, details: kept }
  } catch {
    return { code: fallback, message: 'something was thrown that has no text: throw an Error' }
  }
}

function cut(text: string): string {
  return (text.length > MESSAGE_CHARS_MAX ? `${text.slice(0, MESSAGE_CHARS_MAX)}…` : text).toWellFormed()
}

function copyBounded(details: unknown): unknown {
  try {
    const bytes = encodeValue(details)
    return bytes.length <= DETAILS_BYTES_MAX ? decodeValue(bytes) : undefined
  } catch {
    return undefined
  }
}
