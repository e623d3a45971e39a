import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, type, WorkflowFailure } from '../index.ts'
import { BENCH_START_MS, InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'

installGuards()

const Cart = defineWorkflow('cart', {
  input: type<{ owner: string }>(),
  signals: {
    add: type<number>(),
    slow: type<string>(),
    boom: type<void>(),
    stop: type<void>(),
    clock: type<void>(),
    stuck: type<void>(),
  },
  updates: { take: { input: type<number>(), output: type<{ left: number }>() } },
  activities: { ship: { input: type<{ what: string }>(), output: type<{ receipt: string }>() } },
})

const cart = implement(Cart, {
  state: (input) => ({ owner: input.owner, sum: 0, log: [] as string[] }),
  on: {
    add: (ctx, n) => void (ctx.state.sum += n),
    async slow(ctx, what) {
      ctx.state.log.push(`begin ${what}`)
      const { receipt } = await ctx.activities.ship({ what })
      ctx.state.log.push(`end ${receipt}`)
    },
    boom: () => {
      throw new Error('boom')
    },
    stop: (ctx) => ctx.complete({ done: true }),
    clock(ctx) {
      ctx.state.log.push(`${Date.now()} ${new Date().getTime()} ${ctx.now()} ${typeof Math.random()}`)
      setTimeout(() => {}, 1)
    },
    async stuck() {
      await new Promise(() => {})
    },
  },
  updates: {
    take: {
      validate(state, n) {
        if (n > state.sum) throw new Error('too much')
      },
      run(ctx, n) {
        ctx.state.sum -= n
        return { left: ctx.state.sum }
      },
    },
  },
})

describe('one instance', () => {
  it('applies signals in order and dead-letters what it does not know', async () => {
    const bench = new InstanceBench(cart)
    await bench.send('start', '', { input: { owner: 'ann' } })
    await bench.signal('add', 5)
    await bench.signal('add', 2)
    expect(bench.instance.data.state).toMatchObject({ owner: 'ann', sum: 7 })
    await bench.signal('nope', 2)
    expect(bench.effects).toMatchObject([{ kind: 'dead', id: '4.0', reason: { code: 'UNKNOWN_NAME' } }])
    expect(bench.instance.isQuiescent).toBe(true)
  })

  it('runs handlers one at a time: the next waits for the activity of the one before', async () => {
    const bench = new InstanceBench(cart)
    await bench.send('start', '', { input: { owner: 'ann' } })
    await bench.signal('slow', 'a')
    expect(bench.effects).toMatchObject([{ kind: 'activity', id: '2.0', name: 'ship' }])
    await bench.signal('slow', 'b')
    await bench.signal('add', 1)
    expect(bench.effects).toEqual([])
    expect(bench.instance.isQuiescent).toBe(false)
    await bench.result('2.0', { receipt: 'ra' })
    expect(bench.effects).toMatchObject([
      { kind: 'activity-done', id: '2.0' },
      { kind: 'activity', id: '5.0' },
    ])
    await bench.result('2.0', { receipt: 'again' })
    expect(bench.effects).toMatchObject([{ kind: 'activity-done' }, { kind: 'ignored' }])
    await bench.result('5.0', { receipt: 'rb' })
    expect(bench.instance.data.state).toMatchObject({ sum: 1, log: ['begin a', 'end ra', 'begin b', 'end rb'] })
    expect(bench.instance.isQuiescent).toBe(true)
  })

  it('answers a repeat with the original outcome', async () => {
    const bench = new InstanceBench(cart)
    await bench.send('start', '', { input: { owner: 'ann' } })
    await bench.signal('add', 5)
    await bench.send('update', 'take', 3, { id: 'x', reply: '_INBOX.a' })
    expect(bench.effects).toMatchObject([
      { kind: 'reply', payload: { seq: 3, duplicate: false, outcome: { ok: true, value: { left: 2 } } } },
    ])
    await bench.send('update', 'take', 1, { id: 'x', reply: '_INBOX.b' })
    expect(bench.effects).toMatchObject([
      { kind: 'duplicate' },
      { kind: 'reply', inbox: '_INBOX.b', payload: { duplicate: true, outcome: { ok: true, value: { left: 2 } } } },
    ])
    await bench.send('update', 'take', 100, { id: 'y', reply: '_INBOX.b' })
    expect(bench.effects).toMatchObject([
      { kind: 'reply', payload: { outcome: { ok: false, error: { code: 'UPDATE_REJECTED', message: 'too much' } } } },
    ])
  })

  it('poisons a turn that throws, uses the host timers, or waits for something unknown', async () => {
    for (const [name, code] of [
      ['boom', undefined],
      ['clock', 'NONDETERMINISTIC'],
      ['stuck', 'LOST_COROUTINE'],
    ] as const) {
      const bench = new InstanceBench(cart)
      await bench.send('start', '', { input: { owner: 'ann' } })
      const result = await bench.send('signal', name)
      expect(result.kind).toBe('poisoned')
      if (code !== undefined) expect(result).toMatchObject({ error: { code } })
    }
    expect(Date.now()).toBeGreaterThan(1e12)
  })

  it('closes behind the handlers in progress and answers what comes after', async () => {
    const bench = new InstanceBench(cart)
    await bench.send('start', '', { input: { owner: 'ann' } })
    await bench.signal('slow', 'a')
    await bench.signal('stop')
    await bench.signal('add', 1)
    await bench.result('2.0', { receipt: 'ra' })
    expect(bench.instance.data.phase).toMatchObject({ kind: 'closed', outcome: { ok: true, value: { done: true } } })
    expect(bench.effects.map(({ kind }) => kind)).toEqual(['activity-done', 'closed', 'dead'])
    await bench.send('start', '', { input: { owner: 'bob' } })
    expect(bench.instance.data).toMatchObject({
      incarnation: 2,
      phase: { kind: 'running' },
      state: { owner: 'bob', sum: 0 },
    })
  })

  it('interleaves run with signals, sleeps and conditions', async () => {
    const Flow = defineWorkflow('cart', { signals: { go: type<number>(), set: type<number>() } })
    const flow = implement(Flow, {
      state: () => ({ n: 0 }),
      on: { set: (ctx, n) => void (ctx.state.n = n) },
      async run(ctx) {
        const { payload } = await ctx.receive('go')
        await ctx.sleep('1 second')
        const met = await ctx.condition(() => ctx.state.n > payload, '5 seconds')
        const late = await ctx.condition(() => ctx.state.n > 100, '5 seconds')
        if (late) throw new WorkflowFailure('never')
        return { met, late }
      },
    })
    const bench = new InstanceBench(flow)
    await bench.send('start', '')
    await bench.signal('go', 5)
    const dueMs = BENCH_START_MS + 1002
    expect(bench.effects).toMatchObject([{ kind: 'timer', id: '2.0', dueMs }])
    await bench.fire('2.0', dueMs, dueMs - 1)
    expect(bench.effects).toMatchObject([{ kind: 'timer', id: '2.0', dueMs }])
    await bench.fire('2.0', dueMs)
    expect(bench.effects).toMatchObject([{ kind: 'timer-done' }, { kind: 'timer', id: '4.0' }])
    await bench.signal('set', 6)
    expect(bench.effects).toMatchObject([
      { kind: 'timer-done', id: '4.0' },
      { kind: 'timer', id: '5.0' },
    ])
    await bench.fire('5.0', dueMs + 10_000)
    expect(bench.instance.data.phase).toMatchObject({
      kind: 'closed',
      outcome: { ok: true, value: { met: true, late: false } },
    })
  })
})
