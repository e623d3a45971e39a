import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, type, WorkflowFailure } from '../index.ts'
import { BENCH_START_MS, InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'

installGuards()

const Flow = defineWorkflow('flow', {
  input: type<{ script: string }>(),
  signals: { a: type<number>(), b: type<number>(), set: type<number>(), slow: type<void>() },
  activities: { call: { input: type<string>(), output: type<string>() } },
})

const flow = implement(Flow, {
  state: () => ({ log: [] as string[], n: 0 }),
  on: {
    set: (ctx, n) => void (ctx.state.n = n),
    async slow(ctx) {
      ctx.state.log.push(`slow ${await ctx.activities.call('slow')}`)
    },
  },
  async run(ctx, { script }) {
    const { log } = ctx.state
    const next = async (...names: ('a' | 'b')[]): Promise<void> => {
      const { name, payload } = await ctx.receive(...names)
      log.push(`${name}${payload}`)
    }
    switch (script) {
      case 'any':
        for (;;) await next()
      case 'only b':
        await next('b')
        await next('b')
        await next()
        return log.join()
      case 'activity':
        log.push(await ctx.activities.call('x'))
        return 'done'
      case 'race': {
        const winner = await Promise.race([
          ctx.sleep(1000).then(() => 'sleep'),
          ctx.condition(() => ctx.state.n > 0).then(() => 'set'),
        ])
        log.push(winner)
        await next('a')
        return winner
      }
      case 'all':
        log.push(...(await Promise.all([ctx.activities.call('1'), ctx.activities.call('2')])))
        return log
      case 'fail':
        throw new WorkflowFailure('no')
      case 'throw':
        throw new Error('a bug')
      case 'foreign':
        return new Promise(() => {})
      case 'handled':
        await ctx.receive('set' as never)
        return 0
      case 'undeclared':
        await ctx.receive('nope' as never)
        return 0
      default:
        return 'at once'
    }
  },
})

async function started(script: string): Promise<InstanceBench> {
  const bench = new InstanceBench(flow)
  await bench.send('start', '', { input: { script } })
  return bench
}

describe('run', () => {
  it('receives from one mailbox in the order of the journal', async () => {
    const bench = await started('only b')
    await bench.signal('a', 1)
    await bench.signal('a', 2)
    await bench.signal('b', 3)
    expect(bench.instance.data.mailbox.map(({ seq }) => seq)).toEqual([2, 3])
    await bench.signal('b', 4)
    expect(bench.instance.data.phase).toMatchObject({ kind: 'closed', outcome: { ok: true, value: 'b3,b4,a1' } })
  })

  it('tells the sender of a signal once it was received', async () => {
    const bench = await started('only b')
    await bench.signal('a', 1, { id: 'x', reply: '_INBOX.1' })
    expect(bench.kinds).toEqual([])
    await bench.signal('a', 1, { id: 'x', reply: '_INBOX.2' })
    expect(bench.kinds).toEqual(['duplicate'])
    await bench.signal('b', 3)
    await bench.signal('b', 4)
    expect(bench.effects.filter(({ kind }) => kind === 'reply')).toMatchObject([
      { inbox: '_INBOX.1', payload: { duplicate: false, outcome: { ok: true } } },
      { inbox: '_INBOX.2', payload: { duplicate: true, outcome: { ok: true } } },
    ])
  })

  it('dead-letters what it never received, as UNRECEIVED, when it ends', async () => {
    const bench = await started('only b')
    for (const n of [1, 2]) await bench.signal('a', n, { reply: `_INBOX.${n}` })
    await bench.signal('b', 3)
    await bench.signal('b', 4)
    expect(bench.effects.filter(({ kind }) => kind === 'dead')).toMatchObject([
      { input: { seq: 3 }, reason: { code: 'UNRECEIVED' } },
    ])
    expect(bench.effects.filter(({ kind }) => kind === 'reply')).toMatchObject([
      { inbox: '_INBOX.1', payload: { outcome: { ok: true } } },
      { inbox: '_INBOX.2', payload: { outcome: { ok: false, error: { code: 'UNRECEIVED' } } } },
    ])
  })

  it('goes on while a handler waits, and handlers while it waits', async () => {
    const bench = await started('activity')
    await bench.signal('slow')
    expect(bench.effects).toMatchObject([{ kind: 'activity', id: '2.0' }])
    await bench.result('2.0', 'S')
    await bench.result('1.0', 'R')
    expect(bench.state).toMatchObject({ log: ['slow S', 'R'] })
    expect(bench.instance.data.phase).toMatchObject({ kind: 'closed', outcome: { value: 'done' } })
  })

  it('ends without waiting for handlers behind it, but for the one in progress', async () => {
    const bench = await started('activity')
    await bench.signal('slow')
    await bench.signal('set', 5)
    await bench.result('1.0', 'R')
    expect(bench.instance.data.phase).toMatchObject({ kind: 'running' })
    await bench.result('2.0', 'S')
    expect(bench.instance.data.phase).toMatchObject({ kind: 'closed', seq: 5 })
    expect(bench.state).toMatchObject({ n: 5 })
  })

  it('may race and combine what it waits for', async () => {
    const race = await started('race')
    await race.signal('set', 1)
    expect(race.state).toMatchObject({ log: ['set'] })
    await race.fire('1.0', BENCH_START_MS + 1001)
    await race.signal('a', 1)
    expect(race.instance.data.phase).toMatchObject({ outcome: { value: 'set' } })
    const all = await started('all')
    await all.result('1.1', 'two')
    await all.result('1.0', 'one')
    expect(all.instance.data.phase).toMatchObject({ outcome: { value: ['one', 'two'] } })
  })

  it('closes as failed on WorkflowFailure; anything else that it throws is poison', async () => {
    expect((await started('fail')).instance.data.phase).toMatchObject({
      kind: 'closed',
      outcome: { ok: false, error: { code: 'WORKFLOW_FAILED' } },
    })
    expect((await new InstanceBench(flow).send('start', '', { input: { script: 'throw' } })).kind).toBe('poisoned')
  })

  it('is lost when it waits for something that no input can bring', async () => {
    expect(await new InstanceBench(flow).send('start', '', { input: { script: 'foreign' } })).toMatchObject({
      kind: 'poisoned',
      error: { code: 'LOST_COROUTINE' },
    })
  })

  it('may receive only signals that are declared and have no handler', async () => {
    expect(await new InstanceBench(flow).send('start', '', { input: { script: 'handled' } })).toMatchObject({
      error: { code: 'INVALID_DEFINITION' },
    })
    expect(await new InstanceBench(flow).send('start', '', { input: { script: 'undeclared' } })).toMatchObject({
      error: { code: 'UNKNOWN_NAME' },
    })
  })
})

const HOUR = 3_600_000
const Clockwork = defineWorkflow('clockwork', {
  signals: { set: type<number>(), setAt: type<number>(), cancel: type<void>(), slow: type<void>(), stop: type<void>() },
  activities: { call: {} },
})
const clockwork = implement(Clockwork, {
  startOnSignal: true,
  state: () => ({ log: [] as string[] }),
  on: {
    set: (ctx, ms) => ctx.timers.once.set(ms),
    setAt: (ctx, ms) => ctx.timers.once.setAt(ms),
    cancel: (ctx) => ctx.timers.once.cancel(),
    slow: (ctx) => ctx.activities.call(),
    async stop(ctx) {
      ctx.complete()
      await ctx.activities.call()
    },
  },
  timers: {
    once: { run: (ctx) => void ctx.state.log.push(`once ${ctx.now()}`) },
    hourly: {
      every: HOUR,
      run: (ctx) => void ctx.state.log.push(`hourly ${(ctx.timers.hourly.dueMs ?? 0) - BENCH_START_MS}`),
    },
  },
})

const timersOf = (bench: InstanceBench): unknown =>
  Object.fromEntries([...bench.instance.data.timers].map(([name, { dueMs }]) => [name, dueMs - BENCH_START_MS]))

describe('timers with a handler', () => {
  it('repeat in step with their start, skipping periods that were missed', async () => {
    const bench = new InstanceBench(clockwork)
    await bench.signal('cancel')
    expect(timersOf(bench)).toEqual({ hourly: HOUR + 1 })
    await bench.fire('1.0', BENCH_START_MS + HOUR + 1, BENCH_START_MS + HOUR + 7)
    expect(timersOf(bench)).toEqual({ hourly: 2 * HOUR + 1 })
    await bench.fire('2.0', 0, BENCH_START_MS + 5.5 * HOUR)
    expect(timersOf(bench)).toEqual({ hourly: 6 * HOUR + 1 })
    expect(bench.state).toEqual({ log: [`hourly ${2 * HOUR + 1}`, `hourly ${6 * HOUR + 1}`] })
    await bench.fire('3.0', 0, BENCH_START_MS + 6 * HOUR + 1)
    expect(timersOf(bench)).toEqual({ hourly: 7 * HOUR + 1 })
  })

  it('fire once, and not after a cancel, even when the firing is on its way', async () => {
    const bench = new InstanceBench(clockwork)
    await bench.signal('set', 100)
    await bench.signal('cancel')
    expect(bench.effects).toMatchObject([{ kind: 'timer-done', id: '1.1' }])
    await bench.fire('1.1', BENCH_START_MS + 101)
    expect(bench.kinds).toEqual(['timer-done', 'ignored'])
    await bench.signal('set', 100)
    await bench.fire('4.0', BENCH_START_MS + 204)
    await bench.fire('4.0', BENCH_START_MS + 204)
    expect(bench.kinds).toEqual(['timer-done', 'ignored'])
    expect(bench.state).toEqual({ log: [`once ${BENCH_START_MS + 204}`] })
  })

  it('replace the one of their name', async () => {
    const bench = new InstanceBench(clockwork)
    await bench.signal('set', 100)
    await bench.signal('set', 500)
    expect(bench.effects).toMatchObject([
      { kind: 'timer-done', id: '1.1' },
      { kind: 'timer', id: '2.0', name: 'once' },
    ])
    await bench.fire('1.1', BENCH_START_MS + 101)
    expect(bench.kinds).toEqual(['timer-done', 'ignored'])
  })

  it('never fire early by the clock of the journal: they are asked for again', async () => {
    const bench = new InstanceBench(clockwork)
    await bench.signal('set', 100)
    await bench.fire('1.1', BENCH_START_MS + 101, BENCH_START_MS + 100)
    expect(bench.effects).toMatchObject([{ kind: 'timer', id: '1.1', name: 'once', dueMs: BENCH_START_MS + 101 }])
    expect(bench.state).toEqual({ log: [] })
    await bench.fire('1.1', BENCH_START_MS + 101, BENCH_START_MS + 101)
    expect(bench.state).toEqual({ log: [`once ${BENCH_START_MS + 101}`] })
  })

  it('may be set to a moment in the past, but not beyond what a key can hold', async () => {
    const bench = new InstanceBench(clockwork)
    await bench.signal('setAt', -5)
    await bench.fire('1.1', 0)
    expect(bench.state).toMatchObject({ log: [`once ${BENCH_START_MS + 1}`] })
    for (const bad of [2 ** 50, Infinity, NaN])
      expect((await new InstanceBench(clockwork).signal('setAt', bad)).kind).toBe('poisoned')
  })

  it('wait for the handler in progress', async () => {
    const bench = new InstanceBench(clockwork)
    await bench.signal('set', 1)
    await bench.signal('slow')
    await bench.fire('1.1', BENCH_START_MS + 2)
    expect(bench.state).toEqual({ log: [] })
    await bench.result('2.0')
    expect(bench.state).toMatchObject({ log: [expect.stringContaining('once')] })
  })

  it('that fire behind a close are of the life that ended', async () => {
    const bench = new InstanceBench(clockwork)
    await bench.signal('set', 1)
    await bench.signal('stop')
    await bench.fire('1.1', BENCH_START_MS + 2)
    expect(await bench.result('2.0')).toMatchObject({ kind: 'applied' })
    expect(bench.kinds).toEqual(['activity-done', 'timer-done', 'closed', 'ignored'])
    expect(bench.instance.data).toMatchObject({ phase: { kind: 'closed' }, incarnation: 1, state: { log: [] } })
  })

  it('ignore forged and malformed firings, and results', async () => {
    const bench = new InstanceBench(clockwork)
    await bench.signal('set', 100)
    const before = bench.state
    for (const kind of ['timer', 'activity'] as const) {
      for (const payload of [
        undefined,
        5,
        {},
        { effect: 5 },
        { effect: '1.1' },
        { effect: 'x', dueMs: 1 },
        { effect: '1.1', outcome: { ok: false } },
        { effect: '1.1', dueMs: 1.5 },
      ]) {
        await bench.send(kind, 'x', payload)
        expect(bench.kinds).toEqual(['dead'])
      }
    }
    await bench.send('activity', 'x', { effect: '1.1', outcome: { ok: true } })
    expect(bench.kinds).toEqual(['activity-done', 'ignored'])
    expect(bench.state).toEqual(before)
    expect(timersOf(bench)).toMatchObject({ once: 101 })
  })
})
