import * as fc from 'fast-check'
import { expect, it } from 'vitest'

import { checkStoreKey } from '../ports/index.ts'
import { encodeToken, type InstanceKey, type Partition } from '../protocol/index.ts'
import { valueKeys, valueOfKey } from './index-value.ts'
import { indexKey, parseIndexKey } from './keys.ts'

const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0)
const text = fc.string({ unit: 'grapheme', maxLength: 40 })

function keyOf(value: string | number | boolean | Date): string {
  return valueKeys(value)[0] as string
}

it('values are read back from their keys', () => {
  fc.assert(
    fc.property(fc.oneof(text, number, fc.boolean(), fc.date({ noInvalidDate: true })), (value) => {
      expect(valueOfKey(keyOf(value))).toEqual(value)
    }),
  )
})

it('numbers and moments are in their order', () => {
  fc.assert(
    fc.property(number, number, (a, b) => {
      expect(keyOf(a) < keyOf(b)).toBe(a < b)
    }),
  )
  const moments = [-1e12, -1, 0, 1, 1e12].map((ms) => keyOf(new Date(ms)))
  expect(moments.toSorted()).toEqual(moments)
})

it('a text begins with its beginnings, and with no others', () => {
  fc.assert(
    fc.property(text, text, (a, b) => {
      expect(keyOf(a + b).startsWith(keyOf(a))).toBe(true)
      expect(keyOf(b).startsWith(keyOf(a))).toBe(b.startsWith(a))
    }),
  )
})

it('the longest row fits into a key of the store', () => {
  const long = 'ä'.repeat(100)
  const key = `${encodeToken(long)}.${encodeToken(long)}` as InstanceKey
  const row = indexKey(16_383 as Partition, key, 'n'.repeat(40), keyOf(long))
  expect(checkStoreKey(row)).toBe(row)
  expect(parseIndexKey(row)).toEqual({ value: keyOf(long), idToken: encodeToken(long) })
})
