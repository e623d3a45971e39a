/**
 * The codecs of one process, as one: what leaves it passes them in their order, what comes in passes those that the bytes name, backwards.
 *
 * Invariants
 * 1. What one codec has left as it is, is not named; what is not named, is not decoded.
 * 2. The verdict on bytes depends on them, their place and the keys alone. A codec or a key that is missing here is no verdict: UNKNOWN_CODEC.
 */
import { CarillonError } from '../errors.ts'
import { decodePayload, type Encoding } from './codec.ts'
import { quote } from './ids.ts'
import { type Input } from './input.ts'
import { CODEC_OVERHEAD_BYTES_MAX, PAYLOAD_BYTES_MAX } from './limits.ts'
import type { PayloadCodec, PayloadPlace } from './payload-codec.ts'
import { CODECS_MAX, isPlain, parseEncoding, type PayloadEncoding } from './payload-encoding.ts'

export interface CodecsOptions {
  /**
   * A codec that the values of inputs must have passed: starts, signals, updates and results that have not are dead letters, and reads that have
   * not are refused.
   */
  readonly require?: {
    readonly codec: string
    /**
     * Inputs that the server stored before this moment are taken as they are; default: none. It must not change what an input in the journal
     * came to, so give a moment to come. Any text that `Date` reads.
     */
    readonly since?: Date | string | undefined
  }
  /** Whether what a node keeps in its own store passes them too. Default true. */
  readonly store?: boolean | undefined
}

/** Bytes, and how they were made. */
export interface EncodedPayload {
  readonly bytes: Uint8Array
  readonly encoding: PayloadEncoding
}

const NAME = /^[a-z0-9.-]{1,32}$/

/** Made by `createCodecs`. */
export class PayloadCodecs {
  readonly #chain: readonly PayloadCodec[]
  readonly #byName: ReadonlyMap<string, PayloadCodec>
  readonly #required: string | undefined
  readonly #requiredSinceMs: number
  /** Whether a node's own store is to be encoded. */
  readonly encodesStore: boolean

  constructor(chain: readonly PayloadCodec[], { require, store = true }: CodecsOptions) {
    this.#chain = chain
    this.#byName = new Map(chain.map((codec) => [codec.name, codec]))
    this.#required = require?.codec
    this.#requiredSinceMs = require?.since === undefined ? 0 : new Date(require.since).getTime()
    this.encodesStore = store
    this.#check()
  }

  /** Encodes a payload for its place. @throws PAYLOAD_TOO_LARGE when the codecs make more than 4 KiB of it. */
  encode(bytes: Uint8Array, encoding: Encoding, place: PayloadPlace): EncodedPayload {
    let made: PayloadEncoding = encoding
    let current = bytes
    for (const codec of this.#chain) {
      const next = codec.encode(current, place)
      if (next === current) continue
      current = next
      made = `${made},${codec.name}` as PayloadEncoding
    }
    if (current.length > bytes.length + CODEC_OVERHEAD_BYTES_MAX)
      throw new CarillonError(
        'PAYLOAD_TOO_LARGE',
        `the codecs made ${current.length} bytes of ${bytes.length}, over ${CODEC_OVERHEAD_BYTES_MAX} more: a codec that blows bytes up (base64, hex) has no place here`,
      )
    return { bytes: asPlainArray(current), encoding: made }
  }

