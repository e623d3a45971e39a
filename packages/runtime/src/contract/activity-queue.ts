/** Activities that run on remote workers: the queue that a contract names for each. */
import { CarillonError } from '../errors.ts'
import { encodeToken, quote } from '../protocol/ids.ts'
import type { ActivityNames, ActivityOf } from './context.ts'
import type { ContractShape } from './contract.ts'
import { type Duration, toMs } from './duration.ts'

/** The queue of an activity: its name, or also what holds for all workers together. */
export type ActivityQueue =
  | string
  | {
      readonly name: string
      /** Calls that all workers together hold at once, those that wait for their next attempt included; default 10,000. */
      readonly concurrency?: number
      /** A worker that says nothing for so long is taken for dead, and its calls go to others; 1 second or more, default 15 seconds. */
      readonly deadAfter?: Duration
    }

export interface ParsedQueue {
  readonly name: string
  readonly concurrency: number
  readonly deadAfterMs: number
}

/** Calls of one activity that are with workers at once: the server remembers each of them. */
const QUEUE_CONCURRENCY_MAX = 10_000
const DEAD_AFTER_DEFAULT_MS = 15_000
const DEAD_AFTER_MIN_MS = 1000

/** Undefined for a local activity. @throws INVALID_DEFINITION, INVALID_DURATION, INVALID_ID when it names no queue. */
export function parseQueue(queue: ActivityQueue | undefined, what: string): ParsedQueue | undefined {
  if (queue === undefined) return undefined
  const {
    name,
    concurrency = QUEUE_CONCURRENCY_MAX,
    deadAfter = DEAD_AFTER_DEFAULT_MS,
  } = typeof queue === 'string' ? { name: queue } : queue
  encodeToken(name, `queue of ${what}`)
  const deadAfterMs = toMs(deadAfter)
  if (deadAfterMs < DEAD_AFTER_MIN_MS)
    throw new CarillonError(
      'INVALID_DEFINITION',
      `the queue of ${what} takes workers for dead after ${deadAfterMs} ms: give ${DEAD_AFTER_MIN_MS} or more`,
    )
  if (Number.isInteger(concurrency) && concurrency >= 1 && concurrency <= QUEUE_CONCURRENCY_MAX)
    return { name, concurrency, deadAfterMs }
  throw new CarillonError(
    'INVALID_DEFINITION',
    `the queue of ${what} has the concurrency ${quote(concurrency)}: give a whole number from 1 to ${QUEUE_CONCURRENCY_MAX}`,
  )
}

/** The name of the queue that an activity's declaration holds; `never` for a local one. */
type QueueOf<A> = A extends { readonly queue: infer Queue }
  ? Queue extends string
    ? Queue
    : Queue extends { readonly name: infer Name }
      ? Name
      : never
  : never

export type QueueNames<Shape extends ContractShape> = {
  [Name in ActivityNames<Shape>]: QueueOf<ActivityOf<Shape, Name>>
}[ActivityNames<Shape>]

/** Activities that run in the nodes. */
export type LocalNames<Shape extends ContractShape> = {
  [Name in ActivityNames<Shape>]: [QueueOf<ActivityOf<Shape, Name>>] extends [never] ? Name : never
}[ActivityNames<Shape>]

/** Activities of one queue. */
export type NamesOfQueue<Shape extends ContractShape, Queue> = {
  [Name in ActivityNames<Shape>]: [QueueOf<ActivityOf<Shape, Name>>] extends [never]
    ? never
    : QueueOf<ActivityOf<Shape, Name>> extends Queue
      ? Name
      : never
}[ActivityNames<Shape>]
