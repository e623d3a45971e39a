/** Payloads on their way out of the node: into the journal, into dead letters, to whoever waits. */
import {
  encodeThrough,
  encodeValue,
  HEADERS,
  type InputKind,
  type InstanceKey,
  OPENED,
  type PayloadCodecs,
  type PayloadEncoding,
  placeOfInput,
  type ReplyPayload,
  sealMessage,
} from '../protocol/index.ts'

/** A payload as it is stored, and the header that says how it was made. */
export interface OutgoingPayload {
  readonly payload: Uint8Array
  readonly headers: Readonly<Record<string, string>>
}

/** What the input of an instance carries. Emitted again after a crash it has the same id and the same value, and other bytes where it is encrypted. */
export function encodeForInput(
  codecs: PayloadCodecs | undefined,
  plain: Uint8Array,
  key: InstanceKey,
  kind: InputKind,
  name: string,
): OutgoingPayload {
  const { bytes, encoding } = encodeThrough(codecs, plain, placeOfInput(key, kind, name))
  return { payload: bytes, headers: { [HEADERS.encoding]: encoding } }
}

/** A payload that leaves as it came; one that lies here opened passes the codecs again. */
export function encodeAsItCame(
  codecs: PayloadCodecs | undefined,
  input: {
    readonly encoding: PayloadEncoding
    readonly payload: Uint8Array
    readonly kind: InputKind
    readonly name: string
  },
  key: InstanceKey | undefined,
): OutgoingPayload {
  const { encoding, payload, kind, name } = input
  if (encoding === OPENED && key !== undefined) return encodeForInput(codecs, payload, key, kind, name)
  return { payload, headers: encoding === 'json' ? {} : { [HEADERS.encoding]: encoding } }
}

/** The outcome of an input, for the inbox that waits for it. */
export function encodeReply(
  codecs: PayloadCodecs | undefined,
  {
    inbox,
    payload,
    sealFor,
  }: { readonly inbox: string; readonly payload: ReplyPayload; readonly sealFor?: InstanceKey },
): Uint8Array {
  const plain = encodeValue(payload)
  return codecs === undefined || sealFor === undefined ? plain : sealMessage(codecs, plain, sealFor, inbox)
}
