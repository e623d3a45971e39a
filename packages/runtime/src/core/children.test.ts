import { describe, expect, it } from 'vitest'
import { z } from 'zod'

import { type ChildHandle, defineWorkflow, implement, type, WorkflowFailure } from '../index.ts'
import { decodeValue, PAYLOAD_BYTES_MAX } from '../protocol/index.ts'
import { InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'
import { decodeData, encodeData } from './record.ts'

installGuards()

const Leaf = defineWorkflow('leaf', {
  input: z.object({ n: z.number() }),
  result: type<unknown>(),
  signals: {
    end: type<unknown>(),
    fail: type<void>(),
    hold: type<void>(),
    ask: type<void>(),
    endAfter: type<unknown>(),
    note: type<string>(),
  },
  updates: { slow: { output: type<number>() } },
})
const leaf = implement(Leaf, {
  state: ({ n }) => ({ n, parent: '', log: [] as string[] }),
  on: {
    end: (ctx, result) => ctx.complete(result),
    fail() {
      throw new WorkflowFailure('sorry', { n: 1 })
    },
    hold: (ctx) => ctx.sleep('1 day'),
    ask: (ctx) => void (ctx.state.parent = JSON.stringify(ctx.parent)),
    async endAfter(ctx, result) {
      ctx.complete(result)
      await ctx.sleep('1 day')
    },
    note: (ctx, text) => void ctx.state.log.push(text),
  },
  updates: {
    async slow(ctx) {
      await ctx.sleep('1 day')
      return 1
    },
  },
})
/** The same, but one that starts by itself. */
const Auto = defineWorkflow('auto', { signals: { endAfter: type<void>(), note: type<string>() } })
const auto = implement(Auto, {
  startOnSignal: true,
  state: () => ({ log: [] as string[] }),
  on: {
    async endAfter(ctx) {
      ctx.complete()
      await ctx.sleep('1 day')
    },
    note: (ctx, text) => void ctx.state.log.push(text),
  },
})

const Root = defineWorkflow('root', {
  signals: {
    start: type<unknown>(),
    wait: type<{ lateMs?: number }>(),
    twoAtOnce: type<void>(),
    unwatched: type<void>(),
    policy: type<unknown>(),
    end: type<void>(),
  },
})
const root = implement(Root, {
  startOnSignal: true,
  state: () => ({ log: [] as unknown[] }),
  on: {
    start: (ctx, input) => void ctx.children.start(Leaf, 'a.b', input as { n: number }),
    async wait(ctx, { lateMs }) {
      const child = ctx.children.start(Leaf, 'c', { n: 1 })
      child.signal('ask')
      if (lateMs !== undefined) await ctx.sleep(lateMs)
      ctx.state.log.push(await outcome(child))
      ctx.state.log.push(await outcome(child))
    },
    async twoAtOnce(ctx) {
      const children = ['x', 'y'].map((id) => ctx.children.start(Leaf, id, { n: 1 }))
      ctx.state.log.push(await Promise.all(children.map(outcome)))
    },
    unwatched: (ctx) => void ctx.children.start(Leaf, 'u', { n: 1 }),
    policy(ctx, onParentClose) {
      ctx.children.start(Leaf, 'p', { n: 1 }, { onParentClose: onParentClose as 'abandon' })
    },
    end: (ctx) => ctx.complete(),
  },
})

async function outcome(child: ChildHandle<(typeof Leaf)['shape']>): Promise<unknown> {
  try {
    return await child.result()
  } catch (error) {
    const { code, message, details } = error as Error & { readonly code: unknown; readonly details: unknown }
    return { code, message, details }
  }
}

function sends(bench: InstanceBench): readonly unknown[] {
  return bench.effects.flatMap((effect) =>
    effect.kind === 'send'
      ? [[effect.id, effect.target, effect.inputKind, effect.name, decodeValue(effect.payload)]]
      : [],
  )
}

const PARENT = { key: 'root.r', effect: '7.0' }
const END = { code: 'TERMINATED', message: expect.stringContaining('was terminated') as string }

async function startedLeaf(): Promise<InstanceBench> {
  const bench = new InstanceBench(leaf)
  await bench.send('start', '', { input: { n: 1 }, ifRunning: 'fail', parent: PARENT })
  return bench
}

describe('a parent', () => {
  it('starts a child by a send that names the parent and the call', async () => {
    const bench = new InstanceBench(root)
    await bench.signal('start', { n: 3 })
    const payload = { input: { n: 3 }, ifRunning: 'fail', parent: { key: 'root.i1', effect: '1.0' } }
    expect(sends(bench)).toEqual([['1.0', 'leaf.a=2Eb', 'start', '', payload]])
  })

  it.each([
    ['an input that the contract refuses', 'start', { n: 'x' }, 'INVALID_PAYLOAD'],
    ['a policy that is none', 'policy', 'ignore', 'INVALID_DEFINITION'],
  ])('cannot start one with %s', async (_, name, payload, code) => {
    const bench = new InstanceBench(root)
    expect(await bench.signal(name, payload)).toMatchObject({ kind: 'poisoned', error: { code } })
  })

  it('gets the result where it waits for it, and again where it asks again', async () => {
    const bench = new InstanceBench(root)
    await bench.signal('wait', {})
    expect(sends(bench).slice(1)).toEqual([['1.1', 'leaf.c', 'signal', 'ask', undefined]])
    await bench.send('child', 'leaf', { effect: '1.0', outcome: { ok: true, value: { sum: 4 } } })
    expect(bench.state).toEqual({ log: [{ sum: 4 }, { sum: 4 }] })
    expect(bench.instance.isQuiescent).toBe(true)
  })

  it('gets the result also where it came before it waited', async () => {
    const bench = new InstanceBench(root)
    await bench.signal('wait', { lateMs: 5 })
    const timer = bench.effects.find(({ kind }) => kind === 'timer')
    await bench.send('child', 'leaf', { effect: '1.0', outcome: { ok: true, value: 4 } })
    if (timer?.kind !== 'timer') throw new Error('no timer was set')
    await bench.fire(timer.id, timer.dueMs)
    expect(bench.state).toEqual({ log: [4, 4] })
  })

  it.each([undefined, 5])('is told why a child failed (late by %s ms)', async (lateMs) => {
    const bench = new InstanceBench(root)
    await bench.signal('wait', { lateMs })
    const timer = bench.effects.find(({ kind }) => kind === 'timer')
    const error = { code: 'WORKFLOW_FAILED', message: 'sorry', details: { n: 1 } }
    await bench.send('child', 'leaf', { effect: '1.0', outcome: { ok: false, error } })
    if (timer?.kind === 'timer') await bench.fire(timer.id, timer.dueMs)
    const told = { code: 'CHILD_FAILED', message: 'sorry', details: error }
    expect(bench.state).toEqual({ log: [told, told] })
  })

  it('waits for several at once', async () => {
    const bench = new InstanceBench(root)
    await bench.signal('twoAtOnce')
    await bench.send('child', 'leaf', { effect: '1.1', outcome: { ok: true, value: 'y' } })
    await bench.send('child', 'leaf', { effect: '1.0', outcome: { ok: true, value: 'x' } })
    expect(bench.state).toEqual({ log: [['x', 'y']] })
  })

  it('needs not wait: it is quiescent, and a result or failure changes nothing but that the child is closed', async () => {
    const bench = new InstanceBench(root)
    await bench.signal('unwatched')
    expect([bench.instance.isQuiescent, bench.instance.data.children.size]).toEqual([true, 1])
    const error = { code: 'WORKFLOW_FAILED', message: 'sorry' }
    await bench.send('child', 'leaf', { effect: '1.0', outcome: { ok: false, error } })
    expect([bench.kinds, bench.instance.data.children.size]).toEqual([[], 0])
  })

  it('ignores a result that comes twice, or of a call that it did not make', async () => {
    const bench = new InstanceBench(root)
    await bench.signal('wait', {})
    await bench.send('child', 'leaf', { effect: '1.0', outcome: { ok: true, value: 1 } })
    for (const effect of ['1.0', '9.9']) {
      await bench.send('child', 'leaf', { effect, outcome: { ok: true, value: 2 } })
      expect(bench.kinds).toEqual(['ignored'])
    }
    await bench.send('child', 'leaf', { effect: 'x' })
    expect(bench.kinds).toEqual(['dead'])
    expect(bench.state).toEqual({ log: [1, 1] })
  })

  it('that closes terminates the children that have not, and abandons those that it was told to', async () => {
    const bench = new InstanceBench(root)
    await bench.signal('policy', 'abandon')
    await bench.signal('unwatched')
    await bench.signal('start', { n: 1 })
    await bench.send('child', 'leaf', { effect: '3.0', outcome: { ok: true } })
    await bench.signal('end')
    expect(sends(bench)).toEqual([
      [
        '5.0',
        'leaf.u',
        'admin',
        'terminate',
        { reason: 'its parent root/i1 has closed', parent: { key: 'root.i1', effect: '2.0' } },
      ],
    ])
    expect(bench.instance.data.children.size).toBe(0)
  })

  it('that closes asks the children to cancel for which it was told to', async () => {
    const bench = new InstanceBench(root)
    await bench.signal('policy', 'cancel')
    await bench.signal('end')
    expect(sends(bench)).toEqual([
      [
        '2.0',
        'leaf.p',
        'cancel',
        '',
        { reason: 'its parent root/i1 has closed', parent: { key: 'root.i1', effect: '1.0' } },
      ],
    ])
  })

  it('keeps its open children over a restart', async () => {
    const bench = new InstanceBench(root)
    await bench.signal('policy', 'abandon')
    await bench.signal('policy', 'cancel')
    await bench.signal('unwatched')
    const { data } = bench.instance
    const restored = decodeData(encodeData(data), 10_000, () => new Uint8Array(0))
    expect([restored.children, restored.parent]).toEqual([data.children, undefined])
  })
})

describe('a child', () => {
  it('tells its parent its result, once it has closed', async () => {
    const bench = await startedLeaf()
    await bench.signal('ask')
    expect(bench.state).toMatchObject({ parent: '{"type":"root","id":"r"}' })
    await bench.signal('end', { sum: 4 })
    expect(sends(bench)).toEqual([
      ['3.0', 'root.r', 'child', 'leaf', { effect: '7.0', outcome: { ok: true, value: { sum: 4 } } }],
    ])
    await bench.send('start', '', { input: { n: 1 } })
    await bench.signal('end')
    expect(sends(bench)).toEqual([])
  })

  it('tells its parent that it failed', async () => {
    const bench = await startedLeaf()
    await bench.signal('fail')
    const error = { code: 'WORKFLOW_FAILED', message: 'sorry', details: { n: 1 } }
    expect(sends(bench)).toEqual([['2.0', 'root.r', 'child', 'leaf', { effect: '7.0', outcome: { ok: false, error } }]])
  })

  it('that completes with more than a message takes tells that instead', async () => {
    const bench = await startedLeaf()
    await bench.signal('end', 'x'.repeat(PAYLOAD_BYTES_MAX - 10))
    expect(sends(bench)).toMatchObject([
      ['2.0', 'root.r', 'child', 'leaf', { outcome: { ok: false, error: { code: 'PAYLOAD_TOO_LARGE' } } }],
    ])
    expect(bench.instance.data.phase).toMatchObject({ kind: 'closed', outcome: { ok: true } })
  })

  it.each([
    ['runs already', { input: { n: 1 } }, 'ALREADY_STARTED'],
    ['gets an input that its contract refuses', undefined, 'INVALID_PAYLOAD'],
  ])('that %s is not started, and the parent is told', async (_, before, code) => {
    const bench = new InstanceBench(leaf)
    if (before !== undefined) await bench.send('start', '', before)
    const input = before === undefined ? { n: 'x' } : { n: 2 }
    await bench.send('start', '', { input, ifRunning: 'fail', parent: PARENT })
    expect(sends(bench)).toMatchObject([
      [expect.any(String), 'root.r', 'child', 'leaf', { effect: '7.0', outcome: { ok: false, error: { code } } }],
    ])
    expect(bench.instance.data.parent).toBeUndefined()
  })

  it.each([
    [{ key: 'root', effect: '7.0' }, 'fail'],
    [{ key: 'root.r', effect: '7' }, 'fail'],
    [{ key: 'a.b.c', effect: '7.0' }, 'fail'],
    [{ key: 'root.r>', effect: '7.0' }, 'fail'],
    ['root.r', 'fail'],
    [PARENT, 'use'],
  ])('with the parent %j and ifRunning %s is a dead letter', async (parent, ifRunning) => {
    const bench = new InstanceBench(leaf)
    await bench.send('start', '', { input: { n: 1 }, ifRunning, parent })
    expect(bench.kinds).toEqual(['dead'])
  })

  it('knows its parent over a restart', async () => {
    const { data } = (await startedLeaf()).instance
    expect(decodeData(encodeData(data), 10_000, () => new Uint8Array(0)).parent).toEqual(PARENT)
  })
})

describe('terminate', () => {
  it('closes the instance as failed at once, whatever runs or waits in it', async () => {
    const bench = await startedLeaf()
    await bench.send('update', 'slow', undefined, { id: 'u', reply: '_INBOX.u' })
    await bench.signal('note', 'never', { id: 'n', reply: '_INBOX.n' })
    await bench.send('admin', 'terminate', { reason: 'enough' }, { id: 't', reply: '_INBOX.t' })
    const error = { code: 'TERMINATED', message: 'leaf/i1 was terminated: enough' }
    expect(bench.instance.data.phase).toMatchObject({ kind: 'closed', outcome: { ok: false, error } })
    expect(bench.instance.isQuiescent).toBe(true)
    expect(bench.state).toMatchObject({ log: [] })
    expect(
      bench.effects.flatMap((effect) => (effect.kind === 'reply' ? [[effect.inbox, effect.payload.outcome]] : [])),
    ).toEqual([
      ['_INBOX.u', { ok: false, error }],
      ['_INBOX.n', { ok: false, error }],
      ['_INBOX.t', { ok: true, value: undefined }],
    ])
    expect(bench.effects.filter(({ kind }) => kind === 'dead')).toMatchObject([{ input: { id: 'n' } }])
    expect(bench.kinds).toContain('timer-done')
    expect(sends(bench)).toMatchObject([[expect.any(String), 'root.r', 'child', 'leaf', { outcome: { error } }]])
  })

  it('of a parent means the child that it started, not another life of its id', async () => {
    const bench = await startedLeaf()
    await bench.send('admin', 'terminate', { parent: { ...PARENT, effect: '6.0' } })
    expect(bench.kinds).toEqual(['ignored'])
    await bench.send('admin', 'terminate', { parent: PARENT })
    expect(bench.instance.data.phase).toMatchObject({ kind: 'closed', outcome: { error: END } })
  })

  it('leaves to the next life what came behind a close that was asked for earlier', async () => {
    const bench = new InstanceBench(auto)
    await bench.signal('endAfter')
    await bench.signal('note', 'next life')
    await bench.send('admin', 'terminate')
    expect(bench.state).toEqual({ log: ['next life'] })
    expect(bench.instance.data).toMatchObject({ incarnation: 2, phase: { kind: 'running' } })
  })

  it.each([
    ['closed', 'CLOSED'],
    ['absent', 'NOT_FOUND'],
  ])('of an instance that is %s is refused', async (phase, code) => {
    const bench = phase === 'closed' ? await startedLeaf() : new InstanceBench(leaf)
    if (phase === 'closed') await bench.signal('end')
    await bench.send('admin', 'terminate', undefined, { reply: '_INBOX.t' })
    expect(bench.effects).toMatchObject([{ kind: 'reply', payload: { outcome: { ok: false, error: { code } } } }])
  })

  it.each([[{ reason: 7 }], [{ reason: 'x'.repeat(501) }], [{ parent: 'root.r' }]])(
    'with the payload %j is a dead letter',
    async (payload) => {
      const bench = await startedLeaf()
      await bench.send('admin', 'terminate', payload)
      expect(bench.kinds).toEqual(['dead'])
    },
  )
})

describe('cancel', () => {
  it('of a parent means the child that it started, not another life of its id', async () => {
    const bench = await startedLeaf()
    await bench.send('cancel', '', { parent: { ...PARENT, effect: '6.0' } })
    expect(bench.kinds).toEqual(['ignored'])
    await bench.send('cancel', '', { parent: PARENT, reason: 'enough' })
    expect(bench.instance.data.phase).toMatchObject({
      kind: 'closed',
      outcome: { error: { code: 'CANCELLED', message: 'leaf/i1 was cancelled: enough' } },
    })
  })

  it.each([[{ reason: 7 }], [{ reason: 'x'.repeat(501) }], [{ parent: 'root.r' }]])(
    'with the payload %j is a dead letter, and changes nothing',
    async (payload) => {
      const bench = await startedLeaf()
      await bench.send('cancel', '', payload)
      expect(bench.effects).toMatchObject([{ kind: 'dead', reason: { code: 'INVALID_PAYLOAD' } }])
      expect(bench.instance.data.phase).toMatchObject({ kind: 'running' })
    },
  )
})
