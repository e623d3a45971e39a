import { encode } from '@msgpack/msgpack'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { copyValue, decodePayload, decodeValue, encodeCanonical, encodeValue } from './codec.ts'
import { DEPTH_MAX } from './limits.ts'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const INVALID_PAYLOAD = expect.objectContaining({ code: 'INVALID_PAYLOAD' }) as Error
const INVALID_STATE = expect.objectContaining({ code: 'INVALID_STATE' }) as Error

/** Whatever a state may hold; every object in it occurs once. */
const { value: plainValue } = fc.letrec<{ value: unknown; leaf: unknown }>((tie) => ({
  leaf: fc.oneof(
    fc.constantFrom(null, true, false, 0, -0, NaN, Infinity, -Infinity, 2 ** 53, 2 ** 53 + 2, -(2 ** 63), 1.5),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.double(),
    fc.bigInt(),
    fc.string({ unit: 'grapheme' }),
    fc.string({ unit: 'binary', minLength: 60, maxLength: 200 }).map((long) => long.toWellFormed()),
    fc.date({ noInvalidDate: false }),
    fc.uint8Array({ maxLength: 300 }),
  ),
  value: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    tie('leaf'),
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(
      fc.string({ unit: 'grapheme', maxLength: 8 }).filter((key) => key !== '__proto__'),
      tie('value'),
      { maxKeys: 5, noNullPrototype: true },
    ),
    fc.array(fc.tuple(tie('value'), tie('value')), { maxLength: 4 }).map((entries) => new Map(entries)),
    fc.array(tie('value'), { maxLength: 4 }).map((items) => new Set(items)),
  ),
}))

function nestedArrays(levels: number, inner: unknown): unknown {
  let value = inner
  for (let level = 0; level < levels; level++) value = [value]
  return value
}

