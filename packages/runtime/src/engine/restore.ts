/**
 * Brings the rows of a partition back from its remote snapshot, where the journal alone does not give them, or would take much longer.
 *
 * Invariants
 * 1. From the first row that is removed to the last one that is written, the store says that the partition is half of a restore: whatever ends the process
 *    between, nobody takes it for whole (`readPosition` in partition.ts), and the next call begins again.
 * 2. The rows that a restore leaves are those of a store that had applied the journal up to `coveredSeq`; what follows from them, the index and the
 *    counts, is made anew.
 * 3. Where neither the journal nor the snapshot reaches from what there is to the journal's end, nothing is changed: JOURNAL_BEHIND.
 */
import {
  allDueRange,
  changedRange,
  collectIndex,
  countRange,
  decodeSummary,
  instanceOfRecordKey,
  ownerOfRow,
  partitionRange,
  patchRange,
  positionKey,
  recordRange,
  restoringKey,
  trackedKey,
} from '../core/index.ts'
import { CarillonError, hasCode } from '../errors.ts'
import {
  type Clock,
  type InputLog,
  type LogBounds,
  type Logger,
  type OrderedStore,
  type Range,
  type Snapshots,
  type Table,
  TABLES,
  type Write,
} from '../ports/index.ts'
import { decodeValue, encodeValue, type Partition } from '../protocol/index.ts'
import { resetChanges } from './change-log.ts'
import { readHead } from './checkpoint.ts'
import type { Checkpoint, Segment } from './checkpoint-head.ts'
import { SegmentReader } from './checkpoint-segment.ts'
import { noFailpoints, type ReachFailpoint } from './failpoints.ts'
import { StatusCounts } from './status-counts.ts'

export interface RestoreContext {
  /** As it lies on the disk: rows stay in the codecs that they have passed. */
  readonly store: OrderedStore
  /** The same store behind the codecs. */
  readonly decoded: OrderedStore
  readonly snapshots: Snapshots
  readonly log: Pick<InputLog, 'bounds'>
  readonly clock: Clock
  readonly logger: Logger
  readonly reach?: ReachFailpoint
  /** Runs a restore when it is its turn: each takes memory, and the disk of all. */
  readonly inTurn?: <T>(task: () => Promise<T>) => Promise<T>
}

/** An empty store is restored rather than built from the journal when the snapshot covers so many inputs: folding them takes longer by then. */
const AHEAD_MIN = 10_000
/** Of one batch. */
const BATCH_ROWS = 1000
const BATCH_BYTES = 4 * 1024 * 1024

/**
 * To be called before a partition is opened. Does nothing where its rows and the journal are enough.
 *
 * @throws JOURNAL_BEHIND when neither journal nor snapshot reaches what is needed, or the journal has lost what the snapshot covers.
 * @throws JOURNAL_REPLACED when the snapshot is of another journal than this one.
 * @throws SNAPSHOT_DAMAGED when the snapshot is needed and cannot be used.
 */
export async function restoreWhereNeeded(
  context: RestoreContext,
  partition: Partition,
  known: LogBounds,
): Promise<'kept' | 'restored' | 'emptied'> {
  const { store, snapshots, log, logger } = context
  const saved = store.get('meta', positionKey(partition))
  const isHalf = store.get('meta', restoringKey(partition)) !== undefined
  const position = saved === undefined || isHalf ? 0 : (decodeValue(saved) as number)
  const head = (await readHead(snapshots, partition))?.checkpoint
  // The owner may have applied more than there was when the bounds were asked for.
  const bounds = head !== undefined && head.coveredSeq > known.lastSeq ? await log.bounds() : known
  const what = decideRestore({ partition, position, isHalf, head, bounds })
  if (what === 'keep') return 'kept'
  if (what === 'restore' && head !== undefined && (await tryRestore(context, head, bounds))) return 'restored'
  await empty(store, partition)
  await store.commit([{ table: 'meta', key: restoringKey(partition), value: undefined }])
  logger.info({ partition }, 'half of a restore was removed: the partition is built from the journal')
  return 'emptied'
}

