/** What JetStream answers to a publish, read without a JSON parser where it has its usual shape. */

export interface PublishAck {
  /** The sequence of the message in its stream. */
  readonly seq: number
  /** True when the server knew the message's Nats-Msg-Id: nothing was stored, and `seq` is the first one's. */
  readonly duplicate: boolean
}

export interface PublishRefusal {
  /** JetStream's own number of the error, for example 10071. */
  readonly errCode: number
  readonly description: string
  readonly kind: RefusalKind
}

/**
 * What to do about a refusal.
 * - `retry`: the server is short of something or busy; the message was not stored.
 * - `batch`: atomic batches do not work here or not now; send one by one.
 * - `no-batches`: the stream does not take atomic batches at all.
 * - `too-large`, `full`: what they say; `full` may pass when the log is trimmed.
 * - `refused`: the same message would be refused again.
 */
export type RefusalKind = 'retry' | 'batch' | 'no-batches' | 'too-large' | 'full' | 'refused'

export type PublishAnswer =
  | { readonly ok: true; readonly ack: PublishAck }
  | { readonly ok: false; readonly refusal: PublishRefusal }

/** From nats-server's errors.json. */
const KINDS: Readonly<Record<number, RefusalKind>> = {
  10023: 'retry', // insufficient resources
  10039: 'retry', // JetStream not enabled for account: also while it starts
  10054: 'too-large', // message size exceeds maximum allowed
  10076: 'retry', // JetStream not enabled
  10077: 'full', // maximum messages, bytes or messages per subject exceeded
  10097: 'too-large', // header size exceeds limits of 64k
  10158: 'retry', // the same Nats-Msg-Id is being stored
  10167: 'retry', // JetStream has too many messages to handle
  10174: 'no-batches',
}
const BATCH_ERRORS: readonly (readonly [number, number])[] = [
  [10175, 10179],
  [10199, 10201],
  [10205, 10213],
]

const SEQ = '"seq":'
const QUOTE = 0x22
const BRACE = 0x7d
const COMMA = 0x2c
/** `{"error":…` : the first letter of the first key. */
const FIRST_KEY_AT = 2
const LETTER_E = 0x65

/** Parses a PubAck. Anything that is not one counts as a refusal to retry: the message may not have been stored. */
export function parsePubAck(bytes: Uint8Array): PublishAnswer {
  if (bytes[FIRST_KEY_AT] !== LETTER_E) {
    const seq = plainSeq(bytes)
    if (seq > 0) return { ok: true, ack: { seq, duplicate: false } }
  }
  return parseJson(bytes)
}

/**
 * The sequence of an ack whose last key it is (or that only names its batch behind it); 0 when it has another shape.
 */
function plainSeq(bytes: Uint8Array): number {
  let at = indexOfSeq(bytes)
  if (at < 0) return 0
  let seq = 0
  for (; at < bytes.length; at++) {
    const digit = (bytes[at] ?? 0) - 0x30
    if (digit < 0 || digit > 9) break
    seq = seq * 10 + digit
  }
  const isLast = bytes[at] === BRACE || (bytes[at] === COMMA && bytes[at + 2] === 0x62) // `"batch"`, never `"duplicate"`
  return isLast ? seq : 0
}

/** Where the digits begin. The stream's name stands before it, and a name holds no quotes. */
function indexOfSeq(bytes: Uint8Array): number {
  outer: for (let i = 0; i <= bytes.length - SEQ.length; i++) {
    if (bytes[i] !== QUOTE) continue
    for (let j = 1; j < SEQ.length; j++) {
      if (bytes[i + j] !== SEQ.charCodeAt(j)) continue outer
    }
    return i + SEQ.length
  }
  return -1
}

interface PubAckJson {
  readonly seq?: unknown
  readonly duplicate?: unknown
  readonly error?: { readonly code?: unknown; readonly err_code?: unknown; readonly description?: unknown } | null
}

function parseJson(bytes: Uint8Array): PublishAnswer {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()
  let json: PubAckJson | null
  try {
    json = JSON.parse(text) as PubAckJson | null
  } catch {
    return refused(0, `the answer is not JSON: ${JSON.stringify(text.slice(0, 60))}`, 'retry')
  }
  const { error, seq, duplicate } = json ?? {}
  if (typeof error === 'object' && error !== null) {
    const errCode = Number(error.err_code ?? 0)
    return refused(errCode, String(error.description), kindOf(errCode, Number(error.code ?? 0)))
  }
  if (typeof seq !== 'number' || seq < 1) return refused(0, 'the answer has no sequence', 'retry')
  return { ok: true, ack: { seq, duplicate: duplicate === true } }
}

function refused(errCode: number, description: string, kind: RefusalKind): PublishAnswer {
  return { ok: false, refusal: { errCode, description, kind } }
}

function kindOf(errCode: number, code: number): RefusalKind {
  const known = KINDS[errCode]
  if (known !== undefined) return known
  if (BATCH_ERRORS.some(([from, to]) => errCode >= from && errCode <= to)) return 'batch'
  return code === 503 ? 'retry' : 'refused'
}
