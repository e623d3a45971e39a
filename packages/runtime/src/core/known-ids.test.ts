import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import type { Outcome } from '../protocol/index.ts'
import { BLOCK_IDS } from './known-id-block.ts'
import { KnownIds } from './known-ids.ts'

class Stored {
  readonly blocks = new Map<number, Uint8Array>()
  save(known: KnownIds): void {
    const { write, remove } = known.takeChanges()
    for (const [block, bytes] of write) this.blocks.set(block, bytes.slice())
    for (const block of remove) this.blocks.delete(block)
  }
  restore(known: KnownIds, max: number): KnownIds {
    const head = known.saveHead()
    return KnownIds.restore(max, { ...head, head: head.head.slice() }, (block) => this.blocks.get(block) as Uint8Array)
  }
}

const outcomeOf = (i: number): Outcome =>
  i % 7 === 0
    ? { ok: true, value: { left: i } }
    : i % 11 === 0
      ? { ok: false, error: { code: 'UPDATE_REJECTED', message: `no ${i}` } }
      : { ok: true }

describe('known ids', () => {
  it('remember the last max ids with their outcomes, and forget whole blocks behind them', () => {
    const max = 500
    const known = new KnownIds(max)
    for (let i = 0; i < 5000; i++) {
      known.add(`id-${i}`, i)
      expect(known.get(`id-${i}`)).toEqual({ id: `id-${i}`, seq: i, outcome: undefined })
      known.settle(`id-${i}`, outcomeOf(i))
    }
    for (let i = 5000 - max; i < 5000; i++)
      expect(known.get(`id-${i}`)).toEqual({ id: `id-${i}`, seq: i, outcome: outcomeOf(i) })
    expect(known.get(`id-${5000 - max - 2 * BLOCK_IDS}`)).toBeUndefined()
    expect(known.size).toBeLessThanOrEqual(max + BLOCK_IDS * 2)
  })

  it('write a full block once, and remove it from the store when it leaves the window', () => {
    const known = new KnownIds(200)
    const stored = new Stored()
    let written = 0
    for (let i = 0; i < 64 * 20; i++) {
      known.add(`id-${i}`, i)
      known.settle(`id-${i}`, { ok: true })
      if (i % 10 !== 0) continue
      const changes = known.takeChanges()
      written += changes.write.length
      for (const [block, bytes] of changes.write) stored.blocks.set(block, bytes)
      for (const block of changes.remove) stored.blocks.delete(block)
    }
    expect(written).toBeLessThanOrEqual(20)
    expect(stored.blocks.size).toBeLessThanOrEqual(5)
  })

  it('are the same after a save and a restore at any moment, ids that wait included', () => {
    const id = fc.stringMatching(/^[a-z0-9é☃ ]{1,40}$/u)
    fc.assert(
      fc.property(
        fc.array(fc.tuple(id, fc.boolean()), { maxLength: 400 }),
        fc.integer({ min: 1, max: 300 }),
        (inputs, max) => {
          const stored = new Stored()
          let live = new KnownIds(max)
          const settled: string[] = []
          const waiting: string[] = []
          for (const [i, [text, settles]] of inputs.entries()) {
            const unique = `${text}${i}`
            live.add(unique, i + 2 ** 33)
            if (settles) {
              live.settle(unique, outcomeOf(i))
              settled.push(unique)
            } else waiting.push(unique)
            if (i % 13 !== 0) continue
            stored.save(live)
            const restored = stored.restore(live, max)
            expect(restored.canonical()).toEqual(live.canonical())
            live = restored
          }
          for (const unique of waiting) expect(live.get(unique)).toMatchObject({ id: unique, outcome: undefined })
          for (const unique of settled.slice(-max)) expect(live.get(unique)?.outcome).toBeDefined()
        },
      ),
      { numRuns: 50 },
    )
  })
})
