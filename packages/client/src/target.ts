/** One instance as the client addresses it. */
import { CarillonError, type Contract, type ContractShape, type Schema } from '@carillon/runtime'
import {
  encodeToken,
  type InstanceKey,
  type Partition,
  quote,
  type Subjects,
  type Token,
} from '@carillon/runtime/protocol'

/** What a handle without a contract takes: any name, any payload. The nodes check them. */
export interface AnyShape {
  readonly input: Schema
  readonly result: Schema
  readonly signals: Readonly<Record<string, Schema>>
  readonly updates: Readonly<Record<string, { readonly input: Schema; readonly output: Schema }>>
  readonly queries: Readonly<Record<string, { readonly input: Schema; readonly output: Schema }>>
}

export interface Target {
  readonly type: string
  readonly id: string
  /** Undefined when the caller has none: then nothing is checked here. */
  readonly shape: ContractShape | undefined
  readonly typeToken: Token
  readonly idToken: Token
  readonly partition: Partition
  readonly key: InstanceKey
  /** Subjects of its inputs that were made already, by kind and name. */
  readonly inputSubjects: Map<string, string>
}

/** @throws INVALID_ID when the id (or the type, given as text) is not one; the message says which rule it breaks. */
function createTarget(subjects: Subjects, workflow: Contract | string, id: string): Target {
  const { name: type, shape } = typeof workflow === 'string' ? { name: workflow, shape: undefined } : workflow
  const typeToken = encodeToken(type, 'workflow type')
  const idToken = encodeToken(id, 'instance id')
  const partition = subjects.partitionOf(typeToken, idToken)
  return { type, id, shape, typeToken, idToken, partition, key: `${typeToken}.${idToken}`, inputSubjects: new Map() }
}

/** Targets that are remembered: busy instances come back within a moment. */
const TARGETS_KEPT_MAX = 8192

/** Makes each target once, as long as it is used. */
export class Targets {
  readonly #subjects: Subjects
  readonly #byWorkflow = new Map<Contract | string, Map<string, Target>>()
  #kept = 0

  constructor(subjects: Subjects) {
    this.#subjects = subjects
  }

  /** Throws as `createTarget`. */
  of(workflow: Contract | string, id: string): Target {
    const known = this.#byWorkflow.get(workflow)?.get(id)
    if (known !== undefined) return known
    const target = createTarget(this.#subjects, workflow, id)
    if (this.#kept >= TARGETS_KEPT_MAX) {
      this.#byWorkflow.clear()
      this.#kept = 0
    }
    const byId = this.#byWorkflow.get(workflow) ?? new Map<string, Target>()
    this.#byWorkflow.set(workflow, byId.set(id, target))
    this.#kept += 1
    return target
  }
}

/** How error messages name an instance: safe in a log line. */
export function formatTarget(target: { readonly type: string; readonly id: string }): string {
  return `${quote(target.type).slice(1, -1)}/${quote(target.id)}`
}

/**
 * The schema of a payload; undefined when it has none, or there is no contract.
 *
 * @throws UNKNOWN_NAME when the contract declares nothing of that name; the message lists what it does.
 */
export function payloadSchema(target: Target, kind: 'signal' | 'update' | 'query', name: string): Schema | undefined {
  if (target.shape === undefined) return undefined
  const { signals = {}, updates = {}, queries = {} } = target.shape
  if (kind === 'signal') return declared(signals, target, kind, name)
  return declared(kind === 'update' ? updates : queries, target, kind, name).input
}

function declared<Part>(parts: Readonly<Record<string, Part>>, target: Target, kind: string, name: string): Part {
  const part = Object.hasOwn(parts, name) ? parts[name] : undefined
  if (part !== undefined) return part
  const names = Object.keys(parts)
  const known = names.length === 0 ? 'it declares none' : `it declares ${names.join(', ')}`
  throw new CarillonError('UNKNOWN_NAME', `the contract of ${target.type} has no ${kind} ${quote(name)}: ${known}`)
}
