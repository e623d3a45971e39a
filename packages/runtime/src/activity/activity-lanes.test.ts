import { describe, expect, it } from 'vitest'

import { parseLimits } from '../contract/activity-limits.ts'
import { VirtualClock } from '../testing/virtual-clock.ts'
import { ActivityLanes, Lane } from './activity-lanes.ts'

function bench(runningMax = 100, waitingMax = 100) {
  const clock = new VirtualClock()
  const started: string[] = []
  const timesMs: number[] = []
  const lanes = new ActivityLanes<string>({
    clock,
    runningMax,
    waitingMax,
    start: (_, item) => {
      started.push(item)
      timesMs.push(clock.nowMs())
    },
  })
  const lane = (limits = {}): Lane<string> => new Lane(parseLimits(limits, 'the activity'))
  return { clock, started, timesMs, lanes, lane }
}

describe('the lanes of activities', () => {
  it('run as many of one as its concurrency says, in order, while others go on', () => {
    const { lanes, lane, started } = bench()
    const [narrow, wide] = [lane({ concurrency: 2 }), lane()]
    for (const item of ['n1', 'n2', 'n3', 'n4']) lanes.offer(narrow, item)
    for (const item of ['w1', 'w2', 'w3']) lanes.offer(wide, item)
    expect(started).toEqual(['n1', 'n2', 'w1', 'w2', 'w3'])
    lanes.ended(narrow)
    lanes.ended(narrow)
    expect(started.slice(5)).toEqual(['n3', 'n4'])
  })

  it('go round when there are fewer places than calls', () => {
    const { lanes, lane, started } = bench(1)
    const [a, b] = [lane(), lane()]
    for (const item of ['a1', 'a2', 'a3']) lanes.offer(a, item)
    for (const item of ['b1', 'b2']) lanes.offer(b, item)
    for (const next of [a, a, b, a]) lanes.ended(next)
    expect(started).toEqual(['a1', 'a2', 'b1', 'a3', 'b2'])
  })

  it('begin at most so many within any time of their rate', async () => {
    const { lanes, lane, clock, timesMs } = bench()
    const slow = lane({ rate: { limit: 3, per: '1 second' } })
    for (let i = 0; i < 10; i++) lanes.offer(slow, `s${i}`)
    expect(timesMs).toHaveLength(3)
    await clock.advance(400)
    for (let i = 0; i < 3; i++) lanes.ended(slow)
    await clock.advance(10_000)
    expect(timesMs).toHaveLength(10)
    for (const [i, timeMs] of timesMs.entries())
      expect(timesMs[i + 3] ?? Infinity).toBeGreaterThanOrEqual(timeMs + 1000)
  })

  it('wait no longer than one time of the rate when the clock is set back', async () => {
    const { lanes, lane, clock, started } = bench()
    const slow = lane({ rate: { limit: 1, per: 1000 } })
    lanes.offer(slow, 's1')
    clock.jump(clock.nowMs() - 3_600_000)
    lanes.offer(slow, 's2')
    await clock.advance(1000)
    expect(started).toEqual(['s1', 's2'])
  })

  it('leave room for others however much of one waits, and always one place each', () => {
    const { lanes, lane, started } = bench(100, 10)
    const stuck = Array.from({ length: 5 }, () => lane({ concurrency: 1 }))
    const held = stuck.map((one, index) => {
      let count = 0
      while (lanes.offer(one, `${index}.${count}`)) count += 1
      // The first one runs.
      return count - 1
    })
    expect(held[0]).toBe(5)
    expect(held.every((count) => count >= 1)).toBe(true)
    expect(held.reduce((sum, count) => sum + count)).toBeLessThanOrEqual(10 + stuck.length)
    expect(lanes.offer(lane(), 'free')).toBe(true)
    expect(started.at(-1)).toBe('free')
  })

  it('count what rests as held, but not as running', () => {
    const { lanes, lane, started } = bench(100, 4)
    const one = lane({ concurrency: 1 })
    expect(lanes.offer(one, 'a')).toBe(true)
    expect(lanes.offer(one, 'b')).toBe(true)
    lanes.rests(one)
    expect(started).toEqual(['a', 'b'])
    expect(lanes.offer(one, 'c')).toBe(true)
    expect(lanes.offer(one, 'd')).toBe(false)
    lanes.ended(one)
    lanes.rested(one, 'a')
    expect(started).toEqual(['a', 'b', 'c'])
    lanes.ended(one)
    expect(started).toEqual(['a', 'b', 'c', 'a'])
  })

  it('start nothing while they are paused, and go on in order', () => {
    const { lanes, lane, started } = bench()
    const [one, other] = [lane({ concurrency: 1 }), lane()]
    lanes.offer(one, '1')
    lanes.pause(one)
    for (const item of ['2', '3', '4']) lanes.offer(one, item)
    lanes.ended(one)
    lanes.offer(other, 'other')
    lanes.remove(one, '3')
    expect(started).toEqual(['1', 'other'])
    lanes.resume(one)
    lanes.ended(one)
    expect(started).toEqual(['1', 'other', '2', '4'])
  })

  it('leave no alarm behind when they are closed', () => {
    const { lanes, lane, clock } = bench()
    const slow = lane({ rate: { limit: 1, per: '1 hour' } })
    for (const item of ['a', 'b']) lanes.offer(slow, item)
    expect(clock.nextMs).toBeDefined()
    lanes.close()
    expect(clock.nextMs).toBeUndefined()
  })
})

describe('limits', () => {
  it('that make no sense are refused where the contract is defined', () => {
    for (const limits of [
      { concurrency: 0 },
      { concurrency: 1.5 },
      { rate: { limit: 0, per: 1000 } },
      { rate: { limit: 1e9, per: 1000 } },
      { rate: { limit: 1, per: 0 } },
    ])
      expect(() => parseLimits(limits, 'the activity send of mail')).toThrow('the activity send of mail has the')
    expect(() => parseLimits({ rate: { limit: 1, per: 'soon' as never } }, 'x')).toThrow('not a duration')
  })
})