export interface RestoreQuestion {
  readonly partition: Partition
  /** 0 where nothing was applied. */
  readonly position: number
  /** A restore has begun, and not ended. */
  readonly isHalf: boolean
  readonly head: Checkpoint | undefined
  readonly bounds: LogBounds
}

/** @throws JOURNAL_BEHIND, JOURNAL_REPLACED */
export function decideRestore({
  partition,
  position,
  isHalf,
  head,
  bounds,
}: RestoreQuestion): 'keep' | 'restore' | 'empty' {
  const { identity, firstSeq, lastSeq } = bounds
  if (head !== undefined && head.identity !== identity) {
    // A store with data says by itself whose they are.
    if (position > 0) return 'keep'
    throw new CarillonError(
      'JOURNAL_REPLACED',
      `the remote snapshot of partition ${partition} is of the journal created ${head.identity}, and the journal of now was created ${identity}: restore that journal, or remove the snapshot stream if the loss is accepted`,
    )
  }
  if (head !== undefined && head.coveredSeq > lastSeq)
    throw new CarillonError(
      'JOURNAL_BEHIND',
      `the journal ends at seq ${lastSeq}, but the remote snapshot of partition ${partition} covers seq ${head.coveredSeq}: acknowledged inputs are missing from it. Restore the stream from a newer copy; do not go on with this one`,
    )
  const reaches = position + 1 >= firstSeq
  const isSlow = position === 0 && head !== undefined && head.coveredSeq >= AHEAD_MIN
  if (!isHalf && reaches && !isSlow) return 'keep'
  if (head !== undefined && head.coveredSeq + 1 >= firstSeq) return 'restore'
  if (reaches) return isHalf ? 'empty' : 'keep'
  throw new CarillonError(
    'JOURNAL_BEHIND',
    `the journal begins at seq ${firstSeq}, but partition ${partition} needs it from seq ${position + 1}, and ${head === undefined ? 'there is no remote snapshot of it' : `its remote snapshot covers it up to seq ${head.coveredSeq} only`}: inputs between them are gone. Restore the stream, or this node's data folder`,
  )
}

/** False where the snapshot cannot be used, and the journal is whole. */
async function tryRestore(context: RestoreContext, head: Checkpoint, { firstSeq }: LogBounds): Promise<boolean> {
  const { logger, store } = context
  const { partition } = head
  const beganMs = performance.now()
  try {
    const { inTurn = (task) => task() } = context
    const { instances, rows } = await inTurn(() => restorePartition(context, head))
    const tookMs = Math.round(performance.now() - beganMs)
    logger.info({ partition, coveredSeq: head.coveredSeq, instances, rows, tookMs }, 'a partition was restored')
    return true
  } catch (error) {
    if (!hasCode(error, 'SNAPSHOT_DAMAGED') || firstSeq > 1) throw error
    logger.warn({ partition, err: error }, 'a remote snapshot cannot be used: the partition is built from the journal')
    if (store.get('meta', restoringKey(partition)) === undefined) throw error
    return false
  }
}

/**
 * Replaces all rows of a partition by those of its snapshot.
 *
 * @throws SNAPSHOT_DAMAGED when a part is missing or not what was written: the partition is then half of a restore.
 */
export async function restorePartition(
  context: RestoreContext,
  { partition, coveredSeq, segments }: Checkpoint,
): Promise<{ readonly instances: number; readonly rows: number }> {
  const { store, reach = noFailpoints } = context
  await empty(store, partition)
  const seen = new Set<string>()
  let rows = 0
  // From the newest on: the first rows of an instance that come are the ones that count.
  for (const segment of segments.toReversed()) {
    rows += await loadSegment(context, partition, segment, seen)
    reach('in-restore')
  }
  const { instances, derived } = await derive(context, partition)
  await store.commit([
    ...derived,
    ...resetChanges(store, partition, coveredSeq),
    { table: 'meta', key: positionKey(partition), value: encodeValue(coveredSeq) },
    { table: 'meta', key: restoringKey(partition), value: undefined },
  ])
  return { instances, rows }
}

