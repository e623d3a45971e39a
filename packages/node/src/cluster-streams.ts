/** The streams of a cluster: how they are configured, and whether one that exists will do. */
import { CarillonError } from '@carillon/runtime'
import { type Door, PAYLOAD_BYTES_MAX, quote, type Subjects } from '@carillon/runtime/protocol'
import {
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  RetentionPolicy,
  StorageType,
  StoreCompression,
  type StreamConfig,
} from '@nats-io/jetstream'
import { nanos } from '@nats-io/transport-node'

export interface StreamLimits {
  /** Copies of each stream: 1, 3 or 5. */
  readonly replicas: number
  /** Bytes of the log stream; a full one refuses inputs. Unlimited when undefined. */
  readonly logBytesMax?: number | undefined
}

export type StreamPlan = Partial<StreamConfig> & Pick<StreamConfig, 'name'>

/** Headers beside the payload: Carillon's own are under 1 KiB, those of plain producers are theirs. */
const HEADERS_BYTES_MAX = 64 * 1024
/** Nats-Msg-Id of plain producers is remembered so long. Carillon's own dedupe does not use it. */
const DUPLICATE_WINDOW_MS = 120_000
const NAME_IN_USE = 10058
/** Calls of one activity that wait in the work queue, or are with workers. */
const CALLS_PER_ACTIVITY_MAX = 20_000
/** Bytes of all of them: the server sets them aside. */
const CALL_BYTES_MAX = 256 * 1024 * 1024

/** The journal. In door mode `stream` it takes the public door itself, and its transform computes the partition. */
export function logStreamPlan(subjects: Subjects, door: Door, { replicas, logBytesMax }: StreamLimits): StreamPlan {
  const plan = {
    ...durablePlan(subjects.logStream, replicas),
    max_bytes: logBytesMax ?? -1,
    subjects: [subjects.logAll],
    duplicate_window: nanos(DUPLICATE_WINDOW_MS),
  }
  if (door !== 'stream') return plan
  return {
    ...plan,
    subjects: [subjects.logAll, subjects.doorAll],
    subject_transform: { src: subjects.doorAll, dest: subjects.doorDestination },
  }
}

export function deadStreamPlan(subjects: Subjects, { replicas }: StreamLimits): StreamPlan {
  return { ...durablePlan(subjects.deadStream, replicas), subjects: [subjects.deadAll] }
}

/**
 * The work queue of remote activity workers: a call is gone when a worker has acknowledged it. A full queue refuses, and the rest waits in the stores of
 * the nodes.
 */
export function callStreamPlan(subjects: Subjects, { replicas }: StreamLimits): StreamPlan {
  return {
    ...durablePlan(subjects.callStream, replicas),
    retention: RetentionPolicy.Workqueue,
    subjects: [subjects.callAll],
    max_msgs_per_subject: CALLS_PER_ACTIVITY_MAX,
    discard_new_per_subject: true,
    max_bytes: CALL_BYTES_MAX,
    // A call that is purged is never made, and its instance waits for it for ever.
    deny_purge: true,
    duplicate_window: nanos(DUPLICATE_WINDOW_MS),
  }
}

/** Remote snapshots: of each subject the last message. Rows repeat the names of their fields, so the server compresses them. */
export function snapshotStreamPlan(subjects: Subjects, { replicas }: StreamLimits): StreamPlan {
  return {
    ...durablePlan(subjects.snapshotStream, replicas),
    subjects: [subjects.snapshotAll],
    max_msgs_per_subject: 1,
    compression: StoreCompression.S2,
  }
}

/**
 * Nothing is ever dropped by age or count, no header of a producer removes or expires a message, and nobody deletes a single one: what goes is trimmed as a
 * whole, from the beginning.
 */
function durablePlan(name: string, replicas: number): StreamPlan {
  return {
    name,
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    max_msgs: -1,
    max_msgs_per_subject: -1,
    max_age: 0,
    max_msg_size: PAYLOAD_BYTES_MAX + HEADERS_BYTES_MAX,
    num_replicas: replicas,
    deny_delete: true,
    allow_direct: true,
    allow_atomic: true,
    allow_rollup_hdrs: false,
    allow_msg_ttl: false,
  }
}

/**
 * Makes the stream, or checks the one that is there. Several nodes may do so at once.
 *
 * @throws CLUSTER_MISMATCH when the one that is there would lose, expire or misplace inputs; names the setting and
 * both values.
 */
export async function ensureStream(jsm: JetStreamManager, plan: StreamPlan): Promise<void> {
  const present = await findStream(jsm, plan.name)
  if (present !== undefined) return checkStream(plan, present)
  try {
    await jsm.streams.add(plan)
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || error.code !== NAME_IN_USE) throw error
    // Another node was faster; with the same plan the server would have said yes.
    const other = await findStream(jsm, plan.name)
    if (other === undefined) throw error
    checkStream(plan, other)
  }
}

async function findStream(jsm: JetStreamManager, name: string): Promise<StreamConfig | undefined> {
  try {
    return (await jsm.streams.info(name)).config
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound) return undefined
    throw error
  }
}

/**
 * What decides whether inputs are kept, in order, at their place. The rest is the operator's: sizes, replicas,
 * placement, compression.
 */
const CHECKED = [
  'subjects',
  'retention',
  'discard',
  'storage',
  'max_age',
  'max_msgs_per_subject',
  'discard_new_per_subject',
  'allow_atomic',
  'allow_direct',
  'allow_rollup_hdrs',
  'allow_msg_ttl',
  'subject_transform',
] as const satisfies readonly (keyof StreamConfig)[]

function checkStream(plan: StreamPlan, present: StreamConfig): void {
  for (const field of CHECKED) {
    const [want, have] = [canonical(plan[field]), canonical(present[field])]
    if (want === have) continue
    const message = `the stream ${quote(plan.name)} has ${field} ${have}, and this cluster needs ${want}: edit the stream, or use another namespace`
    throw new CarillonError('CLUSTER_MISMATCH', message)
  }
  if (present.mirror !== undefined || (present.sources ?? []).length > 0) {
    throw new CarillonError(
      'CLUSTER_MISMATCH',
      `the stream ${quote(plan.name)} copies another stream: a journal takes its inputs from its own subjects only`,
    )
  }
}

/** Absent and false are the same to the server, and the order of subjects means nothing. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return JSON.stringify([...(value as string[])].sort())
  if (value === undefined || value === false) return 'false'
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  return JSON.stringify(Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))))
}
