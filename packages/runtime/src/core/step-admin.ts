/**
 * Operators' commands that an instance obeys as inputs. What they do to an instance that stands (suspended, or paused) is done before any step
 * (engine/standings.ts): where `resume`, `retry` and `skip` come here, there is nothing for them to do.
 */
import { CarillonError } from '../errors.ts'
import { type Input, type PausePayload, quote, type SeqPayload } from '../protocol/index.ts'
import type { Instance } from './instance.ts'
import { parsePayload } from './parse-payload.ts'
import { payloadOf } from './payload-of.ts'
import { checkReason } from './reason.ts'
import { unknownName } from './step-signal.ts'
import { notRunning, stepTerminate } from './step-terminate.ts'

const COMMANDS = ['pause', 'resume', 'retry', 'skip', 'terminate']

export function stepAdmin(instance: Instance, input: Input): void {
  switch (input.name) {
    case 'terminate':
      return stepTerminate(instance, input)
    case 'pause':
      return stepPause(instance, input)
    case 'resume':
      return instance.finish(input, { ok: true })
    case 'retry':
    case 'skip':
      return stepNothing(instance, input, input.name)
    default:
      return instance.deadLetter(input, unknownName(instance, 'command', input.name, COMMANDS))
  }
}

/** How a `retry` or `skip` ended: whether the instance was suspended at the input that it names. */
export function outcomeOfSeqCommand(name: 'retry' | 'skip', isObeyed: boolean): { readonly ok: true; value: unknown } {
  return { ok: true, value: name === 'skip' ? { skipped: isObeyed } : { retried: isObeyed } }
}

/** @throws INVALID_PAYLOAD */
export function parseSeqCommand(instance: Instance, input: Input): SeqPayload {
  const value = payloadOf(instance, input)
  const { seq } = (value ?? {}) as { readonly seq?: unknown }
  if (Number.isSafeInteger(seq)) return { seq: seq as number }
  throw new CarillonError(
    'INVALID_PAYLOAD',
    `the payload of ${input.name} is { seq }, the input at which the instance is suspended, not ${quote(value)}`,
  )
}

/** @throws INVALID_PAYLOAD */
export function parsePause(instance: Instance, input: Input): PausePayload {
  const value = payloadOf(instance, input)
  const { reason } = (value ?? {}) as { readonly reason?: unknown }
  if (reason === undefined) return {}
  checkReason(reason)
  return { reason }
}

function stepNothing(instance: Instance, input: Input, name: 'retry' | 'skip'): void {
  const payload = parsePayload(() => parseSeqCommand(instance, input))
  if (!payload.ok) return instance.deadLetter(input, payload.error)
  instance.finish(input, outcomeOfSeqCommand(name, false))
}

function stepPause(instance: Instance, input: Input): void {
  const payload = parsePayload(() => parsePause(instance, input))
  if (!payload.ok) return instance.deadLetter(input, payload.error)
  if (instance.data.phase.kind !== 'running')
    return instance.finish(input, { ok: false, error: notRunning(instance, 'pause') })
  instance.emit({ kind: 'pause', pause: { seq: input.seq, timeMs: input.timeMs, ...payload.value } })
  instance.finish(input, { ok: true })
}
