import { describe, expect, it } from 'vitest'

import {
  type ActivityContext,
  type ActivityOptions,
  defineWorkflow,
  implement,
  implementActivities,
  NonRetryable,
  type,
} from '../index.ts'
import type { ListPage, Partition } from '../protocol/index.ts'
import { EngineWorld, keyOf } from '../testing/engine-world.ts'

const Shop = defineWorkflow('shop', {
  signals: {
    call: type<ActivityOptions | undefined>(),
    add: type<number>(),
    close: type<number>(),
    wake: type<number>(),
    later: type<number>(),
  },
  updates: { take: { input: type<number>(), output: type<number>() } },
  queries: { sum: { output: type<number>() }, log: { output: type<unknown>() }, bad: { output: type<unknown>() } },
  activities: { work: { input: type<number>(), output: type<unknown>() } },
})
const shop = implement(Shop, {
  startOnSignal: true,
  state: () => ({ sum: 0, log: [] as unknown[] }),
  on: {
    async call(ctx, options) {
      try {
        ctx.state.log.push(await ctx.activities.work(ctx.state.sum, options))
      } catch (error) {
        ctx.state.log.push((error as Error & { details: unknown }).details)
      }
    },
    add: (ctx, n) => void (ctx.state.sum += n),
    close: (ctx, n) => ctx.complete(n),
    wake: (ctx, ms) => ctx.timers.alarm.set(ms),
    async later(ctx, ms) {
      await ctx.sleep(ms)
      ctx.state.log.push('slept')
    },
  },
  updates: { take: (ctx, n) => (ctx.state.sum -= n) },
  queries: {
    sum: (state) => state.sum,
    log: (state) => state.log,
    bad: () => {
      throw Object.assign(new Error('bad'), { details: () => 1 })
    },
  },
  timers: { alarm: { run: (ctx) => void ctx.state.log.push('alarm') } },
})

type Work = (input: number, ctx: ActivityContext) => unknown
const life = (work: Work = () => 'done', limits = {}) => ({
  implementations: [shop],
  activities: [implementActivities(Shop, { work })],
  limits,
})
const logOf = (world: EngineWorld, id: string): Promise<unknown> =>
  world.ask({ op: 'query', key: keyOf('shop', id), name: 'log', minSeq: 0 })
const untilAborted = (ctx: ActivityContext): Promise<never> =>
  new Promise((_, reject) => ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason as Error)))

