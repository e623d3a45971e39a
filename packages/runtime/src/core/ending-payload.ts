/** What asks an instance to end, `cancel` and `terminate`, carries: a reason, and the parent that asks, if it is one. */
import { CarillonError } from '../errors.ts'
import { type Input, quote, type TerminatePayload } from '../protocol/index.ts'
import { isParentLink } from './children.ts'
import type { Instance } from './instance.ts'
import { payloadOf } from './payload-of.ts'
import { checkReason } from './reason.ts'

/** @throws INVALID_PAYLOAD */
export function parseEnding(instance: Instance, input: Input): TerminatePayload {
  const what = input.kind === 'cancel' ? 'a cancel' : 'a terminate'
  const malformed = (message: string): CarillonError =>
    new CarillonError('INVALID_PAYLOAD', `${what} payload is { reason?, parent? }: ${message}`)
  const value = payloadOf(instance, input)
  if (value === undefined || value === null) return {}
  const { reason, parent } = value as { readonly reason?: unknown; readonly parent?: unknown }
  if (reason !== undefined) checkReason(reason)
  if (parent !== undefined && !isParentLink(parent)) throw malformed(`parent is ${quote(parent)}, not { key, effect }`)
  return { ...(reason === undefined ? {} : { reason }), ...(parent === undefined ? {} : { parent }) }
}

/** Whether the instance is meant: a parent means the child that it started, not a later life of its id. */
export function isMeant({ data }: Instance, { parent }: TerminatePayload): boolean {
  return parent === undefined || (data.parent?.key === parent.key && data.parent.effect === parent.effect)
}
