/**
 * The local store of a node on LMDB.
 *
 * Owns: the LMDB environment of one directory, its tables, the checksums of their rows, and the order of commits.
 * Does not own: the directory's lock, its marker and its damage, which are of `openLmdbStore`; what the rows mean.
 *
 * Invariants
 * 1. One `commit` is one LMDB transaction, or a part of one together with others of the same moment: it is visible wholly or not at all, also
 *    after kill -9.
 * 2. No read transaction outlives the synchronous call that needed it, but for those of views, which end with the view or the store.
 * 3. No bytes are given out that fail their checksum.
 *
 * What is durable when: a resolved commit is written to the operating system, so the end of the process loses nothing. LMDB then flushes it in
 * the background (`overlappingSync`); until `flushed` resolves, a power cut may take the newest batches, whole ones and newest first, and LMDB
 * opens at the last flushed one. It tells the two apart by the boot id of the system.
 */
import { CarillonError } from '@carillon/runtime'
import {
  checkStoreKey,
  type OrderedStore,
  type Range,
  type Row,
  type StoreView,
  type Table,
  TABLES,
  type Write,
} from '@carillon/runtime/ports'

import { CHECKSUM_BYTES, openRow, sealRow, tableSeed } from './checksum.ts'
import { type Environment, KEY_BELOW, openTable, type ReadTransaction, type TableDatabase } from './lmdb-environment.ts'

/** Rows read at once by `range`: few at first, for those who stop early, then more. Each read is of one moment and holds nothing open. */
const RANGE_ROWS_FIRST = 32
const RANGE_ROWS_MAX = 512
/** Milliseconds to wait for LMDB's own words after it rejected a commit, and for its end at `close`: after a failure it may never come. */
const CAUSE_MS_MAX = 1000
const CLOSE_MS_MAX = 5000

interface OpenTable {
  readonly database: TableDatabase
  readonly seed: number
}

interface SealedWrite {
  readonly database: TableDatabase
  readonly key: string
  readonly row: Buffer | undefined
}

/** An ordered store in LMDB. See the port for the contract; `openLmdbStore` makes one. */
export class LmdbStore implements OrderedStore {
  readonly #environment: Environment
  readonly #onClose: () => void
  readonly #tables: ReadonlyMap<Table, OpenTable>
  readonly #path: string
  /** Resolves when every commit so far has settled. Never rejects. */
  #settled: Promise<void> = Promise.resolve()
  #closing: Promise<void> | undefined
  #hasFailed = false
  readonly #views = new Set<StoreView>()

