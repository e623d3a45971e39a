/**
 * Values as bytes: payloads, states, records. msgpack for our own, JSON from anyone.
 *
 * Invariants
 * 1. What `encodeValue` accepts, `decodeValue` gives back equal: what could not be read back is refused, never bent.
 * 2. An object that occurs twice is refused: after a restore it would be two objects, and the state would depend on when it was saved.
 * 3. The verdict on a payload depends on its bytes alone, so every node reaches the same one.
 */
import { decode, Decoder, decodeTimestampExtension, Encoder, EXT_TIMESTAMP, ExtensionCodec } from '@msgpack/msgpack'

import { CarillonError } from '../errors.ts'
import { DEPTH_MAX } from './limits.ts'
import { checkMsgpack } from './msgpack-scan.ts'

/** How a payload is encoded. No header means `json`. */
export type Encoding = 'json' | 'msgpack'

export const NO_BYTES: Uint8Array<ArrayBuffer> = new Uint8Array(0)

const EXT_MAP = 1
const EXT_SET = 2
const EXT_BIGINT = 3
const EXT_DATE = 4

interface Seen {
  readonly objects: Set<object>
  /** Whether keys are sorted. */
  readonly sortKeys: boolean
  /** A `Map` or `Set` was met: its encoder counts its own depth anew. */
  hasNested: boolean
}

const extensions = new ExtensionCodec<Seen>()
// The first hook sees every object before the encoder does; it refuses what could not be read back equal (invariants 1 and 2).
extensions.register({
  type: EXT_MAP,
  encode(value, seen) {
    checkEncodable(value, seen)
    return value instanceof Map ? nested([...value].flat(1) as unknown[], seen) : null
  },
  decode(bytes, _type, seen) {
    const flat = decodeNested(bytes, seen) as unknown[]
    if (flat.length % 2 !== 0)
      throw new CarillonError('INVALID_PAYLOAD', 'a Map in the payload has a key without a value')
    const map = new Map<unknown, unknown>()
    for (let i = 0; i < flat.length; i += 2) map.set(flat[i], flat[i + 1])
    return map
  },
})
// Dates go through the hook above and EXT_DATE: the library's own form knows no invalid date. It is read, for it may come from outside.
extensions.register({ type: EXT_TIMESTAMP, encode: () => null, decode: decodeTimestampExtension })
extensions.register({
  type: EXT_SET,
  encode: (value, seen) => (value instanceof Set ? nested([...value], seen) : null),
  decode: (bytes, _type, seen) => new Set(decodeNested(bytes, seen) as unknown[]),
})
extensions.register({
  type: EXT_BIGINT,
  encode: (value) => (typeof value === 'bigint' ? new TextEncoder().encode(value.toString(16)) : null),
  decode(bytes) {
    const hex = new TextDecoder().decode(bytes)
    return hex.startsWith('-') ? -BigInt(`0x${hex.slice(1)}`) : BigInt(`0x${hex}`)
  },
})
extensions.register({
  type: EXT_DATE,
  encode(value) {
    if (!(value instanceof Date)) return null
    const bytes = new Uint8Array(8)
    new DataView(bytes.buffer).setFloat64(0, value.getTime())
    return bytes
  },
  decode: (bytes) => new Date(new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0)),
})

// One stateful encoder per ordering: it owns a growing buffer, and its depth check is the one of DEPTH_MAX.
const plainEncoder = createEncoder({ objects: new Set(), sortKeys: false, hasNested: false })
const sortedEncoder = createEncoder({ objects: new Set(), sortKeys: true, hasNested: false })
const decoder = new Decoder<Seen>({ extensionCodec: extensions, context: plainEncoder.seen })

/**
 * Encodes a value as msgpack. `undefined` as a whole is no bytes at all; in an object its key is left out.
 *
 * Plain data, `Date`, `Map`, `Set`, `bigint` and `Uint8Array` are accepted.
 *
 * @throws INVALID_STATE when the value holds a function, a symbol, an instance of a class, a cycle, one object twice, or is nested over 64 deep.
 */
export function encodeValue(value: unknown): Uint8Array<ArrayBuffer> {
  return encodeWith(plainEncoder, value)
}

/** The same with object keys sorted: equal values have equal bytes. For digests. */
export function encodeCanonical(value: unknown): Uint8Array<ArrayBuffer> {
  return encodeWith(sortedEncoder, value)
}

/**
 * Decodes msgpack that `encodeValue` made, or that came from outside.
 *
 * @throws INVALID_PAYLOAD when the bytes are truncated, followed by garbage, hold a `__proto__` key, or are nested over 64 deep.
 */
export function decodeValue(bytes: Uint8Array): unknown {
  if (bytes.length === 0) return undefined
  let value: unknown
  try {
    checkMsgpack(bytes)
    value = decoder.decode(bytes)
  } catch (error) {
    if (error instanceof CarillonError) throw error
    throw new CarillonError(
      'INVALID_PAYLOAD',
      `the msgpack payload of ${bytes.length} bytes cannot be read: ${String(error)}`,
      { cause: error },
    )
  }
  return value
}