describe('activities', () => {
  it('are tried again with growing pauses, up to their attempts, and tell the last error', async () => {
    const world = new EngineWorld()
    const timesMs: number[] = []
    await world.start(
      life((_, { attempt }) => {
        timesMs.push(world.clock.nowMs())
        throw Object.assign(new Error(`attempt ${attempt}`), { code: 'E_NET' })
      }),
    )
    world.send('shop', 'a', 'signal', 'call', { retry: { attempts: 4, initial: 100, backoff: 3, max: 500 } })
    await world.settled()
    await world.until(() => timesMs.length === 4)
    await world.settled()
    expect(timesMs.slice(1).map((timeMs, index) => timeMs - (timesMs[index] as number))).toEqual([100, 300, 500])
    expect(await logOf(world, 'a')).toMatchObject([
      { code: 'ACTIVITY_FAILED', message: 'attempt 4', details: { name: 'Error', code: 'E_NET', attempts: 4 } },
    ])
    await world.stop()
  })

  it('are not tried again on NonRetryable, on a listed code or name, and for a wrong duration', async () => {
    const world = new EngineWorld()
    let calls = 0
    await world.start(
      life((n) => {
        calls += 1
        if (n === 0) throw new NonRetryable('no')
        throw Object.assign(new TypeError('listed'), { code: 'E_LISTED' })
      }),
    )
    world.send('shop', 'a', 'signal', 'call')
    for (const id of ['b', 'c']) {
      world.send('shop', id, 'signal', 'add', 1)
      world.send('shop', id, 'signal', 'call', { retry: { nonRetryable: [id === 'b' ? 'E_LISTED' : 'TypeError'] } })
    }
    await world.settled()
    expect(calls).toBe(3)
    for (const options of [
      { retry: { initial: 'soon' } },
      { startToClose: '5 parsecs' },
      { retry: { max: -1 } },
      { heartbeat: {} },
    ])
      world.send('shop', 'd', 'signal', 'call', options)
    await world.settled()
    await world.settled()
    expect(await logOf(world, 'd')).toMatchObject(Array.from({ length: 4 }).fill({ code: 'INVALID_DURATION' }))
    expect(world.failures).toEqual([])
    await world.stop()
  })

  it('are aborted when they take too long, or give no heartbeat, and go on while they do', async () => {
    const world = new EngineWorld()
    const reasons: string[] = []
    let beats = 0
    await world.start(
      life(async (n, ctx) => {
        if (n === 2) {
          for (; beats < 10; beats++) {
            await new Promise<void>((resolve) => void world.clock.after(40, resolve))
            ctx.heartbeat()
          }
          return 'alive'
        }
        return untilAborted(ctx).catch((error: unknown) => {
          reasons.push((error as Error).message)
          throw error
        })
      }),
    )
    world.send('shop', 'a', 'signal', 'call', { startToClose: 300, retry: { attempts: 1 } })
    world.send('shop', 'b', 'signal', 'call', { heartbeat: 50, retry: { attempts: 1 } })
    world.send('shop', 'c', 'signal', 'add', 2)
    world.send('shop', 'c', 'signal', 'call', { heartbeat: 50, retry: { attempts: 1 } })
    await world.until(() => beats === 10)
    await world.settled()
    expect(reasons.toSorted()).toEqual([
      'attempt 1 of work gave no heartbeat for 50 ms',
      'attempt 1 of work was not done within 300 ms',
    ])
    expect(await logOf(world, 'a')).toMatchObject([{ code: 'TIMEOUT' }])
    expect(await logOf(world, 'b')).toMatchObject([{ code: 'TIMEOUT' }])
    expect(await logOf(world, 'c')).toEqual(['alive'])
    await world.stop()
  })

  it('run so many at once and no more; what has no place waits in the store, and all are done in the end', async () => {
    const world = new EngineWorld()
    let running = 0
    let most = 0
    await world.start(
      life(
        async () => {
          running += 1
          most = Math.max(most, running)
          await new Promise<void>((resolve) => void world.clock.after(10, resolve))
          running -= 1
          return 'done'
        },
        { activitiesMax: 3, activityQueueMax: 5 },
      ),
    )
    for (let i = 0; i < 60; i++) world.send('shop', `i${i}`, 'signal', 'call')
    await world.settled()
    for (let i = 0; i < 60; i++) expect(await logOf(world, `i${i}`)).toEqual(['done'])
    expect(most).toBe(3)
    await world.stop()
  })

  it('run again after a crash, with the same call id, and their result is applied once', async () => {
    const world = new EngineWorld()
    const callIds: string[] = []
    await world.start(
      life(async (_, ctx) => {
        callIds.push(ctx.callId)
        return untilAborted(ctx)
      }),
    )
    const seq = world.send('shop', 'a', 'signal', 'call')
    await world.settled()
    await world.crash()
    await world.start(life((_, ctx) => callIds.push(ctx.callId)))
    await world.settled()
    expect(callIds).toEqual([`shop.a/${seq}.0`, `shop.a/${seq}.0`])
    // The first attempt's result comes late, from a process that was thought dead.
    world.send('shop', 'a', 'activity', 'work', { effect: `${seq}.0`, outcome: { ok: true, value: 'late' } })
    await world.settled()
    expect(await logOf(world, 'a')).toEqual([2])
    expect(world.engine.counts.ignored).toBe(1)
    await world.stop()
  })

  it('are aborted when their instance closes, and when the engine stops', async () => {
    const world = new EngineWorld()
    const codes: string[] = []
    await world.start(
      life((_, ctx) =>
        untilAborted(ctx).catch((error: unknown) => {
          codes.push((error as { code: string }).code)
          throw error
        }),
      ),
    )
    for (const id of ['a', 'b']) world.send('shop', id, 'signal', 'call')
    await world.settled()
    await world.stop()
    expect(codes).toEqual(['CLOSING', 'CLOSING'])
  })

  it('return errors of any kind and size as data', async () => {
    const world = new EngineWorld()
    await world.start(
      life((n) => {
        if (n === 0) throw Object.assign(new Error('x'.repeat(2_000_000)), { details: () => 1 })
        throw Object.assign(new Error('odd'), { message: null, name: 5 })
      }),
    )
    world.send('shop', 'a', 'signal', 'call', { retry: { attempts: 1 } })
    world.send('shop', 'b', 'signal', 'add', 1)
    world.send('shop', 'b', 'signal', 'call', { retry: { attempts: 1 } })
    await world.settled()
    expect(await logOf(world, 'a')).toMatchObject([
      { code: 'ACTIVITY_FAILED', message: expect.stringMatching(/^x{2000}…$/) as string },
    ])
    expect(await logOf(world, 'b')).toMatchObject([{ code: 'ACTIVITY_FAILED' }])
    await world.stop()
  })
})

