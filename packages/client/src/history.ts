/** Reads an instance's inputs back from the journal. */
import { CarillonError, codeOf, type HistoryEntry, type HistoryOptions } from '@carillon/runtime'
import { type Description, HEADERS } from '@carillon/runtime/protocol'
import type { StoredMsg } from '@nats-io/jetstream'

import { Journal } from './journal.ts'
import type { Session } from './session.ts'
import { checkWhole, readPayload, readStored } from './stored-messages.ts'
import { formatTarget, type Target } from './target.ts'

const BATCH = 256

/**
 * Gives the inputs in order. It asks for more only when what it had is consumed.
 *
 * @param describe asks the cluster what it knows of the instance.
 * @throws HISTORY_TRIMMED when inputs of it may be gone, unless that is all right.
 */
export async function* readHistory(
  session: Session,
  target: Target,
  options: HistoryOptions,
  describe: () => Promise<Description>,
): AsyncIterableIterator<HistoryEntry> {
  const { typeToken, idToken } = target
  if (options.partial !== true) await checkReach(session, target, checkWhole(options.from ?? 1, 'from'), describe)
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

/** Whether the journal reaches back to a sequence, as far as this instance is concerned. */
async function checkReach(
  session: Session,
  target: Target,
  from: number,
  describe: () => Promise<Description>,
): Promise<void> {
  const { firstSeq, firstTime } = await new Journal(session).bounds()
  if (from >= firstSeq) return
  const known = await describe().catch((error: unknown) => String(codeOf(error)))
  // In its first life, and begun behind the trimmed part: nothing of it was there.
  const isWhole =
    typeof known !== 'string' &&
    known.incarnation === 1 &&
    firstTime !== undefined &&
    known.startedMs >= firstTime.getTime()
  if (isWhole) return
  const since = firstTime === undefined ? '' : `, ${firstTime.toISOString()}`
  throw new CarillonError(
    'HISTORY_TRIMMED',
    `the journal has been trimmed: it begins at seq ${firstSeq}${since}, and inputs of ${formatTarget(target)} before that may be gone. Read from there (from: ${firstSeq}), or take what is left (partial: true)`,
    { details: { firstSeq } },
  )
}
