/** Digests of the instances of a partition, a page at a time, between the turns: for comparing replicas with each other and with a fold of the journal. */
import { digestOf, instanceOfRecordKey, recordRange } from '../core/index.ts'
import { hasCode } from '../errors.ts'
import type { OrderedStore } from '../ports/index.ts'
import {
  DIGESTS_LIMIT_MAX,
  type DigestPage,
  type DigestRow,
  type DigestSample,
  type InstanceKey,
  type RpcRequest,
} from '../protocol/index.ts'
import type { Mutex } from './mutex.ts'
import type { Partition } from './partition.ts'

type DigestsRequest = RpcRequest & { readonly op: 'digests' }

/** So long no turn runs, and so long one page takes: instances whose code waits are folded again, each by its tail. */
const SLICE_MS = 5
const PAGE_MS = 250

export interface DigestPagesOptions {
  readonly store: OrderedStore
  readonly turns: Mutex
  /** Everything up to here has been applied, in every partition that has caught up. */
  readonly appliedSeq: () => number
  /** The samples of these instances that are kept. */
  readonly samples: (partition: Partition, keys: ReadonlySet<InstanceKey>) => readonly DigestSample[]
}

/** One page. What the partition has applied must be in the store. */
export async function digestPage(
  { store, turns, appliedSeq, samples }: DigestPagesOptions,
  partition: Partition,
  request: DigestsRequest,
): Promise<DigestPage> {
  const keys = request.keys?.slice(0, DIGESTS_LIMIT_MAX) ?? keysOf(store, partition, request)
  const rows: DigestRow[] = []
  const endMs = performance.now() + PAGE_MS
  let done = 0
  while (done < keys.length && performance.now() < endMs) {
    await turns.run(async () => {
      const sliceEndMs = performance.now() + SLICE_MS
      do {
        const row = await rowOf(partition, keys[done++] as InstanceKey, appliedSeq)
        if (row !== undefined) rows.push(row)
      } while (done < keys.length && performance.now() < sliceEndMs)
    })
  }
  const last = keys[done - 1]
  const isWhole = done === keys.length && (request.keys !== undefined || keys.length < limitOf(request))
  return {
    rows,
    samples: request.keys === undefined ? [] : samples(partition, new Set(keys)),
    ...(isWhole || last === undefined ? {} : { next: last }),
  }
}

function limitOf({ limit }: DigestsRequest): number {
  return Number.isInteger(limit) ? Math.min(Math.max(1, limit), DIGESTS_LIMIT_MAX) : DIGESTS_LIMIT_MAX
}

function keysOf(store: OrderedStore, { number }: Partition, request: DigestsRequest): InstanceKey[] {
  const keys: InstanceKey[] = []
  const range = recordRange(number, undefined, request.after)
  for (const row of store.range('record', { ...range, limit: limitOf(request) })) {
    const key = instanceOfRecordKey(row.key)
    if (request.until !== undefined && key > request.until) break
    keys.push(key)
  }
  return keys
}

/** Undefined for an instance that there is not. */
async function rowOf(partition: Partition, key: InstanceKey, appliedSeq: () => number): Promise<DigestRow | undefined> {
  const atSeq = Math.max(partition.position, appliedSeq())
  try {
    const resident = await partition.find(key)
    if (resident === undefined) return undefined
    const { data } = resident.instance
    const waits = resident.standing !== undefined || partition.isHeld(key)
    // What an absent one knows of its place depends on when it left memory.
    const seq = data.phase.kind === 'absent' ? 0 : data.seq
    return { key, seq, atSeq, digest: digestOf(data), stateVersion: data.stateVersion, waits }
  } catch (error) {
    if (!hasCode(error, 'UNKNOWN_TYPE')) throw error
    return { key, seq: 0, atSeq, digest: '', stateVersion: 0, waits: false }
  }
}