describe('timers', () => {
  it('fire through the journal, once, also those that fell due while the engine was down', async () => {
    const world = new EngineWorld()
    await world.start(life())
    world.send('shop', 'a', 'signal', 'wake', 3_600_000)
    world.send('shop', 'b', 'signal', 'later', 60_000)
    await world.settled()
    expect(await logOf(world, 'a')).toEqual([])
    await world.crash()
    await world.clock.advance(7_200_000)
    await world.start(life())
    await world.settled()
    expect(await logOf(world, 'a')).toEqual(['alarm'])
    expect(await logOf(world, 'b')).toEqual(['slept'])
    expect(world.log.messages.filter(({ subject }) => subject.includes('.timer.'))).toHaveLength(2)
    await world.stop()
  })

  it('do not fire early when the clock of the node is ahead of that of the journal', async () => {
    const world = new EngineWorld()
    await world.start(life())
    const set = world.send('shop', 'a', 'signal', 'wake', 1000)
    await world.settled()
    world.send('shop', 'a', 'timer', 'alarm', { effect: `${set}.0`, dueMs: 0 })
    expect(await logOf(world, 'a')).toEqual([])
    await world.until(() => world.clock.nowMs() > 1_700_000_000_000 + 3000)
    await world.settled()
    expect(await logOf(world, 'a')).toEqual(['alarm'])
    await world.stop()
  })
})

describe('dead letters', () => {
  it('are sent again until they are stored, with one id', async () => {
    const world = new EngineWorld()
    let losses = 2
    world.onBury = () => (losses-- > 0 ? 'lost' : undefined)
    await world.start(life())
    const seq = world.send('shop', 'a', 'signal', 'nope', 1)
    await world.settled()
    await world.until(() => world.deadLetters.length > 0)
    await world.settled()
    expect(world.deadLetters).toMatchObject([{ reason: 'UNKNOWN_NAME', seq, natsId: `shop.a/${seq}.0` }])
    await world.stop()
  })

  it('that a crash overtook are sent after the restart', async () => {
    const world = new EngineWorld()
    world.onBury = () => 'lost'
    await world.start(life())
    const seq = world.send('shop', 'a', 'signal', 'nope', 1)
    await world.settled()
    await world.crash()
    world.onBury = undefined
    await world.start(life())
    await world.settled()
    expect(world.deadLetters).toMatchObject([{ natsId: `shop.a/${seq}.0` }])
    await world.stop()
    await world.start(life())
    await world.settled()
    expect(world.deadLetters).toHaveLength(1)
    await world.stop()
  })
})

describe('the journal', () => {
  it('G10: that ends before the saved position stops the engine', async () => {
    const world = new EngineWorld()
    await world.start(life())
    for (let i = 0; i < 5; i++) world.send('shop', 'a', 'signal', 'add', 1)
    await world.settled()
    await world.stop()
    world.log.truncate(2)
    await expect(world.open(life())).rejects.toMatchObject({ code: 'JOURNAL_BEHIND' })
  })

  it('G10: that was made anew stops the engine, even when it is longer', async () => {
    const world = new EngineWorld()
    await world.start(life())
    world.send('shop', 'a', 'signal', 'add', 1)
    await world.settled()
    await world.stop()
    world.log.recreate()
    for (let i = 0; i < 5; i++) world.send('shop', 'a', 'signal', 'add', 1)
    await expect(world.open(life())).rejects.toMatchObject({ code: 'JOURNAL_REPLACED' })
  })

  it('G10: that lost its beginning stops an engine that needs it', async () => {
    const world = new EngineWorld()
    for (let i = 0; i < 5; i++) world.send('shop', 'a', 'signal', 'add', 1)
    world.log.trim(3)
    await expect(world.open(life())).rejects.toMatchObject({ code: 'JOURNAL_BEHIND' })
  })
})

