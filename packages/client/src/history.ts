/** Reads an instance's inputs back from the journal. */
import type { HistoryEntry, HistoryOptions } from '@carillon/runtime'
import { HEADERS } from '@carillon/runtime/protocol'
import type { StoredMsg } from '@nats-io/jetstream'

import type { Session } from './session.ts'
import { checkWhole, readPayload, readStored } from './stored-messages.ts'
import { formatTarget, type Target } from './target.ts'

const BATCH = 256

/** Gives the inputs in order. It asks for more only when what it had is consumed. */
export async function* readHistory(
  session: Session,
  target: Target,
  options: HistoryOptions,
): AsyncIterableIterator<HistoryEntry> {
  const { typeToken, idToken } = target
  const messages = readStored(session, {
    stream: session.subjects.logStream,
    filter: session.subjects.logOfInstance(typeToken, idToken),
    from: checkWhole(options.from ?? 1, 'from'),
    limit: options.limit === undefined ? undefined : checkWhole(options.limit, 'limit'),
    batch: BATCH,
    what: `the history of ${formatTarget(target)}`,
  })
  for await (const message of messages) {
    const entry = toEntry(session, message)
    if (entry !== undefined) yield entry
  }
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
    ...readPayload(session.codecs, {
      bytes: message.data,
      encoding: header(HEADERS.encoding),
      key: subject.key,
      kind,
      name,
    }),
  }
}
