import { describe, expect, it } from 'vitest'

import { INSTANCE_LIMITS } from '../core/index.ts'
import { StateGauge } from './state-gauge.ts'

/** Looks within so many turns of a state of so many characters. */
function looks(turns: number, chars: number): number {
  const gauge = new StateGauge()
  let count = 0
  for (let turn = 0; turn < turns; turn++) {
    if (!gauge.isDue(1)) continue
    gauge.look({ text: 'x'.repeat(chars) })
    count += 1
  }
  return count
}

describe('the gauge of a state', () => {
  it('looks every 64 turns at a small state, and less often at a larger one', () => {
    expect(looks(6400, 10)).toBe(100)
    expect(looks(6400, 640 * 1024)).toBe(10)
  })

  it('refuses a state that has grown too large, by its size', () => {
    const gauge = new StateGauge()
    gauge.look('x'.repeat(INSTANCE_LIMITS.stateBytes - 10))
    expect(() => gauge.look('x'.repeat(INSTANCE_LIMITS.stateBytes))).toThrow(/bytes while code waits, over 8388608/)
  })

  it('lets a state be that cannot be encoded: it may be another one before it has to', () => {
    const gauge = new StateGauge()
    gauge.look({ text: 'x' })
    const { bytes } = gauge
    gauge.look({ callback: () => {} })
    gauge.look(undefined)
    expect(bytes).toBeGreaterThan(0)
    expect(gauge.bytes).toBe(0)
  })
})
