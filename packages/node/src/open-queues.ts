/**
 * Makes the consumers through which workers get their calls, as the contracts of this node say.
 *
 * Workers make them as well, where they may. In production they may not: whoever makes a consumer decides where the server delivers to.
 */
import { ensureConsumer } from '@carillon/client'
import type { Implementation } from '@carillon/runtime'
import { parseQueue } from '@carillon/runtime/activity'
import type { Subjects } from '@carillon/runtime/protocol'
import { jetstreamManager } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'

/** Resolves at once where no activity has a queue. @throws what `ensureConsumer` throws. */
export async function openQueues(
  nc: NatsConnection,
  subjects: Subjects,
  implementations: readonly Implementation[],
): Promise<void> {
  const queued = implementations.flatMap(({ contract: { name: type, shape } }) =>
    Object.entries(shape.activities ?? {}).flatMap(([activity, declared]) => {
      const queue = parseQueue(declared?.queue, activity)
      if (queue === undefined) return []
      return [{ queue: queue.name, type, activity, concurrency: queue.concurrency, deadAfterMs: queue.deadAfterMs }]
    }),
  )
  if (queued.length === 0) return
  const manager = await jetstreamManager(nc, { checkAPI: false })
  await Promise.all(queued.map((one) => ensureConsumer(manager, subjects, one)))
}
