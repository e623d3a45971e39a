/** What stands in the work queues of remote workers. */
import type { Subjects } from '@carillon/runtime/protocol'
import { type ConsumerInfo, JetStreamApiCodes, JetStreamApiError, type JetStreamManager } from '@nats-io/jetstream'

import { noQueues } from './queue-consumer.ts'
import type { Session } from './session.ts'

/** One activity of a queue, as the server counts it. */
export interface QueueRow {
  readonly queue: string
  readonly type: string
  readonly activity: string
  /** Calls that no worker has. */
  readonly waiting: number
  /** Calls that workers have, or that wait for their next attempt. */
  readonly held: number
  /** Of those, calls that have been handed out more than once. */
  readonly again: number
  /** Requests of workers that wait for calls; 0 with calls waiting: nobody works, or all that do are busy. */
  readonly pulls: number
}

/** Throws as `Carillon.queues`. */
export async function readQueues(session: Session): Promise<readonly QueueRow[]> {
  const { subjects } = session
  const manager = await session.jetStream()
  try {
    const consumers = await readConsumers(manager, subjects)
    const stored = await manager.streams.info(subjects.callStream, { subjects_filter: '>' })
    const counts = Object.entries(stored.state.subjects ?? {})
    const bySubject = new Map(consumers.map((info) => [info.config.filter_subject ?? '', countsOf(info)]))
    for (const [subject, waiting] of counts)
      if (!bySubject.has(subject)) bySubject.set(subject, { waiting, held: 0, again: 0, pulls: 0 })
    const rows: QueueRow[] = []
    for (const [subject, count] of [...bySubject].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      const named = subjects.parseCall(subject)
      if (named !== undefined) rows.push({ ...named, ...count })
    }
    return rows
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound) throw noQueues(subjects)
    throw error
  }
}

type Counts = Pick<QueueRow, 'waiting' | 'held' | 'again' | 'pulls'>

function countsOf({ num_pending, num_ack_pending, num_redelivered, num_waiting }: ConsumerInfo): Counts {
  return { waiting: num_pending, held: num_ack_pending, again: num_redelivered, pulls: num_waiting }
}

async function readConsumers(manager: JetStreamManager, { callStream }: Subjects): Promise<ConsumerInfo[]> {
  const all: ConsumerInfo[] = []
  for await (const info of manager.consumers.list(callStream)) all.push(info)
  return all
}
