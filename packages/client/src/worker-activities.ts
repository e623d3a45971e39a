/** What a worker is made of, out of its options: the activities of its queue, each with its lane. */
import { type ActivityImplementations, CarillonError, type Interceptors } from '@carillon/runtime'
import {
  type Attempt,
  Lane,
  type ParsedCall,
  parseLimits,
  parseQueue,
  withInterceptors,
} from '@carillon/runtime/activity'
import type { Logger } from '@carillon/runtime/ports'
import { activityKey } from '@carillon/runtime/protocol'
import type { JsMsg } from '@nats-io/jetstream'

import type { QueuedActivity } from './queue-consumer.ts'

export interface WorkerOptions {
  /** The queue, as contracts name it. */
  readonly queue: string
  /** What `implementActivities(contract, functions, { queue })` gives; those of other queues in them are left alone. */
  readonly activities: readonly ActivityImplementations[]
  /** Calls that this worker runs at once, over all its activities; default 10. */
  readonly concurrency?: number | undefined
  /** What stands around each attempt; only the part for activities counts. */
  readonly interceptors?: Interceptors | undefined
  readonly logger?: Logger | undefined
}

/** One call that a worker holds. */
export interface Held {
  readonly call: ParsedCall
  readonly own: OwnActivity
  message: JsMsg
  attempt: Attempt | undefined
  isUnwanted: boolean
  cancelKeepAlive: () => void
}

export interface OwnActivity {
  readonly queued: QueuedActivity
  readonly type: ActivityImplementations
  readonly lane: Lane<Held>
}

const CONCURRENCY_DEFAULT = 10
const CONCURRENCY_MAX = 10_000

/** @throws CONFIG_INVALID */
export function concurrencyOf({ concurrency = CONCURRENCY_DEFAULT }: WorkerOptions): number {
  if (Number.isInteger(concurrency) && concurrency >= 1 && concurrency <= CONCURRENCY_MAX) return concurrency
  throw new CarillonError(
    'CONFIG_INVALID',
    `the worker's concurrency is ${String(concurrency)}: give a whole number from 1 to ${CONCURRENCY_MAX}`,
  )
}

/** What the worker runs. @throws INVALID_DEFINITION when it is nothing, or something twice. */
export function ownActivities({ queue, activities, interceptors }: WorkerOptions): readonly OwnActivity[] {
  const own = activities.flatMap((one) => {
    const type = withInterceptors(one, interceptors)
    const { name, shape } = type.contract
    return [...type.functions.keys()].flatMap((activity) => {
      const declared = shape.activities?.[activity]
      const parsed = parseQueue(declared?.queue, activity)
      if (parsed?.name !== queue) return []
      const lane = new Lane<Held>(parseLimits(declared ?? {}, activity))
      const { concurrency: together, deadAfterMs } = parsed
      return { queued: { queue, type: name, activity, concurrency: together, deadAfterMs }, type, lane }
    })
  })
  const names = own.map(({ queued }) => activityKey(queued.type, queued.activity))
  const twice = names.find((name, at) => names.indexOf(name) !== at)
  if (twice !== undefined)
    throw new CarillonError('INVALID_DEFINITION', `two functions were given for the activity ${twice}: pass one`)
  if (own.length > 0) return own
  throw new CarillonError(
    'INVALID_DEFINITION',
    `none of the activities given is of the queue ${queue}: pass implementActivities(contract, functions, { queue })`,
  )
}
