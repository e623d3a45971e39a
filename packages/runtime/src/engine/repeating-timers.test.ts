/** G8 of repeating timers, over crashes, downtime and busy handlers: every period is handled once or counted as missed, and none is early. */
import * as fc from 'fast-check'
import { expect, it } from 'vitest'

import { defineWorkflow, implement, type Implementation, type } from '../index.ts'
import { EngineWorld, keyOf } from '../testing/engine-world.ts'

interface Handled {
  readonly dueMs: number
  readonly missed: number
  readonly atMs: number
}

const Ticking = defineWorkflow('ticking', {
  signals: { cancel: type<void>() },
  queries: { handled: { output: type<readonly Handled[]>() }, cancelledMs: { output: type<number>() } },
})

const PERIOD_MS = 5000

interface Timing {
  readonly cron: boolean
  readonly catchUp: 'once' | 'skip' | 'all'
  readonly overlap: 'queue' | 'skip' | 'allow'
  readonly jitter: number
  /** Every third firing keeps the handler busy for so long. */
  readonly busyMs: number
}

function ticking({ cron, catchUp, overlap, jitter, busyMs }: Timing): Implementation {
  return implement(Ticking, {
    startOnSignal: true,
    state: () => ({ handled: [] as Handled[], cancelledMs: 0 }),
    on: {
      cancel(ctx) {
        ctx.timers.tick.cancel()
        ctx.state.cancelledMs = ctx.now()
      },
    },
    concurrent: ['cancel'],
    queries: { handled: ({ handled }) => handled, cancelledMs: ({ cancelledMs }) => cancelledMs },
    timers: {
      tick: {
        ...(cron ? { cron: '*/5 * * * * *', timeZone: 'Europe/Berlin' } : { every: PERIOD_MS }),
        catchUp,
        overlap,
        jitter,
        async run(ctx, { dueMs, missed }) {
          ctx.state.handled.push({ dueMs, missed, atMs: ctx.now() })
          if (ctx.state.handled.length % 3 === 0) await ctx.sleep(busyMs)
        },
      },
    },
  })
}

const timing: fc.Arbitrary<Timing> = fc.record({
  cron: fc.boolean(),
  catchUp: fc.constantFrom('once', 'skip', 'all'),
  overlap: fc.constantFrom('queue', 'skip', 'allow'),
  jitter: fc.constantFrom(0, 3000),
  busyMs: fc.nat(22_000),
})

const step = fc.record({ crash: fc.boolean(), downMs: fc.nat(90_000), runMs: fc.nat(20_000) })

it('G8: fire once a period, never early, by every policy, over crashes and downtime', async () => {
  let missedInAll = 0
  let crashes = 0
  await fc.assert(
    fc.asyncProperty(timing, fc.array(step, { minLength: 1, maxLength: 6 }), async (options, steps) => {
      const world = new EngineWorld({ partitions: 1 })
      const implementations = [ticking(options)]
      await world.start({ implementations })
      const runFor = (ms: number): Promise<void> => {
        const endMs = world.clock.nowMs() + ms
        return world.until(() => world.clock.nowMs() >= endMs, 100)
      }
      world.send('ticking', 'a', 'start', '', {})
      await runFor(PERIOD_MS)
      for (const { crash, downMs, runMs } of steps) {
        if (crash) {
          crashes += 1
          await world.crash()
          await world.clock.advance(downMs)
          await world.start({ implementations })
        }
        await runFor(runMs)
      }
      await runFor(2 * PERIOD_MS + 22_000)
      const read = (name: string): Promise<unknown> =>
        world.ask({ op: 'query', key: keyOf('ticking', 'a'), name, minSeq: 0 })
      const handled = (await read('handled')) as readonly Handled[]
      expect(handled.length).toBeGreaterThan(0)
      for (const [index, { dueMs, missed, atMs }] of handled.entries()) {
        expect(atMs).toBeGreaterThanOrEqual(dueMs)
        const before = handled[index - 1]
        if (before !== undefined) expect(dueMs - before.dueMs).toBe((missed + 1) * PERIOD_MS)
        if (options.catchUp === 'all' && options.overlap !== 'skip') expect(missed).toBe(0)
        missedInAll += missed
      }
      world.send('ticking', 'a', 'signal', 'cancel')
      await runFor(1000)
      await runFor(60_000)
      const cancelledMs = (await read('cancelledMs')) as number
      expect(cancelledMs).toBeGreaterThan(0)
      // What waited for its turn by then has come; nothing that was due behind the cancel has.
      expect(((await read('handled')) as readonly Handled[]).filter(({ dueMs }) => dueMs > cancelledMs)).toEqual([])
      expect(world.failures).toEqual([])
    }),
    { numRuns: 60 },
  )
  expect(missedInAll).toBeGreaterThan(20)
  expect(crashes).toBeGreaterThan(10)
})

it('come late when the instance was suspended: the firing that waited at its own time, then one for the rest', async () => {
  const Fragile = defineWorkflow('fragile', {
    signals: { poke: type<void>() },
    queries: { handled: { output: type<readonly Handled[]>() } },
  })
  const fragile = (isFixed: boolean): Implementation =>
    implement(Fragile, {
      state: () => ({ handled: [] as Handled[] }),
      on: {
        poke() {
          if (!isFixed) throw new Error('a bug')
        },
      },
      queries: { handled: ({ handled }) => handled },
      timers: {
        tick: {
          every: PERIOD_MS,
          run: (ctx, { dueMs, missed }) => void ctx.state.handled.push({ dueMs, missed, atMs: ctx.now() }),
        },
      },
    })
  const world = new EngineWorld({ partitions: 1 })
  await world.start({ implementations: [fragile(false)] })
  const startMs = world.clock.nowMs()
  world.send('fragile', 'a', 'start', '', {})
  world.send('fragile', 'a', 'signal', 'poke')
  await world.until(() => world.clock.nowMs() >= startMs + 5.5 * PERIOD_MS, 100)
  expect(await world.describe('fragile', 'a')).toMatchObject({ status: 'suspended' })
  await world.stop()
  await world.start({ implementations: [fragile(true)] })
  world.send('fragile', 'a', 'admin', 'resume')
  await world.settled()
  const handled = (await world.ask({
    op: 'query',
    key: keyOf('fragile', 'a'),
    name: 'handled',
    minSeq: 0,
  })) as readonly Handled[]
  const periodOf = ({ dueMs, atMs, missed }: Handled): readonly number[] =>
    [dueMs, atMs].map((ms) => Math.floor((ms - startMs) / PERIOD_MS)).concat(missed)
  expect(handled.map(periodOf)).toEqual([
    [1, 1, 0],
    [5, 5, 3],
  ])
})
