import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { checkInputId, checkNamespace, decodeToken, encodeToken, quote } from './ids.ts'

/** Ids that the rules accept: NFC, no control characters, 1 to 200 bytes. */
const validId = fc
  .oneof(fc.string({ minLength: 1, maxLength: 60 }), fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }))
  .map((text) => text.normalize('NFC'))
  // oxlint-disable-next-line no-control-regex -- the rule under test
  .filter((text) => text.isWellFormed() && !/[\u0000-\u001f\u007f-\u009f]/.test(text))
  .filter((text) => Buffer.byteLength(text) <= 200)

const BAD_IDS: readonly (readonly [name: string, id: string, rule: RegExp])[] = [
  ['an empty one', '', /is empty/],
  ['CR LF', 'a\r\nPUB x 0\r\n', /control character/],
  ['NUL', 'a\u0000b', /control character/],
  ['a tab', 'a\tb', /control character/],
  ['a C1 control', 'a\u0085b', /control character/],
  ['5 kB', 'x'.repeat(5000), /over 200 bytes/],
  ['201 bytes in 101 characters', `a${'é'.repeat(100)}`, /over 200 bytes/],
  ['a lone surrogate', 'a\ud800b', /lone surrogate/],
  ['NFD', 'Zoe\u0308', /normal form C/],
]

describe('ids as tokens', () => {
  it('come back from their token', () => {
    fc.assert(
      fc.property(validId, (id) => decodeToken(encodeToken(id)) === id),
      { numRuns: 1000 },
    )
  })

  it('hold only letters, digits, _, - and =', () => {
    fc.assert(
      fc.property(validId, (id) => /^[A-Za-z0-9_=-]{1,600}$/.test(encodeToken(id))),
      { numRuns: 1000 },
    )
  })

  it('differ where the ids differ', () => {
    fc.assert(
      fc.property(validId, validId, (a, b) => (encodeToken(a) === encodeToken(b)) === (a === b)),
      { numRuns: 1000 },
    )
  })

  it.each([
    'a b',
    'a*b',
    'a>b',
    '>',
    '*',
    'a.b',
    '.',
    '..',
    '/',
    '../../etc',
    '__proto__',
    '$SYS',
    'a=b',
    '=',
    '%00',
    'a\u00a0b',
  ])('keep %j as one harmless token', (id) => {
    const token = encodeToken(id)
    expect(token).toMatch(/^[A-Za-z0-9_=-]+$/)
    expect(decodeToken(token)).toBe(id)
  })

  it.each(BAD_IDS)('refuse %s, and name the rule', (_, id, rule) => {
    expect(() => encodeToken(id, 'instance id')).toThrow(rule)
    expect(() => encodeToken(id, 'instance id')).toThrow(expect.objectContaining({ code: 'INVALID_ID' }))
  })

  it('tell NFC and NFD of one name apart by refusing the second', () => {
    expect(encodeToken('Zo\u00eb')).toBe('Zo=C3=AB')
    expect(() => encodeToken('Zo\u00eb'.normalize('NFD'))).toThrow(/normalize\("NFC"\)/)
  })

  it('print no raw control character in an error', () => {
    // oxlint-disable-next-line no-control-regex -- what must not be there
    expect(() => encodeToken('a\r\nINFO forged')).toThrow(/^[^\u0000-\u001f]*$/)
    expect(quote('x'.repeat(500)).length).toBeLessThan(70)
  })
})

describe('tokens from outside', () => {
  it.each([
    '',
    'a.b',
    'a b',
    'é',
    '=',
    '=4',
    '=zz',
    '=c3=ab',
    '=41',
    '=5F',
    '=C3',
    '=ED=A0=80',
    '=00',
    'Zoe=CC=88',
    '=EF=BB=BF=00',
    'a'.repeat(201),
    '=C3=A9'.repeat(101),
  ])('are refused when they are not the canonical encoding of a valid id: %j', (token) => {
    expect(() => decodeToken(token)).toThrow(expect.objectContaining({ code: 'INVALID_ID' }))
  })

  it('are never accepted in two forms', () => {
    const piece = fc.oneof(
      fc.constantFrom('a', 'Z', '0', '_', '-', '=', '=4', '=41', '=C3', '=A9', '=c3', '=20', '=2E'),
      fc.string({ maxLength: 2 }),
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
        const text = pieces.join('')
        let id: string
        try {
          id = decodeToken(text)
        } catch {
          return true
        }
        return encodeToken(id) === text
      }),
      { numRuns: 2000 },
    )
  })
})

describe('input ids', () => {
  it('may be any text without control characters', () => {
    expect(checkInputId('order 7: *.>/é')).toBe('order 7: *.>/é')
  })

  it.each(BAD_IDS)('refuse %s', (_, id) => {
    expect(() => checkInputId(id)).toThrow(expect.objectContaining({ code: 'INVALID_ID' }))
  })
})

describe('namespaces', () => {
  it.each(['', 'a.b', 'a b', 'é', '>', 'x'.repeat(33), 'a\nb'])('refuse %j', (namespace) => {
    expect(() => checkNamespace(namespace)).toThrow(/1 to 32 characters/)
  })

  it('stand as they are', () => {
    expect(checkNamespace('shop_EU-1')).toBe('shop_EU-1')
  })
})
