/** The connection of one `carillon cluster` command: to the servers, and to what the cluster has agreed on. */
import { Deadline, openConnection, readCluster } from '@carillon/client'
import { Subjects } from '@carillon/runtime/protocol'
import type { NatsConnection } from '@nats-io/transport-node'

import { type ConnectionFlags, toNatsOptions } from './connection-options.ts'

export interface ClusterConnection {
  readonly nc: NatsConnection
  readonly subjects: Subjects
  /** Where JetStream's API is, in an account that imports it. */
  readonly jsPrefix?: string | undefined
}

const NEVER = new AbortController().signal

/** Connects, runs, and disconnects whatever happens. Throws as `connect` of the client. */
export async function withCluster<T>(
  flags: ConnectionFlags,
  use: (cluster: ClusterConnection) => Promise<T>,
): Promise<T> {
  const { servers, namespace, connectTimeout, jsPrefix } = flags
  const deadline = new Deadline(connectTimeout)
  const nc = await openConnection({ servers, name: 'carillon-cluster', nats: toNatsOptions(flags) }, deadline, NEVER)
  try {
    const { partitions } = await readCluster(nc, namespace, deadline, NEVER, jsPrefix)
    return await use({ nc, subjects: new Subjects(namespace, partitions), jsPrefix })
  } finally {
    await nc.close()
  }
}
