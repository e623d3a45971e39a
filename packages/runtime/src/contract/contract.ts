/** The contract of a workflow type: what producers and nodes share. It imports no implementation. */
import { CarillonError } from '../errors.ts'
import { encodeToken } from '../protocol/ids.ts'
import { type AttributeKind, checkAttributes } from './attributes.ts'
import { isTaskName } from '../protocol/task-token.ts'
import { type ActivityLimits, parseLimits } from './activity-limits.ts'
import { type ActivityQueue, parseQueue } from './activity-queue.ts'
import type { Duration } from './duration.ts'
import type { Schema } from './schema.ts'
import type { TaskContract } from './tasks.ts'

/** How an activity is tried again. */
export interface RetryPolicy {
  /** Attempts in all, the first included; default: no end. A crash of the node begins the count anew. */
  readonly attempts?: number
  /** Wait before the second attempt; default 200 ms. */
  readonly initial?: Duration
  /** Each wait is this many times the last; default 2. */
  readonly backoff?: number
  /** The longest wait; default 1 minute. */
  readonly max?: Duration
  /** Values of `error.code` or `error.name` that end the attempts at once. `NonRetryable` always does. */
  readonly nonRetryable?: readonly string[]
}

/** How one activity runs. */
export interface ActivityOptions {
  readonly retry?: RetryPolicy
  /** The longest one attempt may take; default 1 minute. Its AbortSignal is aborted then. */
  readonly startToClose?: Duration
  /** The longest time between two heartbeats of an attempt; default: none are asked for. */
  readonly heartbeat?: Duration
}

export interface ActivityContract extends ActivityOptions, ActivityLimits {
  readonly input?: Schema
  readonly output?: Schema
  /** Remote workers of this queue run it; default: the node that runs the instance. */
  readonly queue?: ActivityQueue
}

export interface UpdateContract {
  readonly input?: Schema
  readonly output?: Schema
}

export interface QueryContract {
  readonly input?: Schema
  readonly output: Schema
}

/** What a contract may hold. Everything is optional. */
export interface ContractShape {
  /** What an instance is started with. */
  readonly input?: Schema
  /** What an instance completes with. */
  readonly result?: Schema
  readonly signals?: Readonly<Record<string, Schema>>
  readonly updates?: Readonly<Record<string, UpdateContract>>
  readonly queries?: Readonly<Record<string, QueryContract>>
  readonly activities?: Readonly<Record<string, ActivityContract>>
  /**
   * What instances are listed and counted by; their code sets it. It is kept in the clear, as ids and names are, in the store of the nodes and in their
   * answers: nothing that must stay secret.
   */
  readonly attributes?: Readonly<Record<string, AttributeKind>>
  /** What somebody outside does, and reports by a token. */
  readonly tasks?: Readonly<Record<string, TaskContract>>
}

/** A workflow type: its name and its shape. */
export interface Contract<Shape extends ContractShape = ContractShape> {
  readonly name: string
  readonly shape: Shape
}

/**
 * Defines a workflow type.
 *
 * @param name the type's name, a valid id: it is part of every subject of its instances, so it cannot change later.
 * @throws INVALID_ID when the name, or the name of a signal, update, query, activity or task, is not a valid id.
 * @throws INVALID_DEFINITION when a signal and an update have one name, or an attribute has a name or kind that is none.
 * @throws INVALID_DEFINITION, INVALID_DURATION when the limits of an activity make no sense.
 */
export function defineWorkflow<const Shape extends ContractShape>(name: string, shape: Shape): Contract<Shape> {
  encodeToken(name, 'workflow type')
  for (const part of ['signals', 'updates', 'queries', 'activities', 'tasks'] as const) {
    for (const key of Object.keys(shape[part] ?? {})) encodeToken(key, `name in ${part} of ${name}`)
  }
  for (const [key, activity] of Object.entries(shape.activities ?? {})) {
    parseLimits(activity, `the activity ${key} of ${name}`)
    parseQueue(activity.queue, `the activity ${key} of ${name}`)
  }
  const reserved = Object.keys(shape.signals ?? {}).find(isTaskName)
  if (reserved !== undefined)
    throw new CarillonError(
      'INVALID_DEFINITION',
      `${name} has a signal named ${reserved}, which is how the tokens of tasks begin: rename it`,
    )
  const both = Object.keys(shape.signals ?? {}).find((key) => Object.hasOwn(shape.updates ?? {}, key))
  if (both !== undefined)
    throw new CarillonError('INVALID_DEFINITION', `${name} has both a signal and an update named ${both}: rename one`)
  checkAttributes(name, shape.attributes ?? {})
  return Object.freeze({ name, shape })
}
