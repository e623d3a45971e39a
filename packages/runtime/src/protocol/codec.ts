/**
 * Values as bytes: payloads, states, records. msgpack for our own, JSON from anyone.
 *
 * Invariants
 * 1. What `encodeValue` accepts, `decodeValue` gives back equal: what could not be read back is refused, never bent.
 * 2. An object that occurs twice is refused: after a restore it would be two objects, and the state would depend on when it was saved.
 * 3. The verdict on a payload depends on its bytes alone, so every node reaches the same one.
 */
import { decode, Encoder, ExtensionCodec } from '@msgpack/msgpack'

import { CarillonError } from '../errors.ts'
import { DEPTH_MAX } from './limits.ts'

/** How a payload is encoded. No header means `json`. */
export type Encoding = 'json' | 'msgpack'

export const NO_BYTES: Uint8Array<ArrayBuffer> = new Uint8Array(0)

const EXT_MAP = 1
const EXT_SET = 2
const EXT_BIGINT = 3
const EXT_DATE = 4

interface Seen {
  readonly objects: Set<object>
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
    const map = new Map<unknown, unknown>()
    for (let i = 0; i < flat.length; i += 2) map.set(flat[i], flat[i + 1])
    return map
  },
})
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
const seenNow: Seen = { objects: new Set() }
const ENCODE_OPTIONS = { extensionCodec: extensions, context: seenNow, maxDepth: DEPTH_MAX, ignoreUndefined: true }
const encoder = new Encoder<Seen>({ ...ENCODE_OPTIONS, initialBufferSize: 16 * 1024 })
const sortedEncoder = new Encoder<Seen>({ ...ENCODE_OPTIONS, sortKeys: true })

/**
 * Encodes a value as msgpack. `undefined` as a whole is no bytes at all; in an object its key is left out.
 *
 * Plain data, `Date`, `Map`, `Set`, `bigint` and `Uint8Array` are accepted.
 *
 * @throws INVALID_STATE when the value holds a function, a symbol, an instance of a class, a cycle, one object twice, or is nested over 64 deep.
 */
export function encodeValue(value: unknown): Uint8Array<ArrayBuffer> {
  return encodeWith(encoder, value)
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
    value = decode(bytes, { extensionCodec: extensions, context: seenNow })
  } catch (error) {
    throw new CarillonError('INVALID_PAYLOAD', `the msgpack payload of ${bytes.length} bytes cannot be read: ${String(error)}`, { cause: error })
  }
  checkDepth(value, bytes.length)
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
    // A `__proto__` key would survive here but not in a msgpack snapshot (invariant 3).
    value = text.includes('__proto__') ? JSON.parse(text, refuseProto) : JSON.parse(text)
  } catch (error) {
    throw new CarillonError('INVALID_PAYLOAD', `the JSON payload of ${bytes.length} bytes cannot be read: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    })
  }
  checkDepth(value, bytes.length)
  return value
}

function refuseProto(key: string, value: unknown): unknown {
  if (key === '__proto__') throw new SyntaxError('the key __proto__ is not allowed')
  return value
}

function checkDepth(value: unknown, byteCount: number): void {
  // Every level costs at least one byte, so a short payload cannot be too deep.
  if (byteCount <= DEPTH_MAX) return
  let level: unknown[] = [value]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > DEPTH_MAX) throw new CarillonError('INVALID_PAYLOAD', `the payload is nested over ${DEPTH_MAX} levels deep: flatten it`)
    const next: unknown[] = []
    for (const item of level) {
      if (typeof item !== 'object' || item === null) continue
      for (const child of childrenOf(item)) if (typeof child === 'object' && child !== null) next.push(child)
    }
    level = next
  }
}

function childrenOf(item: object): Iterable<unknown> {
  if (Array.isArray(item)) return item
  if (ArrayBuffer.isView(item)) return []
  if (item instanceof Map) return [...item.keys(), ...item.values()]
  if (item instanceof Set) return item
  return Object.values(item)
}

function encodeWith(target: Encoder<Seen>, value: unknown): Uint8Array<ArrayBuffer> {
  if (value === undefined) return NO_BYTES
  seenNow.objects.clear()
  try {
    return target.encode(value)
  } catch (error) {
    if (error instanceof CarillonError) throw error
    throw new CarillonError('INVALID_STATE', `the value cannot be encoded: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  } finally {
    seenNow.objects.clear()
  }
}

function nested(items: unknown[], seen: Seen): Uint8Array {
  return new Encoder<Seen>({ ...ENCODE_OPTIONS, context: seen }).encode(items)
}

function decodeNested(bytes: Uint8Array, context: Seen): unknown {
  return decode(bytes, { extensionCodec: extensions, context })
}

function checkEncodable(value: unknown, seen: Seen): void {
  if (typeof value === 'function' || typeof value === 'symbol') {
    throw new CarillonError('INVALID_STATE', `a ${typeof value} cannot be encoded: keep plain data in states and payloads`)
  }
  if (typeof value !== 'object' || value === null) return
  if (seen.objects.has(value)) {
    throw new CarillonError('INVALID_STATE', 'one object occurs twice in the value: copy it (structuredClone), because after a restore it would be two')
  }
  seen.objects.add(value)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Object.prototype || prototype === null || Array.isArray(value)) return
  if (value instanceof Map || value instanceof Set || value instanceof Date || value instanceof Uint8Array) return
  const name = typeof prototype === 'object' && prototype !== null && 'constructor' in prototype ? prototype.constructor.name : 'unknown'
  throw new CarillonError('INVALID_STATE', `an instance of ${name} cannot be encoded: keep plain data in states and payloads`)
}

/** A deep copy by way of the codec: what a restore would give. Throws as `encodeValue`. */
export function copyValue<T>(value: T): T {
  return typeof value === 'object' && value !== null ? (decodeValue(encodeValue(value)) as T) : value
}
