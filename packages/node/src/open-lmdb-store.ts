/**
 * Opens the data directory of a node: takes its lock, finds out whether it is whole and ours, sets a damaged one aside, and opens the store.
 *
 * Owns: the directory's lock and marker, from the opening to the close of the store.
 *
 * Invariants
 * 1. Nothing that could be another cluster's, or that could not be judged, is changed.
 * 2. Damaged data is moved, never deleted; only the oldest of several moved ones is.
 * 3. This process reads no page of LMDB before a child process has.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'

import { CarillonError } from '@carillon/runtime'
import { type Logger, TABLES } from '@carillon/runtime/ports'

import { sealRow, CHECKSUM_BYTES, tableSeed } from './checksum.ts'
import { requireRoom } from './data-room.ts'
import { type DirectoryLock, lockDirectory } from './directory-lock.ts'
import { checkDirectory } from './lmdb-check.ts'
import {
  DATA_FILE,
  type Environment,
  HEADER_KEY,
  HEADER_TABLE,
  LMDB_LOCK_FILE,
  openEnvironment,
  openTable,
} from './lmdb-environment.ts'
import {
  checkHeader,
  encodeHeader,
  MARKER_FILE,
  parseHeader,
  readMarker,
  STORE_FORMAT,
  type StoreHeader,
  type StoreMarker,
  type StoreOwner,
  writeMarker,
} from './lmdb-header.ts'
import { LmdbStore } from './lmdb-store.ts'

export interface OpenLmdbStoreOptions {
  /** The directory; made when it is missing. */
  readonly path: string
  readonly cluster: StoreOwner
  /** Told what was found. */
  readonly log: Logger
  /** Reads every row before opening (about a second for each GB in the page cache), not only a sample. */
  readonly verify?: boolean
  /**
   * The store was open in a process that was ended from outside a moment ago, and is known to be whole: it is not looked at before it is opened, which
   * takes a process and a tenth of a second.
   */
  readonly isProven?: boolean | undefined
  /** `held`: whoever opens the directory has locked it, or one around it. Default: it is locked here. */
  readonly lock?: 'held' | undefined
}

export interface OpenedLmdbStore {
  readonly store: LmdbStore
  /** Fresh: there was nothing. Existing: all there. Rebuilt: what was there is damaged or lost, the store is empty; read the journal again. */
  readonly opened: 'fresh' | 'existing' | 'rebuilt'
  /** Where the damaged files are now, if there were any. */
  readonly setAside?: string
  readonly header: StoreHeader
}

/** Opens in a row without a close in between before every row is checked: a page that ends the process must not end it for ever. */
const UNCLEAN_OPENS_MAX = 2
/** Sets of damaged files that are kept; the oldest is deleted for a new one. They are for looking at, and disks are finite. */
const SET_ASIDE_MAX = 3
const SET_ASIDE_PREFIX = 'damaged-'
const HELD: Pick<DirectoryLock, 'release'> = { release: () => undefined }

/**
 * Opens the store in a directory, alone.
 *
 * @throws DATA_IN_USE when a live process has it open.
 * @throws FOREIGN_DATA when it holds something else: another cluster's data, a later format, another program's LMDB.
 * @throws JOURNAL_REPLACED when it was written from a journal that is no longer the cluster's.
 * @throws STORAGE_FAILED when it cannot be read or written at all. Nothing is set aside then.
 */
export async function openLmdbStore(options: OpenLmdbStoreOptions): Promise<OpenedLmdbStore> {
  const { path } = options
  let lock: Pick<DirectoryLock, 'release'> | undefined
  try {
    requireRoom(path)
    lock = options.lock === 'held' ? HELD : await lockDirectory(path)
    return await openLocked(options, lock)
  } catch (error) {
    lock?.release()
    if (error instanceof CarillonError) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw new CarillonError('STORAGE_FAILED', `the data directory ${path} cannot be opened: ${reason}`, {
      cause: error,
    })
  }
}

async function openLocked(
  options: OpenLmdbStoreOptions,
  lock: Pick<DirectoryLock, 'release'>,
): Promise<OpenedLmdbStore> {
  const { path, cluster, log } = options
  const marker = readMarker(path)
  if (marker) checkHeader(path, marker, cluster)
  const found = await examine(options, marker)
  if (found.state === 'whole') checkHeader(path, found.header, cluster)
  const setAside = found.state === 'damaged' ? moveAside(path) : undefined
  if (found.state === 'damaged') {
    log.warn(
      { path, setAside, reason: found.reason },
      'the data directory is damaged: it is set aside and rebuilt from the journal',
    )
  }
  const header: StoreHeader =
    found.state === 'whole' ? found.header : { ...cluster, format: STORE_FORMAT, createdMs: Date.now() }
  const store = await openStore(options, lock, header, found.state === 'whole' ? (marker ?? undefined) : 'new')
  const opened = ({ whole: 'existing', damaged: 'rebuilt', empty: 'fresh' } as const)[found.state]
  log.info({ path, opened }, `the data directory is open (${opened})`)
  return setAside === undefined ? { store, opened, header } : { store, opened, header, setAside }
}

