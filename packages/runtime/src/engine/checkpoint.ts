/**
 * One checkpoint of one partition: what has changed since the last one becomes a segment, and then the head that names it.
 *
 * Invariants
 * 1. What a head covers is the store's state of one moment: everything is read from one view, the position with it.
 * 2. A head names parts that are stored. It is replaced by compare-and-set, and never by one that covers less: what another node has stored meanwhile
 *    stays, and what was captured for nothing is removed.
 * 3. A head continues another one only where this store knows every instance that has changed since that; else it begins anew, with all rows.
 */
import { randomUUID } from 'node:crypto'

import { positionKey, restoringKey } from '../core/index.ts'
import { CarillonError } from '../errors.ts'
import type { Clock, Logger, OrderedStore, Snapshots, StoreView } from '../ports/index.ts'
import { decodeValue, type Partition } from '../protocol/index.ts'
import { boundChanges, type Changes, forgetChanges, readChanges } from './change-log.ts'
import { captureAll, captureChanged, type Captured } from './checkpoint-capture.ts'
import { type Checkpoint, decodeCheckpoint, encodeCheckpoint, type Segment } from './checkpoint-head.ts'
import { type CheckpointPace, Pacer } from './checkpoint-pace.ts'
import { SegmentWriter } from './checkpoint-segment.ts'
import type { ReachFailpoint } from './failpoints.ts'

/** Segments of a snapshot; with more, all rows are written anew. Each is a read of its own when a node restores. */
const SEGMENTS_MAX = 128
/** Below this a snapshot is small: it is not written anew for what its segments repeat. */
const REPEATED_BYTES_MIN = 1024 * 1024

export interface CheckpointContext {
  /** As it lies on the disk: rows stay in the codecs that they have passed. */
  readonly store: OrderedStore
  readonly snapshots: Snapshots
  /** Of the journal. */
  readonly identity: string
  /** The node's name. */
  readonly writer: string
  readonly clock: Clock
  readonly logger: Logger
  readonly pace: CheckpointPace
  readonly reach: ReachFailpoint
  /** False when the partition is not to be saved by this node any more. */
  readonly isOwner: (partition: Partition) => boolean
}

/** The head as it stands in the stream, as far as this node knows. */
export interface KnownHead {
  readonly revision: number
  readonly checkpoint: Checkpoint
}

export type CheckpointResult =
  | {
      readonly kind: 'saved'
      readonly head: KnownHead
      readonly segment: Segment | undefined
      readonly isWhole: boolean
      readonly firstPlace: number
    }
  /** There is nothing to save, or another node has saved more. */
  | { readonly kind: 'kept'; readonly head: KnownHead | undefined }
  /** Another node was faster, or the partition is not ours any more. */
  | { readonly kind: 'lost' }

/** What is published for a partition, or undefined when there is nothing. @throws SNAPSHOT_DAMAGED when it cannot be read. */
export async function readHead(snapshots: Snapshots, partition: Partition): Promise<KnownHead | undefined> {
  const stored = await snapshots.head(partition)
  return stored && { revision: stored.revision, checkpoint: decodeCheckpoint(stored.bytes, partition) }
}

/**
 * Saves what has changed.
 *
 * @param known the head that the last call gave, where it was this node that stored it; else it is read.
 * @param savedLast what `changes.last` was in the last call: the same changes are not saved twice.
 */
export async function saveCheckpoint(
  context: CheckpointContext,
  partition: Partition,
  known: KnownHead | undefined,
  savedLast: Uint8Array | undefined,
): Promise<CheckpointResult & { readonly last: Uint8Array | undefined }> {
  const head = known ?? (await readHead(context.snapshots, partition))
  const view = context.store.view()
  try {
    const position = readPosition(view, partition)
    const changes = readChanges(view, partition, position)
    const { last } = changes
    if (!isDue(head, position, changes, savedLast)) return { kind: 'kept', head, last: savedLast }
    checkSameJournal(head, context.identity, partition)
    const result = await save(context, view, partition, position, changes, head)
    if (result.kind === 'saved') await forget(context.store, partition, position)
    return { ...result, last: result.kind === 'saved' ? last : undefined }
  } finally {
    view.close()
  }
}

/** Where another node saves: what it has saved long ago needs not to be known here. Gives what is covered now. */
export async function followCheckpoint(
  { snapshots, store }: CheckpointContext,
  partition: Partition,
  coveredBefore: number,
): Promise<number> {
  const head = await readHead(snapshots, partition)
  await forget(store, partition, coveredBefore)
  return head?.checkpoint.coveredSeq ?? 0
}

async function forget(store: OrderedStore, partition: Partition, savedSeq: number): Promise<void> {
  const position = readPosition(store, partition)
  const writes = [...forgetChanges(store, partition, savedSeq, position)]
  await store.commit(writes)
  await store.commit(boundChanges(store, partition, position))
}