describe('values', () => {
  it('come back equal: plain data, Date, Map, Set, bigint, bytes, -0, NaN', () => {
    fc.assert(
      fc.property(plainValue, (value) => {
        expect(decodeValue(encodeValue(value))).toStrictEqual(value)
      }),
      { numRuns: 1000 },
    )
  })

  it('come back with the same canonical bytes', () => {
    fc.assert(
      fc.property(
        plainValue,
        (value) => Buffer.compare(encodeCanonical(copyValue(value)), encodeCanonical(value)) === 0,
      ),
      { numRuns: 500 },
    )
  })

  it('have the same canonical bytes in any order of their keys, inside Maps as well', () => {
    const a = { x: 1, y: new Map([['k', { p: 1, q: [2] }]]) }
    const b = { y: new Map([['k', { q: [2], p: 1 }]]), x: 1 }
    expect(encodeCanonical(a)).toEqual(encodeCanonical(b))
  })

  it('keep the order of keys, of a Map and of a Set', () => {
    const back = copyValue({
      b: 1,
      a: 2,
      m: new Map([
        ['z', 1],
        ['a', 2],
      ]),
      s: new Set([3, 1, 2]),
    })
    expect(Object.keys(back)).toEqual(['b', 'a', 'm', 's'])
    expect([...back.m.keys()]).toEqual(['z', 'a'])
    expect([...back.s]).toEqual([3, 1, 2])
  })

  it('leave out a key that is undefined; nothing at all is no bytes', () => {
    expect(copyValue({ a: undefined, b: 1 })).toStrictEqual({ b: 1 })
    expect(encodeValue(undefined)).toHaveLength(0)
    expect(decodeValue(new Uint8Array())).toBeUndefined()
  })

  const shared = { n: 1 }
  const sharedDate = new Date(5)
  const cycle: { self?: unknown } = {}
  cycle.self = cycle
  class Money {
    readonly amount = 1
  }
  it.each<readonly [string, unknown]>([
    ['one object twice', [shared, { shared }]],
    ['one object as a key and a value of a Map', new Map([[shared, shared]])],
    ['one Date twice', [sharedDate, sharedDate]],
    ['a cycle', cycle],
    ['a function', { f: () => 1 }],
    ['a symbol', [Symbol('s')]],
    ['an instance of a class', new Money()],
    ['an error', new Error('x')],
    ['a boxed number', Object(1)],
    ['an ArrayBuffer', new ArrayBuffer(1)],
    ['a typed array of numbers', new Float64Array(1)],
    ['a promise', Promise.resolve()],
    ['undefined in an array', [1, undefined]],
    ['a hole in an array', Object.assign([], { length: 2 })],
    ['undefined in a Set', new Set([undefined])],
    ['undefined in a Map', new Map([[1, undefined]])],
    ['an own key __proto__', JSON.parse('{"__proto__":{"x":1}}')],
    ['an own key __proto__ in a Map', new Map([[1, JSON.parse('{"__proto__":1}')]])],
    ['a lone surrogate', 'a\ud800'],
    ['a lone surrogate in a long text', 'a\udc00'.repeat(100)],
    ['a lone surrogate in a key', { '\ud800': 1 }],
    ['65 levels', nestedArrays(65, 1)],
    ['70 Maps in one another', Array.from({ length: 70 }).reduce<unknown>((inner) => new Map([[1, inner]]), 1)],
    ['5000 Sets in one another', Array.from({ length: 5000 }).reduce<unknown>((inner) => new Set([inner]), 1)],
    [
      'Maps and arrays mixed, 70 deep',
      Array.from({ length: 35 }).reduce<unknown>((inner) => [new Map([[1, inner]])], 1),
    ],
  ])('are refused, never bent: %s', (_, value) => {
    expect(() => encodeValue(value)).toThrow(INVALID_STATE)
    expect(() => encodeCanonical(value)).toThrow(INVALID_STATE)
    // A refusal leaves nothing behind in the encoder.
    expect(decodeValue(encodeValue({ fine: [1] }))).toStrictEqual({ fine: [1] })
  })

  it('are never encoded to bytes that cannot be read back, whatever their depth and form', () => {
    const wrap = fc.constantFrom<(inner: unknown) => unknown>(
      (inner) => [inner],
      (inner) => ({ k: inner }),
      (inner) => new Map([['k', inner]]),
      (inner) => new Set([inner]),
    )
    fc.assert(
      fc.property(
        fc.array(wrap, { minLength: 55, maxLength: 75 }),
        fc.constantFrom<unknown>(1, [], {}, new Map(), null),
        (wraps, leaf) => {
          let bytes: Uint8Array
          try {
            bytes = encodeValue(wraps.reduce((inner, next) => next(inner), structuredClone(leaf)))
          } catch {
            return
          }
          expect(() => decodeValue(bytes)).not.toThrow()
        },
      ),
      { numRuns: 500 },
    )
  })

  it('may be nested as deep as the limit says, and no deeper', () => {
    expect(copyValue(nestedArrays(DEPTH_MAX - 1, 1))).toStrictEqual(nestedArrays(DEPTH_MAX - 1, 1))
    expect(copyValue(nestedArrays(DEPTH_MAX - 1, []))).toStrictEqual(nestedArrays(DEPTH_MAX - 1, []))
    expect(() => encodeValue(nestedArrays(DEPTH_MAX, 1))).toThrow(INVALID_STATE)
  })
})

