import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { type CatchUp, defineWorkflow, implement, type Implementation, type Overlap, type } from '../index.ts'
import { BENCH_START_MS, InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'
import { decodeData, encodeData } from './record.ts'

installGuards()

const HOUR = 3_600_000

const Clock = defineWorkflow('clock', {
  input: type<string | undefined>(),
  signals: { do: type<string>(), slow: type<void>(), renew: type<void>() },
  activities: { call: {} },
})

interface Options {
  readonly every?: number
  readonly cron?: string
  readonly timeZone?: string
  readonly catchUp?: CatchUp
  readonly overlap?: Overlap
  readonly jitter?: number
  /** The handler awaits an activity. */
  readonly slow?: boolean
}

/** A timer `tick` whose handler notes what it is told. */
function clock({ slow = false, ...timer }: Options): Implementation {
  return implement(Clock, {
    startOnSignal: true,
    state: () => ({ log: [] as [dueMs: number, missed: number, atMs: number][], ended: 0 }),
    on: {
      do(ctx, what) {
        const { tick, idle } = ctx.timers
        if (what === 'set') tick.set(10 * HOUR)
        if (what === 'repeat') tick.repeat()
        if (what === 'cancel') tick.cancel()
        if (what === 'every') tick.every('2 hours')
        if (what === 'cron') tick.cron('30 9 * * *', { timeZone: 'Europe/Berlin' })
        if (what === 'bad cron') tick.cron('30 9 31 2 *')
        if (what === 'idle') idle.repeat()
        if (what === 'idle every') idle.every('1 hour')
      },
      slow: (ctx) => ctx.activities.call(),
      renew: (ctx) => void ctx.continueAsNew(undefined, { state: ctx.state }),
    },
    timers: {
      tick: {
        ...timer,
        async run(ctx, { dueMs, missed }) {
          ctx.state.log.push([dueMs, missed, ctx.now()])
          if (slow) await ctx.activities.call()
          ctx.state.ended += 1
        },
      },
      idle: { run: () => {} },
    },
  })
}

/** Fires what the timer is set to, at that moment or a later one. */
async function fire(bench: InstanceBench, atMs?: number, name = 'tick'): Promise<void> {
  const set = bench.instance.data.timers.get(name)
  if (set === undefined) throw new Error(`${name} is not set`)
  expect(await bench.fire(set.effect, set.dueMs, atMs ?? set.dueMs)).toMatchObject({ kind: 'applied' })
}

/** Ends the activity that has been called for the longest. */
async function endCall(bench: InstanceBench): Promise<void> {
  const [effect = ''] = bench.instance.data.activities.keys()
  await bench.result(effect, undefined, { timeMs: bench.instance.data.timeMs })
}

const due = (bench: InstanceBench, name = 'tick'): number | undefined => bench.instance.data.timers.get(name)?.dueMs
const log = (bench: InstanceBench): readonly (readonly number[])[] => (bench.state as { log: number[][] }).log

async function started(options: Options, startMs = BENCH_START_MS): Promise<InstanceBench> {
  const bench = new InstanceBench(clock(options))
  await bench.send('start', '', {}, { timeMs: startMs })
  return bench
}

const at = (text: string): number => Date.parse(text)

describe('a timer with a cron pattern', () => {
  it('comes at the moments of its pattern and zone, one after the other', async () => {
    const bench = await started({ cron: '0 9 1 * *', timeZone: 'Europe/Berlin' }, at('2026-02-10T00:00Z'))
    for (const moment of ['2026-03-01T08:00Z', '2026-04-01T07:00Z', '2026-05-01T07:00Z']) {
      expect(due(bench)).toBe(at(moment))
      await fire(bench)
    }
    expect(log(bench).map(([dueMs, missed]) => [dueMs, missed])).toEqual([
      [at('2026-03-01T08:00Z'), 0],
      [at('2026-04-01T07:00Z'), 0],
      [at('2026-05-01T07:00Z'), 0],
    ])
  })

  it('computes them inside turns, whose clock is guarded, from the moment of the input alone', async () => {
    const pattern = { cron: '17 9 3 * *', timeZone: 'America/New_York' }
    const [past, future] = await Promise.all([
      started(pattern, at('1999-01-01T00:00Z')),
      started(pattern, at('2345-01-01T00:00Z')),
    ])
    expect(due(past)).toBe(at('1999-01-03T14:17Z'))
    expect(due(future)).toBe(at('2345-01-03T14:17Z'))
  })

  it.each<[Options, RegExp]>([
    [{ cron: '61 * * * *' }, /tick.*"61 \* \* \* \*".*minute: 61/],
    [{ cron: '0 0 30 2 *' }, /tick.*"0 0 30 2 \*".*no moment/],
    [{ cron: '0 9 * * *', timeZone: 'Mars' }, /"Mars" is not a time zone/],
    [{ cron: '0 9 * * *', every: HOUR }, /both every and cron/],
    [{ every: HOUR, timeZone: 'Europe/Berlin' }, /timeZone/],
    [{ every: HOUR, catchUp: 'never' as CatchUp }, /catchUp never/],
    [{ every: HOUR, overlap: 'never' as Overlap }, /overlap never/],
  ])('is checked when the type is implemented: %j', (options, message) => {
    expect(() => clock(options)).toThrow(message)
    expect(() => clock(options)).toThrow(expect.objectContaining({ code: 'INVALID_DEFINITION' }))
  })

  it('goes by the moment in the journal, so that a node that knows other time zones comes to the same', async () => {
    const bench = await started({ cron: '0 9 1 * *', timeZone: 'Europe/Berlin' }, at('2026-02-10T00:00Z'))
    const { effect } = bench.instance.data.timers.get('tick') as { effect: string }
    // For the node that fired, summer time had begun already.
    const fired = at('2026-03-01T07:00Z')
    await bench.fire(effect, fired, fired - 1)
    expect(bench.kinds).toEqual(['timer'])
    await bench.fire(effect, fired)
    expect(log(bench)).toEqual([[fired, 0, fired]])
    expect(bench.effects).toContainEqual(
      expect.objectContaining({ kind: 'log', level: 'warn', message: expect.stringContaining('Node.js') }),
    )
    // What this node had set is let go under its own moment.
    expect(bench.effects).toContainEqual({ kind: 'timer-done', id: effect, dueMs: at('2026-03-01T08:00Z') })
  })
})

describe('nodes that know other time zones', () => {
  it('come to the same states by the same journal, whoever fires, as long as firings are not late', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { minLength: 1, maxLength: 40 }), async (firesFirst) => {
        const zones = ['Europe/Berlin', 'Europe/Helsinki'] as const
        const startMs = at('2026-02-10T00:00Z')
        const [one, other] = await Promise.all(
          zones.map((timeZone) => started({ cron: '30 2 * * *', timeZone }, startMs)),
        )
        for (const isFirst of firesFirst) {
          const { effect, dueMs } = (isFirst ? one : other)?.instance.data.timers.get('tick') ?? {
            effect: '',
            dueMs: 0,
          }
          await one?.fire(effect, dueMs)
          await other?.fire(effect, dueMs)
        }
        expect(one?.state).toEqual(other?.state)
        expect(log(one as InstanceBench)).toHaveLength(firesFirst.length)
      }),
      { numRuns: 50 },
    )
  })

  it('are not led astray by a forged moment', async () => {
    const bench = await started({ cron: '0 9 1 * *', timeZone: 'Europe/Berlin' }, at('2026-02-10T00:00Z'))
    const { effect } = bench.instance.data.timers.get('tick') as { effect: string }
    for (const forged of [-9e15, 0, at('2026-02-09T00:00Z')]) {
      expect(await bench.fire(effect, forged, at('2026-02-20T00:00Z'))).toMatchObject({ kind: 'applied' })
      expect(bench.kinds).toEqual(['timer'])
    }
    expect(log(bench)).toEqual([])
  })
})

