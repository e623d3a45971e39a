/** Why an instance is paused, or asked to end. */
import { CarillonError } from '../errors.ts'
import { quote } from '../protocol/index.ts'

/** Characters of a reason: it is kept and shown, and becomes part of an outcome. */
const REASON_CHARS_MAX = 500

/** @throws INVALID_PAYLOAD */
export function checkReason(reason: unknown): asserts reason is string {
  if (typeof reason !== 'string' || reason.length > REASON_CHARS_MAX)
    throw new CarillonError(
      'INVALID_PAYLOAD',
      `the reason ${quote(reason)} is not a text of at most ${REASON_CHARS_MAX} characters: shorten it`,
    )
}
