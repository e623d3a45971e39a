/** Results as they are kept: in records, replies and answers, which put them a few levels deeper. */
import { copyValue, encodeValue } from '../protocol/index.ts'

/**
 * A copy of a result, so that later changes of the state do not reach it.
 *
 * @throws INVALID_STATE when it could not be kept, or not be sent: 60 levels deep at most.
 */
export function copyResult<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return copyValue(value)
  encodeValue([[[[value]]]])
  return copyValue(value)
}
