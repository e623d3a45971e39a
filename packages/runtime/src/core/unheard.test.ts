import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, type } from '../index.ts'
import { InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'
import { decodeData, encodeData } from './record.ts'

installGuards()

const Desk = defineWorkflow('desk', {
  signals: {
    race: type<void>(),
    either: type<void>(),
    forget: type<void>(),
    detach: type<void>(),
    later: type<void>(),
    keep: type<void>(),
    foreign: type<void>(),
    go: type<void>(),
    ask: type<void>(),
  },
  tasks: { sign: { output: type<string>() } },
  activities: { call: { input: type<string>(), output: type<string>() } },
})

/** Nobody listens to it. */
const ignore: (promise: Promise<unknown>) => void = () => {}

let neverKept: Promise<unknown> | undefined

const spec = {
  startOnSignal: true,
  state: () => ({ log: [] as unknown[] }),
} as const

const desk = implement(Desk, {
  ...spec,
  on: {
    async race(ctx) {
      ctx.state.log.push(await Promise.race([ctx.activities.call('x'), ctx.sleep('1 day').then(() => 'late')]))
    },
    async either(ctx) {
      const first = await Promise.race([ctx.activities.call('x'), ctx.sleep('1 day'), ctx.condition(() => false, 5000)])
      ctx.state.log.push(first)
    },
    forget(ctx) {
      ignore(ctx.activities.call('forgotten'))
      ignore(ctx.sleep('1 day'))
      ignore(ctx.condition(() => false, '2 days'))
    },
    detach(ctx) {
      ignore((async () => ctx.sleep(1000))().then(() => ctx.state.log.push('slept')))
    },
    async later(ctx) {
      const sleep = ctx.sleep(1000)
      ctx.state.log.push(await ctx.activities.call('x'))
      await sleep
      ctx.state.log.push('slept')
    },
    async keep(ctx) {
      neverKept = ctx.sleep(1000)
      await ctx.activities.call('x')
    },
    async foreign(ctx) {
      ignore(ctx.sleep('1 day'))
      ignore(ctx.activities.call('forgotten'))
      await new Promise(() => {})
    },
    go() {},
    ask: (ctx) => void ctx.state.log.push(ctx.task('sign').token),
  },
})

describe('waits that nobody listens to', () => {
  it('are let go once no code is left: the loser of a race drops its timer, and the instance is quiescent', async () => {
    const bench = new InstanceBench(desk)
    await bench.signal('either')
    expect(bench.effects.map(({ kind }) => kind)).toEqual(['activity', 'timer', 'timer'])
    expect(bench.instance.isQuiescent).toBe(false)
    await bench.result('1.0', 'done')
    expect(bench.effects).toMatchObject([
      { kind: 'activity-done', id: '1.0' },
      { kind: 'timer-done', id: '1.1' },
      { kind: 'timer-done', id: '1.2' },
    ])
    expect(bench.instance.isQuiescent).toBe(true)
    expect(bench.instance.data.sleeps.size).toBe(0)
    expect(bench.state).toEqual({ log: ['done'] })
  })

  it('let activities that nobody awaits run on: the instance is quiescent meanwhile, and takes note of the result', async () => {
    const bench = new InstanceBench(desk)
    await bench.signal('forget')
    expect(bench.kinds).toEqual(['activity', 'timer', 'timer', 'timer-done', 'timer-done'])
    expect(bench.instance.isQuiescent).toBe(true)
    const noBlock = (): never => {
      throw new Error('no block is full yet')
    }
    const again = new InstanceBench(desk, decodeData(encodeData(bench.instance.data), 10_000, noBlock))
    again.seq = bench.seq
    for (const one of [bench, again]) {
      expect([...one.instance.data.activities.keys()]).toEqual(['1.0'])
      await one.result('1.0', 'done')
      expect(one.kinds).toEqual(['activity-done'])
    }
    expect(again.digest).toBe(bench.digest)
  })

  it('are not those that anything hangs on, were it a function that nobody awaits', async () => {
    const bench = new InstanceBench(desk)
    await bench.signal('detach')
    expect(bench.instance.isQuiescent).toBe(false)
    await bench.fire('1.0', 1_001_001)
    expect(bench.state).toEqual({ log: ['slept'] })
    expect(bench.instance.isQuiescent).toBe(true)
    // One of its contenders is more than a wait: it goes on by itself.
    await bench.signal('race')
    await bench.result('3.0', 'done')
    expect(bench.instance.isQuiescent).toBe(false)
  })

  it('are not those of open tasks: who has the token may complete them', async () => {
    const bench = new InstanceBench(desk)
    await bench.signal('ask')
    expect(bench.instance.isQuiescent).toBe(false)
    expect(bench.instance.tasks.size).toBe(1)
  })

  it('stay while code is left that may come to listen', async () => {
    const bench = new InstanceBench(desk)
    await bench.signal('later')
    await bench.result('1.1', 'done')
    expect(bench.instance.data.sleeps.size).toBe(1)
    await bench.fire('1.0', 1_001_001)
    expect(bench.state).toEqual({ log: ['done', 'slept'] })
  })

  it('may be settled while nobody listens: who listens then gets the result at once', async () => {
    const bench = new InstanceBench(desk)
    await bench.signal('later')
    await bench.fire('1.0', 1_001_001)
    await bench.result('1.1', 'done')
    expect(bench.state).toEqual({ log: ['done', 'slept'] })
    expect(bench.instance.isQuiescent).toBe(true)
  })

  it('are no reason to believe that a handler will go on', async () => {
    const bench = new InstanceBench(desk)
    expect(await bench.signal('foreign')).toMatchObject({ kind: 'poisoned', error: { code: 'LOST_COROUTINE' } })
  })

  it('are let go also where something outside of the instance holds the promise', async () => {
    const bench = new InstanceBench(desk)
    await bench.signal('keep')
    await bench.result('1.1', 'done')
    expect(bench.instance.isQuiescent).toBe(true)
    expect(bench.kinds).toEqual(['activity-done', 'timer-done'])
    expect(neverKept).toBeInstanceOf(Promise)
  })

  it('stay set in an instance whose run waits, and fire for nobody', async () => {
    const waiting = implement(Desk, {
      ...spec,
      on: { either: desk.signals.get('either') as never },
      run: async (ctx) => void (await ctx.receive('go')),
    })
    const bench = new InstanceBench(waiting)
    await bench.signal('either')
    await bench.result('1.0', 'done')
    expect(bench.instance.data.sleeps.size).toBe(2)
    await bench.fire('1.2', 1_005_001)
    expect(bench.kinds).toEqual(['timer-done'])
    expect(bench.state).toEqual({ log: ['done'] })
  })
})