/** Invariant 1: the mark comes first, and stays. */
async function empty(store: OrderedStore, partition: Partition): Promise<void> {
  await store.commit([
    { table: 'meta', key: restoringKey(partition), value: encodeValue(true) },
    { table: 'meta', key: positionKey(partition), value: undefined },
  ])
  const batch = new Batch(store)
  const ofMeta = [allDueRange, patchRange, countRange, changedRange].map((rangeOf): [Table, Range] => [
    'meta',
    rangeOf(partition),
  ])
  const ofOthers = TABLES.filter((table) => table !== 'meta').map((table): [Table, Range] => [
    table,
    partitionRange(partition),
  ])
  for (const [table, range] of [...ofMeta, ...ofOthers])
    for (const { key } of store.range(table, range)) {
      const full = batch.add({ table, key, value: undefined })
      if (full !== undefined) await full
    }
  await batch.add({ table: 'meta', key: trackedKey(partition), value: undefined })
  await batch.end()
}

/** Gives how many rows of it count. */
async function loadSegment(
  { store, snapshots }: RestoreContext,
  partition: Partition,
  { name, parts }: Segment,
  seen: Set<string>,
): Promise<number> {
  const reader = new SegmentReader(name)
  const replaced: string[] = []
  const batch = new Batch(store)
  let rows = 0
  for await (const part of snapshots.parts(partition, name, parts)) {
    for (const frame of reader.read(part)) {
      if (frame.kind === 'replaced') {
        replaced.push(frame.key)
        continue
      }
      const { table, row } = frame
      const owner = ownerOfRow(table, row.key)
      if (owner === undefined || owner.partition !== partition)
        throw new CarillonError(
          'SNAPSHOT_DAMAGED',
          `the segment ${name} of partition ${partition} holds the row ${JSON.stringify(row.key)} of table ${table}, which is not of it`,
        )
      if (seen.has(owner.key)) continue
      rows += 1
      const full = batch.add({ table, ...row })
      if (full !== undefined) await full
    }
  }
  reader.end()
  await batch.end()
  for (const key of replaced) seen.add(key)
  return rows
}

/** Invariant 2. */
async function derive(
  { store, decoded, clock }: RestoreContext,
  partition: Partition,
): Promise<{ readonly instances: number; readonly derived: readonly Write[] }> {
  const counts = new StatusCounts(store, partition)
  const batch = new Batch(store)
  let instances = 0
  for (const { key: rowKey, value } of decoded.range('record', recordRange(partition, undefined, undefined))) {
    const key = instanceOfRecordKey(rowKey)
    const summary = decodeSummary(value)
    counts.change(key, undefined, summary.status)
    const index: Write[] = []
    collectIndex(partition, key, undefined, summary, index)
    for (const write of index) await batch.add(write)
    if (++instances % BATCH_ROWS === 0) await clock.yield()
  }
  await batch.end()
  const derived: Write[] = []
  counts.collect(derived)
  return { instances, derived }
}

/** Writes on their way into a store, so many at a time. */
class Batch {
  readonly #store: OrderedStore
  #writes: Write[] = []
  #bytes = 0

  constructor(store: OrderedStore) {
    this.#store = store
  }

  /** A promise where the batch is full and has to be waited for. */
  add(write: Write): Promise<void> | undefined {
    this.#writes.push(write)
    this.#bytes += write.value?.length ?? 0
    return this.#writes.length >= BATCH_ROWS || this.#bytes >= BATCH_BYTES ? this.end() : undefined
  }

  async end(): Promise<void> {
    const writes = this.#writes
    this.#writes = []
    this.#bytes = 0
    if (writes.length > 0) await this.#store.commit(writes)
  }
}
