/** Turns of inputs about which something was decided before. */
import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, type } from '../index.ts'
import type { ErrorData } from '../errors.ts'
import { InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'

installGuards()

const Box = defineWorkflow('box', {
  signals: { add: type<number>(), boom: type<void>(), fall: type<void>(), set: type<void>() },
  activities: { call: { input: type<void>(), output: type<void>() } },
})
const box = implement(Box, {
  startOnSignal: true,
  state: () => ({ sum: 0 }),
  on: {
    add: (ctx, n) => void (ctx.state.sum += n),
    boom() {
      throw new Error('boom')
    },
    async fall(ctx) {
      await ctx.activities.call()
      throw new Error('fallen')
    },
    set: (ctx) => ctx.timers.bad.set(10),
  },
  timers: {
    bad: {
      run() {
        throw new Error('bad')
      },
    },
  },
})
const error: ErrorData = { code: 'HANDLER_FAILED', message: 'boom' }

describe('an input that is marked', () => {
  it('dead is a dead letter without user code; its id stays known with the error', async () => {
    const bench = new InstanceBench(box)
    await bench.signal('add', 1)
    expect(await bench.signal('boom', undefined, { id: 'x', mark: { dead: error } })).toMatchObject({ kind: 'applied' })
    expect(bench.effects).toMatchObject([{ kind: 'dead', reason: error }])
    expect(bench.state).toEqual({ sum: 1 })
    await bench.signal('boom', undefined, { id: 'x', reply: '_INBOX.x' })
    expect(bench.effects).toMatchObject([{ kind: 'duplicate' }, { kind: 'reply', payload: { outcome: { error } } }])
  })

  it('dead has effects whose ids those of the turn that went wrong cannot be', async () => {
    const bench = new InstanceBench(box)
    await bench.signal('boom', undefined, { mark: { dead: error } })
    const [dead] = bench.effects
    expect(dead?.kind === 'dead' && Number(dead.id.split('.')[1])).toBeGreaterThan(5_000_000)
  })

  it('dead and a timer has fired', async () => {
    const bench = new InstanceBench(box)
    await bench.signal('set')
    const set = bench.instance.data.timers.get('bad')
    expect(set).toBeDefined()
    const payload = { effect: set?.effect, dueMs: set?.dueMs }
    await bench.send('timer', 'bad', payload, { timeMs: set?.dueMs ?? 0, mark: { dead: error } })
    expect(bench.kinds).toEqual(['timer-done', 'dead'])
    expect(bench.instance.data.timers.size).toBe(0)
  })

  it('lenient ends the handler that began before and throws at it, and lets the next one go on', async () => {
    const bench = new InstanceBench(box)
    await bench.signal('fall', undefined, { id: 'fall' })
    await bench.signal('add', 5)
    const outcome = { ok: true as const }
    const result = { effect: '1.0', outcome }
    expect(await bench.send('activity', 'call', result, { mark: { lenient: true } })).toMatchObject({ kind: 'applied' })
    expect(bench.kinds).toEqual(['activity-done', 'dead'])
    expect(bench.state).toEqual({ sum: 5 })
    expect(bench.instance.data.known.get('fall')?.outcome).toMatchObject({ ok: false, error: { message: 'fallen' } })
    expect(bench.instance.isQuiescent).toBe(true)
  })

  it('as obeyed leaves its id and its outcome, and does nothing', async () => {
    const bench = new InstanceBench(box)
    await bench.signal('add', 1)
    await bench.send('admin', 'pause', undefined, { id: 'p', mark: { outcome: { ok: true } } })
    expect(bench.kinds).toEqual([])
    expect(bench.instance.data.known.get('p')?.outcome).toEqual({ ok: true })
  })

  it('with a terminate closes the life in front of it, and belongs to the next one', async () => {
    const bench = new InstanceBench(box)
    await bench.signal('fall')
    await bench.signal('add', 7)
    await bench.signal('add', 1, { mark: { terminate: 'enough' } })
    expect(bench.instance.data).toMatchObject({ incarnation: 2, phase: { kind: 'running' } })
    expect(bench.state).toEqual({ sum: 1 })
    expect(bench.kinds).toEqual(['dead', 'activity-done', 'closed'])
  })
})