describe('periods that were missed', () => {
  const LATE = BENCH_START_MS + 3.5 * HOUR
  const period = (n: number): number => BENCH_START_MS + n * HOUR

  it('come as one firing for the last of them, which says how many it stands for (once)', async () => {
    const bench = await started({ every: HOUR })
    await fire(bench, LATE)
    expect(log(bench)).toEqual([[period(3), 2, LATE]])
    expect(due(bench)).toBe(period(4))
    await fire(bench)
    expect(log(bench).at(-1)).toEqual([period(4), 0, period(4)])
  })

  it('are not handled, but counted (skip)', async () => {
    const bench = await started({ every: HOUR, catchUp: 'skip' })
    await fire(bench, LATE)
    expect(log(bench)).toEqual([])
    expect(due(bench)).toBe(period(4))
    await fire(bench, period(4) + 59_000)
    expect(log(bench)).toEqual([[period(4), 3, period(4) + 59_000]])
    await fire(bench)
    expect(log(bench).at(-1)).toEqual([period(5), 0, period(5)])
  })

  it('are handled one by one (all)', async () => {
    const bench = await started({ every: HOUR, catchUp: 'all', slow: true })
    await fire(bench, LATE)
    expect(log(bench)).toEqual([[period(1), 0, LATE]])
    for (let n = 0; n < 3; n++) await endCall(bench)
    expect(log(bench)).toEqual([1, 2, 3].map((n) => [period(n), 0, LATE]))
    expect(bench.instance.isQuiescent).toBe(true)
    expect(due(bench)).toBe(period(4))
  })

  it('are at most a thousand, the last ones (all)', async () => {
    const cron = await started({ cron: '* * * * *', catchUp: 'all' }, 0)
    await fire(cron, 5000 * 60_000)
    expect(log(cron)).toHaveLength(1000)
    expect(log(cron)[0]).toEqual([4001 * 60_000, 1000, 5000 * 60_000])
    expect(log(cron).at(-1)).toEqual([5000 * 60_000, 0, 5000 * 60_000])
    expect(due(cron)).toBe(5001 * 60_000)
    const every = await started({ every: 60_000, catchUp: 'all' }, 0)
    await fire(every, 5000 * 60_000)
    expect(log(every)).toEqual(log(cron))
  })

  it('are found without walking over all of them', async () => {
    const bench = await started({ cron: '* * * * * *' }, 0)
    await fire(bench, at('2026-01-01T00:00Z'))
    expect(log(bench)).toEqual([[at('2026-01-01T00:00Z'), 1000, at('2026-01-01T00:00Z')]])
    const fast = await started({ every: 1 }, 0)
    await fire(fast, at('2026-01-01T00:00Z'))
    expect(log(fast)).toEqual([[at('2026-01-01T00:00Z'), 1000, at('2026-01-01T00:00Z')]])
  })
})