  /** @param onClose called once, when the environment is closed. */
  constructor(path: string, environment: Environment, onClose: () => void) {
    this.#path = path
    this.#environment = environment
    this.#onClose = onClose
    this.#tables = new Map(
      TABLES.map((name) => [name, { database: openTable(environment, name), seed: tableSeed(name) }]),
    )
  }

  get(table: Table, key: string): Uint8Array | undefined {
    return this.#get(table, key, undefined)
  }

  range(table: Table, range: Range): Generator<Row, void, undefined> {
    return this.#range(table, range, undefined)
  }

  view(): StoreView {
    this.#checkOpen()
    const transaction = this.#environment.useReadTransaction()
    const view: StoreView = {
      get: (table, key) => this.#get(table, key, this.#viewed(view, transaction)),
      range: (table, range) => this.#range(table, range, this.#viewed(view, transaction)),
      close: () => {
        if (this.#views.delete(view)) transaction.done()
      },
    }
    this.#views.add(view)
    return view
  }

  /** A transaction that is over must not be read: its pages are written anew. */
  #viewed(view: StoreView, transaction: ReadTransaction): ReadTransaction {
    this.#checkOpen()
    if (this.#views.has(view)) return transaction
    throw new CarillonError('CLOSING', `the view of the store in ${this.#path} is closed: make another one`)
  }

  #get(table: Table, key: string, transaction: ReadTransaction | undefined): Uint8Array | undefined {
    const { database, seed } = this.#table(table)
    checkStoreKey(key)
    const row = transaction === undefined ? database.getBinary(key) : database.getBinary(key, { transaction })
    return row === undefined ? undefined : this.#value(table, seed, key, row)
  }

  *#range(
    table: Table,
    { from, to, limit = Infinity }: Range,
    transaction: ReadTransaction | undefined,
  ): Generator<Row, void, undefined> {
    const of = transaction === undefined ? {} : { transaction }
    let start = from === '' ? KEY_BELOW : from
    let left = limit
    // A whole chunk is read before its first row is given out, so that no cursor waits for the consumer (invariant 2).
    for (let rows = RANGE_ROWS_FIRST; left > 0 && start < to; rows = Math.min(rows * 4, RANGE_ROWS_MAX)) {
      const { database, seed } = this.#table(table)
      const chunk = [...database.getRange({ start, end: to, limit: Math.min(rows, left), ...of })]
      for (const { key, value } of chunk) yield { key, value: this.#value(table, seed, key, value) }
      const last = chunk.at(-1)
      if (last === undefined || chunk.length < rows) return
      left -= chunk.length
      // The least key above the last one.
      start = `${last.key}\0`
    }
  }

  commit(writes: readonly Write[]): Promise<void> {
    const done = this.#commit(writes)
    this.#settled = bothSettled(this.#settled, done)
    return done
  }

  async flushed(): Promise<void> {
    this.#checkOpen()
    await this.#settled
    await this.#sync()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #commit(writes: readonly Write[]): Promise<void> {
    this.#checkOpen()
    // Everything that can throw comes before the batch: what LMDB has been told of a batch it will write.
    const sealed = this.#seal(writes)
    if (sealed.length === 0) return
    try {
      // Of lmdb-js's ways the one that leaves the event loop free: it hands the writes to a thread (1000 writes of 300 B: 0.3 ms here of 11 ms;
      // transactionSync blocks for 10 ms).
      await this.#environment.batch(() => {
        for (const { database, key, row } of sealed) {
          if (row === undefined) database.remove(key)
          else database.put(key, row)
        }
      })
    } catch (error) {
      this.#hasFailed = true
      const cause = await causeOf(error)
      throw new CarillonError(
        'STORAGE_FAILED',
        `${writes.length} rows could not be written to ${this.#path}: ${messageOf(cause)}. Free space on the disk or restore its rights, then start the node again`,
        { cause },
      )
    }
  }

  #seal(writes: readonly Write[]): SealedWrite[] {
    // One buffer for all rows: LMDB's thread reads them in place, and lmdb-js looks the address of each buffer up once.
    const bytes = writes.reduce((sum, { value }) => sum + (value === undefined ? 0 : value.length + CHECKSUM_BYTES), 0)
    const block = Buffer.allocUnsafeSlow(bytes)
    let offset = 0
    return writes.map(({ table, key, value }) => {
      const { database, seed } = this.#table(table)
      checkStoreKey(key)
      if (value === undefined) return { database, key, row: undefined }
      const row = block.subarray(offset, (offset += value.length + CHECKSUM_BYTES))
      sealRow(row, seed, key, value)
      return { database, key, row }
    })
  }

  #value(table: Table, seed: number, key: string, row: Uint8Array): Uint8Array {
    const value = openRow(row, seed, key)
    if (value !== undefined) return value
    throw new CarillonError(
      'SNAPSHOT_DAMAGED',
      `the row ${JSON.stringify(key)} of table ${table} in ${this.#path} fails its checksum: it is rebuilt from the journal`,
      { details: { table, key } },
    )
  }

  #table(name: Table): OpenTable {
    this.#checkOpen()
    const table = this.#tables.get(name)
    if (table === undefined) throw new TypeError(`there is no table ${name}: it is one of ${TABLES.join(', ')}`)
    return table
  }

  #checkOpen(): void {
    if (this.#closing !== undefined)
      throw new CarillonError('CLOSING', `the store in ${this.#path} is closed: open it again`)
  }

  /** Not lmdb-js's `flushed`: after a failed commit that one never resolves. */
  #sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#environment.sync((error) => {
        if (error === undefined) resolve()
        else
          reject(
            new CarillonError('STORAGE_FAILED', `${this.#path} could not be flushed: ${error.message}`, {
              cause: error,
            }),
          )
      })
    })
  }

  async #close(): Promise<void> {
    for (const view of this.#views) view.close()
    await this.#settled
    try {
      await this.#sync()
    } finally {
      await within(this.#hasFailed ? CAUSE_MS_MAX : CLOSE_MS_MAX, this.#environment.close())
      this.#onClose()
    }
  }
}

/** Gives nothing out: the results of all commits would hang on each other. */
async function bothSettled(earlier: Promise<void>, latest: Promise<void>): Promise<void> {
  await Promise.allSettled([earlier, latest])
}

/** lmdb-js says "commit failed" first and why in a second promise, whose rejection nobody would handle. */
async function causeOf(failure: unknown): Promise<unknown> {
  if (typeof failure !== 'object' || failure === null || !('commitError' in failure)) return failure
  return (await within(CAUSE_MS_MAX, reasonOf(failure.commitError))) ?? failure
}

async function reasonOf(rejection: unknown): Promise<unknown> {
  try {
    await rejection
    return undefined
  } catch (reason) {
    return reason
  }
}

/** The promise, or undefined when it takes too long. */
async function within<T>(limitMs: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, limitMs, undefined)
  })
  try {
    return await Promise.race([promise, limit])
  } finally {
    clearTimeout(timer)
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
