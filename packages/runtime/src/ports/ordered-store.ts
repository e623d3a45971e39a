/** Local durable memory of a node as a port: ordered tables of bytes with atomic batches. LMDB in production, memory in tests. */

/** Bytes of a store key. LMDB takes 1978 with pages of 4 KiB; the longest key of ours is a row of the index, about 1850. */
export const STORE_KEY_BYTES_MAX = 1900

/** The tables. Keys are 1 to 1900 printable ASCII characters (0x21 to 0x7e), ordered bytewise; the key layouts are in core/keys.ts. */
export const TABLES = ['meta', 'record', 'tail', 'ids', 'timer', 'effect', 'index'] as const
export type Table = (typeof TABLES)[number]

/** One change: a put, or with `value: undefined` a removal (of a key that may be absent). */
export interface Write {
  readonly table: Table
  readonly key: string
  readonly value: Uint8Array | undefined
}

export interface Range {
  /** First key, inclusive; empty for the start of the table. A key followed by a NUL character is the least that can be above it. */
  readonly from: string
  /** Last key, exclusive. `~` is above every letter and digit; nothing is in a range whose end is not above its start. */
  readonly to: string
  /** Rows at most; all when undefined. */
  readonly limit?: number
}

export interface Row {
  readonly key: string
  readonly value: Uint8Array
}

/** What can be read of a store. */
export interface StoreReader {
  /** @throws SNAPSHOT_DAMAGED when the stored bytes fail their checksum. */
  get(table: Table, key: string): Uint8Array | undefined
  /**
   * Rows in rising key order. It may be left early.
   *
   * @throws SNAPSHOT_DAMAGED as `get`, when the damaged row is reached.
   */
  range(table: Table, range: Range): Iterable<Row>
}

/** The rows of one moment, whatever is committed meanwhile. The store keeps what has changed since for as long as it is open: minutes, not hours. */
export interface StoreView extends StoreReader {
  /** Idempotent. Closing the store closes its views as well. */
  close(): void
}

/**
 * Reads are synchronous and see whole batches only. A batch that `commit` has not resolved yet may be seen or not: callers compare sequences.
 * Values are the caller's to keep: the store never writes into a buffer it has returned, and keeps none that it was given.
 *
 * Rows that `range` gives without an await in between are of one moment; a consumer that awaits between rows holds nothing open, and sees in the rows
 * it has not read yet what was committed meanwhile.
 */
export interface OrderedStore extends StoreReader {
  /** Shows every batch that has resolved, and none that is committed later. */
  view(): StoreView
  /**
   * Applies all writes or none, in order: the last write to a key counts. Batches become visible in the order of the calls, and survive the
   * end of the process from then on; what a power cut can take is said at `flushed`. The values may be reused as soon as the call returns.
   *
   * @throws STORAGE_FAILED when they could not be written (disk full, read-only): nothing of the batch is visible then.
   */
  commit(writes: readonly Write[]): Promise<void>
  /**
   * Resolves when every batch committed before the call has been handed to the disk. A power cut may take the newest batches that were not,
   * whole ones only and newest first.
   */
  flushed(): Promise<void>
  /** Waits for the commits under way, then ends. Idempotent. Every other call throws CLOSING from then on. */
  close(): Promise<void>
}

const STORE_KEY = /^[!-~]+$/

/** Returns the key. Another key is a bug of the caller: stores would order it differently, or not take it at all. */
export function checkStoreKey(key: string): string {
  if (STORE_KEY.test(key) && key.length <= STORE_KEY_BYTES_MAX) return key
  throw new TypeError(
    `the store key ${JSON.stringify(key.slice(0, 60))} of ${key.length} characters is not 1 to ${STORE_KEY_BYTES_MAX} printable ASCII characters`,
  )
}
