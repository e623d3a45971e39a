/** Turns what a caller sends into one message of the journal, and publishes it. */
import { randomBytes } from 'node:crypto'

import { CarillonError, codeOf } from '@carillon/runtime'
import {
  checkInputId,
  encodeToken,
  encodeValue,
  HEADERS,
  type InputKind,
  PAYLOAD_BYTES_MAX,
  type PayloadCodecs,
  type PayloadEncoding,
  placeOfInput,
  quote,
  type Subjects,
} from '@carillon/runtime/protocol'

import { formatTarget, type Target } from './target.ts'

/** What the sender needs of a publisher: messages of one key are stored in the order of the calls. `PipelinedPublisher` is the one. */
export interface Publisher {
  /** Exactly one of the two is called, later, unless the call itself throws. */
  post(
    request: {
      readonly subject: string
      readonly key: string
      readonly headers: Readonly<Record<string, string>>
      readonly payload: Uint8Array
    },
    onAcked: (ack: { readonly seq: number }) => void,
    onFailed: (error: unknown) => void,
  ): void
}

/** One input to be sent. Its payload has been validated. */
export interface OutgoingInput {
  readonly target: Target
  readonly kind: InputKind
  /** Undefined for `start`. */
  readonly name?: string | undefined
  readonly payload: unknown
  /** Goes out byte for byte, in place of `payload`. */
  readonly raw?: RawPayload | undefined
  /** The idempotency key; made up when undefined. */
  readonly id?: string | undefined
  /** Inbox for the outcome. */
  readonly reply?: string | undefined
  readonly traceparent?: string | undefined
  readonly tracestate?: string | undefined
}

/** A payload as another sender has encoded it. */
export interface RawPayload {
  readonly bytes: Uint8Array
  readonly encoding: PayloadEncoding
  /** The version of its schema; undefined for the one of this release. */
  readonly version: string | undefined
}

/** An input on its way: its id is known at once, its sequence when it is durable. */
export interface SentInput {
  readonly id: string
  readonly seq: Promise<number>
}

/** Version, trace id, parent id and flags, as W3C Trace Context writes them. */
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/
/** Names are few; the bound is for a caller who makes them up. */
const SUBJECTS_KEPT_MAX = 64
const ID_PREFIX_BYTES = 9
const BASE = 36

export class InputSender {
  readonly #subjects: Subjects
  readonly #publisher: Publisher
  readonly #codecs: PayloadCodecs | undefined
  /** Made-up ids: unlike any other connection's by their prefix, unlike each other by their number. */
  readonly #idPrefix = randomBytes(ID_PREFIX_BYTES).toString('base64url')
  #lastId = 0

  constructor(subjects: Subjects, publisher: Publisher, codecs?: PayloadCodecs) {
    this.#subjects = subjects
    this.#publisher = publisher
    this.#codecs = codecs
  }

  /**
   * Sends one input. Inputs to one instance are stored in the order of the calls.
   *
   * @throws INVALID_ID, INVALID_PAYLOAD, PAYLOAD_TOO_LARGE at once: nothing was sent. What `seq` rejects with is the publisher's.
   */
  send(input: OutgoingInput): SentInput {
    const id = input.id ?? this.#nextId()
    let refused: { readonly error: unknown } | undefined
    const seq = new Promise<number>((resolve, reject) => {
      try {
        this.post({ ...input, id }, (ack) => resolve(ack.seq), reject)
      } catch (error) {
        refused = { error }
      }
    })
    if (refused !== undefined) throw refused.error
    return { id, seq }
  }

  /** As `send`, without a promise for each input: exactly one of the two is called, later, unless the call itself throws. */
  post(
    input: OutgoingInput,
    onStored: (ack: { readonly seq: number }) => void,
    onFailed: (error: unknown) => void,
  ): void {
    const { target, kind, name, raw } = input
    const id = input.id === undefined ? this.#nextId() : checkInputId(input.id)
    let payload = raw === undefined ? encodePayload(input.payload, () => formatInput(input)) : raw.bytes
    let encoding: PayloadEncoding | undefined = payload.length === 0 ? undefined : (raw?.encoding ?? 'msgpack')
    if (raw === undefined && this.#codecs !== undefined) {
      const encoded = this.#codecs.encode(payload, 'msgpack', placeOfInput(target.key, kind, name ?? ''))
      payload = encoded.bytes
      encoding = payload.length === 0 ? undefined : encoded.encoding
    }
    const headers = formatHeaders(id, encoding, input)
    if (raw?.version !== undefined) headers[HEADERS.version] = raw.version
    this.#publisher.post(
      { subject: this.#subjectOf(target, kind, name), key: target.key, headers, payload },
      onStored,
      onFailed,
    )
  }

  #subjectOf(target: Target, kind: InputKind, name: string | undefined): string {
    const what = name === undefined ? kind : `${kind}.${name}`
    const known = target.inputSubjects.get(what)
    if (known !== undefined) return known
    const nameToken = name === undefined ? undefined : encodeToken(name, `${kind} name`)
    const subject = this.#subjects.log(target.typeToken, target.idToken, kind, nameToken)
    if (target.inputSubjects.size < SUBJECTS_KEPT_MAX) target.inputSubjects.set(what, subject)
    return subject
  }

  #nextId(): string {
    this.#lastId += 1
    return `${this.#idPrefix}-${this.#lastId.toString(BASE)}`
  }
}

/** How error messages name an input. */
export function formatInput(input: {
  readonly target: Target
  readonly kind: InputKind
  readonly name?: string | undefined
}): string {
  const what = input.name === undefined ? input.kind : `${input.kind} ${quote(input.name)}`
  return `the ${what} of ${formatTarget(input.target)}`
}

/**
 * Encodes a payload for the wire.
 *
 * @throws INVALID_PAYLOAD when it cannot be encoded. @throws PAYLOAD_TOO_LARGE when it is over `PAYLOAD_BYTES_MAX`.
 */
export function encodePayload(value: unknown, what: () => string): Uint8Array {
  let bytes: Uint8Array
  try {
    bytes = encodeValue(value)
  } catch (error) {
    if (codeOf(error) !== 'INVALID_STATE') throw error
    throw new CarillonError(
      'INVALID_PAYLOAD',
      `the payload of ${what()} is not plain data: ${(error as Error).message}`,
      { cause: error },
    )
  }
  if (bytes.length <= PAYLOAD_BYTES_MAX) return bytes
  throw new CarillonError(
    'PAYLOAD_TOO_LARGE',
    `the payload of ${what()} has ${bytes.length} bytes, and ${PAYLOAD_BYTES_MAX} are allowed: store it elsewhere and send a reference`,
  )
}

/** No version is sent: none means 1, and the header would cost every message 21 bytes. An empty payload needs no encoding either. */
function formatHeaders(
  id: string,
  encoding: PayloadEncoding | undefined,
  { reply, traceparent, tracestate }: OutgoingInput,
): Record<string, string> {
  const headers: Record<string, string> = { [HEADERS.id]: id }
  if (encoding !== undefined && encoding !== 'json') headers[HEADERS.encoding] = encoding
  if (reply !== undefined) headers[HEADERS.reply] = reply
  if (traceparent !== undefined) {
    if (!TRACEPARENT.test(traceparent))
      throw new CarillonError(
        'INVALID_ID',
        `the traceparent ${quote(traceparent)} is not in the form of W3C Trace Context: 00-<32 hex>-<16 hex>-<2 hex>`,
      )
    headers[HEADERS.trace] = traceparent
    if (tracestate !== undefined && tracestate !== '') headers[HEADERS.traceState] = tracestate
  }
  return headers
}
