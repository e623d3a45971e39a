/** Updates: validated, then handled like signals, but their value goes back to the sender. */
import { validate } from '../contract/schema.ts'
import type { UpdateHandler } from '../contract/implement.ts'
import { CarillonError, type ErrorData, UpdateRejected } from '../errors.ts'
import { encodeValue, type Input } from '../protocol/index.ts'
import { copyResult } from './copy-result.ts'
import type { Instance } from './instance.ts'
import { INSTANCE_LIMITS } from './instance-data.ts'
import { toPlainError } from './plain-error.ts'
import { parsePayload } from './parse-payload.ts'
import { payloadOf } from './payload-of.ts'
import { ensureRunning, unknownName } from './step-signal.ts'

export function stepUpdate(instance: Instance, input: Input): void {
  const raw = parsePayload(() => payloadOf(instance, input))
  const update = raw.ok ? parseUpdate(instance, input.name, raw.value) : raw
  if (!update.ok) return instance.deadLetter(input, update.error)
  if (ensureRunning(instance, input)) enqueueUpdate(instance, input, update)
}

/** An update whose name is known and whose payload fits. */
interface ParsedUpdate {
  readonly ok: true
  readonly run: (input: Input) => unknown
}

/** Looks at an update before anything happens because of it. */
export function parseUpdate(
  instance: Instance,
  name: string,
  raw: unknown,
): ParsedUpdate | { readonly ok: false; readonly error: ErrorData } {
  const { contract, updates } = instance.implementation
  const handler = updates.get(name)
  const declared = contract.shape.updates ?? {}
  if (handler === undefined) return { ok: false, error: unknownName(instance, 'update', name, Object.keys(declared)) }
  const schemas = declared[name]
  const payload = parsePayload(() => validate(schemas?.input, raw, `the update ${name}`))
  if (!payload.ok) return payload
  const finish = (value: unknown): unknown =>
    keepable(validate(schemas?.output, value, `the output of update ${name}`), name)
  return { ok: true, run: (input) => runUpdate(instance, input, handler, payload.value, finish) }
}

/** Runs the update in its turn; `input` is what carried it. */
export function enqueueUpdate(instance: Instance, input: Input, { run }: ParsedUpdate): void {
  instance.enqueue({ input, run: () => run(input), isUpdate: true })
}

function runUpdate(
  instance: Instance,
  input: Input,
  { validate: check, run }: UpdateHandler,
  payload: unknown,
  finish: (value: unknown) => unknown,
): unknown {
  if (check !== undefined) reject(() => check(instance.data.state, payload))
  const value = run(instance.contextOf(input), payload)
  return value instanceof Promise ? value.then(finish) : finish(value)
}

/** Whatever a validator throws refuses the update: nothing has changed yet. */
function reject(check: () => void): void {
  try {
    check()
  } catch (error) {
    const { message, details } = toPlainError(error, 'UPDATE_REJECTED')
    throw new UpdateRejected(message, details)
  }
}

/** The value as it is kept to answer repeats: a copy, so that later changes of the state do not reach it. */
function keepable(value: unknown, name: string): unknown {
  const size = typeof value === 'object' && value !== null ? encodeValue(value).length : String(value).length
  if (size > INSTANCE_LIMITS.outcomeBytes)
    throw new CarillonError(
      'PAYLOAD_TOO_LARGE',
      `the update ${name} returned ${size} bytes, over ${INSTANCE_LIMITS.outcomeBytes}: return less, and offer the rest as a query`,
    )
  return copyResult(value)
}
