/** Who owns which partition, as the cluster's bucket says: for demos, benches and whoever looks from outside. */
import { type OwnerRecord, parseOwner, type Subjects } from '@carillon/runtime/protocol'
import { JetStreamApiError, jetstreamManager } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'

const NOTHING_FOUND = 404

/** The ownership record by partition; undefined where nobody has owned it yet. Rejects while JetStream cannot be read. */
export async function readPartitionOwners(
  nc: NatsConnection,
  subjects: Subjects,
): Promise<readonly (OwnerRecord | undefined)[]> {
  const owners = Array.from({ length: subjects.partitions }, (): OwnerRecord | undefined => undefined)
  const jsm = await jetstreamManager(nc, { checkAPI: false })
  const stream = `KV_${subjects.clusterBucket}`
  try {
    for await (const record of await jsm.direct.getLastMessagesFor(stream, { multi_last: [subjects.ownerAll] })) {
      const partition = subjects.parseOwner(record.subject)
      if (partition !== undefined) owners[partition] = parseOwner(record.string())
    }
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || error.code !== NOTHING_FOUND) throw error
  }
  return owners
}
