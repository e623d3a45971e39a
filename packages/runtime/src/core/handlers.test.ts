import { describe, expect, it } from 'vitest'

import { type Context, defineWorkflow, implement, type, UpdateRejected, WorkflowFailure } from '../index.ts'
import { InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'

installGuards()

const Work = defineWorkflow('work', {
  signals: {
    act: type<string>(),
    note: type<string>(),
    detach: type<string>(),
    done: type<string>(),
    doneAfter: type<string>(),
    fail: type<unknown>(),
    throw: type<unknown>(),
    keep: type<void>(),
    useKept: type<void>(),
    sleepOn: type<void>(),
    waitFor: type<number>(),
    optioned: type<void>(),
  },
  updates: {
    add: { input: type<number>(), output: type<unknown>() },
    refuse: { input: type<unknown>() },
    echo: { input: type<unknown>(), output: type<unknown>() },
    slow: { output: type<string>() },
  },
  activities: { call: { input: type<string>(), output: type<string>() }, bare: {} },
})

let kept: Context | undefined
const work = implement(Work, {
  startOnSignal: true,
  state: () => ({ log: [] as string[], n: 0 }),
  on: {
    async act(ctx, what) {
      ctx.state.log.push(`begin ${what}`)
      ctx.state.log.push(`end ${await ctx.activities.call(what)}`)
    },
    note: (ctx, what) => void ctx.state.log.push(what),
    detach(ctx, what) {
      ctx.activities.call(what).then(
        (answer) => ctx.state.log.push(`late ${answer}`),
        () => undefined,
      )
    },
    done: (ctx, result) => ctx.complete(result),
    async doneAfter(ctx, result) {
      ctx.complete(result)
      await ctx.activities.call('last')
      ctx.state.log.push('after')
    },
    fail(_, details) {
      throw new WorkflowFailure('gave up', details)
    },
    throw(_, thrown) {
      throw thrown
    },
    keep: (ctx) => void (kept = ctx as unknown as Context),
    useKept: () => kept?.now(),
    async sleepOn(ctx) {
      await ctx.sleep(1000)
      ctx.state.log.push('woke')
    },
    async waitFor(ctx, n) {
      ctx.state.log.push(String(await ctx.condition(() => ctx.state.n >= n, 5000)))
    },
    optioned: (ctx) => ctx.activities.bare({ retry: { nonRetryable: [(() => 'x') as never] } }),
  },
  updates: {
    add: {
      validate(state, n) {
        if (n > 10) throw new Error(`too much on top of ${state.n}`)
      },
      run: (ctx, n) => (ctx.state.n += n),
    },
    refuse: (_, details) => {
      throw new UpdateRejected('no', details)
    },
    echo: (_, value) => value,
    slow: (ctx) => ctx.activities.call('slow'),
  },
})

const closedAs = (bench: InstanceBench): unknown => bench.instance.data.phase

describe('handlers', () => {
  it('run one at a time in the order of their inputs, signals and updates alike', async () => {
    const bench = new InstanceBench(work)
    await bench.signal('act', 'a')
    await bench.send('update', 'add', 3, { reply: '_INBOX.a' })
    await bench.signal('act', 'b')
    await bench.signal('note', 'c')
    expect(bench.instance.queued).toBe(3)
    expect(bench.state).toEqual({ log: ['begin a'], n: 0 })
    await bench.result('1.0', 'A')
    expect(bench.kinds).toEqual(['activity-done', 'reply', 'activity'])
    expect(bench.state).toEqual({ log: ['begin a', 'end A', 'begin b'], n: 3 })
    await bench.result('5.0', 'B')
    expect(bench.state).toEqual({ log: ['begin a', 'end A', 'begin b', 'end B', 'c'], n: 3 })
    expect(bench.instance.isQuiescent).toBe(true)
  })

  it('are told the error of an activity that failed', async () => {
    const bench = new InstanceBench(work)
    await bench.signal('act', 'a')
    const outcome = { ok: false, error: { code: 'ACTIVITY_FAILED', message: 'no network' } }
    const result = await bench.send('activity', 'call', { effect: '1.0', outcome })
    expect(result).toMatchObject({ kind: 'poisoned', error: { code: 'ACTIVITY_FAILED', message: 'no network' } })
  })

  it('keep the instance from being quiescent while something they left behind still waits', async () => {
    const bench = new InstanceBench(work)
    await bench.signal('detach', 'x')
    expect(bench.instance.isQuiescent).toBe(false)
    await bench.result('1.0', 'X')
    expect(bench.state).toMatchObject({ log: ['late X'] })
    expect(bench.instance.isQuiescent).toBe(true)
  })

  it('sleep and wait for conditions, with a time-out', async () => {
    const bench = new InstanceBench(work)
    await bench.signal('sleepOn')
    expect(bench.effects).toMatchObject([{ kind: 'timer', id: '1.0', name: 'sleep', dueMs: 1_001_001 }])
    await bench.fire('1.0', 1_001_001)
    expect(bench.state).toMatchObject({ log: ['woke'] })
    await bench.signal('waitFor', 1)
    await bench.fire('3.0', 1_006_004)
    expect(bench.state).toMatchObject({ log: ['woke', 'false'] })
    await bench.signal('waitFor', 0)
    expect(bench.effects).toEqual([])
    expect(bench.state).toMatchObject({ log: ['woke', 'false', 'true'] })
  })

  it('may not use a ctx of another turn or instance', async () => {
    const first = new InstanceBench(work)
    await first.signal('keep')
    expect(() => kept?.now()).toThrow(expect.objectContaining({ code: 'OUTSIDE_TURN' }))
    expect(() => kept?.state).toThrow(expect.objectContaining({ code: 'OUTSIDE_TURN' }))
    await expect(kept?.sleep(1)).rejects.toMatchObject({ code: 'OUTSIDE_TURN' })
    expect(await new InstanceBench(work).signal('useKept')).toMatchObject({
      kind: 'poisoned',
      error: { code: 'OUTSIDE_TURN' },
    })
  })

  it('may not pass options that cannot be kept', async () => {
    expect(await new InstanceBench(work).signal('optioned')).toMatchObject({
      kind: 'poisoned',
      error: { code: 'INVALID_STATE' },
    })
  })

  it('that throw anything at all poison their own turn only', async () => {
    for (const thrown of [null, 'text', { code: 5 }, new Map()]) {
      expect((await new InstanceBench(work).signal('throw', thrown)).kind).toBe('poisoned')
    }
  })
})

describe('updates', () => {
  it('refuse by their validator before anything changes', async () => {
    const bench = new InstanceBench(work)
    await bench.send('update', 'add', 3)
    const before = bench.digest
    await bench.send('update', 'add', 11, { reply: '_INBOX.a', seq: 2 })
    expect(bench.effects).toMatchObject([
      { payload: { outcome: { ok: false, error: { code: 'UPDATE_REJECTED', message: 'too much on top of 3' } } } },
    ])
    expect(bench.state).toEqual({ log: [], n: 3 })
    expect(bench.digest).not.toBe(before)
  })

  it('tell their rejection, without details that cannot travel', async () => {
    const bench = new InstanceBench(work)
    await bench.send('update', 'refuse', { why: 'closed' }, { reply: '_INBOX.a' })
    expect(bench.effects).toMatchObject([
      { payload: { outcome: { error: { code: 'UPDATE_REJECTED', message: 'no', details: { why: 'closed' } } } } },
    ])
    await bench.send('update', 'refuse', 'x'.repeat(100_000), { reply: '_INBOX.a' })
    expect(bench.effects).toEqual([
      expect.objectContaining({
        payload: {
          seq: 2,
          duplicate: false,
          outcome: { ok: false, error: { code: 'UPDATE_REJECTED', message: 'no' } },
        },
      }),
    ])
  })

  it('may not give back more than can be kept, or deeper than it can be sent', async () => {
    let deep: unknown = 1
    for (let i = 0; i < 61; i++) deep = [deep]
    expect(await new InstanceBench(work).send('update', 'echo', deep)).toMatchObject({
      kind: 'poisoned',
      error: { code: 'INVALID_STATE' },
    })
    expect(await new InstanceBench(work).send('update', 'echo', 'x'.repeat(70_000))).toMatchObject({
      kind: 'poisoned',
      error: { code: 'PAYLOAD_TOO_LARGE' },
    })
  })

  it('are checked against the schema of their output', async () => {
    const Checked = defineWorkflow('checked', { updates: { get: { output: onlyNumbers } } })
    const bench = new InstanceBench(
      implement(Checked, { startOnSignal: true, state: () => 0, updates: { get: () => 'text' } }),
    )
    expect(await bench.send('update', 'get')).toMatchObject({ kind: 'poisoned', error: { code: 'INVALID_PAYLOAD' } })
  })

  it('of an unknown name, or with an invalid payload, are dead letters that the sender is told of', async () => {
    const bench = new InstanceBench(work)
    await bench.send('update', 'nope', 1, { reply: '_INBOX.a' })
    expect(bench.effects).toMatchObject([{ kind: 'dead', reason: { code: 'UNKNOWN_NAME' } }, { kind: 'reply' }])
    await bench.send('update', 'add', undefined, { payload: Uint8Array.of(0xc1), reply: '_INBOX.a' })
    expect(bench.effects).toMatchObject([{ kind: 'dead', reason: { code: 'INVALID_PAYLOAD' } }, { kind: 'reply' }])
    expect(bench.instance.data.phase.kind).toBe('absent')
  })
})

const onlyNumbers = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value: unknown) => (typeof value === 'number' ? { value } : { issues: [{ message: 'not a number' }] }),
  },
} as const