function isDue(
  head: KnownHead | undefined,
  position: number,
  { last, keys }: Changes,
  savedLast: Uint8Array | undefined,
): boolean {
  if (position === 0) return false
  if (head === undefined) return true
  const { coveredSeq } = head.checkpoint
  if (position !== coveredSeq) return position > coveredSeq
  // Effects that are done since change an instance without moving the position.
  return keys.size > 0 && (last === undefined || savedLast === undefined || !Buffer.from(last).equals(savedLast))
}

function checkSameJournal(head: KnownHead | undefined, identity: string, partition: Partition): void {
  if (head === undefined || head.checkpoint.identity === identity) return
  throw new CarillonError(
    'JOURNAL_REPLACED',
    `the remote snapshot of partition ${partition} is of the journal created ${head.checkpoint.identity}, and the journal of now was created ${identity}: restore that journal, or remove the snapshot stream if the loss is accepted`,
  )
}

async function save(
  context: CheckpointContext,
  view: StoreView,
  partition: Partition,
  position: number,
  changes: Changes,
  head: KnownHead | undefined,
): Promise<CheckpointResult> {
  const { snapshots, clock, identity, writer, isOwner, reach } = context
  const atMs = Math.floor(clock.nowMs())
  const isWhole = head === undefined || beginsAnew(head.checkpoint, changes)
  const rows = isWhole ? captureAll(view, partition) : captureChanged(view, partition, changes.keys)
  const { name, stored } = await putSegment(context, partition, rows, isWhole)
  reach('in-checkpoint')
  const revision = stored && isOwner(partition) ? await replaceHead(stored.segment) : undefined
  if (stored !== undefined && revision !== undefined)
    return { kind: 'saved', head: { revision, checkpoint: checkpointOf(stored.segment) }, isWhole, ...stored }
  await snapshots.remove(partition, name)
  return { kind: 'lost' }

  function replaceHead(segment: Segment | undefined): Promise<number | undefined> {
    return snapshots.replaceHead(partition, encodeCheckpoint(checkpointOf(segment)), head?.revision ?? 0)
  }

  function checkpointOf(segment: Segment | undefined): Checkpoint {
    const before = isWhole ? [] : (head?.checkpoint.segments ?? [])
    const segments = segment === undefined ? before : [...before, segment]
    return { partition, identity, coveredSeq: position, atMs, writer, segments }
  }
}

/** Invariant 3; and when what was written anew in part comes to as much as all. */
function beginsAnew({ coveredSeq, segments }: Checkpoint, { sinceSeq, keys }: Changes): boolean {
  const [whole, ...later] = segments
  if (whole === undefined) return keys.size > 0 || sinceSeq > coveredSeq
  if (sinceSeq > coveredSeq || segments.length >= SEGMENTS_MAX || keys.size * 2 > whole.instances + REPLACED_MIN)
    return true
  const repeated = later.reduce((sum, { bytes }) => sum + bytes, 0)
  return repeated > Math.max(whole.bytes, REPEATED_BYTES_MIN)
}

/** Of a small partition that has mostly changed, not every checkpoint is a whole one. */
const REPLACED_MIN = 1000

interface StoredSegment {
  /** Undefined where there is no row. */
  readonly segment: Segment | undefined
  readonly firstPlace: number
}

/** `stored` is undefined when the partition is not ours any more: whoever hands it over does not wait for the rest. */
async function putSegment(
  { snapshots, clock, pace, isOwner }: CheckpointContext,
  partition: Partition,
  rows: Captured,
  isWhole: boolean,
): Promise<{ readonly name: string; readonly stored: StoredSegment | undefined }> {
  const name = randomUUID()
  const writer = new SegmentWriter(name)
  const pacer = new Pacer(pace, clock)
  let instances = 0
  let index = 0
  let firstPlace = 0
  const put = async (part: Uint8Array): Promise<void> => {
    const beganMs = performance.now()
    const place = await snapshots.putPart(partition, name, index, part)
    if (index++ === 0) firstPlace = place
    await pacer.sent(part.length, performance.now() - beganMs)
  }
  for (const frame of rows) {
    if (frame !== undefined) {
      writer.add(frame)
      if (isWhole ? frame.kind === 'row' && frame.table === 'record' : frame.kind === 'replaced') instances += 1
      for (const part of writer.takeFull()) {
        if (!isOwner(partition)) return { name, stored: undefined }
        await put(part)
      }
    }
    const rest = pacer.row()
    if (rest === undefined) continue
    await rest
    if (!isOwner(partition)) return { name, stored: undefined }
  }
  const last = writer.end()
  if (last !== undefined) await put(last)
  const { parts, bytes } = writer
  return { name, stored: { segment: parts === 0 ? undefined : { name, parts, bytes, instances }, firstPlace } }
}

function readPosition(store: Pick<OrderedStore, 'get'>, partition: Partition): number {
  // Half of a restore is no state of the fold.
  if (store.get('meta', restoringKey(partition)) !== undefined) return 0
  const saved = store.get('meta', positionKey(partition))
  return saved === undefined ? 0 : (decodeValue(saved) as number)
}
