import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, type } from '../index.ts'
import { InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'
import { decodeData, encodeData } from './record.ts'
import { takeUp } from './step.ts'

installGuards()

const Batch = defineWorkflow('batch', {
  input: type<{ from: number; every: number }>(),
  result: type<string>(),
  signals: { item: type<string>(), act: type<string>(), renew: type<void>(), tick: type<void>() },
  updates: { count: { output: type<number>() } },
  activities: { call: { input: type<string>(), output: type<string>() } },
})

const batch = implement(Batch, {
  state: ({ from }) => ({ n: from, log: [] as unknown[] }),
  on: {
    async act(ctx, what) {
      ctx.state.log.push(await ctx.activities.call(what))
    },
    async renew(ctx) {
      ctx.continueAsNew({ from: ctx.state.n + 100, every: 1000 }, { state: { n: ctx.state.n + 100, log: [] } })
      ctx.state.log.push(await ctx.activities.call('last'))
    },
    tick: (ctx) => ctx.timers.once.set(1000),
  },
  updates: { count: (ctx) => ctx.state.n },
  timers: { once: { run: (ctx) => void ctx.state.log.push('once') }, often: { every: 500, run: () => {} } },
  async run(ctx, { from, every }) {
    for (let left = every; left > 0; left--) {
      const { payload } = await ctx.receive('item')
      ctx.state.n += 1
      ctx.state.log.push(payload)
    }
    return ctx.continueAsNew({ from: from + every, every })
  },
})

async function started(every: number, implementation = batch): Promise<InstanceBench> {
  const bench = new InstanceBench(implementation)
  await bench.send('start', '', { input: { from: 0, every } })
  return bench
}

describe('continueAsNew', () => {
  it('begins anew on the same instance: known ids, incarnation and timers stay, and senders notice nothing', async () => {
    const bench = await started(2)
    const timer = bench.instance.data.timers.get('often')
    await bench.signal('item', 'a', { id: 'a', reply: '_INBOX.1' })
    await bench.signal('item', 'b', { id: 'b' })
    expect(bench.kinds).toEqual([])
    expect(bench.state).toEqual({ n: 2, log: [] })
    expect(bench.instance.data).toMatchObject({ incarnation: 1, phase: { kind: 'running', startedMs: 1_000_001 } })
    expect(bench.instance.data.timers.get('often')).toBe(timer)
    await bench.signal('item', 'a', { id: 'a', reply: '_INBOX.2' })
    expect(bench.effects).toMatchObject([
      { kind: 'duplicate' },
      { kind: 'reply', payload: { duplicate: true, outcome: { ok: true } } },
    ])
    await bench.signal('item', 'c')
    expect(bench.state).toEqual({ n: 3, log: ['c'] })
  })

  it('keeps the mailbox in its order', async () => {
    const Pick = defineWorkflow('pick', { signals: { go: type<void>(), item: type<number>() } })
    const pick = implement(Pick, {
      startOnSignal: true,
      state: () => ({ got: [] as number[] }),
      async run(ctx) {
        await ctx.receive('go')
        for (let i = 0; i < 2; i++) ctx.state.got.push((await ctx.receive('item')).payload)
        return ctx.continueAsNew(undefined, { state: ctx.state })
      },
    })
    const bench = new InstanceBench(pick)
    for (const n of [1, 2, 3, 4, 5]) await bench.signal('item', n)
    await bench.signal('go')
    expect(bench.state).toEqual({ got: [1, 2] })
    expect(bench.instance.data.mailbox.map(({ seq }) => seq)).toEqual([3, 4, 5])
    await bench.signal('go')
    expect(bench.state).toEqual({ got: [1, 2, 3, 4] })
  })

  it('waits for handlers in progress; inputs behind it go to the new life in order', async () => {
    const bench = await started(1000)
    await bench.signal('act', 'first')
    await bench.signal('renew')
    await bench.signal('act', 'second')
    await bench.send('update', 'count', undefined, { reply: '_INBOX.1' })
    await bench.result('2.0', 'first done')
    expect(bench.effects).toMatchObject([{ kind: 'activity-done' }, { kind: 'activity', id: '6.0', name: 'call' }])
    await bench.result('6.0', 'last done')
    expect(bench.kinds).toEqual(['activity-done', 'activity'])
    expect(bench.state).toEqual({ n: 100, log: [] })
    await bench.result('7.1', 'second done')
    expect(bench.effects).toMatchObject([
      { kind: 'activity-done' },
      { kind: 'reply', inbox: '_INBOX.1', payload: { outcome: { ok: true, value: 100 } } },
    ])
    expect(bench.state).toEqual({ n: 100, log: ['second done'] })
  })

  it('lets go of what run waited for, and keeps timers that are set, also one that has just fired behind it', async () => {
    const bench = await started(1000)
    await bench.signal('tick')
    await bench.signal('renew')
    await bench.fire('2.0', 1_001_002)
    expect(bench.instance.queued).toBe(1)
    await bench.result('3.0', 'last done')
    expect(bench.state).toEqual({ n: 100, log: ['once'] })
    expect([...bench.instance.data.timers.keys()]).toEqual(['often'])
  })

  it('gives a base from which the rest of the turn comes out the same', async () => {
    const bench = await started(1000)
    await bench.signal('renew')
    await bench.signal('act', 'behind')
    await bench.signal('item', 'x')
    await bench.result('2.0', 'last done')
    const { base } = bench.instance
    if (base === undefined) throw new Error('no base was captured')
    const noBlock = (): never => {
      throw new Error('no block is full yet')
    }
    const again = new InstanceBench(batch, decodeData(encodeData(base.data, base.known), 10_000, noBlock))
    expect(again.instance.isQuiescent).toBe(false)
    expect(await takeUp(again.instance)).toMatchObject({ kind: 'applied' })
    expect(again.digest).toBe(bench.digest)
    again.seq = bench.seq
    for (const one of [bench, again]) {
      await one.result('5.1', 'done')
      await one.signal('item', 'y')
    }
    expect(again.state).toEqual({ n: 102, log: ['x', 'done', 'y'] })
    expect(again.digest).toBe(bench.digest)
  })

  it('counts once with complete: the first one is what happens', async () => {
    const Both = defineWorkflow('both', { signals: { a: type<void>(), b: type<void>() } })
    const both = implement(Both, {
      startOnSignal: true,
      state: () => ({ n: 0 }),
      on: {
        a(ctx) {
          ctx.continueAsNew()
          ctx.complete()
        },
        b(ctx) {
          ctx.complete()
          ctx.continueAsNew()
        },
      },
    })
    const bench = new InstanceBench(both)
    await bench.signal('a')
    expect(bench.instance.data.phase.kind).toBe('running')
    await bench.signal('b')
    expect(bench.instance.data.phase.kind).toBe('closed')
  })

  it('may not go on for ever within one turn', async () => {
    const Loop = defineWorkflow('loop', { signals: { go: type<void>() } })
    const loop = implement(Loop, {
      startOnSignal: true,
      state: () => 0,
      on: { go: () => {} },
      run: async (ctx) => ctx.continueAsNew(),
    })
    expect(await new InstanceBench(loop).signal('go')).toMatchObject({
      kind: 'poisoned',
      error: { code: 'LIMIT_REACHED' },
    })
  })

  it('refuses a state that cannot be kept, and an input that does not fit', async () => {
    const Bad = defineWorkflow('bad', { input: onlyNumbers, signals: { state: type<void>(), input: type<void>() } })
    const bad = implement(Bad, {
      startOnSignal: true,
      state: () => ({ f: undefined as unknown }),
      on: {
        state: (ctx) => void ctx.continueAsNew(1, { state: { f: () => {} } }),
        input: (ctx) => void ctx.continueAsNew('one'),
      },
    })
    expect(await new InstanceBench(bad).signal('state')).toMatchObject({ error: { code: 'INVALID_STATE' } })
    expect(await new InstanceBench(bad).signal('input')).toMatchObject({ error: { code: 'INVALID_PAYLOAD' } })
  })
})

const onlyNumbers = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value: unknown) => (typeof value === 'number' ? { value } : { issues: [{ message: 'not a number' }] }),
  },
} as const