describe('known ids', () => {
  it('answer a repeat with the first outcome, whatever its payload', async () => {
    const bench = new InstanceBench(work)
    await bench.send('update', 'add', 3, { id: 'a', reply: '_INBOX.1' })
    await bench.send('update', 'add', 5, { id: 'a', reply: '_INBOX.2' })
    expect(bench.effects).toMatchObject([
      { kind: 'duplicate' },
      { kind: 'reply', inbox: '_INBOX.2', payload: { duplicate: true, outcome: { ok: true, value: 3 } } },
    ])
    expect(bench.state).toMatchObject({ n: 3 })
  })

  it('hold back the answer to a repeat while the first one is in progress', async () => {
    const bench = new InstanceBench(work)
    await bench.send('update', 'slow', undefined, { id: 'a', reply: '_INBOX.1' })
    await bench.send('update', 'slow', undefined, { id: 'a', reply: '_INBOX.2' })
    expect(bench.kinds).toEqual(['duplicate'])
    await bench.result('1.0', 'S')
    expect(bench.effects).toMatchObject([
      { kind: 'activity-done' },
      { kind: 'reply', inbox: '_INBOX.1', payload: { duplicate: false, outcome: { value: 'S' } } },
      { kind: 'reply', inbox: '_INBOX.2', payload: { duplicate: true, outcome: { value: 'S' } } },
    ])
  })

  it('remember dead letters and rejections too', async () => {
    const bench = new InstanceBench(work)
    await bench.signal('note', 'x')
    await bench.signal('nope', 1, { id: 'd', reply: '_INBOX.1' })
    await bench.signal('note', 'y', { id: 'd', reply: '_INBOX.2' })
    expect(bench.effects).toMatchObject([
      { kind: 'duplicate' },
      { payload: { duplicate: true, outcome: { ok: false, error: { code: 'UNKNOWN_NAME' } } } },
    ])
    expect(bench.state).toMatchObject({ log: ['x'] })
  })

  it('are one window over signals, updates and starts', async () => {
    const bench = new InstanceBench(work)
    await bench.signal('note', 'x', { id: 'same' })
    await bench.send('update', 'add', 1, { id: 'same' })
    expect(bench.kinds).toEqual(['duplicate'])
    await bench.send('start', '', {}, { id: 'same' })
    expect(bench.kinds).toEqual(['duplicate'])
  })

  it('are kept for at least as many newer ids as the type says, and not for ever', async () => {
    const Small = defineWorkflow('small', { signals: { hit: type<void>() } })
    const bench = new InstanceBench(
      implement(Small, {
        startOnSignal: true,
        knownIdsMax: 100,
        state: () => ({ n: 0 }),
        on: { hit: (ctx) => void (ctx.state.n += 1) },
      }),
    )
    const hit = async (id: number): Promise<string> => {
      await bench.signal('hit', undefined, { id: `id-${id}` })
      return bench.kinds.join()
    }
    for (let id = 0; id < 1000; id++) {
      expect(await hit(id)).toBe('')
      if (id >= 100) expect(await hit(id - 100)).toBe('duplicate')
    }
    expect(bench.instance.data.known.size).toBeLessThanOrEqual(100 + 2 * 64)
    expect(await hit(0)).toBe('')
  })
})

