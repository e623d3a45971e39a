import { expect, it } from 'vitest'

import { AckGaps } from './ack-gaps.ts'

it('keeps the longest gap of each part, and counts one that spans two parts for both', () => {
  const gaps = new AckGaps('quiet')
  gaps.acknowledged(0)
  gaps.acknowledged(10)
  gaps.acknowledged(15)
  gaps.enter('killed', 35)
  gaps.acknowledged(45)
  gaps.acknowledged(50)
  expect(gaps.list()).toEqual([
    { part: 'quiet', longestMs: 20, acknowledged: 3 },
    { part: 'killed', longestMs: 30, acknowledged: 2 },
  ])
})
