import { describe, expect, it } from 'vitest'

import { compression, createCodecs, encryption, type PayloadCodec } from '../codecs/index.ts'
import { CODEC_OVERHEAD_BYTES_MAX, PAYLOAD_BYTES_MAX } from './limits.ts'
import { isPayloadEncoding } from './payload-encoding.ts'
import { decodeEncoded, placeOfInput } from './payload-codecs.ts'
import { encodeValue } from './codec.ts'
import { decodeMessage, openText, sealMessage, sealText } from './sealed.ts'

const HERE = placeOfInput('loyalty.ada', 'signal', 'purchase')
const ring = encryption({ keys: { k1: Buffer.alloc(32, 1) }, current: 'k1' })
const codecs = createCodecs([compression(), ring])
const input = { kind: 'signal', timeMs: 1000, encoding: 'msgpack' } as const

/** Turns bytes round. */
const mirror: PayloadCodec = {
  name: 'mirror',
  encode: (bytes) => new Uint8Array(bytes).reverse(),
  decode: (bytes) => new Uint8Array(bytes).reverse(),
}

describe('codecs', () => {
  it('name what bytes have passed, in that order, and undo it backwards', () => {
    const value = { text: 'hello '.repeat(500) }
    const { bytes, encoding } = codecs.encode(encodeValue(value), 'msgpack', HERE)
    expect(encoding).toBe('msgpack,zlib,aes-gcm')
    expect(decodeEncoded(codecs, bytes, encoding, HERE)).toEqual(value)
  })

  it('do not name what a codec has left as it is', () => {
    expect(codecs.encode(encodeValue('short'), 'msgpack', HERE).encoding).toBe('msgpack,aes-gcm')
    expect(createCodecs([compression()]).encode(encodeValue('short'), 'json', HERE).encoding).toBe('json')
  })

  it('decode by what the bytes name, whatever they encode with themselves', () => {
    const { bytes, encoding } = createCodecs([mirror, compression({ aboveBytes: 0 })]).encode(
      new TextEncoder().encode(JSON.stringify(['a'.repeat(50)])),
      'json',
      HERE,
    )
    expect(encoding).toBe('json,mirror,zlib')
    expect(decodeEncoded(createCodecs([compression(), ring, mirror]), bytes, encoding, HERE)).toEqual(['a'.repeat(50)])
  })

  it('say which codec is missing, with codecs and without', () => {
    const { bytes, encoding } = codecs.encode(encodeValue(1), 'msgpack', HERE)
    expect(() => decodeEncoded(undefined, bytes, encoding, HERE)).toThrow(
      'signal.purchase of loyalty.ada is encoded by "aes-gcm", and this process has no codecs',
    )
    expect(() => decodeEncoded(createCodecs([compression()]), bytes, encoding, HERE)).toThrow('this process has zlib')
  })

  it('bound what a codec gives back, and what it makes', () => {
    const grow: PayloadCodec = { name: 'grow', encode: () => new Uint8Array(9000), decode: () => new Uint8Array(1e6) }
    const growing = createCodecs([grow])
    expect(() => growing.decode(new Uint8Array(1), 'msgpack,grow', HERE)).toThrow(`over ${PAYLOAD_BYTES_MAX}`)
    expect(() => growing.encode(new Uint8Array(9), 'msgpack', HERE)).toThrow(`over ${CODEC_OVERHEAD_BYTES_MAX} more`)
  })

  it('give plain arrays of bytes, so that blobs in a value are what was sent', () => {
    const { bytes, encoding } = codecs.encode(encodeValue({ blob: Uint8Array.of(1, 2) }), 'msgpack', HERE)
    const { blob } = decodeEncoded(codecs, bytes, encoding, HERE) as { readonly blob: Uint8Array }
    expect(blob.constructor).toBe(Uint8Array)
  })

  it.each([
    [[], {}, 'no codec is given'],
    [[mirror, mirror], {}, 'two codecs have one name'],
    [[{ ...mirror, name: 'A B' }], {}, 'is not 1 to 32 characters'],
    [[mirror], { require: { codec: 'aes-gcm' } }, 'is required, but not given'],
    [[mirror], { require: { codec: 'mirror', since: 'soon' } }, 'since is no point in time'],
  ])('are refused when they make no sense: %#', (chain, options, message) => {
    expect(() => createCodecs(chain, options)).toThrow(message)
  })
})

describe('an encoding', () => {
  it.each(['json', 'msgpack', 'json,zlib', 'msgpack,zlib,aes-gcm'])('%s is one', (text) => {
    expect(isPayloadEncoding(text)).toBe(true)
  })

  it.each(['', 'xml', 'json,', ',zlib', 'json,ZLIB', 'json,a b', 'msgpack,', `json${',a'.repeat(9)}`])(
    '%j is none',
    (text) => {
      expect(isPayloadEncoding(text)).toBe(false)
    },
  )
})

describe('a required codec', () => {
  const strict = createCodecs([compression(), ring], { require: { codec: 'aes-gcm', since: new Date(5000) } })

  it('refuses inputs with values that have not passed it, from its moment on', () => {
    expect(strict.refusal(input)).toBeUndefined()
    expect(strict.refusal({ ...input, timeMs: 4999 })).toBeUndefined()
    expect(strict.refusal({ ...input, timeMs: 5000 })?.code).toBe('CODEC_REQUIRED')
    expect(strict.refusal({ ...input, timeMs: 5000, encoding: 'msgpack,zlib' })?.code).toBe('CODEC_REQUIRED')
    expect(strict.refusal({ ...input, timeMs: 5000, encoding: 'json,aes-gcm' })).toBeUndefined()
  })

  it('lets commands, cancels and timers pass: they carry no values', () => {
    for (const kind of ['admin', 'cancel', 'timer'] as const)
      expect(strict.refusal({ kind, timeMs: 9000, encoding: 'json' })).toBeUndefined()
  })

  it('counts from the beginning where no moment is given', () => {
    expect(createCodecs([ring], { require: { codec: 'aes-gcm' } }).refusal(input)?.code).toBe('CODEC_REQUIRED')
  })
})

describe('a sealed message', () => {
  it('opens for what it was sealed for, and for nothing else', () => {
    const sealed = sealMessage(codecs, encodeValue({ seq: 7 }), 'loyalty.ada', '_INBOX.a.1')
    expect(decodeMessage(codecs, sealed, '_INBOX.a.1')).toEqual({ seq: 7 })
    expect(() => decodeMessage(codecs, sealed, '_INBOX.a.2')).toThrow('not encrypted for this place')
    expect(decodeMessage(codecs, encodeValue({ seq: 8 }), '_INBOX.a.1')).toEqual({ seq: 8 })
  })

  it('may be a text of a header, which stays as it is where it cannot be opened', () => {
    const sealed = sealText(codecs, 'amount: expected a number, got "sevén"', 'loyalty.ada')
    expect(sealed).toMatch(/^sealed:json,aes-gcm:[!-~]+$/)
    expect(openText(codecs, sealed, 'loyalty.ada')).toBe('amount: expected a number, got "sevén"')
    for (const [other, key] of [
      [undefined, 'loyalty.ada'],
      [codecs, 'loyalty.bob'],
    ] as const)
      expect(openText(other, sealed, key)).toBe(sealed)
  })
})
