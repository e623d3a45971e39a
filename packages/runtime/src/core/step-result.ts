/** Results of activities. Deduplicated by their effect, which is open once. */
import { CarillonError, type ErrorData } from '../errors.ts'
import type { ActivityPayload, Input } from '../protocol/index.ts'
import { takeAsked } from './check-result.ts'
import { type EffectId, isEffectId } from './effect.ts'
import type { Instance } from './instance.ts'
import { parsePayload } from './parse-payload.ts'
import { payloadOf } from './payload-of.ts'

/** Applies the result of an activity, once; a later one, or one for an unknown call, is ignored. */
export function stepActivity(instance: Instance, input: Input): void {
  const parsed = parsePayload(() => parseResult(payloadOf(instance, input)))
  if (!parsed.ok) return ignoreMalformed(instance, input, parsed.error)
  const { effect: id, outcome } = parsed.value
  // Done also where nobody waits: a rolled-back turn may have left it pending.
  instance.emit({ kind: 'activity-done', id })
  if (takeAsked(instance, input, id, instance.data.activities, (name) => name) === undefined) return
  instance.settleWait(id, outcome)
}

export function ignoreMalformed(instance: Instance, input: Input, reason: ErrorData): void {
  instance.emit({ kind: 'dead', id: instance.requireTurn().nextEffectId(), input, reason })
}

export function parseResult(value: unknown): ActivityPayload & { readonly effect: EffectId } {
  const { effect, outcome } = asObject(value)
  if (!isEffectId(effect)) throw malformed('effect')
  const result = asObject(outcome)
  if (result['ok'] === true) return { effect, outcome: { ok: true, value: result['value'] } }
  const error = asObject(result['error'])
  const { code, message } = error
  if (typeof code !== 'string' || typeof message !== 'string') throw malformed('outcome.error')
  return { effect, outcome: { ok: false, error: error as unknown as ErrorData } }
}

export function asObject(value: unknown): { readonly [key: string]: unknown } {
  if (typeof value !== 'object' || value === null) throw malformed('payload')
  return value as { readonly [key: string]: unknown }
}

export function malformed(field: string): CarillonError {
  return new CarillonError('INVALID_PAYLOAD', `the result has no valid ${field}: see docs/protocol.md`)
}
