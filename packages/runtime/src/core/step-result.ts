/** What the host sends back: results of activities, timers that fire. Deduplicated by their effect, which is open once. */
import { CarillonError, type ErrorData } from '../errors.ts'
import { type ActivityPayload, decodePayload, type Input, type TimerPayload } from '../protocol/index.ts'
import { type EffectId, isEffectId } from './effect.ts'
import { fireNamed, isDueByJournal } from './firings.ts'
import type { Instance } from './instance.ts'
import { parsePayload } from './parse-payload.ts'
import { forget } from './retention.ts'

/** Applies the result of an activity, once; a later one, or one for an unknown call, is ignored. */
export function stepActivity(instance: Instance, input: Input): void {
  const parsed = parsePayload(() => parseResult(decodePayload(input.payload, input.encoding)))
  if (!parsed.ok) return ignoreMalformed(instance, input, parsed.error)
  const { effect: id, outcome } = parsed.value
  // Done also where nobody waits: a rolled-back turn may have left it pending.
  instance.emit({ kind: 'activity-done', id })
  if (!instance.data.activities.delete(id)) return instance.emit({ kind: 'ignored', input })
  instance.settleWait(id, outcome)
}

/** Fires a timer: the handler of its name, or the sleep or time-out that waits for it. */
export function stepTimer(instance: Instance, input: Input): void {
  const parsed = parsePayload(() => parseTimer(decodePayload(input.payload, input.encoding)))
  if (!parsed.ok) return ignoreMalformed(instance, input, parsed.error)
  const id = parsed.value.effect
  const named = [...instance.data.timers].find(([, timer]) => timer.effect === id)
  const setMs = named?.[1].dueMs ?? instance.data.sleeps.get(id)
  if (setMs === undefined) {
    instance.emit({ kind: 'timer-done', id, dueMs: parsed.value.dueMs })
    return instance.emit({ kind: 'ignored', input })
  }
  const dueMs = named !== undefined && isDueByJournal(instance, named[0]) ? parsed.value.dueMs : setMs
  // Never early by the journal's clock: the sender's may be ahead of it. It is asked for again.
  if (instance.requireTurn().nowMs < dueMs)
    return instance.emit({ kind: 'timer', id, name: named?.[0] ?? 'sleep', dueMs: setMs })
  instance.emit({ kind: 'timer-done', id, dueMs: setMs })
  if (named === undefined) return fireSleep(instance, id)
  if (instance.data.phase.kind === 'closed') return forget(instance)
  fireNamed(instance, input, { name: named[0], id, setMs, dueMs })
}

function fireSleep(instance: Instance, id: EffectId): void {
  instance.data.sleeps.delete(id)
  if (instance.waits.expireCondition(id)) instance.unsettled = true
  else instance.settleWait(id, { ok: true })
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

function parseTimer(value: unknown): TimerPayload & { readonly effect: EffectId } {
  const { effect, dueMs } = asObject(value)
  if (!isEffectId(effect)) throw malformed('effect')
  if (!Number.isSafeInteger(dueMs)) throw malformed('dueMs')
  return { effect, dueMs: dueMs as number }
}

function asObject(value: unknown): { readonly [key: string]: unknown } {
  if (typeof value !== 'object' || value === null) throw malformed('payload')
  return value as { readonly [key: string]: unknown }
}

function malformed(field: string): CarillonError {
  return new CarillonError('INVALID_PAYLOAD', `the result has no valid ${field}: see docs/protocol.md`)
}
