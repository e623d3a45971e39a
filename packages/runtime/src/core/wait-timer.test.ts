import { describe, expect, it } from 'vitest'

import { codeOf, defineWorkflow, implement, type } from '../index.ts'
import { BENCH_START_MS, InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'

installGuards()

const Waiting = defineWorkflow('waiting', {
  input: type<string>(),
  signals: { deadline: type<number>(), go: type<string>() },
})

const waiting = implement(Waiting, {
  state: () => ({ deadlineMs: BENCH_START_MS + 1000, log: [] as unknown[] }),
  on: { deadline: (ctx, ms) => void (ctx.state.deadlineMs = BENCH_START_MS + ms) },
  async run(ctx, script) {
    const { log } = ctx.state
    const at = (ms: number): number => BENCH_START_MS + ms
    switch (script) {
      case 'moment':
        await ctx.sleepUntil(at(500))
        await ctx.sleepUntil(new Date(at(700)))
        await ctx.sleepUntil(at(0))
        return ctx.now() - BENCH_START_MS
      case 'moving':
        await ctx.sleepUntil(() => new Date(ctx.state.deadlineMs))
        return ctx.now() - BENCH_START_MS
      case 'no moment':
        return ctx.sleepUntil(Number.NaN)
      case 'condition':
        log.push(await ctx.condition(() => ctx.state.deadlineMs === at(5), { until: new Date(at(400)) }))
        log.push(await ctx.condition(() => ctx.state.deadlineMs === at(5), { until: at(600) }))
        return log
      case 'scope':
        return ctx.scope((inner) => inner.sleep('1 day'), { timeout: { until: at(300) } }).catch(codeOf)
      case 'timer': {
        const timer = ctx.timer(1000)
        for (;;) {
          const next = await Promise.race([timer, ctx.receive('go')])
          log.push(typeof next === 'boolean' ? next : next.payload, (timer.dueMs ?? BENCH_START_MS) - BENCH_START_MS)
          if (typeof next === 'boolean') return log
          if (next.payload === 'later') timer.reset(2000)
          if (next.payload === 'to') timer.resetAt(at(300))
          if (next.payload === 'cancel') timer.cancel()
          if (next.payload === 'anew') {
            timer.cancel()
            log.push(timer.reset(50), timer.resetAt(at(500)))
            timer.cancel()
          }
        }
      }
      default:
        return await ctx.timer(`${30 * 365} days`)
    }
  },
})

const Racing = defineWorkflow('racing', { signals: { go: type<void>(), win: type<void>() } })

const racing = implement(Racing, {
  startOnSignal: true,
  state: () => ({ winner: undefined as unknown, isWon: false }),
  on: {
    async go(ctx) {
      const timer = ctx.timer('1 day')
      timer.reset('2 days')
      ctx.state.winner = await Promise.race([timer, ctx.condition(() => ctx.state.isWon)])
    },
    win: (ctx) => void (ctx.state.isWon = true),
  },
  concurrent: ['win'],
})

async function started(script: string): Promise<InstanceBench> {
  const bench = new InstanceBench(waiting)
  await bench.send('start', '', { input: script }, { timeMs: BENCH_START_MS })
  return bench
}

const sleeps = (bench: InstanceBench): readonly number[] =>
  [...bench.instance.data.sleeps.values()].map((ms) => ms - BENCH_START_MS)

/** Fires the one sleep that is set, when it is due. */
async function fire(bench: InstanceBench): Promise<void> {
  const [[effect, dueMs] = ['', 0], ...others] = bench.instance.data.sleeps
  expect(others).toEqual([])
  await bench.fire(effect, dueMs)
}

const signal = (bench: InstanceBench, name: string, payload: unknown, ms = 10): Promise<unknown> =>
  bench.signal(name, payload, { timeMs: BENCH_START_MS + ms })

const result = (bench: InstanceBench): unknown => {
  const { phase } = bench.instance.data
  if (phase.kind !== 'closed') return phase.kind
  return phase.outcome.ok ? phase.outcome.value : phase.outcome.error.code
}

describe('sleepUntil', () => {
  it('waits until a moment, and not at all when it is past', async () => {
    const bench = await started('moment')
    expect(sleeps(bench)).toEqual([500])
    await fire(bench)
    expect(sleeps(bench)).toEqual([700])
    await fire(bench)
    expect(result(bench)).toBe(700)
  })

  it('follows a moment that moves, to a later one and to an earlier one', async () => {
    const bench = await started('moving')
    await signal(bench, 'deadline', 5000)
    expect(sleeps(bench)).toEqual([5000])
    await signal(bench, 'deadline', 800)
    expect(sleeps(bench)).toEqual([800])
    await fire(bench)
    expect(result(bench)).toBe(800)
  })

  it('ends at once when the moment moves into the past', async () => {
    const bench = await started('moving')
    await signal(bench, 'deadline', 5, 10)
    expect(result(bench)).toBe(10)
    expect(bench.kinds).toContain('timer-done')
  })

  it('refuses what is no moment', async () => {
    const bench = new InstanceBench(waiting)
    expect(await bench.send('start', '', { input: 'no moment' })).toMatchObject({ error: { code: 'INVALID_DURATION' } })
  })
})

describe('a deadline as a moment', () => {
  it('ends a condition with false, unless it came true before', async () => {
    const bench = await started('condition')
    expect(sleeps(bench)).toEqual([400])
    await fire(bench)
    expect(sleeps(bench)).toEqual([600])
    await signal(bench, 'deadline', 5, 450)
    expect(result(bench)).toEqual([false, true])
    expect(sleeps(bench)).toEqual([])
  })

  it('ends a scope with TIMEOUT', async () => {
    const bench = await started('scope')
    const timeout = [...bench.instance.data.sleeps].find(([, ms]) => ms === BENCH_START_MS + 300)
    await bench.fire(timeout?.[0] ?? '', BENCH_START_MS + 300)
    expect(result(bench)).toBe('TIMEOUT')
    expect(sleeps(bench)).toEqual([])
  })
})

describe('a timer to wait for', () => {
  it('fires at its time', async () => {
    const bench = await started('timer')
    await fire(bench)
    expect(result(bench)).toEqual([true, 0])
  })

  it('may be set to a later and to an earlier moment while it is waited for', async () => {
    const bench = await started('timer')
    await signal(bench, 'go', 'later', 10)
    expect(sleeps(bench)).toEqual([2010])
    await signal(bench, 'go', 'to', 20)
    expect(sleeps(bench)).toEqual([300])
    await fire(bench)
    expect(result(bench)).toEqual(['later', 1000, 'to', 2010, true, 0])
  })

  it('gives false when it is cancelled, and leaves no timer behind', async () => {
    const bench = await started('timer')
    await signal(bench, 'go', 'cancel')
    expect(result(bench)).toEqual(['cancel', 1000, false, 0])
    expect(sleeps(bench)).toEqual([])
  })

  it('is over once it was cancelled: it cannot be set any more', async () => {
    const bench = await started('timer')
    await signal(bench, 'go', 'anew')
    expect(result(bench)).toEqual(['anew', 1000, false, false, false, 0])
    expect(sleeps(bench)).toEqual([])
  })

  it('that lost a race is dropped when no code is left, as a sleep is', async () => {
    const bench = new InstanceBench(racing)
    await bench.signal('go')
    expect(bench.instance.data.sleeps.size).toBe(1)
    await bench.signal('win')
    expect(bench.state).toEqual({ winner: true, isWon: true })
    expect(bench.instance.isQuiescent).toBe(true)
    expect(bench.instance.data.sleeps.size).toBe(0)
    expect(bench.kinds).toContain('timer-done')
  })

  it('is let go when run is cancelled', async () => {
    const bench = await started('long')
    expect(sleeps(bench)).toEqual([30 * 365 * 86_400_000])
    await bench.send('cancel', '')
    expect(result(bench)).toBe('CANCELLED')
    expect(sleeps(bench)).toEqual([])
  })
})
