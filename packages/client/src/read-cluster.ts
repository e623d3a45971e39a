/** Reads the cluster's record from its KV bucket, waiting for the first node to write it. */
import { CarillonError } from '@carillon/runtime'
import {
  checkNamespace,
  CLUSTER_KEY,
  type ClusterRecord,
  parseClusterRecord,
  Subjects,
} from '@carillon/runtime/protocol'
import { JetStreamApiCodes, JetStreamApiError, type JetStreamManager, jetstreamManager } from '@nats-io/jetstream'
import { errors, type NatsConnection } from '@nats-io/transport-node'

import { redact } from './connection.ts'
import { type Deadline, pause } from './deadline.ts'
import { apiOptions } from './jetstream-api.ts'
import { refusedSubject } from './refused-subject.ts'

const RETRY_MS = 250
const REQUEST_MS = 2_000

/**
 * Reads the record; while it is not there, asks again until the deadline.
 *
 * @throws JETSTREAM_UNAVAILABLE when JetStream does not answer. @throws CONFIG_INVALID when the namespace holds no cluster.
 * @throws CLUSTER_MISMATCH when the record is none that this release can read.
 */
export async function readCluster(
  nc: NatsConnection,
  namespace: string,
  deadline: Deadline,
  signal: AbortSignal,
  jetStreamPrefix?: string,
): Promise<ClusterRecord> {
  checkNamespace(namespace)
  const api = apiOptions(jetStreamPrefix)
  const manager = await jetstreamManager(nc, { checkAPI: false, timeout: REQUEST_MS, ...api })
  for (;;) {
    const answer = await ask(manager, namespace)
    if (typeof answer === 'string') return parseClusterRecord(answer, namespace)
    // What is not permitted now is not permitted in a moment.
    if (answer.code === 'SERVER_REFUSED' || deadline.leftMs <= RETRY_MS) throw answer
    await pause(RETRY_MS, signal)
    signal.throwIfAborted()
  }
}

async function ask(manager: JetStreamManager, namespace: string): Promise<string | CarillonError> {
  // The bucket is named after the namespace alone, so any count of partitions will do here.
  const bucket = new Subjects(namespace, 1).clusterBucket
  const missing = new CarillonError(
    'CONFIG_INVALID',
    `there is no Carillon cluster in namespace ${namespace}: start a node first, or check the namespace`,
  )
  try {
    const stored = await manager.streams.getMessage(`KV_${bucket}`, { last_by_subj: `$KV.${bucket}.${CLUSTER_KEY}` })
    return stored === null || stored.header.has('KV-Operation') ? missing : stored.string()
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound) return missing
    return toError(error, bucket)
  }
}

function toError(error: unknown, bucket: string): CarillonError {
  const refused = refusedSubject(error)
  if (refused !== undefined) return refused
  const reason = redact(error instanceof Error ? error.message : String(error))
  // The client makes an error of its own for this, and does not export its class.
  const off = error instanceof Error && error.name === 'JetStreamNotEnabled'
  const silent =
    error instanceof errors.NoRespondersError || (error instanceof errors.RequestError && error.isNoResponders())
  const next =
    off || silent
      ? 'start nats-server with JetStream (-js), or enable it for this account'
      : 'check that JetStream has a leader, and that this user may use its API'
  return new CarillonError('JETSTREAM_UNAVAILABLE', `JetStream did not give the bucket ${bucket}: ${reason}: ${next}`)
}
