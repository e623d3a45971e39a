/**
 * What a data directory belongs to, written twice: as a record inside LMDB, and as a small file beside it that is still there when LMDB's file
 * was emptied or lost.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'

import { CarillonError } from '@carillon/runtime'

/** The format of the directory that this release writes and reads. */
export const STORE_FORMAT = 2
/** The file beside LMDB's. */
export const MARKER_FILE = 'carillon.json'

/** The cluster whose data a directory holds. */
export interface StoreOwner {
  readonly clusterId: string
  /** For messages: what people call the cluster, for example its namespace. */
  readonly clusterName: string
  /** The incarnation of the log streams: positions in another one mean nothing. */
  readonly logIdentity: string
}

export interface StoreHeader extends StoreOwner {
  readonly format: number
  readonly createdMs: number
}

/** The file beside LMDB's. */
export interface StoreMarker extends StoreHeader {
  /** How often the directory was opened since it was last closed in order. A crash at every start counts up: then all of it is checked. */
  readonly uncleanOpens: number
  /** Bytes of LMDB's file when it was last closed in order. It never gets shorter by itself. */
  readonly dataBytes: number
}

export function encodeHeader(header: StoreHeader): Uint8Array {
  return Buffer.from(JSON.stringify(header))
}

/** Parses a header or a marker; undefined when it is none. */
export function parseHeader(text: string): StoreMarker | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const { format, clusterId, clusterName, logIdentity, createdMs, uncleanOpens, dataBytes } = value as Record<
    string,
    unknown
  >
  if (typeof format !== 'number' || typeof clusterId !== 'string') return undefined
  return {
    format,
    clusterId,
    clusterName: typeof clusterName === 'string' ? clusterName : clusterId,
    logIdentity: typeof logIdentity === 'string' ? logIdentity : '',
    createdMs: typeof createdMs === 'number' ? createdMs : 0,
    uncleanOpens: typeof uncleanOpens === 'number' ? uncleanOpens : 0,
    dataBytes: typeof dataBytes === 'number' ? dataBytes : 0,
  }
}

/**
 * Checks that a directory's header is this cluster's.
 *
 * @throws FOREIGN_DATA when it is another cluster's, or of a format that this release does not know.
 * @throws JOURNAL_REPLACED when the cluster's log streams have been made anew since.
 */
export function checkHeader(path: string, header: StoreHeader, owner: StoreOwner): void {
  if (header.format !== STORE_FORMAT) {
    throw new CarillonError(
      'FOREIGN_DATA',
      `the data directory ${path} has format ${header.format}, and this release reads format ${STORE_FORMAT}: run the release that wrote it, or give another data directory`,
      { details: { path, found: header, expected: owner } },
    )
  }
  if (header.clusterId !== owner.clusterId) {
    throw new CarillonError(
      'FOREIGN_DATA',
      `the data directory ${path} belongs to the cluster ${header.clusterName} (${header.clusterId}), not to ${owner.clusterName} (${owner.clusterId}): give this node another data directory, or move that one away`,
      { details: { path, found: header, expected: owner } },
    )
  }
  if (header.logIdentity !== owner.logIdentity) {
    throw new CarillonError(
      'JOURNAL_REPLACED',
      `the data directory ${path} was written from the journal ${header.logIdentity}, and the cluster ${owner.clusterName} has the journal ${owner.logIdentity} now: restore the journal, or move the directory away to start from the new one`,
      { details: { path, found: header, expected: owner } },
    )
  }
}

/** Reads the marker: undefined when there is none, null when there is one that cannot be read. */
export function readMarker(path: string): StoreMarker | null | undefined {
  let text: string
  try {
    text = readFileSync(join(path, MARKER_FILE), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  return parseHeader(text) ?? null
}

/** Replaces the marker as a whole. */
export function writeMarker(path: string, marker: StoreMarker): void {
  const file = join(path, MARKER_FILE)
  const descriptor = openSync(`${file}.new`, 'w')
  try {
    writeSync(descriptor, `${JSON.stringify(marker, null, 2)}\n`)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
  renameSync(`${file}.new`, file)
}
