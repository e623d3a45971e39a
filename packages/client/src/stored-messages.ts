/** Reads the messages of a stream in order, by batches; what history and dead letters share. */
import { CarillonError, type ReadPayload } from '@carillon/runtime'
import { decodeEncoded, isPayloadEncoding, type PayloadCodecs, placeOfInput, quote } from '@carillon/runtime/protocol'
import { type DirectBatchOptions, JetStreamError, type StoredMsg } from '@nats-io/jetstream'

import type { Session } from './session.ts'

export interface StoredRange {
  readonly stream: string
  /** The subjects of interest, with wildcards. */
  readonly filter: string
  /** The first sequence of interest. */
  readonly from: number
  /** Messages at most; undefined for all. */
  readonly limit: number | undefined
  /** Messages of one request: enough to fill the pipe, few enough to stop early. */
  readonly batch: number
  /** Names what is read in an error. */
  readonly what: string
}

/** Gives the messages in order. It asks for more only when what it had is consumed. @throws TIMEOUT when the server gives no answer. */
export async function* readStored(session: Session, range: StoredRange): AsyncIterableIterator<StoredMsg> {
  const { stream, filter, limit, batch: batchMax, what } = range
  let next = range.from
  let left = limit ?? Number.POSITIVE_INFINITY
  while (left > 0) {
    const query = { seq: next, next_by_subj: filter, batch: Math.min(batchMax, left) }
    const messages = await session.track(() => readBatch(session, stream, query, what))
    for (const message of messages) {
      yield message
      left -= 1
      next = message.seq + 1
    }
    // A short batch is no end: the server cuts one that has too many bytes.
    if (messages.length === 0) return
  }
}

/** The message at one sequence, or undefined when there is none. @throws TIMEOUT when the server gives no answer. */
export function readStoredAt(
  session: Session,
  stream: string,
  seq: number,
  what: string,
): Promise<StoredMsg | undefined> {
  return session.track(async () => {
    try {
      const manager = await session.jetStream()
      return (await manager.direct.getMessage(stream, { seq })) ?? undefined
    } catch (error) {
      if (isAbsent(error)) return undefined
      throw unreadable(what, error)
    }
  })
}

/** An input in a stream, as far as its payload is concerned. */
export interface StoredPayload {
  readonly bytes: Uint8Array
  /** None means JSON. */
  readonly encoding: string | undefined
  /** Whose it is; undefined when its subject names no instance. */
  readonly key: string | undefined
  readonly kind: string | undefined
  readonly name: string
}

/** Decodes a payload, through the codecs that it names. */
export function readPayload(codecs: PayloadCodecs | undefined, stored: StoredPayload): ReadPayload {
  const { bytes, encoding = 'json', key = '', kind = '', name } = stored
  try {
    if (!isPayloadEncoding(encoding))
      throw new CarillonError('INVALID_PAYLOAD', `the encoding ${quote(encoding)} is not known`)
    return { payload: decodeEncoded(codecs, bytes, encoding, placeOfInput(key, kind, name)) }
  } catch (error) {
    return { payload: undefined, unreadable: error instanceof Error ? error.message : String(error) }
  }
}

/** @throws CONFIG_INVALID when the value is no whole number from `min`. */
export function checkWhole(value: number, what: string, min = 1): number {
  if (Number.isSafeInteger(value) && value >= min) return value
  throw new CarillonError('CONFIG_INVALID', `${what} is ${value}: give a whole number from ${min}`)
}

async function readBatch(
  session: Session,
  stream: string,
  query: DirectBatchOptions,
  what: string,
): Promise<readonly StoredMsg[]> {
  const messages: StoredMsg[] = []
  try {
    const manager = await session.jetStream()
    for await (const message of await manager.direct.getBatch(stream, query)) messages.push(message)
  } catch (error) {
    if (!isAbsent(error)) throw unreadable(what, error)
  }
  return messages
}

/** JetStream answers 404 when nothing is stored there, or from there on. */
function isAbsent(error: unknown): boolean {
  return error instanceof JetStreamError && 'code' in error && error.code === 404
}

function unreadable(what: string, error: unknown): CarillonError {
  const reason = error instanceof Error ? error.message : String(error)
  return new CarillonError('TIMEOUT', `${what} cannot be read: ${reason}: ask again`, { cause: error })
}
