/** Start inputs. */
import { validate } from '../contract/schema.ts'
import { CarillonError, type ErrorData } from '../errors.ts'
import { type Input, type Outcome, quote, type StartPayload } from '../protocol/index.ts'
import { DURATION_MS_MAX } from '../contract/duration.ts'
import { beginLife, beginLifeLater } from './begin-life.ts'
import { isParentLink, tellParent } from './children.ts'
import type { Instance } from './instance.ts'
import type { ParentLink } from './instance-data.ts'
import { parsePayload } from './parse-payload.ts'
import { payloadOf } from './payload-of.ts'
import { receiveSignal } from './step-signal.ts'
import { enqueueUpdate, parseUpdate } from './step-update.ts'
import { terminate } from './terminate.ts'

/**
 * Starts the instance, by the payload's `ifRunning` and `ifClosed`. A signal or an update in it is applied right behind, in the same turn; an
 * update that cannot be run starts nothing.
 */
export function stepStart(instance: Instance, input: Input): void {
  const payload = parseStart(instance, input)
  if (payload === undefined) return
  const update =
    payload.update === undefined ? undefined : parseUpdate(instance, payload.update.name, payload.update.input)
  if (update?.ok === false) return instance.deadLetter(input, update.error)
  if (!(instance.data.phase.kind === 'running' && payload.ifRunning === 'use')) {
    if (!begin(instance, input, payload)) return
  }
  if (update !== undefined) return enqueueUpdate(instance, input, update)
  if (payload.signal === undefined) return instance.finish(input, { ok: true })
  receiveSignal(instance, input, payload.signal.name, payload.signal.payload)
}

/** True when a new life has begun; else the input is done with, or comes again in this turn, behind a close. */
function begin(instance: Instance, input: Input, payload: CheckedStart): boolean {
  const { phase } = instance.data
  const { ifClosed, contract } = instance.implementation
  const start = parsePayload(() => validate(contract.shape.input, payload.input, `the start of ${instance.type}`))
  if (!start.ok) {
    instance.deadLetter(input, start.error)
    tellParent(instance, payload.parent, start)
    return false
  }
  if (phase.kind === 'running') {
    if (payload.ifRunning === 'terminate') terminate(instance, 'it is started anew', [input])
    else refuse(instance, input, payload, alreadyStarted(instance))
    return false
  }
  // What this very input has terminated does not count as closed.
  if (phase.kind === 'closed' && phase.seq !== input.seq && (payload.ifClosed ?? ifClosed) === 'fail') {
    refuse(instance, input, payload, closedForGood(instance))
    return false
  }
  instance.data.parent = payload.parent
  const { delayMs = 0 } = payload
  if (delayMs > 0) beginLifeLater(instance, input, start.value, delayMs)
  else beginLife(instance, start.value)
  return true
}

/** A signal that came along must not disappear. */
function refuse(instance: Instance, input: Input, { signal, parent }: CheckedStart, error: ErrorData): void {
  const outcome: Outcome = { ok: false, error }
  if (signal === undefined) instance.finish(input, outcome)
  else instance.deadLetter(input, error)
  tellParent(instance, parent, outcome)
}

function parseStart(instance: Instance, input: Input): CheckedStart | undefined {
  const parsed = parsePayload(() => checkStart(payloadOf(instance, input)))
  if (parsed.ok) return parsed.value
  instance.deadLetter(input, parsed.error)
  return undefined
}

type CheckedStart = StartPayload & { readonly parent?: ParentLink }

function checkStart(value: unknown): CheckedStart {
  const wrong = (message: string): never => {
    throw new CarillonError(
      'INVALID_PAYLOAD',
      `a start payload is { input?, ifRunning?, ifClosed?, delayMs?, signal?: { name, payload? } or update?: { name, input? } }: ${message}`,
    )
  }
  if (value === undefined || value === null) return {}
  if (typeof value !== 'object' || Array.isArray(value)) return wrong(`${quote(value)} is not an object`)
  const { ifRunning, ifClosed, delayMs, signal, update, parent } = value as Record<string, unknown>
  if (ifRunning !== undefined && ifRunning !== 'fail' && ifRunning !== 'use' && ifRunning !== 'terminate')
    wrong(`ifRunning is ${quote(ifRunning)}, not "fail", "use" or "terminate"`)
  if (ifClosed !== undefined && ifClosed !== 'restart' && ifClosed !== 'fail')
    wrong(`ifClosed is ${quote(ifClosed)}, not "restart" or "fail"`)
  if (
    delayMs !== undefined &&
    !(Number.isSafeInteger(delayMs) && Number(delayMs) >= 0 && Number(delayMs) <= DURATION_MS_MAX)
  )
    wrong(`delayMs is ${quote(delayMs)}, not a whole number of milliseconds up to 100 years`)
  if (!isNamed(signal)) wrong('signal has no name')
  if (!isNamed(update)) wrong('update has no name')
  if (signal !== undefined && update !== undefined) wrong('it has both a signal and an update')
  if (parent !== undefined && (!isParentLink(parent) || (ifRunning !== undefined && ifRunning !== 'fail')))
    wrong(`parent is ${quote(parent)}, not { key, effect } of a start that fails where the instance runs`)
  return value
}

function isNamed(part: unknown): boolean {
  if (part === undefined) return true
  return typeof part === 'object' && part !== null && typeof (part as { name?: unknown }).name === 'string'
}

function closedForGood({ type, id }: Instance): ErrorData {
  return {
    code: 'CLOSED',
    message: `${type}/${id} has run and closed: pass ifClosed 'restart' to start it again, or choose another id`,
  }
}

function alreadyStarted(instance: Instance): ErrorData {
  return {
    code: 'ALREADY_STARTED',
    message: `${instance.type}/${instance.id} is running already: pass ifRunning 'use' to go on with it, or 'terminate' to end it first`,
  }
}