describe('memory', () => {
  it('G11: holds so many instances, and so many bytes, and no more; all come back when they are needed', async () => {
    for (const limits of [{ residentsMax: 10 }, { residentBytesMax: 30_000 }]) {
      const world = new EngineWorld({ partitions: 2 })
      await world.start(life(undefined, limits))
      for (let round = 0; round < 2; round++)
        for (let i = 0; i < 200; i++) world.send('shop', `i${i}`, 'signal', 'add', i)
      await world.settled()
      expect(world.engine.residents).toBeLessThanOrEqual(14)
      for (const i of [0, 77, 199])
        expect(await world.ask({ op: 'query', key: keyOf('shop', `i${i}`), name: 'sum', minSeq: 0 })).toBe(i * 2)
      await world.stop()
    }
  })

  it('G11: is bounded for reads alone, too', async () => {
    const world = new EngineWorld({ partitions: 2 })
    await world.start(life(undefined, { residentsMax: 10 }))
    for (let i = 0; i < 100; i++) world.send('shop', `i${i}`, 'signal', 'add', i)
    await world.settled()
    for (let i = 0; i < 100; i++) await world.describe('shop', `i${i}`)
    await world.settled()
    expect(world.engine.residents).toBeLessThanOrEqual(14)
    await world.stop()
  })
})

describe('a stop', () => {
  const COUNT = 200
  const followAll = (world: EngineWorld): void => {
    for (let p = 0; p < world.subjects.partitions; p++) world.engine.follow(p as Partition).catch(() => {})
  }
  it.each([
    ['from the start', undefined, undefined],
    ['to catch up', [], followAll],
  ] as const)(
    'in the middle of what came at once saves no position behind it, for partitions that are followed %s',
    async (_, partitions, begin) => {
      const world = new EngineWorld()
      for (let i = 0; i < COUNT; i++) world.send('shop', 'a', 'signal', 'add', 1)
      await world.open({ ...life(undefined, { sliceMs: 0 }), ...(partitions === undefined ? {} : { partitions }) })
      begin?.(world)
      await world.until(() => world.engine.counts.applied > 0)
      expect(world.engine.counts.applied).toBeLessThan(COUNT)
      await world.stop()
      await world.start(life())
      expect(await world.ask({ op: 'query', key: keyOf('shop', 'a'), name: 'sum', minSeq: 0 })).toBe(COUNT)
      await world.stop()
    },
  )
})

describe('a commit that fails', () => {
  it('ends the engine, which takes no further input; the next one goes on from the last commit', async () => {
    const world = new EngineWorld()
    await world.start(life())
    world.send('shop', 'a', 'signal', 'add', 1)
    await world.settled()
    world.store.failNextCommit()
    world.send('shop', 'a', 'signal', 'add', 2)
    await world.until(() => world.failures.length > 0)
    expect(world.failures).toMatchObject([{ code: 'STORAGE_FAILED' }])
    const { applied, commits } = world.engine.counts
    world.send('shop', 'a', 'signal', 'add', 4)
    for (let i = 0; i < 50; i++) await world.clock.advance(20)
    expect(world.engine.counts).toMatchObject({ applied, commits })
    await world.stop()
    await world.start(life())
    expect(await world.ask({ op: 'query', key: keyOf('shop', 'a'), name: 'sum', minSeq: 0 })).toBe(7)
    await world.stop()
  })
})

