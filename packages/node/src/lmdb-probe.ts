/**
 * A program: opens an LMDB directory as the store would, reads it, and prints one JSON line about it. Run by lmdb-check.ts, because damaged
 * pages end the process that reads them (SIGBUS, SIGSEGV) or read as silently wrong values.
 *
 * It imports nothing of the runtime, so that it starts fast and runs from source and from dist alike.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'

import { openRow, tableSeed } from './checksum.ts'
import {
  DATA_FILE,
  type Environment,
  findTable,
  HEADER_KEY,
  HEADER_TABLE,
  KEY_ABOVE,
  KEY_BELOW,
  openEnvironment,
  statsOf,
  type TableBounds,
  type TableDatabase,
} from './lmdb-environment.ts'

export interface ProbeRequest {
  readonly path: string
  readonly tables: readonly string[]
  /** A bounded sample of the rows, or all of them. */
  readonly rows: 'sample' | 'all'
}

export type ProbeReport =
  /** `header` is undefined when the environment was never finished; `foreign` when it holds tables that are not ours. */
  | { readonly verdict: 'sound'; readonly header: string | undefined; readonly foreign: boolean; readonly rows: number }
  | { readonly verdict: 'damaged'; readonly reason: string }

/** Rows read at each end of each table. */
const END_ROWS = 64
/** Walks down between two keys of a table, steps of each walk, and rows read at each step: at most 2560 rows a table. */
const WALKS = 40
const WALK_STEPS = 8
const WALK_ROWS = 8
/** Pages looked at for zeroes: the last of the file, where the newest data is, and some anywhere. */
const TAIL_PAGES = 128
const RANDOM_PAGES = 256
/** What is written when every row was read. */
const WRITE_ROUNDS = 4
const WRITTEN_ROWS = 100
const WRITTEN_ROW_BYTES = 500
/** LMDB's own error codes for a file that is not, or no longer, a whole LMDB file. */
const LMDB_CODES = { first: -30_799, last: -30_760 } as const

class Damage extends Error {}

interface RangeOptions {
  readonly start?: string
  readonly limit?: number
  readonly reverse?: boolean
}

async function main(request: ProbeRequest): Promise<ProbeReport> {
  try {
    return await examine(openEnvironment(request.path), request)
  } catch (error) {
    if (error instanceof Damage || isLmdbDamage(error)) return { verdict: 'damaged', reason: (error as Error).message }
    throw error
  }
}

async function examine(environment: Environment, request: ProbeRequest): Promise<ProbeReport> {
  const names = [HEADER_TABLE, ...request.tables]
  const tables = names.flatMap((name) => {
    const table = findTable(environment, name)
    return table === undefined ? [] : [{ name, table }]
  })
  const foreign = statsOf(environment).entryCount > tables.length
  const all = request.rows === 'all' || looksCut(environment, request.path)
  let rows = 0
  for (const { name, table } of tables) rows += all ? readAll(name, table) : readSample(name, table)
  const headerTable = tables.find(({ name }) => name === HEADER_TABLE)?.table
  if (all && headerTable !== undefined) await exerciseFreePages(environment, headerTable)
  const header = headerTable?.getBinary(HEADER_KEY)
  const text = header === undefined ? undefined : Buffer.from(valueOf(HEADER_TABLE, HEADER_KEY, header)).toString()
  return { verdict: 'sound', header: text, foreign, rows }
}

/** Signs of a cut or overwritten file. Both occur in sound files, too, so they only mean that every row is read. */
function looksCut(environment: Environment, path: string): boolean {
  const { pageSize, lastPageNumber } = statsOf(environment)
  const descriptor = openSync(join(path, DATA_FILE), 'r')
  try {
    if (fstatSync(descriptor).size < (lastPageNumber + 1) * pageSize) return true
    const page = Buffer.allocUnsafe(pageSize)
    const isZero = (pageNumber: number): boolean => {
      const length = readSync(descriptor, page, 0, pageSize, pageNumber * pageSize)
      return length < pageSize || page.every((byte) => byte === 0)
    }
    for (let back = 0; back < Math.min(TAIL_PAGES, lastPageNumber); back++)
      if (isZero(lastPageNumber - back)) return true
    for (let i = 0; i < RANDOM_PAGES; i++) if (isZero(Math.floor(Math.random() * lastPageNumber))) return true
    return false
  } finally {
    closeSync(descriptor)
  }
}

