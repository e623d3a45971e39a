/** Activities: plain async functions with I/O. They run outside turns, at least once, and their result is applied once. */
import { CarillonError } from '../errors.ts'
import { encodeToken } from '../protocol/ids.ts'
import { type LocalNames, type NamesOfQueue, parseQueue, type QueueNames } from './activity-queue.ts'
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

/** The function of each activity that a contract declares. */
export type ActivityFunctions<Shape extends ContractShape> = {
  readonly [Name in ActivityNames<Shape>]: (
    input: OutputOf<FieldOf<ActivityOf<Shape, Name>, 'input'>>,
    ctx: ActivityContext,
  ) => FieldOf<ActivityOf<Shape, Name>, 'output'> extends undefined
    ? Promise<void> | void
    : Promise<InputOf<FieldOf<ActivityOf<Shape, Name>, 'output'>>> | InputOf<FieldOf<ActivityOf<Shape, Name>, 'output'>>
}

/** What a node runs: the local ones. Those of queues may be there for tests, which run them as local ones. */
type NodeFunctions<Shape extends ContractShape> = Pick<ActivityFunctions<Shape>, LocalNames<Shape>> &
  Partial<ActivityFunctions<Shape>>

/**
 * Implements the activities of a contract: those that run in the nodes, or, with `queue`, those that the workers of one queue run.
 *
 * @throws INVALID_DEFINITION when one is missing or not declared.
 */
export function implementActivities<Shape extends ContractShape>(
  contract: Contract<Shape>,
  functions: NodeFunctions<Shape>,
): ActivityImplementations
export function implementActivities<Shape extends ContractShape, const Queue extends QueueNames<Shape>>(
  contract: Contract<Shape>,
  functions: Pick<ActivityFunctions<Shape>, NamesOfQueue<Shape, Queue>>,
  options: { readonly queue: Queue },
): ActivityImplementations
export function implementActivities(
  contract: Contract,
  functions: object,
  options: { readonly queue?: string } = {},
): ActivityImplementations {
  const given = new Map(Object.entries(functions as Readonly<Record<string, ActivityFunction>>))
  const declared = Object.entries(contract.shape.activities ?? {})
  const { queue } = options
  for (const [name, activity] of declared) {
    if (!given.has(name) && parseQueue(activity.queue, name)?.name === queue)
      throw new CarillonError(
        'INVALID_DEFINITION',
        `the activities of ${contract.name} lack ${name}: add a function for it`,
      )
  }
  for (const name of given.keys()) {
    const activity = contract.shape.activities?.[name]
    if (activity === undefined)
      throw new CarillonError('INVALID_DEFINITION', `the contract of ${contract.name} declares no activity ${name}`)
    if (queue !== undefined && parseQueue(activity.queue, name)?.name !== queue)
      throw new CarillonError(
        'INVALID_DEFINITION',
        `the activity ${name} of ${contract.name} is not of the queue ${queue}: leave it out, or give its contract that queue`,
      )
  }
  return Object.freeze({ [activities]: true as const, contract, functions: given })
}

/** Names of the activities that a contract declares and nobody implements: of the local ones, or of those with a queue as well. */
export function missingActivities(
  contract: Contract,
  all: readonly ActivityImplementations[],
  which: 'local' | 'all',
): readonly string[] {
  const given = all.filter((one) => one.contract.name === contract.name)
  return Object.entries(contract.shape.activities ?? {})
    .filter(([, { queue }]) => which === 'all' || queue === undefined)
    .map(([name]) => name)
    .filter((name) => !given.some(({ functions }) => functions.has(name)))
}

/** Several sets of activities by the token of their type: local ones and those of queues may stand in different ones. */
export function mergeActivities(all: readonly ActivityImplementations[]): ReadonlyMap<string, ActivityImplementations> {
  const byType = new Map<string, ActivityImplementations>()
  for (const one of all) {
    const type = encodeToken(one.contract.name)
    const other = byType.get(type)
    byType.set(type, other === undefined ? one : { ...one, functions: new Map([...other.functions, ...one.functions]) })
  }
  return byType
}

/** Whether a value holds activities, whichever copy of this package made it. */
export function isActivityImplementations(value: unknown): value is ActivityImplementations {
  return typeof value === 'object' && value !== null && activities in value
}
