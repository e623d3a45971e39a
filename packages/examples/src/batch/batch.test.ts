import { NonRetryable } from '@carillon/runtime'
import { mockActivities } from '@carillon/runtime/testing'
import { describe, expect, it } from 'vitest'

import { describeOnBothBackends } from '../testing/describe-on-both-backends.ts'
import { batchActivities, bigBatchActivities } from './activities.ts'
import { Batch, BigBatch, type Settled } from './contract.ts'
import { mapBounded } from './map-bounded.ts'
import { batch, bigBatch } from './workflow.ts'

const ITEMS = ['1', '2', 'bad', '4', '5', '6', '7']

/** Items are done when the test says so, in whatever order. */
function byHand() {
  const waiting = new Map<string, () => void>()
  const aborted: string[] = []
  let most = 0
  const activities = mockActivities(Batch, {
    process: ({ item }, { signal }) =>
      new Promise((resolve, reject) => {
        waiting.set(item, () => {
          waiting.delete(item)
          if (item === 'bad') reject(new NonRetryable('it is bad'))
          else resolve({ value: Number(item) ** 2 })
        })
        signal.addEventListener('abort', () => {
          aborted.push(item)
          reject(new Error('aborted'))
        })
        most = Math.max(most, waiting.size)
      }),
  })
  return { activities, waiting, aborted, most: () => most, letGo: (item: string) => waiting.get(item)?.() }
}

/** Items are done at once. */
function atOnce() {
  const stored: { from: number; results: readonly Settled[] }[] = []
  let running = 0
  let most = 0
  const items = mockActivities(Batch, {
    async process({ item }) {
      running += 1
      most = Math.max(most, running)
      await Promise.resolve()
      running -= 1
      if (Number(item) % 100 === 13) throw new NonRetryable('it is bad luck')
      return { value: Number(item) }
    },
  })
  const chunks = mockActivities(BigBatch, {
    list: async ({ from, count }) => Array.from({ length: count }, (_, i) => `${from + i}`),
    store: async (input) => void stored.push(input),
  })
  return { activities: [items, chunks], stored, most: () => most }
}

const setup = {
  workflows: [batch, bigBatch],
  activities: [batchActivities, bigBatchActivities],
  activityPatienceMs: 50,
}

describeOnBothBackends('a batch', setup, (open) => {
  async function start(width: number) {
    const own = byHand()
    const backend = await open({ activities: [own.activities, bigBatchActivities] })
    const b1 = backend.workflow(Batch, 'b-1')
    await b1.start({ items: ITEMS, width })
    const runs = (...items: string[]): Promise<void> =>
      backend.until(() => [...own.waiting.keys()].toSorted().join() === items.toSorted().join())
    return { ...own, backend, b1, runs }
  }

  it('has so many items in flight and no more, and gives the results in the order of the items', async () => {
    const { b1, runs, letGo, most, backend } = await start(3)
    await runs('1', '2', 'bad')
    letGo('2')
    await runs('1', 'bad', '4')
    letGo('bad')
    await runs('1', '4', '5')
    await backend.until(async () => (await b1.query('progress')).failed === 1)
    expect(await b1.query('progress')).toEqual({ total: 7, running: 3, done: 1, failed: 1 })
    letGo('5')
    await runs('1', '4', '6')
    letGo('6')
    await runs('1', '4', '7')
    for (const item of ['7', '4', '1']) letGo(item)
    expect(await b1.result({ timeoutMs: 10_000 })).toEqual([
      { item: '1', ok: true, value: 1 },
      { item: '2', ok: true, value: 4 },
      { item: 'bad', ok: false, error: 'it is bad' },
      { item: '4', ok: true, value: 16 },
      { item: '5', ok: true, value: 25 },
      { item: '6', ok: true, value: 36 },
      { item: '7', ok: true, value: 49 },
    ])
    expect(most()).toBe(3)
  })

  it('is cancelled as a whole: what is in flight is aborted, and nothing else begins', async () => {
    const { b1, runs, letGo, aborted, activities, backend } = await start(2)
    await runs('1', '2')
    letGo('1')
    await runs('2', 'bad')
    await b1.cancel('enough')
    await expect(b1.result({ timeoutMs: 10_000 })).rejects.toMatchObject({ code: 'CANCELLED' })
    // Where the engine crashes after every turn, an attempt may be gone before it could be told.
    if (backend.kind === 'server') await backend.until(() => aborted.toSorted().join() === '2,bad')
    expect(new Set(activities.calls('process').map(({ input }) => input.item))).toEqual(new Set(['1', '2', 'bad']))
    expect(await b1.query('progress')).toMatchObject({ done: 1, failed: 0 })
  })
})

describeOnBothBackends('a big batch', setup, (open) => {
  it('goes chunk by chunk, a few at once, and stores the results in order', async () => {
    const own = atOnce()
    const backend = await open({ activities: own.activities })
    const b1 = backend.workflow(BigBatch, 'b-1')
    await b1.start({ total: 230, chunk: 20, chunksAtOnce: 3, width: 4 })
    const summary = await b1.result({ timeoutMs: 20_000 })
    expect(summary).toEqual({
      total: 230,
      done: 227,
      failed: 3,
      failures: ['13', '113', '213'].map((item) => ({ item, error: 'it is bad luck' })),
    })
    const froms = own.stored.map(({ from }) => from)
    expect([...new Set(froms)]).toEqual(Array.from({ length: 12 }, (_, i) => i * 20))
    expect(froms).toEqual(froms.toSorted((a, b) => a - b))
    const stored = new Map(own.stored.map(({ from, results }) => [from, results]))
    expect([...stored.values()].flat().map(({ item }) => Number(item))).toEqual(
      Array.from({ length: 230 }, (_, i) => i),
    )
    expect(own.most()).toBeLessThanOrEqual(3 * 4)
    expect(await b1.query('progress')).toEqual(summary)
  })

  it('is cancelled with its chunks', async () => {
    const own = byHand()
    const backend = await open({ activities: [own.activities, bigBatchActivities] })
    const b1 = backend.workflow(BigBatch, 'b-1')
    await b1.start({ total: 100, chunk: 10, chunksAtOnce: 2, width: 1 })
    await backend.until(() => own.waiting.size === 2)
    await b1.cancel()
    await expect(b1.result({ timeoutMs: 10_000 })).rejects.toMatchObject({ code: 'CANCELLED' })
    for (const from of [0, 10])
      await expect(backend.workflow(Batch, `b-1/${from}`).result({ timeoutMs: 10_000 })).rejects.toMatchObject({
        code: 'TERMINATED',
      })
    if (backend.kind === 'server') await backend.until(() => own.aborted.length === 2)
  })
})

describe('mapBounded', () => {
  it('gives nothing for nothing, and rejects with the first that does', async () => {
    expect(await mapBounded([], 3, async () => 1)).toEqual([])
    await expect(
      mapBounded([1, 2, 3], 2, async (n) => {
        if (n === 2) throw new Error('two')
        return n
      }),
    ).rejects.toThrow('two')
  })
})
