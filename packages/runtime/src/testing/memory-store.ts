/**
 * The memory twin of the node's local store, with the faults that a disk and a process have.
 *
 * Owns: the order in which batches become visible, and which of them a power cut can still take back.
 * Does not own: the rows. They are on a `MemoryDisk`, which outlives the store as a directory outlives a process.
 *
 * Invariants
 * 1. A batch becomes visible as a whole, and batches do so in the order of the calls.
 * 2. A batch that failed, or that a crash overtook before it was visible, leaves nothing behind.
 * 3. No buffer is shared with the caller, in either direction.
 */
import { CarillonError } from '../errors.ts'
import {
  checkStoreKey,
  type OrderedStore,
  type Range,
  type Row,
  type StoreView,
  type Table,
  TABLES,
  type Write,
} from '../ports/index.ts'
import { type Cursor, SortedRows } from './sorted-rows.ts'

/** Where a gate can hold or fail a batch: before it becomes visible, before its promise resolves, before it is on the disk. */
export type StoreStage = 'apply' | 'resolve' | 'flush'

export interface MemoryStoreOptions {
  /** The rows to open; a new, empty disk when absent. */
  readonly disk?: MemoryDisk
  /**
   * Called at each stage of each commit, and by `flushed`; what it returns is awaited. A simulation delays commits with it: a batch held at
   * `resolve` is visible and survives a crash while its caller has not heard of it. Throwing at `apply` fails the commit with STORAGE_FAILED.
   * Without a gate a batch is visible when `commit` returns.
   */
  readonly gate?: (stage: StoreStage) => void | Promise<void>
  /** How many of the newest batches count as not yet on the disk, so that `crash` can take them back. 0 when absent. */
  readonly unflushedBatchesMax?: number
}

/** The rows of a store. Not safe for two open stores at once. */
export class MemoryDisk {
  readonly #tables: ReadonlyMap<Table, SortedRows>

  constructor(tables?: ReadonlyMap<Table, SortedRows>) {
    this.#tables = tables ?? new Map(TABLES.map((table) => [table, new SortedRows()]))
  }

  /** The rows of one table. */
  table(table: Table): SortedRows {
    const rows = this.#tables.get(table)
    if (rows === undefined) throw new TypeError(`there is no table ${table}: it is one of ${TABLES.join(', ')}`)
    return rows
  }

  /** A copy as of now: opening it later is what restoring an old backup does. */
  copy(): MemoryDisk {
    return new MemoryDisk(new Map([...this.#tables].map(([table, rows]) => [table, rows.copy()])))
  }

  /** Spoils one stored row: reading it gives SNAPSHOT_DAMAGED until it is written again. */
  damage(table: Table, key: string): void {
    this.table(table).damaged.add(key)
  }
}

/** An ordered store in memory. See the port for the contract. */
export class MemoryStore implements OrderedStore {
  readonly disk: MemoryDisk
  readonly #gate: ((stage: StoreStage) => void | Promise<void>) | undefined
  readonly #unflushedBatchesMax: number
  /** Newest last: what undoes each batch that is not on the disk yet. */
  #unflushed: Undo[][] = []
  #tail: Promise<unknown> = Promise.resolve()
  #phase: 'open' | 'closed' | 'crashed' = 'open'
  #nextFailure: { readonly cause: unknown } | undefined

  constructor(options: MemoryStoreOptions = {}) {
    this.disk = options.disk ?? new MemoryDisk()
    this.#gate = options.gate
    this.#unflushedBatchesMax = options.unflushedBatchesMax ?? 0
  }

  get(table: Table, key: string): Uint8Array | undefined {
    this.#checkOpen()
    return this.disk.table(table).read(table, checkStoreKey(key))
  }

  *range(table: Table, range: Range): Generator<Row, void, undefined> {
    const limit = range.limit ?? Infinity
    let cursor: Cursor | undefined
    for (let count = 0; count < limit; count++) {
      this.#checkOpen()
      const rows = this.disk.table(table)
      cursor = rows.next(cursor, range)
      if (cursor === undefined) return
      const value = rows.read(table, cursor.key)
      if (value !== undefined) yield { key: cursor.key, value }
    }
  }

  view(): StoreView {
    this.#checkOpen()
    const copy = new MemoryStore({ disk: this.disk.copy() })
    return {
      get: (table, key) => copy.get(table, key),
      range: (table, range) => copy.range(table, range),
      close: () => {},
    }
  }

  async commit(writes: readonly Write[]): Promise<void> {
    this.#checkOpen()
    // Not `value.slice()`: a Buffer's shares its memory.
    const batch = writes.map(({ table, key, value }) => ({
      table,
      key: checkStoreKey(key),
      value: value && new Uint8Array(value),
    }))
    const failure = this.#nextFailure
    this.#nextFailure = undefined
    if (failure !== undefined) throw storageFailed(failure.cause)
    if (this.#gate === undefined) return this.#apply(batch)
    const done = this.#tail.then(() => this.#applyThroughGate(batch))
    this.#tail = done.catch(() => undefined)
    return done
  }

  async flushed(): Promise<void> {
    this.#checkOpen()
    await this.#tail
    const count = this.#unflushed.length
    await this.#gate?.('flush')
    await this.#stopIfCrashed()
    this.#unflushed.splice(0, count)
  }

  async close(): Promise<void> {
    if (this.#phase === 'crashed') return
    this.#phase = 'closed'
    await this.#tail
  }

  /** Makes the next commit fail with STORAGE_FAILED, as a full disk does. */
  failNextCommit(cause: unknown = new Error('MDB_MAP_FULL: the disk is full')): void {
    this.#nextFailure = { cause }
  }

  /**
   * Ends the store as kill -9 does: batches that are not visible yet never will be, their promises stay pending, every later call throws. Open
   * the same disk again to go on.
   *
   * @param lostBatches how many batches a power cut takes back as well, newest first: at most those that were not on the disk.
   */
  crash(lostBatches = 0): void {
    this.#phase = 'crashed'
    for (let i = 0; i < lostBatches; i++) {
      for (const { table, key, value } of (this.#unflushed.pop() ?? []).reverse())
        this.disk.table(table).write(key, value)
    }
  }

  async #applyThroughGate(batch: readonly Write[]): Promise<void> {
    try {
      await this.#gate?.('apply')
    } catch (error) {
      throw storageFailed(error)
    }
    await this.#stopIfCrashed()
    this.#apply(batch)
    await this.#gate?.('resolve')
    await this.#stopIfCrashed()
  }

  #apply(batch: readonly Write[]): void {
    const undo: Undo[] = []
    for (const { table, key, value } of batch) {
      const rows = this.disk.table(table)
      if (this.#unflushedBatchesMax > 0) undo.push({ table, key, value: rows.peek(key) })
      rows.write(key, value)
    }
    this.#unflushed.push(undo)
    if (this.#unflushed.length > this.#unflushedBatchesMax) this.#unflushed.shift()
  }

  #checkOpen(): void {
    if (this.#phase !== 'open') throw new CarillonError('CLOSING', `the store is ${this.#phase}: open it again`)
  }

  /** A process that is dead never sees its promises settle. */
  async #stopIfCrashed(): Promise<void> {
    if (this.#phase === 'crashed') await new Promise<never>(() => {})
  }
}

interface Undo {
  readonly table: Table
  readonly key: string
  readonly value: Uint8Array | undefined
}

function storageFailed(cause: unknown): CarillonError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new CarillonError('STORAGE_FAILED', `a batch could not be written: ${reason}`, { cause })
}
