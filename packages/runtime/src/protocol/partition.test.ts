import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { encodeToken } from './ids.ts'
import { fnv1a32, partitionOf } from './partition.ts'

describe('the partition of an instance', () => {
  it('hashes type and id as one text, without a separator', () => {
    expect(partitionOf(encodeToken('ab'), encodeToken('c'), 16_384)).toBe(
      partitionOf(encodeToken('a'), encodeToken('bc'), 16_384),
    )
  })

  it('uses FNV-1a with its published test values', () => {
    expect(fnv1a32('')).toBe(0x811c9dc5)
    expect(fnv1a32('a')).toBe(0xe40c292c)
    expect(fnv1a32('foobar')).toBe(0xbf9cf968)
  })

  it('is always below the count, and spreads', () => {
    const seen = new Set<number>()
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme-ascii' }), (id) => {
        const partition = partitionOf(encodeToken('t'), encodeToken(id), 64)
        seen.add(partition)
        return Number.isInteger(partition) && partition >= 0 && partition < 64
      }),
      { numRuns: 2000 },
    )
    expect(seen.size).toBe(64)
  })
})