describe('the close', () => {
  it('waits for the handler that asked for it, and drops timers and activities of the life that ends', async () => {
    const bench = new InstanceBench(work)
    await bench.signal('detach', 'x')
    await bench.signal('doneAfter', 'R', { reply: '_INBOX.1' })
    expect(closedAs(bench)).toMatchObject({ kind: 'running' })
    await bench.result('2.0')
    expect(bench.kinds).toEqual(['activity-done', 'reply', 'activity-done', 'closed'])
    expect(closedAs(bench)).toMatchObject({ kind: 'closed', seq: 3, outcome: { ok: true, value: 'R' } })
    await bench.result('1.0', 'X')
    expect(bench.kinds).toEqual(['activity-done', 'ignored'])
  })

  it('sends inputs that wait behind it into the next life, with the known ids carried over', async () => {
    const bench = new InstanceBench(work)
    await bench.signal('note', 'before', { id: 'n1' })
    await bench.signal('doneAfter', 'R')
    await bench.signal('note', 'behind', { id: 'n2', reply: '_INBOX.1' })
    await bench.signal('note', 'again', { id: 'n1', reply: '_INBOX.2' })
    await bench.result('2.0')
    expect(bench.kinds).toEqual(['activity-done', 'closed', 'reply'])
    expect(bench.instance.data).toMatchObject({
      incarnation: 2,
      phase: { kind: 'running' },
      state: { log: ['behind'], n: 0 },
    })
    await bench.signal('note', 'once more', { id: 'n2' })
    expect(bench.kinds).toEqual(['duplicate'])
  })

  it('answers inputs behind it with CLOSED, and dead-letters them, where the type does not start by itself', async () => {
    const Plain = defineWorkflow('plain', {
      signals: { stop: type<void>(), note: type<string>() },
      activities: { call: {} },
    })
    const plain = implement(Plain, {
      state: () => ({}),
      on: {
        async stop(ctx) {
          ctx.complete()
          await ctx.activities.call()
        },
        note: () => {},
      },
    })
    const bench = new InstanceBench(plain)
    await bench.signal('note', 'early', { reply: '_INBOX.0' })
    expect(bench.effects).toMatchObject([{ kind: 'dead', reason: { code: 'NOT_FOUND' } }, { kind: 'reply' }])
    await bench.send('start', '')
    await bench.signal('stop')
    await bench.signal('note', 'x', { reply: '_INBOX.1' })
    await bench.result('3.0')
    expect(bench.effects).toMatchObject([
      { kind: 'activity-done' },
      { kind: 'closed' },
      { kind: 'dead', reason: { code: 'CLOSED' } },
      { kind: 'reply', inbox: '_INBOX.1', payload: { outcome: { ok: false, error: { code: 'CLOSED' } } } },
    ])
    await bench.send('start', '', { signal: { name: 'note', payload: 'y' } }, { reply: '_INBOX.2' })
    expect(bench.instance.data).toMatchObject({ incarnation: 2, phase: { kind: 'running' } })
  })

  it('counts the first result only', async () => {
    const bench = new InstanceBench(work)
    await bench.signal('doneAfter', 'first')
    await bench.signal('done', 'second')
    await bench.result('1.0')
    expect(bench.instance.data).toMatchObject({
      incarnation: 2,
      phase: { kind: 'closed', outcome: { value: 'second' } },
    })
  })

  it('fails the instance when a handler throws WorkflowFailure, and tells the sender', async () => {
    const bench = new InstanceBench(work)
    await bench.signal('fail', { why: 1 }, { reply: '_INBOX.1' })
    const error = { code: 'WORKFLOW_FAILED', message: 'gave up', details: { why: 1 } }
    expect(bench.effects).toMatchObject([
      { kind: 'reply', payload: { outcome: { ok: false, error } } },
      { kind: 'closed' },
    ])
    expect(closedAs(bench)).toMatchObject({ kind: 'closed', outcome: { ok: false, error } })
  })

  it('starts no second life by a start that finds one running, unless told to use it', async () => {
    const bench = new InstanceBench(work)
    await bench.signal('note', 'x')
    await bench.send('start', '', {}, { reply: '_INBOX.1' })
    expect(bench.effects).toMatchObject([{ payload: { outcome: { ok: false, error: { code: 'ALREADY_STARTED' } } } }])
    await bench.send('start', '', { ifRunning: 'use', signal: { name: 'note', payload: 'y' } }, { reply: '_INBOX.2' })
    expect(bench.effects).toMatchObject([{ payload: { outcome: { ok: true } } }])
    expect(bench.state).toMatchObject({ log: ['x', 'y'] })
    for (const bad of [5, 'x', [], { ifRunning: 'maybe' }, { signal: {} }, { signal: 'note' }]) {
      await bench.send('start', '', bad)
      expect(bench.effects).toMatchObject([{ kind: 'dead', reason: { code: 'INVALID_PAYLOAD' } }])
    }
  })
})

describe('inputs of an unknown schema version', () => {
  it('are never guessed at', async () => {
    expect(await new InstanceBench(work).signal('note', 'x', { version: '2' })).toMatchObject({
      kind: 'poisoned',
      error: { code: 'UNKNOWN_VERSION' },
    })
  })
})
