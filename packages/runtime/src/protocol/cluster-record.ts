/** The cluster's record: what every node and client must agree on. One KV entry, JSON, written once when the cluster is created. */
import { CarillonError } from '../errors.ts'
import { checkNamespace, quote } from './ids.ts'
import { PARTITIONS_MAX } from './limits.ts'

/** The key of the record in the bucket `<ns>-cluster` (`Subjects.clusterBucket`). */
export const CLUSTER_KEY = 'cluster'

/** The version of the record and of the wire that it stands for. */
export const CLUSTER_FORMAT_VERSION = 1

/** Log streams of a cluster at most. */
export const STREAMS_MAX = 8

/** What turns a message on the public door into an input: the log stream's own transform, a mapping in the server's account, or the nodes. */
export const DOORS = ['stream', 'mapping', 'relay'] as const
export type Door = (typeof DOORS)[number]

export interface ClusterRecord {
  readonly formatVersion: typeof CLUSTER_FORMAT_VERSION
  /** Made when the cluster is created: another cluster under the same namespace has another one. */
  readonly clusterId: string
  readonly namespace: string
  readonly partitions: number
  /** Log streams that hold the partitions. */
  readonly streams: number
  readonly door: Door
  /** ISO 8601, for people. */
  readonly createdAt: string
}

/** Formats the record as it stands in the bucket. */
export function formatClusterRecord(record: ClusterRecord): string {
  return JSON.stringify(record)
}

/**
 * Parses the record of a namespace.
 *
 * @throws CLUSTER_MISMATCH when it is no record, of another namespace, or of a format that this release does not know.
 */
export function parseClusterRecord(text: string, namespace: string): ClusterRecord {
  const refuse = (what: string): never => {
    throw new CarillonError('CLUSTER_MISMATCH', `the cluster's record in namespace ${namespace} ${what}`)
  }
  const raw = parseObject(text) ?? refuse(`is not a JSON object: ${quote(text)}`)
  if (raw['formatVersion'] !== CLUSTER_FORMAT_VERSION) {
    refuse(
      `has format ${quote(raw['formatVersion'])}, this release knows ${CLUSTER_FORMAT_VERSION}: use the release that the nodes run`,
    )
  }
  const { clusterId, partitions, streams, door, createdAt } = raw
  if (raw['namespace'] !== namespace) refuse(`names the namespace ${quote(raw['namespace'])}`)
  if (typeof clusterId !== 'string' || clusterId === '') return refuse(`has the clusterId ${quote(clusterId)}`)
  if (!isWholeTo(partitions, PARTITIONS_MAX))
    return refuse(`has ${quote(partitions)} partitions: 1 to ${PARTITIONS_MAX} are possible`)
  if (!isWholeTo(streams, STREAMS_MAX))
    return refuse(`has ${quote(streams)} log streams: 1 to ${STREAMS_MAX} are possible`)
  if (!isDoor(door)) return refuse(`has the door ${quote(door)}: ${DOORS.join(', ')} are known`)
  if (typeof createdAt !== 'string') return refuse(`has createdAt ${quote(createdAt)}`)
  return {
    formatVersion: CLUSTER_FORMAT_VERSION,
    clusterId,
    namespace: checkNamespace(namespace),
    partitions,
    streams,
    door,
    createdAt,
  }
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

function isWholeTo(value: unknown, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max
}

function isDoor(value: unknown): value is Door {
  return (DOORS as readonly unknown[]).includes(value)
}
