/** The durable consumer of one activity's calls: how it is named and configured, made by whichever worker comes first. */
import { createHash } from 'node:crypto'

import { CarillonError } from '@carillon/runtime'
import { encodeToken, quote, type Subjects } from '@carillon/runtime/protocol'
import {
  AckPolicy,
  type ConsumerConfig,
  type ConsumerInfo,
  DeliverPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  ReplayPolicy,
} from '@nats-io/jetstream'
import { nanos } from '@nats-io/transport-node'

import { isRefusedSubject } from './refused-subject.ts'

/** One activity as its queue knows it. */
export interface QueuedActivity {
  readonly queue: string
  readonly type: string
  readonly activity: string
  /** Calls that all workers together hold at once. */
  readonly concurrency: number
  /** A worker that says nothing for so long is taken for dead, and its calls go to others. */
  readonly deadAfterMs: number
}

/** Names of consumers stand in subjects and in names of files. */
const NAME_CHARS_MAX = 200

/**
 * The name of a consumer: the three tokens, where they are short. `==` stands in no token, so no two activities have one name.
 */
function consumerName({ queue, type, activity }: QueuedActivity): string {
  const name = [queue, type, activity].map((part) => encodeToken(part)).join('==')
  return name.length <= NAME_CHARS_MAX ? name : createHash('sha256').update(name).digest('hex')
}

/**
 * Sees to it that the consumer is there and lets so many calls be with workers at once as the contract says. A worker that may not change it takes it as
 * it is: the nodes make it by their contract.
 *
 * @throws CLUSTER_MISMATCH when the cluster has no work queue. @throws SERVER_REFUSED when it is not there, and may not be made.
 */
export async function ensureConsumer(
  manager: JetStreamManager,
  subjects: Subjects,
  activity: QueuedActivity,
): Promise<ConsumerInfo> {
  const config = consumerConfig(subjects, activity)
  const present = await find(manager, subjects, consumerName(activity))
  if (present !== undefined && isAs(present.config, config)) return present
  try {
    if (present === undefined) return await manager.consumers.add(subjects.callStream, config)
    return await manager.consumers.update(subjects.callStream, consumerName(activity), config)
  } catch (error) {
    if (!isRefusedSubject(error)) throw error
    if (present !== undefined) return present
    const { queue, type, activity: name } = activity
    throw new CarillonError(
      'SERVER_REFUSED',
      `the queue ${quote(queue)} has no calls of ${quote(`${type}.${name}`)} yet, and this user may not prepare it: start a node that runs this workflow type`,
      { cause: error },
    )
  }
}

function isAs(present: ConsumerConfig, config: Partial<ConsumerConfig>): boolean {
  return present.max_ack_pending === config.max_ack_pending && present.ack_wait === config.ack_wait
}

async function find(manager: JetStreamManager, subjects: Subjects, name: string): Promise<ConsumerInfo | undefined> {
  try {
    return await manager.consumers.info(subjects.callStream, name)
  } catch (error) {
    if (!(error instanceof JetStreamApiError)) throw error
    if (error.code === JetStreamApiCodes.StreamNotFound) throw noQueues(subjects)
    if (error.code !== JetStreamApiCodes.ConsumerNotFound) throw error
    return undefined
  }
}

function consumerConfig(subjects: Subjects, activity: QueuedActivity): Partial<ConsumerConfig> {
  const [queue, type, name] = [activity.queue, activity.type, activity.activity].map((part) => encodeToken(part))
  return {
    durable_name: consumerName(activity),
    filter_subject: subjects.call(queue as never, type as never, name as never),
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(activity.deadAfterMs),
    deliver_policy: DeliverPolicy.All,
    replay_policy: ReplayPolicy.Instant,
    max_deliver: -1,
    max_ack_pending: activity.concurrency,
  }
}

export function noQueues({ namespace, callStream }: Subjects): CarillonError {
  return new CarillonError(
    'CLUSTER_MISMATCH',
    `the namespace ${namespace} has no stream ${callStream}: a node of this release makes it when it starts`,
  )
}
