import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { encodeToken } from './ids.ts'
import { INPUT_KINDS, type InputKind, parseKey, Subjects, typeTokenOf } from './subjects.ts'

const subjects = new Subjects('shop', 64)
const id = fc
  .string({ minLength: 1, maxLength: 20, unit: 'grapheme' })
  .map((text) => text.normalize('NFC'))
  // oxlint-disable-next-line no-control-regex -- control characters are not valid in ids
  .filter((text) => text.isWellFormed() && Buffer.byteLength(text) <= 200 && !/[\u0000-\u001f\u007f-\u009f]/.test(text))

const isNameless = (kind: InputKind): boolean => kind === 'start' || kind === 'cancel'

describe('log subjects', () => {
  it('parse to what they were made of', () => {
    fc.assert(
      fc.property(id, id, fc.constantFrom(...INPUT_KINDS), id, (type, instance, kind, name) => {
        const typeToken = encodeToken(type)
        const idToken = encodeToken(instance)
        const subject = subjects.log(typeToken, idToken, kind, isNameless(kind) ? undefined : encodeToken(name))
        const key = `${typeToken}.${idToken}` as const
        expect(subjects.parseLog(subject)).toEqual({
          partition: subjects.partitionOf(typeToken, idToken),
          key,
          kind,
          name: isNameless(kind) ? '' : name,
        })
        expect(parseKey(key)).toEqual({ type, id: instance })
        expect(typeTokenOf(key)).toBe(typeToken)
        if (!isNameless(kind))
          expect(subjects.logOfKey(subjects.partitionOf(typeToken, idToken), key, kind, encodeToken(name))).toBe(
            subject,
          )
      }),
      { numRuns: 500 },
    )
  })

  it.each([
    'shop.log.13.cart',
    'other.log.0.cart.c1.signal.add',
    'shop.signal.cart.c1.add',
    'shop.log.x.cart.c1.signal.add',
    'shop.log.00.cart.c1.signal.add',
    'shop.log.-1.cart.c1.signal.add',
    'shop.log..cart.c1.signal.add',
    'shop.log.',
    'shop.log',
    '',
  ])('are none of ours: %j', (subject) => {
    expect(subjects.parseLog(subject)).toBeUndefined()
  })

  it('are refused for another partition, an unknown kind, a missing or extra token, and a token that is not canonical', () => {
    const type = encodeToken('cart')
    const instance = encodeToken('c1')
    const partition = subjects.partitionOf(type, instance)
    const good = `shop.log.${partition}.cart.c1.signal.add`
    expect(subjects.parseLog(good)).toMatchObject({ kind: 'signal', name: 'add' })
    for (const bad of [
      good.replace(`.${partition}.`, `.${(partition + 1) % 64}.`),
      good.replace('.signal.', '.grandchild.'),
      good.replace('.signal.', '.SIGNAL.'),
      good.replace('.signal.', '.constructor.'),
      good.replace('.add', ''),
      `${good}.more`,
      good.replace('.add', '.=61dd'),
      good.replace('.signal.add', '.start.x'),
      good.replace('.add', '.'),
      good.replace('.add', '.a b'),
    ]) {
      expect([bad, subjects.parseLog(bad)]).toEqual([bad, undefined])
    }
  })

  it('stay below the line limit of a server, and below the key limit of a store', () => {
    const longest = encodeToken('\u{1F680}'.repeat(50))
    expect(longest.length).toBe(600)
    expect(subjects.log(longest, longest, 'signal', longest).length).toBeLessThan(4096 - 1024)
  })
})
