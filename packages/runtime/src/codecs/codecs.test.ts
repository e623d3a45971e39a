import { createSecretKey } from 'node:crypto'

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { hasCode } from '../errors.ts'
import { PAYLOAD_BYTES_MAX, type PayloadPlace } from '../protocol/index.ts'
import { compression, encryption } from './index.ts'
import { open, prepareKey, seal } from './xaes-gcm.ts'

const HERE: PayloadPlace = { key: 'loyalty.ada', what: 'signal.purchase', bytesMax: PAYLOAD_BYTES_MAX }
const KEY_1 = Buffer.alloc(32, 1)
const KEY_2 = Buffer.alloc(32, 2).toString('base64')
const text = (value: string): Uint8Array => new TextEncoder().encode(value)

function codeOf(run: () => unknown): string {
  try {
    run()
    return 'none'
  } catch (error) {
    return (error as { readonly code: string }).code
  }
}

describe('compression', () => {
  const codec = compression()

  it('gives back what it took, over any bytes', () => {
    const eager = compression({ aboveBytes: 0 })
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), (bytes) => {
        const encoded = eager.encode(bytes, HERE)
        if (encoded === bytes) return
        expect(encoded.length).toBeLessThan(bytes.length)
        expect(Buffer.compare(eager.decode(encoded, HERE), bytes)).toBe(0)
      }),
    )
  })

  it('leaves what is small, and what does not shrink, as it is', () => {
    const small = text('a'.repeat(1023))
    expect(codec.encode(small, HERE)).toBe(small)
    expect(codec.encode(text('a'.repeat(1024)), HERE).length).toBeLessThan(100)
    const noise = seal(prepareKey(createSecretKey(KEY_1)), new Uint8Array(5000), text(''))
    expect(codec.encode(noise, HERE)).toBe(noise)
  })

  it('refuses what inflates to more than its place takes, without inflating it', () => {
    const bomb = codec.encode(new Uint8Array(64 * 1024 * 1024), { ...HERE, bytesMax: 1e9 })
    expect(bomb.length).toBeLessThan(100_000)
    const before = process.memoryUsage().arrayBuffers
    expect(() => codec.decode(bomb, HERE)).toThrow(`inflate to over ${PAYLOAD_BYTES_MAX}`)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 * 1024)
    expect(codeOf(() => codec.decode(bomb, HERE))).toBe('INVALID_PAYLOAD')
  })

  it('refuses bytes that are not zlib, also cut ones', () => {
    const whole = codec.encode(text('b'.repeat(5000)), HERE)
    for (const bytes of [text('not zlib'), whole.subarray(0, 10), new Uint8Array()])
      expect(codeOf(() => codec.decode(bytes, HERE))).toBe('INVALID_PAYLOAD')
  })

  it.each([{ level: 0 }, { level: 10 }, { aboveBytes: -1 }])('refuses the options %j', (options) => {
    expect(codeOf(() => compression(options))).toBe('CONFIG_INVALID')
  })
})

describe('XAES-256-GCM', () => {
  it.each([
    [1, '', 'ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271'],
    [3, 'c2sp.org/XAES-256-GCM', '986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d'],
  ])('gives the published vector of key %i', (byte, additional, expected) => {
    const key = prepareKey(createSecretKey(Buffer.alloc(32, byte)))
    const sealed = seal(key, text('XAES-256-GCM'), text(additional), text('ABCDEFGHIJKLMNOPQRSTUVWX'))
    expect(Buffer.from(sealed.subarray(24)).toString('hex')).toBe(expected)
    expect(Buffer.from(open(key, sealed, text(additional)) ?? []).toString()).toBe('XAES-256-GCM')
    expect(open(key, sealed, text('else'))).toBeUndefined()
  })
})

describe('encryption', () => {
  const codec = encryption({ keys: { k1: KEY_1 }, current: 'k1' })

  it('gives back what it took, over any bytes, none included', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 500 }), (bytes) => {
        const encoded = codec.encode(bytes, HERE)
        expect(Buffer.compare(codec.decode(encoded, HERE), bytes)).toBe(0)
      }),
    )
  })

  it('never gives the same bytes twice', () => {
    const [a, b] = [codec.encode(text('x'), HERE), codec.encode(text('x'), HERE)]
    expect(Buffer.compare(a, b)).not.toBe(0)
  })

  it('refuses bytes that belong to another instance, or to another signal of it', () => {
    const encoded = codec.encode(text('30 points'), HERE)
    for (const place of [
      { ...HERE, key: 'loyalty.bob' },
      { ...HERE, what: 'signal.refund' },
    ])
      expect(codeOf(() => codec.decode(encoded, place))).toBe('INVALID_PAYLOAD')
  })

  it('refuses bytes of which any bit was changed, or that were cut', () => {
    const encoded = codec.encode(text('30 points'), HERE)
    for (let at = 0; at < encoded.length; at++) {
      const changed = new Uint8Array(encoded)
      changed[at] = (changed[at] ?? 0) ^ 1
      expect(() => codec.decode(changed, HERE)).toThrow(/encrypted/)
      expect(() => codec.decode(encoded.subarray(0, at), HERE)).toThrow(/encrypted/)
    }
  })

  it('encrypts by the current key, and decrypts by every key of the ring', () => {
    const both = encryption({ keys: { k1: KEY_1, k2: KEY_2 }, current: 'k2' })
    const old = codec.encode(text('old'), HERE)
    expect(Buffer.from(both.decode(old, HERE)).toString()).toBe('old')
    const fresh = both.encode(text('new'), HERE)
    expect(Buffer.from(both.decode(fresh, HERE)).toString()).toBe('new')
    expect(Buffer.from(encryption({ keys: { k2: KEY_2 }, current: 'k2' }).decode(fresh, HERE)).toString()).toBe('new')
  })

  it('says of a key that is missing, or is another one under the same id, that it is not known: no verdict on the bytes', () => {
    const encoded = codec.encode(text('x'), HERE)
    const without = encryption({ keys: { k2: KEY_2 }, current: 'k2' })
    const mistyped = encryption({ keys: { k1: KEY_2 }, current: 'k1' })
    for (const other of [without, mistyped]) expect(codeOf(() => other.decode(encoded, HERE))).toBe('UNKNOWN_CODEC')
    expect(() => without.decode(encoded, HERE)).toThrow('encrypted by the key "k1", which this process does not have')
  })

  it.each([
    [{ keys: { k1: Buffer.alloc(16) }, current: 'k1' }, 'has 16 bytes, not 32'],
    [{ keys: { k1: KEY_1 }, current: 'k2' }, 'the current key "k2" is not among the keys k1'],
    [{ keys: { 'a key': KEY_1 }, current: 'a key' }, 'is not 1 to 64 characters'],
  ])('refuses the options %#', (options, message) => {
    expect(() => encryption(options)).toThrow(message)
    try {
      encryption(options)
    } catch (error) {
      expect(hasCode(error, 'CONFIG_INVALID')).toBe(true)
      expect(String(error)).not.toContain(KEY_2)
    }
  })
})
