/** Opens a cluster: checks the server, agrees on the cluster's record, and makes or checks its streams. */
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'

import { CarillonError } from '@carillon/runtime'
import {
  checkNamespace,
  CLUSTER_FORMAT_VERSION,
  CLUSTER_KEY,
  type ClusterRecord,
  type Door,
  formatClusterRecord,
  parseClusterRecord,
  PARTITIONS_DEFAULT,
  PARTITIONS_MAX,
  quote,
  Subjects,
} from '@carillon/runtime/protocol'
import { JetStreamApiError, jetstream, jetstreamManager } from '@nats-io/jetstream'
import { type KV, Kvm } from '@nats-io/kv'
import { errors, type NatsConnection } from '@nats-io/transport-node'

import { callStreamPlan, deadStreamPlan, ensureStream, logStreamPlan, snapshotStreamPlan } from './cluster-streams.ts'
import { checkDoor } from './door-check.ts'
import { checkServer, isNoResponders, toServerError } from './server-check.ts'

export interface ClusterOptions {
  readonly namespace: string
  /** Partitions of a new cluster, 1 to 16,384; default 64. Of one that exists it must be the same, or undefined. */
  readonly partitions?: number | undefined
  /**
   * Who turns a message on the public door into an input; default `stream`. Of a cluster that exists it must be the
   * same, or undefined.
   */
  readonly door?: Door | undefined
  /** Copies of each stream that is made here; default 1. Use 3 with a cluster of servers. */
  readonly replicas?: number | undefined
  /** Bytes of the log stream when it is made here; a full one refuses inputs. Unlimited when undefined. */
  readonly logBytesMax?: number | undefined
  /** How long JetStream may take to answer. Default 15 s, longer than an election. */
  readonly timeoutMs?: number | undefined
}

export interface Cluster {
  readonly record: ClusterRecord
  readonly subjects: Subjects
  /** Whether this call wrote the record. */
  readonly isNew: boolean
}

const TIMEOUT_MS = 15_000
const WRONG_LAST_SEQUENCE = 10071
const UNAVAILABLE = 503
const REQUEST_TIMEOUT_MS = 2000
const RETRY_MS = 100

/**
 * Opens the cluster of a namespace, and creates it when there is none. Idempotent: nodes that start at once end with
 * the same record.
 *
 * @throws CLUSTER_MISMATCH when the cluster has other partitions or another door than the options ask for, or a stream
 * would not keep inputs.
 * @throws SERVER_TOO_OLD, JETSTREAM_UNAVAILABLE, SERVER_REFUSED, CONFIG_INVALID; each message names the next step.
 */
export async function openCluster(nc: NatsConnection, options: ClusterOptions): Promise<Cluster> {
  checkOptions(options)
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS
  await checkServer(nc, timeoutMs)
  const deadline = performance.now() + timeoutMs
  for (;;) {
    try {
      return await open(nc, options, Math.min(timeoutMs, REQUEST_TIMEOUT_MS))
    } catch (error) {
      // What another node has just made may not have elected its leader yet; all of it may be done again.
      if (!mayBeLeaderless(error) || nc.isClosed() || performance.now() > deadline)
        throw toServerError(error, `opening the cluster of namespace ${options.namespace}`)
    }
    await delay(RETRY_MS)
  }
}

/** A stream without a leader refuses, or nobody answers, or a request about it is lost. */
function mayBeLeaderless(error: unknown): boolean {
  if (isNoResponders(error) || error instanceof errors.TimeoutError) return true
  return error instanceof JetStreamApiError && error.status === UNAVAILABLE
}

async function open(nc: NatsConnection, options: ClusterOptions, timeoutMs: number): Promise<Cluster> {
  const limits = { replicas: options.replicas ?? 1, logBytesMax: options.logBytesMax }
  const js = jetstream(nc, { timeout: timeoutMs })
  // The bucket is named after the namespace alone; the record says how many partitions there are.
  const { clusterBucket } = new Subjects(options.namespace, 1)
  const bucket = await new Kvm(js).create(clusterBucket, {
    replicas: limits.replicas,
    storage: 'file',
    description: 'Carillon: the cluster’s record',
  })
  const { record, isNew } = await agree(bucket, options)
  checkAgainst(options, record)
  const subjects = new Subjects(options.namespace, record.partitions)
  const jsm = await jetstreamManager(nc, { checkAPI: false, timeout: timeoutMs })
  await ensureStream(jsm, logStreamPlan(subjects, record.door, limits))
  await ensureStream(jsm, deadStreamPlan(subjects, limits))
  await ensureStream(jsm, callStreamPlan(subjects, limits))
  await ensureStream(jsm, snapshotStreamPlan(subjects, limits))
  if (record.door !== 'relay') await checkDoor(nc, subjects)
  return { record, subjects, isNew }
}

/** Reads the record, or writes it: the first write wins. */
async function agree(
  bucket: KV,
  options: ClusterOptions,
): Promise<{ readonly record: ClusterRecord; readonly isNew: boolean }> {
  const present = await read(bucket, options.namespace)
  if (present !== undefined) return { record: present, isNew: false }
  const record = newRecord(options)
  try {
    await bucket.create(CLUSTER_KEY, formatClusterRecord(record))
    return { record, isNew: true }
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || error.code !== WRONG_LAST_SEQUENCE) throw error
  }
  const other = await read(bucket, options.namespace)
  if (other === undefined)
    throw new CarillonError(
      'CLUSTER_MISMATCH',
      `the record of namespace ${options.namespace} was removed while it was read: start again`,
    )
  return { record: other, isNew: false }
}

async function read(bucket: KV, namespace: string): Promise<ClusterRecord | undefined> {
  const entry = await bucket.get(CLUSTER_KEY)
  return entry === null || entry.operation !== 'PUT' ? undefined : parseClusterRecord(entry.string(), namespace)
}

function newRecord(options: ClusterOptions): ClusterRecord {
  return {
    formatVersion: CLUSTER_FORMAT_VERSION,
    clusterId: randomUUID(),
    namespace: options.namespace,
    partitions: options.partitions ?? PARTITIONS_DEFAULT,
    streams: 1,
    door: options.door ?? 'stream',
    createdAt: new Date().toISOString(),
  }
}

function checkAgainst(options: ClusterOptions, record: ClusterRecord): void {
  for (const field of ['partitions', 'door'] as const) {
    const asked = options[field]
    if (asked === undefined || asked === record[field]) continue
    const message = `the cluster in namespace ${record.namespace} was created with ${field} ${record[field]}, and ${field} ${asked} was asked for: leave it out, or use another namespace`
    throw new CarillonError('CLUSTER_MISMATCH', message)
  }
  if (record.streams !== 1) {
    throw new CarillonError(
      'CLUSTER_MISMATCH',
      `the cluster in namespace ${record.namespace} has ${record.streams} log streams, and this release works with 1`,
    )
  }
}

function checkOptions({ namespace, partitions, replicas }: ClusterOptions): void {
  checkNamespace(namespace)
  if (partitions !== undefined && !(Number.isInteger(partitions) && partitions >= 1 && partitions <= PARTITIONS_MAX)) {
    throw new CarillonError(
      'CONFIG_INVALID',
      `partitions ${quote(partitions)} is not a whole number from 1 to ${PARTITIONS_MAX}`,
    )
  }
  if (replicas !== undefined && ![1, 3, 5].includes(replicas)) {
    throw new CarillonError('CONFIG_INVALID', `replicas ${quote(replicas)} is not 1, 3 or 5`)
  }
}
