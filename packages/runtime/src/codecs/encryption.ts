/**
 * Encryption as a codec: AES-256-GCM with a ring of keys. The current one encrypts, all of them decrypt.
 *
 * The bytes are: version (1), length of the key's id (1), the id, the key's check value (8), then what xaes-gcm.ts seals. All before the seal, and
 * the place, is authenticated: bytes that were moved to another instance, or to another signal, cannot be opened.
 *
 * Invariants
 * 1. A key that is missing here, or is another one under the same id, is no verdict on the bytes: UNKNOWN_CODEC. That the key is right and the seal
 *    is not, is one: INVALID_PAYLOAD.
 * 2. Nonces are random, so the same value never looks the same, also where an effect is emitted again: receivers know a repeat by its id.
 */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'

import { CarillonError } from '../errors.ts'
import { type PayloadCodec, type PayloadPlace, quote } from '../protocol/index.ts'
import { open, prepareKey, seal, type XaesKey } from './xaes-gcm.ts'

export interface EncryptionOptions {
  /** Keys of 32 bytes by their ids, as bytes or in base64. An id is 1 to 64 characters of `[A-Za-z0-9._-]`; it is readable in what it encrypts. */
  readonly keys: Readonly<Record<string, Uint8Array | string>>
  /** The id of the key that encrypts; the others only decrypt. */
  readonly current: string
}

interface RingKey extends XaesKey {
  /** What the bytes begin with. */
  readonly head: Uint8Array
}

const VERSION = 1
const KEY_BYTES = 32
const CHECK_BYTES = 8
const KEY_ID = /^[A-Za-z0-9._-]{1,64}$/

/**
 * Makes the codec `aes-gcm`.
 *
 * @throws CONFIG_INVALID when a key is not of 32 bytes, or the current one is not among them.
 */
export function encryption({ keys, current }: EncryptionOptions): PayloadCodec {
  const ring = new Map(Object.entries(keys).map(([id, key]) => [id, toRingKey(id, key)]))
  const encrypting = ring.get(current)
  if (encrypting === undefined)
    throw new CarillonError(
      'CONFIG_INVALID',
      `the current key ${quote(current)} is not among the keys ${[...ring.keys()].join(', ') || '(none)'}: add it`,
    )
  return {
    name: 'aes-gcm',
    encode(bytes, place) {
      const { head } = encrypting
      return Buffer.concat([head, seal(encrypting, bytes, additionalData(head, place))])
    },
    decode: (bytes, place) => decrypt(ring, bytes, place),
  }
}

function decrypt(ring: ReadonlyMap<string, RingKey>, bytes: Uint8Array, place: PayloadPlace): Uint8Array {
  const idEnd = 2 + (bytes[1] ?? 0)
  if (bytes[0] !== VERSION || bytes.length < idEnd + CHECK_BYTES) throw malformed(bytes, place)
  const id = Buffer.from(bytes.buffer, bytes.byteOffset + 2, idEnd - 2).toString('latin1')
  const key = ring.get(id)
  if (key === undefined) throw missingKey(id, place, 'which this process does not have')
  const head = bytes.subarray(0, idEnd + CHECK_BYTES)
  if (Buffer.compare(head, key.head) !== 0) throw missingKey(id, place, 'which is another one here')
  const plain = open(key, bytes.subarray(head.length), additionalData(head, place))
  if (plain === undefined) throw malformed(bytes, place)
  return plain
}

function toRingKey(id: string, given: Uint8Array | string): RingKey {
  if (!KEY_ID.test(id))
    throw new CarillonError('CONFIG_INVALID', `the key id ${quote(id)} is not 1 to 64 characters of [A-Za-z0-9._-]`)
  const bytes = typeof given === 'string' ? Buffer.from(given, 'base64') : given
  if (bytes.length !== KEY_BYTES)
    throw new CarillonError(
      'CONFIG_INVALID',
      `the key ${id} has ${bytes.length} bytes, not ${KEY_BYTES}: make one with: openssl rand -base64 32`,
    )
  const key = createSecretKey(bytes)
  return { ...prepareKey(key), head: headOf(id, key) }
}

/** The check value tells a key that was typed wrong from bytes that are forged. */
function headOf(id: string, key: KeyObject): Uint8Array {
  const check = createHmac('sha256', key).update('carillon key check').digest().subarray(0, CHECK_BYTES)
  return Buffer.concat([Uint8Array.of(VERSION, id.length), Buffer.from(id, 'latin1'), check])
}

function additionalData(head: Uint8Array, { key, what }: PayloadPlace): Uint8Array {
  return Buffer.concat([head, Buffer.from(`${key}\n${what}`)])
}

function missingKey(id: string, { key, what }: PayloadPlace, why: string): CarillonError {
  return new CarillonError(
    'UNKNOWN_CODEC',
    `${what} of ${key} is encrypted by the key ${quote(id)}, ${why}: add the right one to the keys, then go on`,
  )
}

function malformed(bytes: Uint8Array, { key, what }: PayloadPlace): CarillonError {
  return new CarillonError(
    'INVALID_PAYLOAD',
    `${bytes.length} bytes for ${what} of ${key} were not encrypted for this place by a key of this cluster`,
  )
}