describe('a firing while the handler of an earlier one is in progress', () => {
  const period = (n: number): number => BENCH_START_MS + n * HOUR

  it('takes its turn; while one waits, it stands for the next ones too (queue)', async () => {
    const bench = await started({ every: HOUR, slow: true })
    for (let n = 1; n <= 4; n++) await fire(bench)
    expect(log(bench)).toEqual([[period(1), 0, period(1)]])
    expect(bench.instance.queued).toBe(1)
    await endCall(bench)
    expect(log(bench)).toEqual([
      [period(1), 0, period(1)],
      [period(4), 2, period(4)],
    ])
    await endCall(bench)
    expect(bench.instance.isQuiescent).toBe(true)
  })

  it('waits for its own turn where each is to be handled, up to a thousand (queue, all)', async () => {
    const bench = await started({ every: HOUR, slow: true, catchUp: 'all' })
    for (let n = 1; n <= 1003; n++) await fire(bench)
    expect(bench.instance.queued).toBe(1000)
    for (let n = 1; n <= 1001; n++) await endCall(bench)
    expect(log(bench)).toHaveLength(1001)
    expect(log(bench).at(-2)?.slice(0, 2)).toEqual([period(1000), 0])
    expect(log(bench).at(-1)?.slice(0, 2)).toEqual([period(1003), 2])
  })

  it('is not handled, but counted (skip)', async () => {
    const bench = await started({ every: HOUR, slow: true, overlap: 'skip' })
    for (let n = 1; n <= 3; n++) await fire(bench)
    expect(bench.instance.queued).toBe(0)
    await endCall(bench)
    expect(log(bench)).toHaveLength(1)
    await fire(bench)
    expect(log(bench).at(-1)).toEqual([period(4), 2, period(4)])
  })

  it('is handled behind another handler that is in progress, but once (skip)', async () => {
    const bench = await started({ every: HOUR, overlap: 'skip' })
    await bench.signal('slow')
    for (let n = 1; n <= 3; n++) await fire(bench)
    await endCall(bench)
    expect(log(bench)).toEqual([[period(1), 0, period(3)]])
    await fire(bench)
    expect(log(bench).at(-1)).toEqual([period(4), 2, period(4)])
  })

  it('starts at once beside it (allow)', async () => {
    const bench = await started({ every: HOUR, slow: true, overlap: 'allow' })
    await bench.signal('slow')
    for (let n = 1; n <= 3; n++) await fire(bench)
    expect(log(bench).map(([dueMs]) => dueMs)).toEqual([period(1), period(2), period(3)])
    for (let n = 1; n <= 4; n++) await endCall(bench)
    expect(bench.state).toMatchObject({ ended: 3 })
    expect(bench.instance.isQuiescent).toBe(true)
  })

  it('keeps what it stands for when the instance continues as new before its turn', async () => {
    const bench = await started({ every: HOUR, slow: true })
    await fire(bench)
    await bench.signal('renew', undefined, { timeMs: period(1) })
    for (let n = 2; n <= 4; n++) await fire(bench)
    await endCall(bench)
    expect(log(bench).at(-1)).toEqual([period(4), 2, period(4)])
    expect(bench.instance.data.timers.has('tick')).toBe(true)
  })
})

