/** Activities: plain async functions with I/O. They run outside turns, at least once, and their result is applied once. */
import { CarillonError } from '../errors.ts'
import type { ActivityNames, ActivityOf, FieldOf, InstanceLog } from './context.ts'
import type { Contract, ContractShape } from './contract.ts'
import type { InputOf, OutputOf } from './schema.ts'

/** What an activity knows of its call. */
export interface ActivityContext {
  /** The workflow instance that asked. */
  readonly workflow: { readonly type: string; readonly id: string }
  /** The same for every attempt and every repeat of this call: the idempotency key for the system behind it. */
  readonly callId: string
  /** From 1. It begins anew after a crash of the node. */
  readonly attempt: number
  /** Aborted on time-out, on a missed heartbeat, when the instance closes, and when the node stops. */
  readonly signal: AbortSignal
  /** Tells that the attempt is alive. */
  heartbeat(): void
  readonly log: InstanceLog
  /** W3C trace context that the call belongs to: `<traceparent>`, or `<traceparent> <tracestate>`; undefined for none. */
  readonly trace?: string | undefined
}

export type ActivityFunction = (input: unknown, ctx: ActivityContext) => unknown

const activities = Symbol.for('carillon.activities')

/** The activities of one contract as a node runs them. `implementActivities` is the only maker. */
export interface ActivityImplementations {
  readonly [activities]: true
  readonly contract: Contract
  readonly functions: ReadonlyMap<string, ActivityFunction>
}

type ActivityFunctions<Shape extends ContractShape> = {
  readonly [Name in ActivityNames<Shape>]: (
    input: OutputOf<FieldOf<ActivityOf<Shape, Name>, 'input'>>,
    ctx: ActivityContext,
  ) => FieldOf<ActivityOf<Shape, Name>, 'output'> extends undefined
    ? Promise<void> | void
    : Promise<InputOf<FieldOf<ActivityOf<Shape, Name>, 'output'>>> | InputOf<FieldOf<ActivityOf<Shape, Name>, 'output'>>
}

/**
 * Implements the activities of a contract.
 *
 * @throws INVALID_DEFINITION when one is missing or not declared.
 */
export function implementActivities<Shape extends ContractShape>(
  contract: Contract<Shape>,
  functions: ActivityFunctions<Shape>,
): ActivityImplementations {
  const given = new Map(Object.entries(functions as Readonly<Record<string, ActivityFunction>>))
  const declared = Object.keys(contract.shape.activities ?? {})
  for (const name of declared) {
    if (!given.has(name))
      throw new CarillonError(
        'INVALID_DEFINITION',
        `the activities of ${contract.name} lack ${name}: add a function for it`,
      )
  }
  for (const name of given.keys()) {
    if (!declared.includes(name))
      throw new CarillonError('INVALID_DEFINITION', `the contract of ${contract.name} declares no activity ${name}`)
  }
  return Object.freeze({ [activities]: true as const, contract, functions: given })
}

/** Whether a value holds activities, whichever copy of this package made it. */
export function isActivityImplementations(value: unknown): value is ActivityImplementations {
  return typeof value === 'object' && value !== null && activities in value
}