/** Writes and removes rows. LMDB's pages about free pages belong to no table: only writing reads them. */
async function exerciseFreePages(environment: Environment, table: TableDatabase): Promise<void> {
  const keys = Array.from({ length: WRITTEN_ROWS }, (_, i) => `probe/${i}`)
  for (let round = 0; round < WRITE_ROUNDS; round++) {
    await environment.batch(() => keys.forEach((key) => table.put(key, Buffer.alloc(WRITTEN_ROW_BYTES, round))))
    await new Promise<void>((resolve, reject) => {
      environment.sync((error) => (error === undefined ? resolve() : reject(error)))
    })
  }
  await environment.batch(() => keys.forEach((key) => table.remove(key)))
}

function readAll(name: string, table: TableDatabase): number {
  const rows = readRange(name, table, {})
  const { entryCount } = statsOf(table)
  if (rows !== entryCount) throw new Damage(`the table ${name} has ${rows} rows where ${entryCount} were counted`)
  return rows
}

function readSample(name: string, table: TableDatabase): number {
  let rows = readRange(name, table, { limit: END_ROWS }) + readRange(name, table, { limit: END_ROWS, reverse: true })
  const first = firstKey(table, {})
  const last = firstKey(table, { reverse: true })
  if (first === undefined || last === undefined) return rows
  for (let walk = 0; walk < WALKS; walk++) {
    let low = first
    let high = last
    for (let step = 0; step < WALK_STEPS && low < high; step++) {
      const middle = between(low, high)
      rows += readRange(name, table, { start: middle, limit: WALK_ROWS })
      const found = firstKey(table, { start: middle }) ?? high
      if (found >= high || Math.random() < 0.5) high = middle
      else low = found
    }
  }
  return rows
}

function readRange(name: string, table: TableDatabase, options: RangeOptions): number {
  let rows = 0
  let previous: string | undefined
  for (const { key, value } of table.getRange(boundsOf(options))) {
    if (previous !== undefined && options.reverse !== true && key <= previous) {
      throw new Damage(`the table ${name} is out of order behind ${JSON.stringify(previous.slice(0, 100))}`)
    }
    valueOf(name, key, value)
    previous = key
    rows += 1
  }
  return rows
}

function firstKey(table: TableDatabase, options: RangeOptions): string | undefined {
  for (const key of table.getKeys({ ...boundsOf(options), limit: 1 })) return key
  return undefined
}

function boundsOf(options: RangeOptions): TableBounds {
  const bounds = options.reverse === true ? { start: KEY_ABOVE, end: KEY_BELOW } : { start: KEY_BELOW, end: KEY_ABOVE }
  return { ...bounds, ...options }
}

/** A text between two others in byte order: their common start, then one character drawn from those between. */
function between(low: string, high: string): string {
  let same = 0
  while (same < low.length && low.charCodeAt(same) === high.charCodeAt(same)) same += 1
  const from = same < low.length ? low.charCodeAt(same) : 0x20
  const to = high.charCodeAt(same)
  if (to - from > 1)
    return high.slice(0, same) + String.fromCharCode(from + 1 + Math.floor(Math.random() * (to - from - 1)))
  return low.slice(0, same + 1) + String.fromCharCode(0x21 + Math.floor(Math.random() * 0x5e))
}

function valueOf(table: string, key: string, row: Uint8Array): Uint8Array {
  const value = openRow(row, tableSeed(table), key)
  if (value === undefined)
    throw new Damage(`the row ${JSON.stringify(key.slice(0, 100))} of table ${table} fails its checksum`)
  return value
}

function isLmdbDamage(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  // Lengths that a damaged page gives reach beyond their buffers.
  if (error instanceof RangeError) return true
  const code: unknown = 'code' in error ? error.code : undefined
  return (
    (typeof code === 'number' && code >= LMDB_CODES.first && code <= LMDB_CODES.last) ||
    /MDB_(?:INVALID|CORRUPTED|PAGE_NOTFOUND|PANIC|VERSION_MISMATCH)/.test(error.message)
  )
}

const report = await main(JSON.parse(process.argv[2] ?? '') as ProbeRequest)
// The report must be out before the exit: closing a damaged environment could still end the process.
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0))
