import { describe, expect, it } from 'vitest'

import { LATENESS_MS } from './cluster-timing.ts'
import { JudgeClock } from './judge-clock.ts'

describe('the time in which others are judged', () => {
  it('runs with the host while this node is on time (invariant 1)', () => {
    const clock = new JudgeClock(5000)
    for (let hostMs = 5100; hostMs <= 7000; hostMs += 100) expect(clock.advance(hostMs)).toBe(false)
    expect(clock.nowMs).toBe(2000)
    clock.advance(6000)
    expect(clock.nowMs).toBe(2000)
  })

  it('stands still while this node is late, and says when it has slept (invariant 2)', () => {
    const clock = new JudgeClock(0)
    expect(clock.advance(900)).toBe(false)
    expect(clock.nowMs).toBe(LATENESS_MS)
    expect(clock.advance(6900)).toBe(true)
    expect(clock.nowMs).toBe(2 * LATENESS_MS)
  })
})
