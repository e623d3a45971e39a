/** Start inputs. */
import { validate } from '../contract/schema.ts'
import { CarillonError, type ErrorData } from '../errors.ts'
import { decodePayload, type Input, type Outcome, quote, type StartPayload } from '../protocol/index.ts'
import { beginLife } from './begin-life.ts'
import { isParentLink, tellParent } from './children.ts'
import type { Instance } from './instance.ts'
import type { ParentLink } from './instance-data.ts'
import { parsePayload } from './parse-payload.ts'
import { receiveSignal } from './step-signal.ts'

/** Starts the instance, unless it runs; then by the payload's `ifRunning`. A signal in it is applied right behind, in the same turn. */
export function stepStart(instance: Instance, input: Input): void {
  const payload = parseStart(instance, input)
  if (payload === undefined) return
  if (instance.data.phase.kind === 'running') {
    if (payload.ifRunning !== 'use') return refuseStart(instance, input, payload)
  } else {
    const start = parsePayload(() =>
      validate(instance.implementation.contract.shape.input, payload.input, `the start of ${instance.type}`),
    )
    if (!start.ok) {
      instance.deadLetter(input, start.error)
      return tellParent(instance, payload.parent, start)
    }
    instance.data.parent = payload.parent
    beginLife(instance, start.value)
  }
  if (payload.signal === undefined) return instance.finish(input, { ok: true })
  receiveSignal(instance, input, payload.signal.name, payload.signal.payload)
}

function refuseStart(instance: Instance, input: Input, { parent }: CheckedStart): void {
  const outcome: Outcome = { ok: false, error: alreadyStarted(instance) }
  instance.finish(input, outcome)
  tellParent(instance, parent, outcome)
}

function parseStart(instance: Instance, input: Input): CheckedStart | undefined {
  const parsed = parsePayload(() => checkStart(decodePayload(input.payload, input.encoding)))
  if (parsed.ok) return parsed.value
  instance.deadLetter(input, parsed.error)
  return undefined
}

type CheckedStart = StartPayload & { readonly parent?: ParentLink }

function checkStart(value: unknown): CheckedStart {
  const refuse = (message: string): never => {
    throw new CarillonError(
      'INVALID_PAYLOAD',
      `a start payload is { input?, ifRunning?, signal?: { name, payload? } }: ${message}`,
    )
  }
  if (value === undefined || value === null) return {}
  if (typeof value !== 'object' || Array.isArray(value)) return refuse(`${quote(value)} is not an object`)
  const { ifRunning, signal, parent } = value as Record<string, unknown>
  if (ifRunning !== undefined && ifRunning !== 'fail' && ifRunning !== 'use')
    refuse(`ifRunning is ${quote(ifRunning)}, not "fail" or "use"`)
  if (
    signal !== undefined &&
    (typeof signal !== 'object' || signal === null || typeof (signal as { name?: unknown }).name !== 'string')
  )
    refuse('signal has no name')
  if (parent !== undefined && (!isParentLink(parent) || ifRunning === 'use'))
    refuse(`parent is ${quote(parent)}, not { key, effect } of a start that fails where the instance runs`)
  return value
}

function alreadyStarted(instance: Instance): ErrorData {
  return {
    code: 'ALREADY_STARTED',
    message: `${instance.type}/${instance.id} is running already: pass ifRunning 'use' to go on with it`,
  }
}
