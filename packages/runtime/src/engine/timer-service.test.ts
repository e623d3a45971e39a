import { describe, expect, it } from 'vitest'

import { timerKey, type TimerRow } from '../core/index.ts'
import { type Clock, type OrderedStore, silentLogger, type Write } from '../ports/index.ts'
import { encodeValue, type InstanceKey, type Partition } from '../protocol/index.ts'
import { MemoryDisk, MemoryStore } from '../testing/memory-store.ts'
import { VirtualClock } from '../testing/virtual-clock.ts'
import { TimerService } from './timer-service.ts'

const PARTITION = 3 as Partition
const YEAR_MS = 365 * 86_400_000
/** What the host's `setTimeout` takes at most. */
const HOST_TIMER_MS_MAX = 2 ** 31 - 1

/** The virtual clock, with the limit of the host's. */
function hostLike(clock: VirtualClock): Clock {
  return {
    nowMs: () => clock.nowMs(),
    after: (delayMs, callback) => clock.after(Math.min(delayMs, HOST_TIMER_MS_MAX), callback),
    yield: () => clock.yield(),
  }
}

function timerRow(dueMs: number, index: number): Write {
  return {
    table: 'timer',
    key: timerKey(PARTITION, `t.i${index}` as InstanceKey, dueMs, `1.${index}`),
    value: encodeValue('x'),
  }
}

async function open(rows: readonly Write[], clock: VirtualClock, inFlightMax = 1000) {
  const memory = new MemoryStore({ disk: new MemoryDisk() })
  await memory.commit(rows)
  let rowsRead = 0
  const store: OrderedStore = Object.assign(Object.create(memory) as MemoryStore, {
    *range(...args: Parameters<MemoryStore['range']>) {
      for (const row of memory.range(...args)) {
        rowsRead += 1
        yield row
      }
    },
  })
  const fired: { readonly row: TimerRow; readonly atMs: number }[] = []
  const service = new TimerService({
    store,
    clock: hostLike(clock),
    logger: silentLogger,
    inFlightMax,
    fire: async (_, row) => void fired.push({ row, atMs: clock.nowMs() }),
  })
  service.watch(PARTITION)
  return { service, fired, rowsRead: () => rowsRead }
}

describe('timers', () => {
  it.each([30, 99])(
    'fire after %i years, on the millisecond, although the host sets no timer that far ahead',
    async (years) => {
      const clock = new VirtualClock()
      const dueMs = clock.nowMs() + years * YEAR_MS
      const { service, fired } = await open([timerRow(dueMs, 1)], clock)
      await clock.advance(years * YEAR_MS - 1)
      expect(fired).toEqual([])
      await clock.advance(1)
      expect(fired).toMatchObject([{ atMs: dueMs, row: { dueMs } }])
      await service.close()
    },
  )

  it('are read as they come due, so that however many are set take no memory and no time', async () => {
    const clock = new VirtualClock()
    const later = Array.from({ length: 100_000 }, (_, index) => timerRow(clock.nowMs() + YEAR_MS + index, index))
    const soon = Array.from({ length: 20 }, (_, index) => timerRow(clock.nowMs() + 1000, 100_000 + index))
    const { service, fired, rowsRead } = await open([...later, ...soon], clock)
    await clock.advance(1000)
    expect(fired).toHaveLength(20)
    // One look when it begins, one when the first are due, and the row behind them.
    expect(rowsRead()).toBeLessThanOrEqual(1 + 20 + 1)
    await service.close()
  })
})
