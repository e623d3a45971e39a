/**
 * XAES-256-GCM: AES-256-GCM with a nonce of 24 random bytes, by a key that is derived for each message. Source: C2SP,
 * https://c2sp.org/XAES-256-GCM (NIST SP 800-108r1 KDF in counter mode with CMAC).
 *
 * With its own 12 bytes, AES-GCM takes 2^32 messages with random nonces by one key, which a busy cluster sends in a day; this takes 2^80.
 */
import { createCipheriv, createDecipheriv, type KeyObject, randomFillSync } from 'node:crypto'

const NONCE_BYTES = 24
const TAG_BYTES = 16
const HALF = NONCE_BYTES / 2
const BLOCK = 16

/** A key with what is derived from it once. */
export interface XaesKey {
  readonly key: KeyObject
  readonly subkey: Uint8Array
}

export function prepareKey(key: KeyObject): XaesKey {
  // CMAC's K1: the encrypted zero block, doubled in GF(2^128).
  const zero = encryptBlocks(key, new Uint8Array(BLOCK))
  const subkey = new Uint8Array(BLOCK)
  for (let i = 0; i < BLOCK; i++) subkey[i] = ((zero[i] ?? 0) << 1) | ((zero[i + 1] ?? 0) >>> 7)
  if ((zero[0] ?? 0) >>> 7 === 1) subkey[BLOCK - 1] = (subkey[BLOCK - 1] ?? 0) ^ 0x87
  return { key, subkey }
}

/** Nonce, ciphertext and tag, one behind the other. */
export function seal(
  key: XaesKey,
  plain: Uint8Array,
  additional: Uint8Array,
  nonce: Uint8Array = randomFillSync(new Uint8Array(NONCE_BYTES)),
): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', deriveKey(key, nonce), nonce.subarray(HALF), {
    authTagLength: TAG_BYTES,
  })
  cipher.setAAD(additional)
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** Undefined when the bytes were not sealed by this key with this additional data. */
export function open(key: XaesKey, sealed: Uint8Array, additional: Uint8Array): Uint8Array | undefined {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) return undefined
  const nonce = sealed.subarray(0, NONCE_BYTES)
  const decipher = createDecipheriv('aes-256-gcm', deriveKey(key, nonce), nonce.subarray(HALF), {
    authTagLength: TAG_BYTES,
  })
  decipher.setAAD(additional)
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES))
  const plain = decipher.update(sealed.subarray(NONCE_BYTES, sealed.length - TAG_BYTES))
  try {
    decipher.final()
    return plain
  } catch {
    return undefined
  }
}

/** Two blocks of CMAC, for the two halves of the key: counter, label `X`, separator, context. */
function deriveKey({ key, subkey }: XaesKey, nonce: Uint8Array): Uint8Array {
  const blocks = new Uint8Array(2 * BLOCK)
  for (let half = 0; half < 2; half++) {
    const at = half * BLOCK
    blocks.set([0, half + 1, 0x58, 0], at)
    blocks.set(nonce.subarray(0, HALF), at + 4)
    for (let i = 0; i < BLOCK; i++) blocks[at + i] = (blocks[at + i] ?? 0) ^ (subkey[i] ?? 0)
  }
  return encryptBlocks(key, blocks)
}

function encryptBlocks(key: KeyObject, blocks: Uint8Array): Uint8Array {
  return createCipheriv('aes-256-ecb', key, null).setAutoPadding(false).update(blocks)
}
