/** Reads an instance's inputs back from the journal. */
import { CarillonError } from '@carillon/runtime'
import { decodePayload, type Encoding, HEADERS, type InputKind, quote } from '@carillon/runtime/protocol'
import { type DirectBatchOptions, JetStreamError, type StoredMsg } from '@nats-io/jetstream'

import type { Session } from './session.ts'
import { formatTarget, type Target } from './target.ts'

export interface HistoryOptions {
  /** The first sequence of interest; default 1. */
  readonly from?: number | undefined
  /** Entries at most; default all. */
  readonly limit?: number | undefined
}

/** One input as it stands in the journal. It may be a repeat, or one that was refused: the journal holds what was sent. */
export interface HistoryEntry {
  readonly seq: number
  /** When the server stored it. */
  readonly time: Date
  readonly kind: InputKind
  /** Empty for `start`. */
  readonly name: string
  /** The sender's idempotency key, if it gave one. */
  readonly id: string | undefined
  /** Undefined when it cannot be decoded: see `unreadable`. */
  readonly payload: unknown
  /** Present when the payload cannot be decoded: why. */
  readonly unreadable?: string
}

/** Messages of one request: enough to fill the pipe, few enough to stop early. */
const BATCH = 256

/** Gives the inputs in order. It asks for more only when what it had is consumed. */
export async function* readHistory(
  session: Session,
  target: Target,
  options: HistoryOptions,
): AsyncIterableIterator<HistoryEntry> {
  const filter = session.subjects.logOfInstance(target.typeToken, target.idToken)
  let next = checkWhole(options.from ?? 1, 'from')
  let left = options.limit === undefined ? Number.POSITIVE_INFINITY : checkWhole(options.limit, 'limit')
  while (left > 0) {
    const query = { seq: next, next_by_subj: filter, batch: Math.min(BATCH, left) }
    const batch = await session.track(() => readBatch(session, query, target))
    for (const message of batch.messages) {
      const entry = toEntry(session, message)
      if (entry !== undefined) yield entry
      left -= 1
      next = message.seq + 1
    }
    if (batch.isLast) return
  }
}

interface Batch {
  readonly messages: readonly StoredMsg[]
  readonly isLast: boolean
}

async function readBatch(session: Session, query: DirectBatchOptions, target: Target): Promise<Batch> {
  const messages: StoredMsg[] = []
  try {
    const manager = await session.jetStream()
    for await (const message of await manager.direct.getBatch(session.subjects.logStream, query)) messages.push(message)
  } catch (error) {
    if (!isEnd(error))
      throw new CarillonError(
        'TIMEOUT',
        `the history of ${formatTarget(target)} cannot be read: ${error instanceof Error ? error.message : String(error)}: ask again`,
        { cause: error },
      )
  }
  return { messages, isLast: messages.length < (query.batch ?? BATCH) }
}

/** JetStream answers 404 when nothing is stored from there on. */
function isEnd(error: unknown): boolean {
  return error instanceof JetStreamError && 'code' in error && error.code === 404
}

function toEntry(session: Session, message: StoredMsg): HistoryEntry | undefined {
  const subject = session.subjects.parseLog(message.subject)
  if (subject === undefined) return undefined
  const header = (name: string): string | undefined => message.header.get(name) || undefined
  const { kind, name } = subject
  const id = header(HEADERS.id) ?? header(HEADERS.natsId)
  return {
    seq: message.seq,
    time: message.time,
    kind,
    name,
    id,
    ...readPayload(message.data, header(HEADERS.encoding)),
  }
}

function readPayload(bytes: Uint8Array, encoding: string | undefined): Pick<HistoryEntry, 'payload' | 'unreadable'> {
  try {
    return { payload: decodePayload(bytes, parseEncoding(encoding)) }
  } catch (error) {
    return { payload: undefined, unreadable: error instanceof Error ? error.message : String(error) }
  }
}

function parseEncoding(text: string | undefined): Encoding {
  if (text === undefined || text === 'json') return 'json'
  if (text === 'msgpack') return text
  throw new CarillonError('INVALID_PAYLOAD', `the encoding ${quote(text)} is not known`)
}

function checkWhole(value: number, what: string): number {
  if (Number.isSafeInteger(value) && value >= 1) return value
  throw new CarillonError('CONFIG_INVALID', `${what} is ${value}: give a whole number from 1`)
}
