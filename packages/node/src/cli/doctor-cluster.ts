/** The checks of `carillon doctor` that concern the cluster: its record, its streams, the door, rights, and whether nodes serve it. */
import { CarillonError } from '@carillon/runtime'
import {
  CLUSTER_KEY,
  type ClusterRecord,
  encodeValue,
  parseClusterRecord,
  type Partition,
  Subjects,
  type Token,
} from '@carillon/runtime/protocol'
import {
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  jetstreamManager,
  type StreamInfo,
} from '@nats-io/jetstream'
import { headers, type NatsConnection, PermissionViolationError } from '@nats-io/transport-node'

import { ensureStream, logStreamPlan } from '../cluster-streams.ts'
import { checkDoor } from '../door-check.ts'
import { toServerError } from '../server-check.ts'
import { checkIsolation } from './doctor-isolation.ts'
import { formatBytes } from './doctor-server.ts'
import { fail, type Finding, ok, skipped, warn } from './finding.ts'

const TIMEOUT_MS = 3000
/** Partitions that are asked whether a node serves them. */
const ASKED_MAX = 64
const PROBE = 'carillon-doctor' as Token

/** Everything about the cluster of a namespace; the later checks need the earlier ones. */
export async function checkCluster(
  nc: NatsConnection,
  namespace: string,
  jsPrefix?: string,
): Promise<readonly Finding[]> {
  const api = jsPrefix === undefined ? {} : { apiPrefix: jsPrefix }
  const jsm = await jetstreamManager(nc, { checkAPI: false, timeout: TIMEOUT_MS, ...api })
  let record: ClusterRecord | undefined
  try {
    record = await readRecord(jsm, namespace)
  } catch (error) {
    return [fail('cluster', toServerError(error, `reading the cluster of namespace ${namespace}`), 'CLUSTER_MISMATCH')]
  }
  if (record === undefined) {
    return [
      warn(
        'cluster',
        `there is none in namespace ${namespace} yet`,
        'start a node, which creates it: carillon node --workflows …; or give another --namespace',
      ),
      ...['journal', 'door', 'permissions', 'isolation', 'nodes'].map((check) =>
        skipped(check, 'there is no cluster yet'),
      ),
    ]
  }
  const { partitions, door, createdAt } = record
  const subjects = new Subjects(namespace, partitions)
  return [
    ok('cluster', `namespace ${namespace}, ${partitions} partitions, door ${door}, created ${createdAt}`),
    await checkJournal(nc, jsm, subjects, record),
    await checkTheDoor(nc, subjects, record),
    await checkPermissions(nc, subjects, jsPrefix !== undefined),
    await checkIsolation(nc, subjects, jsPrefix !== undefined),
    await checkNodes(nc, subjects),
  ]
}

async function readRecord(jsm: JetStreamManager, namespace: string): Promise<ClusterRecord | undefined> {
  const bucket = new Subjects(namespace, 1).clusterBucket
  try {
    const stored = await jsm.streams.getMessage(`KV_${bucket}`, { last_by_subj: `$KV.${bucket}.${CLUSTER_KEY}` })
    return stored === null || stored.header.has('KV-Operation')
      ? undefined
      : parseClusterRecord(stored.string(), namespace)
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound) return undefined
    throw error
  }
}

async function checkJournal(
  nc: NatsConnection,
  jsm: JetStreamManager,
  subjects: Subjects,
  record: ClusterRecord,
): Promise<Finding> {
  try {
    const info = await jsm.streams.info(subjects.logStream)
    // It is there, so this only compares.
    await ensureStream(jsm, logStreamPlan(subjects, record.door, { replicas: info.config.num_replicas }))
    return journalFinding(nc, info)
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound) {
      const message = `the stream ${subjects.logStream} is gone, and the cluster's inputs with it: restore it from a copy before a node starts, else a new one begins empty`
      return fail('journal', new CarillonError('JOURNAL_REPLACED', message), 'JOURNAL_REPLACED')
    }
    return fail('journal', toServerError(error, `reading the stream ${subjects.logStream}`), 'CLUSTER_MISMATCH')
  }
}

