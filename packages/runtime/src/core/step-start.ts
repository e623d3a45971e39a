/** Start inputs, and the start of a life in general. */
import { validate } from '../contract/schema.ts'
import { CarillonError, type ErrorData, hasCode } from '../errors.ts'
import { decodePayload, type Input, quote, type StartPayload } from '../protocol/index.ts'
import type { Instance } from './instance.ts'
import { toPlainError } from './plain-error.ts'
import { receiveSignal } from './step-signal.ts'
import { armRepeating } from './timers.ts'

/** Starts the instance, unless it runs; then by the payload's `ifRunning`. A signal in it is applied right behind, in the same turn. */
export function stepStart(instance: Instance, input: Input): void {
  const payload = parseStart(instance, input)
  if (payload === undefined) return
  if (instance.data.phase.kind === 'running') {
    if (payload.ifRunning !== 'use') return instance.finish(input, { ok: false, error: alreadyStarted(instance) })
  } else {
    const start = parsePayload(() =>
      validate(instance.implementation.contract.shape.input, payload.input, `the start of ${instance.type}`),
    )
    if (!start.ok) return instance.deadLetter(input, start.error)
    beginLife(instance, start.value)
  }
  if (payload.signal === undefined) return instance.finish(input, { ok: true })
  receiveSignal(instance, input, payload.signal.name, payload.signal.payload)
}

/** A new life of the instance: state, repeating timers, `run`. Known ids go on from the life before. */
export function beginLife(instance: Instance, input: unknown): void {
  const { data, implementation } = instance
  data.phase = { kind: 'running', startedMs: instance.requireTurn().nowMs }
  data.incarnation += 1
  data.state = implementation.createState(input)
  armRepeating(instance)
  instance.startMain(input)
}

/** Runs a parser of what came from outside: a refusal is the sender's, anything else a bug. */
export function parsePayload<T>(
  parse: () => T,
): { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: ErrorData } {
  try {
    return { ok: true, value: parse() }
  } catch (error) {
    if (!hasCode(error, 'INVALID_PAYLOAD')) throw error
    return { ok: false, error: toPlainError(error, 'INVALID_PAYLOAD') }
  }
}

function parseStart(instance: Instance, input: Input): StartPayload | undefined {
  const parsed = parsePayload(() => checkStart(decodePayload(input.payload, input.encoding)))
  if (parsed.ok) return parsed.value
  instance.deadLetter(input, parsed.error)
  return undefined
}

function checkStart(value: unknown): StartPayload {
  const refuse = (message: string): never => {
    throw new CarillonError(
      'INVALID_PAYLOAD',
      `a start payload is { input?, ifRunning?, signal?: { name, payload? } }: ${message}`,
    )
  }
  if (value === undefined || value === null) return {}
  if (typeof value !== 'object' || Array.isArray(value)) return refuse(`${quote(value)} is not an object`)
  const { ifRunning, signal } = value as Record<string, unknown>
  if (ifRunning !== undefined && ifRunning !== 'fail' && ifRunning !== 'use')
    refuse(`ifRunning is ${quote(ifRunning)}, not "fail" or "use"`)
  if (
    signal !== undefined &&
    (typeof signal !== 'object' || signal === null || typeof (signal as { name?: unknown }).name !== 'string')
  )
    refuse('signal has no name')
  return value as StartPayload
}

function alreadyStarted(instance: Instance): ErrorData {
  return {
    code: 'ALREADY_STARTED',
    message: `${instance.type}/${instance.id} is running already: pass ifRunning 'use' to go on with it`,
  }
}
