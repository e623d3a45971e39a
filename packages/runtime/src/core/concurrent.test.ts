import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, type, WorkflowFailure } from '../index.ts'
import { InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'

installGuards()

const Ship = defineWorkflow('ship', {
  signals: {
    pack: type<string>(),
    pause: type<void>(),
    resume: type<void>(),
    check: type<string>(),
    stop: type<string>(),
    abort: type<string>(),
    foreign: type<void>(),
    renew: type<void>(),
  },
  activities: { call: { input: type<string>(), output: type<string>() } },
})

const ship = implement(Ship, {
  startOnSignal: true,
  state: () => ({ log: [] as string[], isPaused: false }),
  on: {
    async pack(ctx, what) {
      ctx.state.log.push(`pack ${await ctx.activities.call(what)}`)
      await ctx.condition(() => !ctx.state.isPaused)
      ctx.state.log.push(`packed ${what}`)
    },
    pause: (ctx) => void (ctx.state.isPaused = true),
    resume: (ctx) => void (ctx.state.isPaused = false),
    async check(ctx, what) {
      ctx.state.log.push(`check ${what}`)
      ctx.state.log.push(`checked ${await ctx.activities.call(what)}`)
    },
    async stop(ctx, what) {
      ctx.complete(what)
      await ctx.activities.call('stop')
      ctx.state.log.push('stopped')
    },
    abort(_, why) {
      throw new WorkflowFailure(why)
    },
    foreign: () => new Promise(() => {}),
    async renew(ctx) {
      await ctx.activities.call('before')
      ctx.continueAsNew()
    },
  },
  concurrent: ['pause', 'resume', 'check', 'stop', 'abort', 'foreign', 'renew'],
})

describe('handlers of concurrent signals', () => {
  it('start at once while another handler waits, and what they change is seen where that one goes on', async () => {
    const bench = new InstanceBench(ship)
    await bench.signal('pack', 'a')
    await bench.signal('pause', undefined, { reply: '_INBOX.1' })
    expect(bench.kinds).toEqual(['reply'])
    await bench.signal('pack', 'b')
    await bench.result('1.0', 'A')
    expect(bench.state).toEqual({ log: ['pack A'], isPaused: true })
    await bench.signal('resume')
    expect(bench.state).toEqual({ log: ['pack A', 'packed a'], isPaused: false })
    expect(bench.effects).toMatchObject([{ kind: 'activity', id: '5.0' }])
  })

  it('may be several in progress, each answered when it is done', async () => {
    const bench = new InstanceBench(ship)
    await bench.signal('check', 'x', { reply: '_INBOX.x' })
    await bench.signal('check', 'y', { reply: '_INBOX.y' })
    await bench.signal('pack', 'a')
    expect(bench.state).toMatchObject({ log: ['check x', 'check y'] })
    await bench.result('2.0', 'Y')
    expect(bench.effects.filter(({ kind }) => kind === 'reply')).toMatchObject([{ inbox: '_INBOX.y' }])
    await bench.result('3.0', 'A')
    await bench.result('1.0', 'X')
    expect(bench.state).toMatchObject({ log: ['check x', 'check y', 'checked Y', 'pack A', 'packed a', 'checked X'] })
    expect(bench.instance.isQuiescent).toBe(true)
  })

  it('do not let the next ordinary handler start while one is in progress', async () => {
    const bench = new InstanceBench(ship)
    await bench.signal('pack', 'a')
    await bench.signal('pack', 'b')
    await bench.signal('check', 'x')
    await bench.result('3.0', 'X')
    expect(bench.instance.queued).toBe(1)
    expect(bench.effects.map(({ kind }) => kind)).toEqual(['activity-done'])
  })

  it('close the instance as of their own input: what came before still runs, what comes behind is of the next life', async () => {
    const bench = new InstanceBench(ship)
    await bench.signal('pack', 'a')
    await bench.signal('pack', 'b')
    await bench.signal('stop', 'R')
    await bench.signal('check', 'behind')
    expect(bench.state).toMatchObject({ log: [] })
    await bench.result('3.0')
    await bench.result('1.0', 'A')
    expect(bench.state).toMatchObject({ log: ['stopped', 'pack A', 'packed a'] })
    await bench.result('6.0', 'B')
    expect(bench.kinds).toEqual(['activity-done', 'closed', 'activity'])
    expect(bench.instance.data).toMatchObject({ incarnation: 2, state: { log: ['check behind'] } })
  })

  it('hold back the close and the renewal that others ask for until they are done', async () => {
    const bench = new InstanceBench(ship)
    await bench.signal('check', 'x')
    await bench.signal('renew')
    await bench.result('2.0')
    expect(bench.state).toMatchObject({ log: ['check x'] })
    await bench.result('1.0', 'X')
    expect(bench.state).toMatchObject({ log: [] })
    expect(bench.instance.isQuiescent).toBe(true)
  })

  it('fail the instance by WorkflowFailure once those in front of them are done', async () => {
    const bench = new InstanceBench(ship)
    await bench.signal('pack', 'a')
    await bench.signal('abort', 'no', { reply: '_INBOX.1' })
    expect(bench.effects).toMatchObject([{ payload: { outcome: { error: { code: 'WORKFLOW_FAILED' } } } }])
    expect(bench.instance.data.phase.kind).toBe('running')
    await bench.result('1.0', 'A')
    expect(bench.instance.data.phase).toMatchObject({
      kind: 'closed',
      outcome: { ok: false, error: { message: 'no' } },
    })
  })

  it('are found out when they wait for what the journal cannot bring', async () => {
    expect(await new InstanceBench(ship).signal('foreign')).toMatchObject({
      kind: 'poisoned',
      error: { code: 'LOST_COROUTINE', message: expect.stringContaining('signal foreign') },
    })
  })

  it('take their turn when a thousand are in progress', async () => {
    const bench = new InstanceBench(ship)
    for (let n = 0; n < 1000; n++) await bench.signal('check', String(n))
    await bench.signal('pack', 'a')
    await bench.signal('check', 'late')
    expect(bench.instance.queued).toBe(1)
    await bench.result('1001.0', 'A')
    expect(bench.instance.queued).toBe(0)
  })

  it('must have a handler', () => {
    expect(() =>
      implement(Ship, {
        state: () => ({}),
        on: {},
        concurrent: ['pause'],
        run: async (ctx) => void (await ctx.receive()),
      }),
    ).toThrow(expect.objectContaining({ code: 'INVALID_DEFINITION' }))
  })

  it('are told TERMINATED with the one in the slot when the instance is terminated', async () => {
    const bench = new InstanceBench(ship)
    await bench.send('signal', 'pack', 'a', { id: 'one', reply: '_INBOX.one' })
    await bench.send('signal', 'check', 'b', { id: 'two', reply: '_INBOX.two' })
    await bench.send('admin', 'terminate', undefined, { id: 'end' })
    const told = bench.effects.flatMap((effect) => (effect.kind === 'reply' ? [effect] : []))
    expect(told.map(({ inbox, payload }) => [inbox, payload.outcome])).toMatchObject([
      ['_INBOX.one', { ok: false, error: { code: 'TERMINATED' } }],
      ['_INBOX.two', { ok: false, error: { code: 'TERMINATED' } }],
    ])
    expect(bench.instance.data.phase.kind).toBe('closed')
    expect(bench.instance.isQuiescent).toBe(true)
  })
})
