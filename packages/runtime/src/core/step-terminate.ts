/** The command `terminate`: the instance closes as failed at this input, whatever runs or waits in it. */
import { CarillonError, type ErrorData } from '../errors.ts'
import { type Input, quote, type TerminatePayload } from '../protocol/index.ts'
import { isParentLink } from './children.ts'
import type { Instance } from './instance.ts'
import { parsePayload } from './parse-payload.ts'
import { payloadOf } from './payload-of.ts'
import { terminate } from './terminate.ts'

/**
 * Handlers in progress, and those that wait behind them, do not come to their end: their senders are told TERMINATED, and inputs that no handler
 * has seen are dead-lettered. A parent's command means the child that it started, not a later life of its id.
 */
export function stepTerminate(instance: Instance, input: Input): void {
  const parsed = parsePayload(() => parseTerminate(payloadOf(instance, input)))
  if (!parsed.ok) return instance.deadLetter(input, parsed.error)
  const { reason = 'it was told to', parent } = parsed.value
  if (parent !== undefined && !isChildOf(instance, parent)) {
    instance.emit({ kind: 'ignored', input })
    return instance.finish(input, { ok: true })
  }
  if (instance.data.phase.kind !== 'running') return instance.finish(input, { ok: false, error: notRunning(instance) })
  terminate(instance, reason)
  instance.finish(input, { ok: true })
}

/** Characters of a reason: it becomes part of the outcome. */
const REASON_CHARS_MAX = 500

function parseTerminate(value: unknown): TerminatePayload {
  if (value === undefined || value === null) return {}
  const { reason, parent } = value as { readonly reason?: unknown; readonly parent?: unknown }
  if (reason !== undefined && (typeof reason !== 'string' || reason.length > REASON_CHARS_MAX))
    throw malformed(`reason is not a text of at most ${REASON_CHARS_MAX} characters`)
  if (parent !== undefined && !isParentLink(parent)) throw malformed(`parent is ${quote(parent)}, not { key, effect }`)
  return { ...(reason === undefined ? {} : { reason }), ...(parent === undefined ? {} : { parent }) }
}

function malformed(message: string): CarillonError {
  return new CarillonError('INVALID_PAYLOAD', `a terminate payload is { reason?, parent? }: ${message}`)
}

function isChildOf({ data }: Instance, { key, effect }: NonNullable<TerminatePayload['parent']>): boolean {
  return data.parent?.key === key && data.parent.effect === effect
}

function notRunning({ type, id, data }: Instance): ErrorData {
  return data.phase.kind === 'closed'
    ? { code: 'CLOSED', message: `${type}/${id} is closed already: there is nothing to terminate` }
    : { code: 'NOT_FOUND', message: `there is no instance ${type}/${id} to terminate` }
}