/** Decodes a payload from the wire in its encoding. Throws as `decodeValue`. */
export function decodePayload(bytes: Uint8Array, encoding: Encoding): unknown {
  return encoding === 'msgpack' ? decodeValue(bytes) : decodeJson(bytes)
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

function decodeJson(bytes: Uint8Array): unknown {
  if (bytes.length === 0) return undefined
  let value: unknown
  try {
    const text = utf8.decode(bytes)
    // Either would survive here but not in a msgpack snapshot (invariant 1); escapes can hide both.
    value = text.includes('__proto__') || text.includes('\\u') ? JSON.parse(text, refuseUnkeepable) : JSON.parse(text)
  } catch (error) {
    throw new CarillonError(
      'INVALID_PAYLOAD',
      `the JSON payload of ${bytes.length} bytes cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
      },
    )
  }
  // Every level costs at least two bytes, so a short payload cannot be too deep.
  if (bytes.length > DEPTH_MAX) checkDepth(value)
  return value
}

function refuseUnkeepable(key: string, value: unknown): unknown {
  if (key === '__proto__') throw new SyntaxError('the key __proto__ is not allowed')
  if (!key.isWellFormed() || (typeof value === 'string' && !value.isWellFormed()))
    throw new SyntaxError('a lone surrogate is not valid Unicode')
  return value
}

/** The depth that the encoder takes: what is read can be written back. */
function checkDepth(value: unknown, depth = 1): void {
  if (depth > DEPTH_MAX)
    throw new CarillonError('INVALID_PAYLOAD', `the payload is nested over ${DEPTH_MAX} levels deep: flatten it`)
  if (typeof value !== 'object' || value === null) return
  for (const child of Object.values(value)) checkDepth(child, depth + 1)
}

function encodeWith({ encoder, seen }: StrictEncoder, value: unknown): Uint8Array<ArrayBuffer> {
  if (value === undefined) return NO_BYTES
  seen.objects.clear()
  seen.hasNested = false
  try {
    const bytes = encoder.encode(value)
    if (seen.hasNested) checkMsgpack(bytes)
    return bytes
  } catch (error) {
    if (error instanceof CarillonError && error.code === 'INVALID_STATE') throw error
    throw new CarillonError(
      'INVALID_STATE',
      `the value cannot be encoded: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    )
  } finally {
    seen.objects.clear()
  }
}

function nested(items: unknown[], seen: Seen): Uint8Array {
  seen.hasNested = true
  return createEncoder(seen).encoder.encode(items)
}

interface StrictEncoder {
  readonly encoder: Encoder<Seen>
  readonly seen: Seen
}

/** The library's encoder, which would bend two primitives (invariant 1): -0 would become 0, and a lone surrogate U+FFFD. */
function createEncoder(seen: Seen): StrictEncoder {
  const encoder = new Encoder<Seen>({
    extensionCodec: extensions,
    context: seen,
    maxDepth: DEPTH_MAX,
    ignoreUndefined: true,
    sortKeys: seen.sortKeys,
  })
  const parts = encoder as unknown as PrimitiveEncoders
  const { encodeNumber, encodeString } = parts
  parts.encodeNumber = (value) =>
    Object.is(value, -0) ? parts.encodeNumberAsFloat(value) : encodeNumber.call(encoder, value)
  parts.encodeString = (text) => {
    if (!text.isWellFormed())
      throw new CarillonError(
        'INVALID_STATE',
        'a text with a lone surrogate cannot be encoded: it is not valid Unicode, call .toWellFormed() on it',
      )
    encodeString.call(encoder, text)
  }
  return { encoder, seen }
}

interface PrimitiveEncoders {
  encodeNumber: (value: number) => void
  readonly encodeNumberAsFloat: (value: number) => void
  encodeString: (text: string) => void
}

function decodeNested(bytes: Uint8Array, context: Seen): unknown {
  return decode(bytes, { extensionCodec: extensions, context })
}

function checkEncodable(value: unknown, seen: Seen): void {
  if (typeof value === 'function' || typeof value === 'symbol') {
    throw new CarillonError(
      'INVALID_STATE',
      `a ${typeof value} cannot be encoded: keep plain data in states and payloads`,
    )
  }
  if (typeof value !== 'object' || value === null) return
  if (seen.objects.has(value)) {
    throw new CarillonError(
      'INVALID_STATE',
      'one object occurs twice in the value: copy it (structuredClone), because after a restore it would be two',
    )
  }
  seen.objects.add(value)
  if (Array.isArray(value)) {
    if (value.includes(undefined))
      throw new CarillonError(
        'INVALID_STATE',
        'undefined in an array, Map or Set cannot be encoded: it would come back as null, so use null',
      )
    return
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Object.prototype || prototype === null) {
    if (Object.hasOwn(value, '__proto__'))
      throw new CarillonError('INVALID_STATE', 'an object with a key __proto__ cannot be encoded: choose another key')
    return
  }
  if (value instanceof Map || value instanceof Set || value instanceof Date || value instanceof Uint8Array) return
  const name =
    typeof prototype === 'object' && prototype !== null && 'constructor' in prototype
      ? prototype.constructor.name
      : 'unknown'
  throw new CarillonError(
    'INVALID_STATE',
    `an instance of ${name} cannot be encoded: keep plain data in states and payloads`,
  )
}

/** A deep copy by way of the codec: what a restore would give. Throws as `encodeValue`. */
export function copyValue<T>(value: T): T {
  return typeof value === 'object' && value !== null ? (decodeValue(encodeValue(value)) as T) : value
}
