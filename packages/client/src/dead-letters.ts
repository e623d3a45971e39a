/**
 * Dead letters: inputs that no instance took, listed, looked up, and driven again.
 *
 * Invariants
 * 1. Driving a letter again gives the input an id that depends on the input alone, so doing it twice is a repeat, also by another copy of the
 *    letter: after a crash one may be stored twice.
 */
import {
  type Accepted,
  CarillonError,
  type ErrorData,
  fromErrorData,
  type ReadPayload,
  type SendOptions,
} from '@carillon/runtime'
import {
  decodeToken,
  encodeToken,
  HEADERS,
  INPUT_ID_BYTES_MAX,
  INPUT_KINDS,
  type InputKind,
  isPayloadEncoding,
  openText,
  parseKey,
  type PayloadEncoding,
  quote,
} from '@carillon/runtime/protocol'
import type { StoredMsg } from '@nats-io/jetstream'

import type { OutgoingInput } from './input-sender.ts'
import { OUTCOME_TIMEOUT_MS } from './limits.ts'
import type { Session } from './session.ts'
import { checkWhole, readPayload, readStored, readStoredAt } from './stored-messages.ts'

export interface DeadLetterOptions {
  /** Of this workflow type only. */
  readonly type?: string | undefined
  /** Of this instance only; needs `type`. */
  readonly id?: string | undefined
  /** Behind this sequence of the dead letters; default 0. */
  readonly after?: number | undefined
  /** Letters at most; default all. */
  readonly limit?: number | undefined
}

/** One input that no instance took, and why. */
export interface DeadLetter extends ReadPayload {
  /** Its place among the dead letters: what `redrive` takes. */
  readonly seq: number
  /** When it was stored. */
  readonly time: Date
  /** Undefined, with `id` and `kind`, when its subject names no instance. */
  readonly type: string | undefined
  readonly id: string | undefined
  readonly kind: InputKind | undefined
  /** Empty for `start`; the whole subject when that names no instance. */
  readonly name: string
  /** The sender's idempotency key, if it gave one. */
  readonly inputId: string | undefined
  readonly reason: ErrorData
  /** Where the input stands in the journal. */
  readonly originSeq: number
  /** The payload as it came. */
  readonly bytes: Uint8Array
  readonly encoding: PayloadEncoding
  /** The version of its schema, where it is not the one of this release. */
  readonly version: string | undefined
}

export type RedriveOptions = Pick<SendOptions, 'wait' | 'timeoutMs'>

/** Letters are as large as payloads may be: fewer at once than of the journal. */
const BATCH = 64
const utf8 = new TextEncoder()

/** Gives dead letters in the order in which they were stored. It asks for more only when what it had is consumed. */
export async function* readDeadLetters(
  session: Session,
  options: DeadLetterOptions,
): AsyncIterableIterator<DeadLetter> {
  const { type, id, after = 0, limit } = options
  if (id !== undefined && type === undefined)
    throw new CarillonError(
      'CONFIG_INVALID',
      `dead letters of the id ${quote(id)} were asked for without a type: give it too`,
    )
  const messages = readStored(session, {
    stream: session.subjects.deadStream,
    filter: session.subjects.deadOf(
      type === undefined ? undefined : encodeToken(type, 'workflow type'),
      id === undefined ? undefined : encodeToken(id, 'instance id'),
    ),
    from: checkWhole(after, 'after', 0) + 1,
    limit: limit === undefined ? undefined : checkWhole(limit, 'limit'),
    batch: BATCH,
    what: 'the dead letters',
  })
  for await (const message of messages) yield toLetter(session, message)
}

/** @throws NOT_FOUND when there is no dead letter at this sequence. */
export async function readDeadLetter(session: Session, seq: number): Promise<DeadLetter> {
  const message = await readStoredAt(session, session.subjects.deadStream, checkWhole(seq, 'seq'), `dead letter ${seq}`)
  if (message !== undefined) return toLetter(session, message)
  throw new CarillonError('NOT_FOUND', `there is no dead letter ${seq}: carillon dead list shows those there are`)
}

