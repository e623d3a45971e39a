/**
 * Remembers which instances have changed since the last checkpoint: a store around a store, which adds to each batch the keys of the instances that it
 * changes. It costs one row for each partition and batch, and nothing for a signal. So whoever becomes the owner knows what to save, from its own store
 * alone, whether it has just started or has stood by.
 *
 * Owns: the rows `changed/…` and `tracked/…` of `meta`. Does not own: when they are let go, which is the checkpointer's.
 *
 * Invariants
 * 1. Of every batch that ends at a position above `tracked/<p>`, each instance that it changed stands in a row `changed/<p>/<position>`, from the same
 *    transaction on. It may stand there without having changed.
 * 2. Rows are only removed where their position is below what is committed: the batch on its way does not write to them.
 * 3. The log of a partition is bounded: where it names too many instances it is given up, and `tracked` says so.
 */
import {
  changedKey,
  changedRange,
  ownerOfRow,
  positionKey,
  type RowOwner,
  seqOfChangedKey,
  trackedKey,
} from '../core/index.ts'
import type { OrderedStore, Range, Row, StoreReader, StoreView, Table, Write } from '../ports/index.ts'
import { decodeValue, encodeValue, type Partition } from '../protocol/index.ts'

export type ChangedKey = RowOwner['key']

/** Rows of one partition: so many commits, then they are merged into one. */
const ROWS_MAX = 2000
/** Instances that a log names, in one partition; with more a checkpoint takes all of them. */
const KEYS_MAX = 100_000

/** One commit at a time for each partition. */
export class TrackedStore implements OrderedStore {
  readonly #store: OrderedStore

  constructor(store: OrderedStore) {
    this.#store = store
  }

  get(table: Table, key: string): Uint8Array | undefined {
    return this.#store.get(table, key)
  }

  range(table: Table, range: Range): Iterable<Row> {
    return this.#store.range(table, range)
  }

  view(): StoreView {
    return this.#store.view()
  }

  commit(writes: readonly Write[]): Promise<void> {
    const changed = new Map<Partition, Set<string>>()
    for (const { table, key } of writes) {
      const owner = ownerOfRow(table, key)
      if (owner === undefined) continue
      const keys = changed.get(owner.partition)
      if (keys === undefined) changed.set(owner.partition, new Set([owner.key]))
      else keys.add(owner.key)
    }
    if (changed.size === 0) return this.#store.commit(writes)
    const positions = new Map(writes.filter(({ table }) => table === 'meta').map(({ key, value }) => [key, value]))
    const log = [...changed].flatMap(([partition, keys]) => this.#logOf(partition, keys, positions))
    return this.#store.commit([...writes, ...log])
  }

  flushed(): Promise<void> {
    return this.#store.flushed()
  }

  close(): Promise<void> {
    return this.#store.close()
  }

  #logOf(
    partition: Partition,
    keys: Set<string>,
    written: ReadonlyMap<string, Uint8Array | undefined>,
  ): readonly Write[] {
    const position = positionKey(partition)
    const before = readSeq(this.#store.get('meta', position))
    const now = written.get(position)
    const key = changedKey(partition, now === undefined ? before : readSeq(now))
    const present = decodeRow(this.#store.get('meta', key))
    for (const one of present.keys) keys.add(one)
    const write: Write = { table: 'meta', key, value: encodeRow(present.batches + 1, keys) }
    if (this.#store.get('meta', trackedKey(partition)) !== undefined) return [write]
    return [{ table: 'meta', key: trackedKey(partition), value: encodeValue(before) }, write]
  }
}

/** What a store says has changed in a partition. */
export interface Changes {
  /** Every change by a batch behind this position is among `keys`. */
  readonly sinceSeq: number
  readonly keys: ReadonlySet<ChangedKey>
  readonly rows: number
  /** The row at the position itself, as it is now: the next batch may add to it. */
  readonly last: Uint8Array | undefined
}

export function readChanges(store: StoreReader, partition: Partition, position: number): Changes {
  const keys = new Set<ChangedKey>()
  const lastKey = changedKey(partition, position)
  let rows = 0
  let last: Uint8Array | undefined
  for (const { key, value } of store.range('meta', changedRange(partition))) {
    rows += 1
    if (key === lastKey) last = value
    for (const one of decodeRow(value).keys) keys.add(one)
  }
  const tracked = store.get('meta', trackedKey(partition))
  return { sinceSeq: tracked === undefined ? position : readSeq(tracked), keys, rows, last }
}

/** What is let go when everything up to a position is saved elsewhere, given the position of the store (invariant 2). */
export function forgetChanges(
  store: StoreReader,
  partition: Partition,
  savedSeq: number,
  position: number,
): readonly Write[] {
  const untilSeq = Math.min(savedSeq, position)
  const tracked = store.get('meta', trackedKey(partition))
  const writes: Write[] = []
  for (const { key } of store.range('meta', { ...changedRange(partition), to: changedKey(partition, untilSeq) }))
    writes.push({ table: 'meta', key, value: undefined })
  if (tracked === undefined || readSeq(tracked) < untilSeq)
    writes.push({ table: 'meta', key: trackedKey(partition), value: encodeValue(untilSeq) })
  return writes
}

/** What bounds the log where nothing is saved elsewhere for long (invariant 3). Empty where it is short. */
export function boundChanges(store: StoreReader, partition: Partition, position: number): readonly Write[] {
  const range = { ...changedRange(partition), to: changedKey(partition, position) }
  const rows = [...store.range('meta', range)]
  const last = rows.at(-1)
  if (last === undefined || rows.length < ROWS_MAX) return []
  const keys = new Set(rows.flatMap(({ value }) => decodeRow(value).keys))
  const removals = rows.map(({ key }): Write => ({ table: 'meta', key, value: undefined }))
  if (keys.size <= KEYS_MAX) return [...removals, { table: 'meta', key: last.key, value: encodeRow(rows.length, keys) }]
  return [...removals, { table: 'meta', key: trackedKey(partition), value: encodeValue(seqOfChangedKey(last.key)) }]
}

/** The log of a partition that has just been restored: nothing has changed. */
export function resetChanges(store: StoreReader, partition: Partition, seq: number): readonly Write[] {
  const rows = [...store.range('meta', changedRange(partition))]
  return [
    ...rows.map(({ key }): Write => ({ table: 'meta', key, value: undefined })),
    { table: 'meta', key: trackedKey(partition), value: encodeValue(seq) },
  ]
}

function readSeq(value: Uint8Array | undefined): number {
  return value === undefined ? 0 : (decodeValue(value) as number)
}

interface LogRow {
  /** Of that position: it tells a row from what it was before another batch changed the same instance. */
  readonly batches: number
  readonly keys: readonly ChangedKey[]
}

/** Keys are ASCII without control characters; the one of nobody's rows is empty. */
function encodeRow(batches: number, keys: ReadonlySet<string>): Uint8Array {
  return Buffer.from([batches, ...keys].join('\n'), 'latin1')
}

function decodeRow(value: Uint8Array | undefined): LogRow {
  if (value === undefined) return { batches: 0, keys: [] }
  const [batches, ...keys] = Buffer.from(value.buffer, value.byteOffset, value.length).toString('latin1').split('\n')
  return { batches: Number(batches), keys: keys as ChangedKey[] }
}