describe('requests', () => {
  it('see the journal up to where they ask for, or say that it is not there yet', async () => {
    const world = new EngineWorld()
    await world.start(life())
    const seq = world.send('shop', 'a', 'signal', 'add', 5)
    expect(await world.ask({ op: 'query', key: keyOf('shop', 'a'), name: 'sum', minSeq: seq })).toBe(5)
    await expect(
      world.ask({ op: 'query', key: keyOf('shop', 'a'), name: 'sum', minSeq: seq + 1 }, 1000),
    ).rejects.toMatchObject({ code: 'TIMEOUT' })
    await world.stop()
  })

  it('give the outcome of an input by its id, also after a restart', async () => {
    const world = new EngineWorld()
    await world.start(life())
    world.send('shop', 'a', 'signal', 'add', 5)
    const seq = world.send('shop', 'a', 'update', 'take', 2, { id: 't' })
    const request = { op: 'outcome', key: keyOf('shop', 'a'), id: 't', seq, waitMs: 1000 } as const
    expect(await world.ask(request)).toEqual({ ok: true, value: 3 })
    await world.settled()
    await world.crash()
    await world.start(life())
    expect(await world.ask(request)).toEqual({ ok: true, value: 3 })
    expect(await world.ask({ ...request, id: 'other' })).toMatchObject({ ok: false, error: { code: 'NOT_FOUND' } })
    await world.stop()
  })

  it('wait for a result, and tell it', async () => {
    const world = new EngineWorld()
    await world.start(life())
    world.send('shop', 'a', 'signal', 'add', 5)
    await world.settled()
    const request = { op: 'result', key: keyOf('shop', 'a'), minSeq: 0, waitMs: 10_000 } as const
    const answer = world.ask(request)
    world.send('shop', 'a', 'signal', 'close', 7)
    expect(await answer).toEqual({ ok: true, value: 7 })
    await expect(world.ask({ ...request, key: keyOf('shop', 'nobody') })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    world.send('shop', 'b', 'signal', 'add', 1)
    await world.settled()
    await expect(world.ask({ ...request, key: keyOf('shop', 'b') }, 500)).rejects.toMatchObject({ code: 'TIMEOUT' })
    await world.stop()
  })

  it('list instances in pages, each once, by type and status', async () => {
    const world = new EngineWorld({ partitions: 1 })
    await world.start(life())
    for (let i = 0; i < 25; i++) world.send('shop', `i${i}`, 'signal', i % 5 === 0 ? 'close' : 'add', i)
    await world.settled()
    const pages = async (more: object): Promise<string[]> => {
      const ids: string[] = []
      let after: string | undefined
      do {
        const page = (await world.askPartition(0 as Partition, {
          op: 'list',
          limit: 4,
          ...(after === undefined ? {} : { after }),
          ...more,
        })) as ListPage
        expect(page.rows.length).toBeLessThanOrEqual(4)
        ids.push(...page.rows.map(({ id }) => id))
        after = page.next
      } while (after !== undefined)
      return ids
    }
    const all = Array.from({ length: 25 }, (_, i) => `i${i}`).toSorted()
    expect(await pages({})).toEqual(all)
    expect(await pages({ type: 'shop' })).toEqual(all)
    expect(await pages({ type: 'sho' })).toEqual([])
    expect(await pages({ status: 'completed' })).toEqual(all.filter((id) => Number(id.slice(1)) % 5 === 0))
    await world.stop()
  })

  it('that make no sense are answered with an error, and harm nothing', async () => {
    const world = new EngineWorld({ partitions: 1 })
    await world.start(life())
    world.send('shop', 'a', 'signal', 'add', 5)
    await world.settled()
    const ask = (request: unknown): Promise<unknown> => world.askPartition(0 as Partition, request as never)
    for (const request of [
      undefined,
      5,
      {},
      { op: 'drop' },
      { op: 'query' },
      { op: 'query', key: 'shop.a', name: 'nope', minSeq: 0 },
      { op: 'describe', key: 'shop./..', minSeq: 0 },
      { op: 'list', type: 'a\u0000', limit: 1 },
    ]) {
      await expect(ask(request)).rejects.toHaveProperty('code')
    }
    await expect(ask({ op: 'query', key: 'shop.a', name: 'bad', minSeq: 0 })).rejects.toMatchObject({
      code: 'QUERY_FAILED',
      message: 'bad',
    })
    await expect(ask({ op: 'query', key: 'ghost.a', name: 'x', minSeq: 0 })).rejects.toMatchObject({
      code: 'UNKNOWN_TYPE',
    })
    expect(await world.ask({ op: 'query', key: keyOf('shop', 'a'), name: 'sum', minSeq: 0 })).toBe(5)
    await world.stop()
  })
})