type Found =
  | { readonly state: 'whole'; readonly header: StoreHeader }
  | { readonly state: 'damaged'; readonly reason: string }
  | { readonly state: 'empty' }

async function examine(options: OpenLmdbStoreOptions, marker: StoreMarker | null | undefined): Promise<Found> {
  const { path } = options
  const isKnown = marker !== undefined
  const file = join(path, DATA_FILE)
  if (options.isProven === true && isKnown && marker !== null && existsSync(file))
    return { state: 'whole', header: marker }
  if (!existsSync(file)) return isKnown ? { state: 'damaged', reason: `${DATA_FILE} is gone` } : { state: 'empty' }
  if (statSync(file).size === 0)
    return isKnown ? { state: 'damaged', reason: `${DATA_FILE} is empty` } : { state: 'empty' }
  const mustReadAll = options.verify === true || (marker?.uncleanOpens ?? 0) >= UNCLEAN_OPENS_MAX
  const report = await checkDirectory({
    path,
    tables: TABLES,
    rows: mustReadAll ? 'all' : 'sample',
  })
  if (report.verdict === 'damaged') return { state: 'damaged', reason: report.reason }
  const header = report.header === undefined ? undefined : parseHeader(report.header)
  if (header !== undefined) return { state: 'whole', header }
  // Bits that flipped in the names of the tables make them look like another program's.
  if (isKnown) return { state: 'damaged', reason: `${DATA_FILE} has lost its header` }
  if (report.foreign || report.rows > 0) throw foreignLmdb(path)
  // An opening that ended before its header was written leaves no marker either.
  return { state: 'empty' }
}

async function openStore(
  options: OpenLmdbStoreOptions,
  lock: Pick<DirectoryLock, 'release'>,
  header: StoreHeader,
  before: StoreMarker | 'new' | undefined,
): Promise<LmdbStore> {
  const { path, log } = options
  const environment = openEnvironment(path)
  try {
    const store = new LmdbStore(path, environment, () => leave(path, header, lock, log))
    // The marker comes after the header is on the disk: a marker without a header means that something was lost.
    if (before === 'new') {
      await writeHeader(environment, header)
      await store.flushed()
    }
    const { uncleanOpens = 0, dataBytes = 0 } = before === 'new' || before === undefined ? {} : before
    const opens = uncleanOpens >= UNCLEAN_OPENS_MAX ? 1 : uncleanOpens + 1
    // That it was not closed says nothing of the disk then.
    writeMarker(path, { ...header, uncleanOpens: options.isProven === true ? uncleanOpens : opens, dataBytes })
    return store
  } catch (error) {
    await environment.close()
    throw error
  }
}

function leave(path: string, header: StoreHeader, lock: Pick<DirectoryLock, 'release'>, log: Logger): void {
  try {
    writeMarker(path, { ...header, uncleanOpens: 0, dataBytes: statSync(join(path, DATA_FILE)).size })
  } catch (error) {
    // The next opening takes this end for an unclean one, which costs it a longer check at worst.
    log.warn({ path, error: String(error) }, 'the data directory could not be marked as closed in order')
  }
  lock.release()
}

async function writeHeader(environment: Environment, header: StoreHeader): Promise<void> {
  const value = encodeHeader(header)
  const row = Buffer.allocUnsafeSlow(value.length + CHECKSUM_BYTES)
  sealRow(row, tableSeed(HEADER_TABLE), HEADER_KEY, value)
  const table = openTable(environment, HEADER_TABLE)
  await environment.batch(() => void table.put(HEADER_KEY, row))
}

/** Moves the files into a directory within this one, not beside it: this one may be a mount point, and its lock stays where it is. */
function moveAside(path: string): string | undefined {
  const files = [DATA_FILE, LMDB_LOCK_FILE, MARKER_FILE].filter((name) => existsSync(join(path, name)))
  const old = readdirSync(path)
    .filter((name) => name.startsWith(SET_ASIDE_PREFIX))
    .sort()
  for (const name of old.slice(0, Math.max(0, old.length + 1 - SET_ASIDE_MAX)))
    rmSync(join(path, name), { recursive: true })
  // Colons are not for file names everywhere.
  const target = join(path, SET_ASIDE_PREFIX + new Date().toISOString().replaceAll(':', '-'))
  mkdirSync(target, { recursive: true })
  for (const name of files) renameSync(join(path, name), join(target, name))
  return target
}

function foreignLmdb(path: string): CarillonError {
  return new CarillonError(
    'FOREIGN_DATA',
    `the data directory ${path} holds an LMDB that is not Carillon's: give this node a directory of its own`,
    { details: { path } },
  )
}