function journalFinding(nc: NatsConnection, { state, config, cluster }: StreamInfo): Finding {
  const detail = `${state.messages} inputs, ${formatBytes(state.bytes)}, last seq ${state.last_seq}, ${config.num_replicas} of each`
  const lost = (cluster?.replicas ?? [])
    .filter((replica) => replica.offline || !replica.current)
    .map(({ name }) => name)
  if (lost.length > 0)
    return warn(
      'journal',
      `${detail}; not in step: ${lost.join(', ')}`,
      'bring these servers back: with one fewer than a majority nothing is accepted',
    )
  const isAlone = config.num_replicas === 1 && nc.info?.cluster !== undefined
  if (isAlone)
    return warn(
      'journal',
      detail,
      `the servers are a cluster, but the journal has one copy: nats stream edit ${config.name} --replicas 3`,
    )
  return ok('journal', detail)
}

async function checkTheDoor(nc: NatsConnection, subjects: Subjects, { door }: ClusterRecord): Promise<Finding> {
  if (door === 'relay') return skipped('door', `the nodes relay ${subjects.doorAll}`)
  try {
    await checkDoor(nc, subjects)
    return ok('door', `${subjects.doorAll} leads into the journal`)
  } catch (error) {
    return fail('door', error, 'CONFIG_INVALID')
  }
}

/** What producers and nodes do most: publish into the journal, and answer requests. The latter only nodes do, and they are in the account of the streams. */
async function checkPermissions(nc: NatsConnection, subjects: Subjects, isOutside: boolean): Promise<Finding> {
  const publish = await deniedPublish(nc, subjects)
  if (isOutside && publish === undefined) return ok('permissions', `this user may publish on ${subjects.logAll}`)
  const denied = [publish, isOutside ? undefined : await deniedSubscription(nc, subjects)].filter(
    (text) => text !== undefined,
  )
  if (denied.length === 0)
    return ok('permissions', `this user may publish on ${subjects.logAll} and subscribe to ${subjects.namespace}.rpc.*`)
  return fail(
    'permissions',
    new CarillonError('SERVER_REFUSED', `this user may not ${denied.join(', nor ')}: grant it, if it is for a node`),
    'SERVER_REFUSED',
  )
}

/** A message that the stream must refuse, so that nothing is stored. */
async function deniedPublish(nc: NatsConnection, subjects: Subjects): Promise<string | undefined> {
  const refusing = headers()
  refusing.set('Nats-Expected-Stream', PROBE)
  try {
    await nc.request(subjects.log(PROBE, PROBE, 'signal', PROBE), undefined, { timeout: TIMEOUT_MS, headers: refusing })
    return undefined
  } catch (error) {
    return violationOf(error) === undefined ? undefined : `publish on ${subjects.logAll}`
  }
}

async function deniedSubscription(nc: NatsConnection, subjects: Subjects): Promise<string | undefined> {
  let denied: string | undefined
  const subject = `${subjects.namespace}.rpc.${PROBE}`
  const subscription = nc.subscribe(subject, {
    callback: (error) => {
      if (violationOf(error) !== undefined) denied = `subscribe to ${subjects.namespace}.rpc.*`
    },
  })
  await nc.flush()
  subscription.unsubscribe()
  return denied
}

function violationOf(error: unknown): PermissionViolationError | undefined {
  if (error instanceof PermissionViolationError) return error
  return error instanceof Error && error.cause instanceof PermissionViolationError ? error.cause : undefined
}

async function checkNodes(nc: NatsConnection, subjects: Subjects): Promise<Finding> {
  const asked = Math.min(subjects.partitions, ASKED_MAX)
  const served = await Promise.all(
    Array.from({ length: asked }, (_, number) => isServed(nc, subjects, number as Partition)),
  )
  if (served.includes('denied')) return skipped('nodes', `this user may not publish on ${subjects.namespace}.rpc.*`)
  const missing = served.filter((answer) => answer === 'no').length
  if (missing === 0)
    return ok('nodes', `${asked === subjects.partitions ? `all ${asked}` : `the first ${asked}`} partitions are served`)
  return warn(
    'nodes',
    `${missing} of ${asked} partitions are not served: their inputs are accepted, and wait`,
    'start a node, or wait until one has caught up: carillon health tells',
  )
}

async function isServed(
  nc: NatsConnection,
  subjects: Subjects,
  partition: Partition,
): Promise<'yes' | 'no' | 'denied'> {
  try {
    await nc.request(subjects.rpc(partition), encodeValue({ op: 'list', limit: 1 }), { timeout: TIMEOUT_MS })
    return 'yes'
  } catch (error) {
    return violationOf(error) === undefined ? 'no' : 'denied'
  }
}