  /**
   * Undoes what the encoding names.
   *
   * @throws INVALID_PAYLOAD when the bytes are none that the codecs made for this place. @throws UNKNOWN_CODEC when a codec or a key is missing.
   */
  decode(bytes: Uint8Array, encoding: PayloadEncoding, place: PayloadPlace): Uint8Array {
    return undo(this.#byName, bytes, encoding, place)
  }

  /** Why an input cannot be taken as it came, where a codec is required; undefined when it can. */
  refusal({ encoding, kind, timeMs }: Pick<Input, 'encoding' | 'kind' | 'timeMs'>): CarillonError | undefined {
    if (this.#required === undefined || !VALUED.has(kind) || timeMs < this.#requiredSinceMs) return undefined
    return this.#hasPassed(encoding) ? undefined : required(this.#required, kind)
  }

  /** As `refusal`, for a request that has come now. */
  refusalOfRead(encoding: PayloadEncoding, nowMs: number): CarillonError | undefined {
    if (this.#required === undefined || nowMs < this.#requiredSinceMs) return undefined
    return this.#hasPassed(encoding) ? undefined : required(this.#required, 'request')
  }

  #hasPassed(encoding: PayloadEncoding): boolean {
    // What lies opened in a mailbox has passed it on its way in.
    return encoding.endsWith(',') || parseEncoding(encoding).codecs.includes(this.#required ?? '')
  }

  #check(): void {
    const wrong = (message: string): never => {
      throw new CarillonError('CONFIG_INVALID', message)
    }
    if (this.#chain.length === 0) wrong('no codec is given: leave codecs out, or pass compression(…) or encryption(…)')
    if (this.#chain.length > CODECS_MAX) wrong(`${this.#chain.length} codecs are given, over ${CODECS_MAX}`)
    for (const { name } of this.#chain)
      if (!NAME.test(name)) wrong(`the codec name ${quote(name)} is not 1 to 32 characters of [a-z0-9.-]`)
    if (this.#byName.size < this.#chain.length) wrong('two codecs have one name: give each its own')
    if (this.#required !== undefined && !this.#byName.has(this.#required))
      wrong(`the codec ${quote(this.#required)} is required, but not given: add it to the codecs`)
    if (Number.isNaN(this.#requiredSinceMs)) wrong('since is no point in time: write it like 2026-12-01T00:00:00Z')
  }
}

/**
 * Puts codecs together for `connect`, `openNode`, `TestWorld.open` and `--codecs`.
 *
 * @param chain in the order in which bytes pass them on their way out: compress before you encrypt.
 * @throws CONFIG_INVALID when the chain is empty, or a name is none, occurs twice or is required without being there.
 */
export function createCodecs(chain: readonly PayloadCodec[], options: CodecsOptions = {}): PayloadCodecs {
  return new PayloadCodecs(chain, options)
}

/** Whether a value is a set of codecs, whichever copy of this package made it. */
export function isPayloadCodecs(value: unknown): value is PayloadCodecs {
  return typeof value === 'object' && value !== null && 'encodesStore' in value && 'decode' in value
}

/** A payload of msgpack on its way out, through the codecs of this process, if it has any. */
export function encodeThrough(
  codecs: PayloadCodecs | undefined,
  plain: Uint8Array,
  place: PayloadPlace,
): EncodedPayload {
  return codecs === undefined ? { bytes: plain, encoding: 'msgpack' } : codecs.encode(plain, 'msgpack', place)
}

/**
 * The value of a payload that passed codecs. Throws as `PayloadCodecs.decode` and as `decodePayload`.
 *
 * @param codecs undefined where this process has none.
 */
export function decodeEncoded(
  codecs: PayloadCodecs | undefined,
  bytes: Uint8Array,
  encoding: PayloadEncoding,
  place: PayloadPlace,
): unknown {
  if (isPlain(encoding)) return decodePayload(bytes, encoding)
  const plain = codecs === undefined ? undo(NONE, bytes, encoding, place) : codecs.decode(bytes, encoding, place)
  return decodePayload(plain, parseEncoding(encoding).value)
}

/** Where the payload of an input belongs. */
export function placeOfInput(key: string, kind: string, name: string): PayloadPlace {
  return { key, what: name === '' ? kind : `${kind}.${name}`, bytesMax: PAYLOAD_BYTES_MAX }
}

const NONE: ReadonlyMap<string, PayloadCodec> = new Map()
/** Kinds of input that carry values of users. The others hold a reason or a time at most. */
const VALUED: ReadonlySet<string> = new Set(['start', 'signal', 'update', 'activity', 'child', 'answer'])

function undo(
  byName: ReadonlyMap<string, PayloadCodec>,
  bytes: Uint8Array,
  encoding: PayloadEncoding,
  place: PayloadPlace,
): Uint8Array {
  const { codecs } = parseEncoding(encoding)
  let current = bytes
  for (const name of codecs.toReversed()) {
    const codec = byName.get(name)
    if (codec === undefined) throw unknownCodec(name, place, [...byName.keys()])
    current = codec.decode(current, place)
  }
  if (current.length > place.bytesMax)
    throw new CarillonError('INVALID_PAYLOAD', `decoded, it has ${current.length} bytes, over ${place.bytesMax}`)
  return asPlainArray(current)
}

/** What a codec gives may be a Buffer, and so would every blob in a decoded one be. */
function asPlainArray(bytes: Uint8Array): Uint8Array {
  return bytes.constructor === Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
}

function unknownCodec(name: string, { key, what }: PayloadPlace, known: readonly string[]): CarillonError {
  return new CarillonError(
    'UNKNOWN_CODEC',
    `${what} of ${key} is encoded by ${quote(name)}, and this process has ${known.length === 0 ? 'no codecs' : known.join(', ')}: pass that codec to it`,
  )
}

function required(codec: string, what: string): CarillonError {
  return new CarillonError(
    'CODEC_REQUIRED',
    `this cluster takes no ${what} that has not passed the codec ${codec}: pass codecs to the sender`,
  )
}
