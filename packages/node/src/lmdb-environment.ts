/**
 * How the LMDB environment of a node is opened: by the store, and by the probe in its own process before. One place, because both must see
 * the same pages: LMDB picks the newest or the last flushed state by these options.
 */
import { open } from 'lmdb'

/** What is used of lmdb-js's root database. Its own typings leave `sync` out. */
export interface Environment {
  openDB(options: object): unknown
  /** Writes what the callback puts and removes in one transaction, on a thread of its own. */
  batch(write: () => void): Promise<boolean>
  sync(done: (error?: Error) => void): void
  /** The state of this moment, kept until `done`. */
  useReadTransaction(): ReadTransaction
  getStats(): unknown
  close(): Promise<void>
}

/** Opaque, but for its end. */
export interface ReadTransaction {
  done(): void
}

/** What is used of lmdb-js's databases. `put` and `remove` are for use in a batch, whose promise is the one that counts. */
export interface TableDatabase {
  getBinary(key: string, options?: { readonly transaction: ReadTransaction }): Uint8Array | undefined
  getRange(bounds: TableBounds): Iterable<{ readonly key: string; readonly value: Uint8Array }>
  getKeys(bounds: TableBounds): Iterable<string>
  put(key: string, row: Uint8Array): unknown
  remove(key: string): unknown
  getStats(): unknown
}

/** Both ends are always given: lmdb-js would otherwise take bytes of its own key encoding for them. `limit` is left out or positive. */
export interface TableBounds {
  readonly start: string
  readonly end: string
  readonly limit?: number
  readonly reverse?: boolean
  readonly transaction?: ReadTransaction
}

/** LMDB's data file within the store's directory. */
export const DATA_FILE = 'data.mdb'
/** LMDB's own lock file. */
export const LMDB_LOCK_FILE = 'lock.mdb'

/** The table of the header, beside those of the port. */
export const HEADER_TABLE = 'header'
export const HEADER_KEY = 'header'

/** Bytes of address space reserved for the file: not memory, not disk. LMDB moves its map when the file outgrows it, which is slow. */
const MAP_BYTES = 64 * 2 ** 30

/** Below and above every key: keys are of 0x21 to 0x7e. */
export const KEY_BELOW = ' '
export const KEY_ABOVE = '\u007f'

/** Node's fast ways from text to bytes and back, which its typings leave out. */
interface AsciiBuffer {
  latin1Write(text: string, start: number): number
  latin1Slice(start: number, end: number): string
}

/** Keys as their ASCII bytes, so that LMDB's memcmp order is the order of the strings. */
const asciiKeys = {
  writeKey: (key: string, target: AsciiBuffer, start: number): number => start + target.latin1Write(key, start),
  readKey: (source: AsciiBuffer, start: number, end: number): string => source.latin1Slice(start, end),
}

/** Opens the environment; creates it when the directory holds none. */
export function openEnvironment(path: string): Environment {
  const environment: unknown = open({
    path,
    // A path with a dot in it would be taken for a file name.
    noSubdir: false,
    maxDbs: 16,
    mapSize: MAP_BYTES,
    encoding: 'binary',
    // Joining the batches of a turn by itself, lmdb-js leaves a promise behind that nobody handles when the disk is full.
    eventTurnBatching: false,
  })
  return environment as Environment
}

/** Opens a table; creates it when it is missing. */
export function openTable(environment: Environment, name: string): TableDatabase {
  return environment.openDB({ name, encoding: 'binary', keyEncoder: asciiKeys }) as TableDatabase
}

/** Opens a table that exists, or returns undefined. */
export function findTable(environment: Environment, name: string): TableDatabase | undefined {
  const options = { name, encoding: 'binary', keyEncoder: asciiKeys, create: false }
  return environment.openDB(options) as TableDatabase | undefined
}

/** The statistics of lmdb-js that are used here. */
export interface TableStats {
  readonly pageSize: number
  readonly entryCount: number
  readonly lastPageNumber: number
}

export function statsOf(table: TableDatabase | Environment): TableStats {
  return table.getStats() as TableStats
}