/** Throws as `readDeadLetter` and as `redrivenInput`, and what sending an input throws. */
export async function redrive(session: Session, seq: number, options: RedriveOptions): Promise<Accepted> {
  const input = redrivenInput(session, await readDeadLetter(session, seq))
  if (options.wait !== 'applied') {
    const sent = session.send(input)
    return { seq: await sent.seq, id: sent.id, duplicate: false }
  }
  const applied = await session.sendAndWait(input, options.timeoutMs ?? OUTCOME_TIMEOUT_MS)
  if (!applied.outcome.ok) throw fromErrorData(applied.outcome.error)
  return { seq: applied.seq, id: applied.id, duplicate: applied.duplicate }
}

/** The input of a letter as it is to be sent again (invariant 1). @throws CONFIG_INVALID when it is none that a sender may send. */
function redrivenInput(session: Session, letter: DeadLetter): OutgoingInput {
  const { seq, type, id, kind, name } = letter
  if (type === undefined || id === undefined)
    throw new CarillonError(
      'CONFIG_INVALID',
      `dead letter ${seq} came on ${quote(name)}, which names no instance: send its payload to the right one`,
    )
  if (kind !== 'start' && kind !== 'signal' && kind !== 'update')
    throw new CarillonError(
      'CONFIG_INVALID',
      `dead letter ${seq} is of kind ${kind ?? quote(name)}: only starts, signals and updates can be driven again`,
    )
  const { bytes, encoding, version } = letter
  return {
    target: session.targets.of(type, id),
    kind,
    name: kind === 'start' ? undefined : name,
    payload: undefined,
    raw: { bytes, encoding, version },
    id: redrivenId(letter),
  }
}

/** The id it had, and where it stood; without the former where that makes no id. */
function redrivenId({ inputId, originSeq }: DeadLetter): string {
  const suffix = `~${originSeq}`
  const whole = `${inputId ?? 'redriven'}${suffix}`
  // An id is refused, among others, for its length or its form: then that may be why the letter is one.
  return utf8.encode(whole).length <= INPUT_ID_BYTES_MAX && whole.normalize('NFC') === whole
    ? whole
    : `redriven${suffix}`
}

function toLetter(session: Session, message: StoredMsg): DeadLetter {
  const header = (name: string): string | undefined => message.header.get(name) || undefined
  const key = session.subjects.parseDead(message.subject)
  const encoding = header(HEADERS.encoding)
  const origin = header(HEADERS.originSubject) ?? ''
  const { kind, name } = key === undefined ? { kind: undefined, name: origin } : parseOrigin(origin)
  return {
    seq: message.seq,
    time: message.time,
    ...(key === undefined ? { type: undefined, id: undefined } : parseKey(key)),
    kind,
    name,
    inputId: header(HEADERS.id),
    reason: {
      code: header(HEADERS.reasonCode) ?? '',
      message: openText(session.codecs, header(HEADERS.reasonText) ?? '', key ?? ''),
    },
    originSeq: Number(header(HEADERS.originSeq) ?? 0),
    bytes: new Uint8Array(message.data),
    encoding: encoding !== undefined && isPayloadEncoding(encoding) ? encoding : 'json',
    version: header(HEADERS.version),
    ...readPayload(session.codecs, { bytes: message.data, encoding, key, kind, name }),
  }
}

function parseOrigin(text: string): Pick<DeadLetter, 'kind' | 'name'> {
  const [kind, token = ''] = text.split('.', 2)
  try {
    if (isInputKind(kind)) return { kind, name: token === '' ? '' : decodeToken(token) }
  } catch {
    // Not a node's: it is shown as it stands.
  }
  return { kind: undefined, name: text }
}

function isInputKind(text: string | undefined): text is InputKind {
  return (INPUT_KINDS as readonly (string | undefined)[]).includes(text)
}