describe('a repeating timer in one instance', () => {
  const since = (bench: InstanceBench, name?: string): number => (due(bench, name) ?? 0) - BENCH_START_MS

  it('may be set to one moment, and goes on from there by its period', async () => {
    const bench = await started({ every: HOUR })
    await bench.signal('do', 'set', { timeMs: BENCH_START_MS })
    expect(since(bench)).toBe(10 * HOUR)
    await fire(bench)
    expect(since(bench)).toBe(11 * HOUR)
  })

  it('goes back to its period when it is told to repeat, also after a cancel', async () => {
    const bench = await started({ every: HOUR })
    for (const what of ['set', 'repeat']) await bench.signal('do', what, { timeMs: BENCH_START_MS })
    expect(since(bench)).toBe(HOUR)
    await bench.signal('do', 'cancel', { timeMs: BENCH_START_MS })
    expect(due(bench)).toBeUndefined()
    await bench.signal('do', 'repeat', { timeMs: BENCH_START_MS })
    expect(since(bench)).toBe(HOUR)
    expect(bench.instance.data.repeats).toBeUndefined()
  })

  it('may get a period or a pattern of its own, which outlives renewals and restarts, but not its life', async () => {
    const bench = await started({ every: HOUR })
    await bench.signal('do', 'every', { timeMs: BENCH_START_MS })
    expect(since(bench)).toBe(2 * HOUR)
    await fire(bench)
    expect(since(bench)).toBe(4 * HOUR)
    await bench.signal('do', 'cron')
    expect(new Date(due(bench) ?? 0).toISOString()).toBe('1970-01-01T08:30:00.000Z')
    await bench.signal('renew')
    const implementation = clock({ every: HOUR })
    const data = decodeData(encodeData(bench.instance.data), implementation.knownIdsMax, () => new Uint8Array())
    const again = new InstanceBench(implementation, data)
    again.seq = bench.seq
    await fire(again)
    expect(new Date(due(again) ?? 0).toISOString()).toBe('1970-01-02T08:30:00.000Z')
    await again.send('admin', 'terminate')
    await again.signal('do', '')
    expect(again.instance.data.repeats).toBeUndefined()
    expect((due(again) ?? 0) - again.instance.data.timeMs).toBe(HOUR)
  })

  it('may repeat although its type sets it by code only', async () => {
    const bench = await started({})
    await bench.signal('do', 'idle every', { timeMs: BENCH_START_MS })
    await fire(bench, undefined, 'idle')
    expect(since(bench, 'idle')).toBe(2 * HOUR)
  })

  it.each([
    ['bad cron', 'INVALID_CRON'],
    ['idle', 'INVALID_DEFINITION'],
  ])('refuses at the call what it cannot do: %s', async (what, code) => {
    const bench = await started({ every: HOUR })
    expect(await bench.signal('do', what)).toMatchObject({ kind: 'poisoned', error: { code } })
  })

  it('comes later by its own jitter, always the same, and says when it was due without it', async () => {
    const dues = new Set<number>()
    for (let n = 0; n < 200; n++) {
      const bench = new InstanceBench(clock({ cron: '0 * * * *', jitter: 600_000 }), undefined, `device-${n}`)
      await bench.send('start', '', {}, { timeMs: 0 })
      const first = due(bench) ?? 0
      dues.add(first - HOUR)
      await fire(bench)
      expect(due(bench)).toBe(first + HOUR)
      expect(log(bench)).toEqual([[HOUR, 0, first]])
    }
    const spread = [...dues].toSorted((a, b) => a - b)
    expect(spread.length).toBeGreaterThan(190)
    expect(spread[0]).toBeLessThan(30_000)
    expect(spread.at(-1)).toBeGreaterThan(570_000)
    expect(spread.at(-1)).toBeLessThan(600_000)
    const half = spread.filter((ms) => ms < 300_000).length
    expect(half).toBeGreaterThan(70)
    expect(half).toBeLessThan(130)
  })

  it('with jitter counts a period as missed only once its own moment is past, and a one-off comes without jitter', async () => {
    const bench = await started({ cron: '0 * * * *', jitter: 600_000 }, 0)
    const jitterMs = (due(bench) ?? 0) - HOUR
    expect(jitterMs).toBeGreaterThan(1)
    await fire(bench, 2 * HOUR + jitterMs - 1)
    expect(log(bench)).toEqual([[HOUR, 0, 2 * HOUR + jitterMs - 1]])
    await bench.signal('do', 'set', { timeMs: 3 * HOUR })
    await fire(bench)
    expect(log(bench).at(-1)?.slice(0, 2)).toEqual([13 * HOUR, 0])
    expect(due(bench)).toBe(14 * HOUR + jitterMs)
  })
})
