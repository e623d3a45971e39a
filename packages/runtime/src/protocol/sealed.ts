/**
 * Messages over core NATS whose contents passed codecs: replies, requests about an instance, and their answers. There are no headers there, so the
 * message says itself what it is. A node seals its answer when what it answers was sealed.
 */
import { type PayloadCodecs } from './payload-codecs.ts'
import { decodeValue, encodeValue } from './codec.ts'
import type { PayloadPlace } from './payload-codec.ts'
import { isPayloadEncoding, type PayloadEncoding } from './payload-encoding.ts'
import type { InstanceKey } from './subjects.ts'

/** Bytes of such a message once it is decoded: a server takes 1 MiB by default, and what is repetitive shrinks well. */
export const SEALED_BYTES_MAX = 16 * 1024 * 1024

export interface SealedMessage {
  readonly op: 'sealed'
  /** The instance that it is about. */
  readonly key: InstanceKey
  readonly encoding: PayloadEncoding
  readonly bytes: Uint8Array
}

/** Seals a message that has been encoded. `what` is `request`, `answer`, or the inbox that waits for a reply. */
export function sealMessage(codecs: PayloadCodecs, message: Uint8Array, key: InstanceKey, what: string): Uint8Array {
  const { bytes, encoding } = codecs.encode(message, 'msgpack', placeOf(key, what))
  return encodeValue({ op: 'sealed', key, encoding, bytes } satisfies SealedMessage)
}

/** A message as it came, if it is a sealed one. */
export function asSealed(value: unknown): SealedMessage | undefined {
  if (typeof value !== 'object' || value === null || !('op' in value) || value.op !== 'sealed') return undefined
  const { key, encoding, bytes } = value as Partial<Record<keyof SealedMessage, unknown>>
  if (typeof key !== 'string' || typeof encoding !== 'string' || !(bytes instanceof Uint8Array)) return undefined
  return isPayloadEncoding(encoding) ? { op: 'sealed', key: key as InstanceKey, encoding, bytes } : undefined
}

/** The message in it. Throws as `PayloadCodecs.decode`. */
export function openSealed(codecs: PayloadCodecs, { key, encoding, bytes }: SealedMessage, what: string): Uint8Array {
  return codecs.decode(bytes, encoding, placeOf(key, what))
}

/**
 * The value of a message that may be sealed.
 *
 * @param codecs undefined where this process has none: what is sealed is given as it stands.
 */
export function decodeMessage(codecs: PayloadCodecs | undefined, message: Uint8Array, what: string): unknown {
  const value = decodeValue(message)
  const sealed = codecs === undefined ? undefined : asSealed(value)
  return codecs === undefined || sealed === undefined ? value : decodeValue(openSealed(codecs, sealed, what))
}

function placeOf(key: InstanceKey, what: string): PayloadPlace {
  return { key, what, bytesMax: SEALED_BYTES_MAX }
}

const SEALED_TEXT = /^sealed:([a-z0-9.,-]+):([A-Za-z0-9+/=]*)$/
/** Bytes of a text that is sealed: the reason of a dead letter. */
const TEXT_BYTES_MAX = 8192

/** A text for a header, through the codecs: the reason of a dead letter may quote its payload. */
export function sealText(codecs: PayloadCodecs, text: string, key: string): string {
  const place = { key, what: 'reason', bytesMax: TEXT_BYTES_MAX }
  const { bytes, encoding } = codecs.encode(Buffer.from(text), 'json', place)
  return `sealed:${encoding}:${Buffer.from(bytes).toString('base64')}`
}

/** The text of a header, opened if it is a sealed one and can be. */
export function openText(codecs: PayloadCodecs | undefined, text: string, key: string): string {
  const [, encoding = '', base64 = ''] = SEALED_TEXT.exec(text) ?? []
  if (codecs === undefined || !isPayloadEncoding(encoding)) return text
  try {
    const place = { key, what: 'reason', bytesMax: TEXT_BYTES_MAX }
    return Buffer.from(codecs.decode(Buffer.from(base64, 'base64'), encoding, place)).toString()
  } catch {
    return text
  }
}
