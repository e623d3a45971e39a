import { describe, expect, it } from 'vitest'

import { parseBytes } from './option-values.ts'

describe('a size', () => {
  it.each([
    ['1B', 1],
    ['500MB', 500_000_000],
    ['1.5 kB', 1500],
    ['20GiB', 20 * 2 ** 30],
    ['2TB', 2e12],
  ])('%s is understood', (text, bytes) => {
    expect(parseBytes(text)).toBe(bytes)
  })

  it.each(['', '20', '0B', '0.1B', '-1GB', '5 gb', '1e9B', '20GiBs', '99999999TiB', 'GB', '1iB'])(
    '%j is refused',
    (text) => {
      expect(() => parseBytes(text)).toThrow('a size above 0 with its unit')
    },
  )
})