describe('payloads from outside', () => {
  it.each<readonly [string, Uint8Array]>([
    ['truncated', encodeValue({ a: [1, 2, 3] }).subarray(0, 4)],
    ['trailing garbage', Uint8Array.from([...encodeValue({ a: 1 }), 7])],
    ['1 MB of nils', new Uint8Array(1024 * 1024).fill(0xc0)],
    ['a byte that is not msgpack', Uint8Array.of(0xc1)],
    ['a __proto__ key', encode(JSON.parse('{"__proto__":{"x":1}}'))],
    ['nested 5,000 deep', Uint8Array.from([...new Uint8Array(5000).fill(0x91), 1])],
    ['an array of 4 billion elements', Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff, 1)],
    [
      'arrays that claim more than the payload has',
      Uint8Array.from({ length: 100 }, (_, i) => [0xdd, 0, 0x80, 0, 0][i % 5] as number),
    ],
    ['a map of 4 billion entries', Uint8Array.of(0xdf, 0xff, 0xff, 0xff, 0xff, 1, 1)],
    ['a text longer than the payload', Uint8Array.of(0xdb, 0x7f, 0xff, 0xff, 0xff, 0x41)],
    ['extensions in extensions, 5,000 deep', deepExtension(5000)],
    ['a Map that is no list', Uint8Array.of(0xd4, 1, 1)],
    ['a bigint that is none', Uint8Array.of(0xd4, 3, 0x7a)],
    ['an extension of an unknown type', Uint8Array.of(0xd4, 0, 1)],
    ['a date of one byte', Uint8Array.of(0xd4, 4, 1)],
    ['text that is not UTF-8', Uint8Array.of(0xa2, 0x41, 0xff)],
    ['a surrogate in four bytes', Uint8Array.of(0xa4, 0xf0, 0x8d, 0xa0, 0x80)],
    ['long text that is not UTF-8', Uint8Array.of(0xd9, 0x40, ...new Uint8Array(63).fill(0x41), 0xc3)],
    ['a lone surrogate', Uint8Array.of(0xa3, 0xed, 0xa0, 0x80)],
    ['a Map with a key and no value', Uint8Array.from([0xc7, 2, 1, 0x91, 7])],
  ])('are refused as msgpack: %s', (_, bytes) => {
    expect(() => decodePayload(bytes, 'msgpack')).toThrow(INVALID_PAYLOAD)
  })

  it.each<readonly [string, Uint8Array]>([
    ['truncated', text('{"a":[1,2')],
    ['trailing garbage', text('{"a":1} x')],
    ['not UTF-8', Uint8Array.of(0x22, 0xff, 0x22)],
    ['a __proto__ key', text('{"__proto__":{"x":1}}')],
    ['a __proto__ key behind an escape', text('{"a":[{"\\u005f_proto__":{"x":1}}]}')],
    ['a lone surrogate', text('"\\ud800"')],
    ['a lone surrogate in a key', text('{"\\udc00":1}')],
    ['nested 5,000 deep', text('['.repeat(5000) + ']'.repeat(5000))],
    ['nested 250,000 deep', text('['.repeat(250_000) + ']'.repeat(250_000))],
    ['NaN', text('NaN')],
    ['random bytes', Uint8Array.of(0, 1, 2, 3)],
  ])('are refused as JSON: %s', (_, bytes) => {
    expect(() => decodePayload(bytes, 'json')).toThrow(INVALID_PAYLOAD)
  })

  it('take what is odd but harmless', () => {
    expect(decodePayload(new Uint8Array(), 'json')).toBeUndefined()
    expect(decodePayload(text('9007199254740993'), 'json')).toBe(2 ** 53)
    expect(decodePayload(text('"__proto__"'), 'json')).toBe('__proto__')
    expect(decodePayload(text('"\\ud83d\\ude80"'), 'json')).toBe('🚀')
    expect(decodePayload(text('-0'), 'json')).toBe(-0)
    expect(decodePayload(Uint8Array.of(0xcf, 0, 0x20, 0, 0, 0, 0, 0, 1), 'msgpack')).toBe(2 ** 53)
    expect(decodePayload(Uint8Array.of(0xdc, 0, 3, 0xc0, 0xc0, 0xc0), 'msgpack')).toEqual([null, null, null])
    expect(decodePayload(encode(new Date(1234)), 'msgpack')).toEqual(new Date(1234))
  })

  it.each(['json', 'msgpack'] as const)(
    'of random bytes give a value that can be kept, or one clear error (%s)',
    (encoding) => {
      const bytes = fc.oneof(
        fc.uint8Array({ maxLength: 400 }),
        plainValue.chain((value) => {
          const good =
            encoding === 'msgpack'
              ? encodeValue(value)
              : text(JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? 1 : part)) ?? '')
          return fc
            .tuple(fc.nat(Math.max(0, good.length - 1)), fc.nat(255))
            .map(([at, byte]) => good.map((old, index) => (index === at ? byte : old)))
        }),
      )
      fc.assert(
        fc.property(bytes, (input) => {
          let value: unknown
          try {
            value = decodePayload(input, encoding)
          } catch (error) {
            expect(error).toMatchObject({ code: 'INVALID_PAYLOAD' })
            return
          }
          expect(copyValue(value)).toStrictEqual(value)
        }),
        { numRuns: 2000 },
      )
    },
  )
})

/** Extensions of the type of a Set, each holding an array with the next. */
function deepExtension(levels: number): Uint8Array {
  const head = new Uint8Array(levels * 7)
  const view = new DataView(head.buffer)
  for (let level = 0; level < levels; level++) {
    head[level * 7] = 0xc9
    view.setUint32(level * 7 + 1, (levels - level - 1) * 7 + 2)
    head[level * 7 + 5] = 2
    head[level * 7 + 6] = 0x91
  }
  return Uint8Array.from([...head, 0xc0])
}
