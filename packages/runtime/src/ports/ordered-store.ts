/** Local durable memory of a node as a port: ordered tables of bytes with atomic batches. LMDB in production, memory in tests. */

/** The tables. Keys are ASCII strings, ordered bytewise; the key layouts are in core/keys.ts. */
export const TABLES = ['meta', 'record', 'tail', 'ids', 'timer', 'effect'] as const
export type Table = (typeof TABLES)[number]

/** One change: a put, or with `value: undefined` a removal (of a key that may be absent). */
export interface Write {
  readonly table: Table
  readonly key: string
  readonly value: Uint8Array | undefined
}

export interface Range {
  /** First key, inclusive. */
  readonly from: string
  /** Last key, exclusive. */
  readonly to: string
  /** Rows at most; all when undefined. */
  readonly limit?: number
}

export interface Row {
  readonly key: string
  readonly value: Uint8Array
}

/**
 * Reads are synchronous and see whole batches only. A batch that `commit` has not resolved yet may be seen or not: callers compare sequences.
 * Values are the caller's to keep: the store never writes into a buffer it has returned.
 */
export interface OrderedStore {
  /** @throws SNAPSHOT_DAMAGED when the stored bytes fail their checksum. */
  get(table: Table, key: string): Uint8Array | undefined
  /** @throws SNAPSHOT_DAMAGED as `get`. */
  range(table: Table, range: Range): Iterable<Row>
  /**
   * Applies all writes or none, in order. Batches become visible in the order of the calls.
   *
   * @throws STORAGE_FAILED when they could not be written (disk full, read-only): nothing of the batch is visible then.
   */
  commit(writes: readonly Write[]): Promise<void>
  /** Resolves when every committed batch has been handed to the disk. */
  flushed(): Promise<void>
  close(): Promise<void>
}
