/** Timers that fire. Deduplicated by their effect, which is set once. */
import type { Input, TimerPayload } from '../protocol/index.ts'
import { type EffectId, isEffectId } from './effect.ts'
import { dueOf, fireNamed } from './firings.ts'
import type { Instance } from './instance.ts'
import { parsePayload } from './parse-payload.ts'
import { payloadOf } from './payload-of.ts'
import { forget } from './retention.ts'
import { asObject, ignoreMalformed, malformed } from './step-result.ts'

/** Fires a timer: the handler of its name, or the sleep or time-out that waits for it. */
export function stepTimer(instance: Instance, input: Input): void {
  const parsed = parsePayload(() => parseTimer(payloadOf(instance, input)))
  if (!parsed.ok) return ignoreMalformed(instance, input, parsed.error)
  const id = parsed.value.effect
  const named = [...instance.data.timers].find(([, timer]) => timer.effect === id)
  const setMs = named?.[1].dueMs ?? instance.data.sleeps.get(id)
  if (setMs === undefined) {
    instance.emit({ kind: 'timer-done', id, dueMs: parsed.value.dueMs })
    return instance.emit({ kind: 'ignored', input })
  }
  const dueMs = named === undefined ? setMs : dueOf(instance, named[0], setMs, parsed.value.dueMs)
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

/** The timer that an input says has fired, and when it was due. */
export function firedTimerOf(
  instance: Instance,
  input: Input,
): { readonly effect: EffectId; readonly dueMs: number } | undefined {
  if (input.kind !== 'timer') return undefined
  try {
    return parseTimer(payloadOf(instance, input))
  } catch {
    return undefined
  }
}

function parseTimer(value: unknown): TimerPayload & { readonly effect: EffectId } {
  const { effect, dueMs } = asObject(value)
  if (!isEffectId(effect)) throw malformed('effect')
  if (!Number.isSafeInteger(dueMs)) throw malformed('dueMs')
  return { effect, dueMs: dueMs as number }
}
