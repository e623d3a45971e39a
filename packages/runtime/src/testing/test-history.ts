/** The history of one instance of a test world, as the client reads it from a stream. */
import type { HistoryEntry, HistoryOptions, ReadPayload } from '../contract/handle.ts'
import { CarillonError } from '../errors.ts'
import type { LogMessage } from '../ports/index.ts'
import {
  decodeEncoded,
  HEADERS,
  type InstanceKey,
  isPayloadEncoding,
  type PayloadCodecs,
  type PayloadPlace,
  placeOfInput,
  quote,
  type Subjects,
} from '../protocol/index.ts'

export interface StoredHistory {
  readonly messages: readonly LogMessage[]
  readonly subjects: Subjects
  readonly codecs: PayloadCodecs | undefined
}

/** Gives the inputs of an instance in order, as they are now. @throws CONFIG_INVALID */
export async function* readHistory(
  { messages, subjects, codecs }: StoredHistory,
  key: InstanceKey,
  { from = 1, limit = Number.MAX_SAFE_INTEGER }: HistoryOptions,
): AsyncIterableIterator<HistoryEntry> {
  checkWhole(from, 'from')
  checkWhole(limit, 'limit')
  let left = limit
  for (const message of messages.filter(({ seq }) => seq >= from)) {
    const subject = subjects.parseLog(message.subject)
    if (subject === undefined || subject.key !== key) continue
    const { kind, name } = subject
    const id = message.header(HEADERS.id) ?? message.header(HEADERS.natsId)
    const { seq, timeMs } = message
    yield {
      seq,
      time: new Date(timeMs),
      kind,
      name,
      id,
      ...readPayload(codecs, message, placeOfInput(key, kind, name)),
    }
    left -= 1
    if (left === 0) return
  }
}

function readPayload(codecs: PayloadCodecs | undefined, message: LogMessage, place: PayloadPlace): ReadPayload {
  const encoding = message.header(HEADERS.encoding) ?? 'json'
  try {
    if (!isPayloadEncoding(encoding))
      throw new CarillonError('INVALID_PAYLOAD', `the encoding ${quote(encoding)} is not known`)
    return { payload: decodeEncoded(codecs, message.payload, encoding, place) }
  } catch (error) {
    return { payload: undefined, unreadable: error instanceof Error ? error.message : String(error) }
  }
}

function checkWhole(value: number, what: string): void {
  if (Number.isSafeInteger(value) && value >= 1) return
  throw new CarillonError('CONFIG_INVALID', `${what} is ${value}: give a whole number from 1`)
}
