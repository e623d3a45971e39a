/**
 * How the bytes of a payload were made, as the header `Carillon-Encoding` says it: `json` or `msgpack`, then the codecs that they passed, in
 * that order. `msgpack,zlib` is msgpack that was compressed.
 */
import type { Encoding } from './codec.ts'

export type PayloadEncoding = Encoding | `${Encoding},${string}`

/** Codecs that one payload has passed at most: each costs a decoding. */
export const CODECS_MAX = 8

/** A payload that came through codecs, and lies here as plain msgpack: it passes them again on its way out. Never on the wire. */
export const OPENED: PayloadEncoding = 'msgpack,'

const ENCODING = /^(?:json|msgpack)(?:,[a-z0-9.-]{1,32}){0,8}$/

/** Whether the bytes are those of the value itself. */
export function isPlain(encoding: PayloadEncoding): encoding is Encoding {
  return encoding === 'msgpack' || encoding === 'json'
}

/** A header as it came. */
export function isPayloadEncoding(text: string): text is PayloadEncoding {
  return text === 'msgpack' || text === 'json' || ENCODING.test(text)
}

/** The encoding of the value, and the codecs in the order in which they were applied. */
export function parseEncoding(encoding: PayloadEncoding): {
  readonly value: Encoding
  readonly codecs: readonly string[]
} {
  const [value, ...codecs] = encoding.split(',')
  return { value: value as Encoding, codecs: codecs.filter((name) => name !== '') }
}
