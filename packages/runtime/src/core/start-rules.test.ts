import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, type, UpdateRejected } from '../index.ts'
import { BENCH_START_MS, InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'

installGuards()

const Job = defineWorkflow('job', {
  input: type<{ name: string } | undefined>(),
  signals: { note: type<string>(), act: type<string>(), now: type<string>(), end: type<void>() },
  updates: { add: { input: type<number>(), output: type<number>() } },
  activities: { call: { input: type<string>(), output: type<string>() } },
})

type Options = { readonly startOnSignal?: boolean; readonly ifClosed?: 'restart' | 'fail'; readonly retention?: number }

function job(options: Options = {}): ReturnType<typeof implement> {
  return implement(Job, {
    ...options,
    startOnSignal: options.startOnSignal ?? false,
    state: (input) => ({ name: input?.name ?? 'nobody', n: 0, log: [] as string[] }),
    on: {
      note: (ctx, text) => void ctx.state.log.push(text),
      async act(ctx, what) {
        ctx.state.log.push(await ctx.activities.call(what))
      },
      async now(ctx, what) {
        ctx.state.log.push(await ctx.activities.call(what))
      },
      end: (ctx) => ctx.complete('ended'),
    },
    concurrent: ['now'],
    updates: {
      add(ctx, n) {
        if (n < 0) throw new UpdateRejected('no negative numbers')
        return (ctx.state.n += n)
      },
    },
    timers: { often: { every: 1000, run: (ctx) => void ctx.state.log.push('often') } },
  })
}

const outcomes = (bench: InstanceBench): unknown[] =>
  bench.effects.flatMap((effect) => (effect.kind === 'reply' ? [effect.payload.outcome] : []))

async function closed(options: Options = {}): Promise<InstanceBench> {
  const bench = new InstanceBench(job(options))
  await bench.send('start', '', { input: { name: 'first' } })
  await bench.signal('end', undefined, { id: 'end' })
  return bench
}

describe('a start of an instance that runs', () => {
  it('with terminate ends it as failed and begins the next life, in one turn', async () => {
    const bench = new InstanceBench(job())
    await bench.send('start', '', { input: { name: 'first' } })
    await bench.signal('act', 'a', { reply: '_INBOX.a' })
    await bench.signal('now', 'b', { reply: '_INBOX.b' })
    await bench.signal('note', 'c', { reply: '_INBOX.c', id: 'c' })
    await bench.send('start', '', { input: { name: 'second' }, ifRunning: 'terminate' }, { reply: '_INBOX.d' })
    const told = bench.effects.flatMap((effect) =>
      effect.kind === 'reply'
        ? [[effect.inbox, effect.payload.outcome.ok ? 'ok' : effect.payload.outcome.error.code]]
        : [],
    )
    expect(told).toEqual([
      ['_INBOX.a', 'TERMINATED'],
      ['_INBOX.b', 'TERMINATED'],
      ['_INBOX.c', 'TERMINATED'],
      ['_INBOX.d', 'ok'],
    ])
    expect(bench.effects.filter(({ kind }) => kind === 'dead')).toMatchObject([{ input: { seq: 4 } }])
    expect(bench.instance.data).toMatchObject({ incarnation: 2, phase: { kind: 'running' }, state: { name: 'second' } })
    await bench.result('2.0', 'late')
    expect(bench.kinds).toEqual(['activity-done', 'ignored'])
    await bench.signal('note', 'again', { id: 'c' })
    expect(bench.kinds).toEqual(['duplicate'])
    expect(bench.instance.isQuiescent).toBe(true)
  })

  it('whose payload does not fit terminates nothing', async () => {
    const bench = new InstanceBench(job())
    await bench.send('start', '', { input: { name: 'first' } })
    await bench.send('start', '', { ifRunning: 'terminate', update: { name: 'nope' } })
    expect(bench.effects).toMatchObject([{ kind: 'dead', reason: { code: 'UNKNOWN_NAME' } }])
    expect(bench.instance.data).toMatchObject({ incarnation: 1, phase: { kind: 'running' } })
  })

  it('with fail does not lose the signal that came along', async () => {
    const bench = new InstanceBench(job())
    await bench.send('start', '')
    await bench.send('start', '', { signal: { name: 'note', payload: 'x' } }, { reply: '_INBOX.a' })
    expect(bench.effects).toMatchObject([{ kind: 'dead', reason: { code: 'ALREADY_STARTED' } }, { kind: 'reply' }])
  })
})

describe('a start of an instance that has closed', () => {
  it('begins the next life, or is refused with CLOSED where the start or the type says so', async () => {
    const again = await closed()
    await again.send('start', '')
    expect(again.instance.data).toMatchObject({ incarnation: 2, phase: { kind: 'running' } })
    const refused = await closed()
    await refused.send('start', '', { ifClosed: 'fail' }, { reply: '_INBOX.a' })
    expect(outcomes(refused)).toMatchObject([{ ok: false, error: { code: 'CLOSED' } }])
    const byType = await closed({ ifClosed: 'fail' })
    await byType.send('start', '', {}, { reply: '_INBOX.a' })
    expect(outcomes(byType)).toMatchObject([{ ok: false, error: { code: 'CLOSED' } }])
    await byType.send('start', '', { ifClosed: 'restart' })
    expect(byType.instance.data).toMatchObject({ incarnation: 2, phase: { kind: 'running' } })
  })

  it('may terminate what runs and yet refuse what has closed by itself', async () => {
    const payload = { ifRunning: 'terminate', ifClosed: 'fail' }
    const bench = new InstanceBench(job())
    await bench.send('start', '', payload)
    await bench.send('start', '', payload, { reply: '_INBOX.a' })
    expect(outcomes(bench)).toEqual([{ ok: true }])
    expect(bench.instance.data.incarnation).toBe(2)
    await bench.signal('end')
    await bench.send('start', '', payload, { reply: '_INBOX.a' })
    expect(outcomes(bench)).toMatchObject([{ ok: false, error: { code: 'CLOSED' } }])
  })

  it('by a signal begins the next life, unless the type says fail: then it is a dead letter, and told CLOSED', async () => {
    const again = await closed({ startOnSignal: true })
    await again.signal('note', 'x')
    expect(again.instance.data).toMatchObject({ incarnation: 2, state: { log: ['x'] } })
    const refused = await closed({ startOnSignal: true, ifClosed: 'fail' })
    await refused.signal('note', 'x', { reply: '_INBOX.a' })
    expect(refused.effects).toMatchObject([{ kind: 'dead', reason: { code: 'CLOSED' } }, { kind: 'reply' }])
    const fresh = new InstanceBench(job({ startOnSignal: true, ifClosed: 'fail' }))
    await fresh.signal('note', 'x')
    expect(fresh.state).toMatchObject({ log: ['x'] })
  })
})

describe('update-with-start', () => {
  it('starts the instance and runs the update in one turn; a repeat is answered with its value', async () => {
    const bench = new InstanceBench(job())
    const payload = { input: { name: 'x' }, ifRunning: 'use', update: { name: 'add', input: 3 } }
    await bench.send('start', '', payload, { id: 'u', reply: '_INBOX.a' })
    expect(outcomes(bench)).toEqual([{ ok: true, value: 3 }])
    expect(bench.state).toMatchObject({ name: 'x', n: 3 })
    await bench.send('start', '', payload, { id: 'u', reply: '_INBOX.b' })
    expect(outcomes(bench)).toEqual([{ ok: true, value: 3 }])
    await bench.send('start', '', payload, { id: 'v', reply: '_INBOX.b' })
    expect(outcomes(bench)).toEqual([{ ok: true, value: 6 }])
    expect(bench.instance.data.incarnation).toBe(1)
  })

  it('starts nothing when the update is unknown or does not fit; one that is rejected leaves the instance started', async () => {
    const bench = new InstanceBench(job())
    await bench.send('start', '', { update: { name: 'nope' } }, { reply: '_INBOX.a' })
    expect(bench.effects).toMatchObject([{ kind: 'dead', reason: { code: 'UNKNOWN_NAME' } }, { kind: 'reply' }])
    expect(bench.instance.data.phase.kind).toBe('absent')
    await bench.send('start', '', { update: { name: 'add', input: -1 } }, { reply: '_INBOX.a' })
    expect(outcomes(bench)).toMatchObject([{ ok: false, error: { code: 'UPDATE_REJECTED' } }])
    expect(bench.instance.data.phase.kind).toBe('running')
  })

  it('refuses payloads that say what cannot be', async () => {
    const update = { name: 'add', input: 1 }
    for (const bad of [
      { update: {} },
      { update, signal: { name: 'note' } },
      { ifClosed: 'use' },
      { delayMs: -1 },
      { delayMs: 1.5 },
      { delayMs: 1e15 },
    ]) {
      const bench = new InstanceBench(job())
      await bench.send('start', '', bad)
      expect(bench.effects).toMatchObject([{ kind: 'dead', reason: { code: 'INVALID_PAYLOAD' } }])
    }
  })
})

describe('a start with a delay', () => {
  it('tells its sender at once, and holds back handlers, timers and run until the delay is over', async () => {
    const bench = new InstanceBench(job())
    await bench.send('start', '', { delayMs: 60_000 }, { reply: '_INBOX.a' })
    expect(bench.effects).toMatchObject([
      { kind: 'timer', name: 'sleep', dueMs: BENCH_START_MS + 60_001 },
      { kind: 'reply' },
    ])
    await bench.signal('note', 'a')
    await bench.signal('note', 'b', { reply: '_INBOX.b' })
    expect(bench.state).toMatchObject({ log: [] })
    expect(bench.instance.data.timers.size).toBe(0)
    await bench.fire('1.0', BENCH_START_MS + 60_001)
    expect(bench.state).toMatchObject({ log: ['a', 'b'] })
    expect(bench.instance.data.timers.get('often')?.dueMs).toBe(BENCH_START_MS + 61_001)
    expect(bench.instance.isQuiescent).toBe(true)
  })

  it('holds back what came along with it', async () => {
    const bench = new InstanceBench(job())
    await bench.send('start', '', { delayMs: 60_000, update: { name: 'add', input: 2 } }, { reply: '_INBOX.a' })
    expect(outcomes(bench)).toEqual([])
    await bench.fire('1.0', BENCH_START_MS + 60_001)
    expect(outcomes(bench)).toEqual([{ ok: true, value: 2 }])
  })
})

describe('retention', () => {
  it('forgets a closed instance when it is over: result, known ids, everything', async () => {
    const bench = await closed({ retention: 5000, startOnSignal: true })
    expect(bench.kinds).toEqual(['timer-done', 'timer', 'closed'])
    const timer = bench.instance.data.timers.get('retention')
    expect(timer?.dueMs).toBe(BENCH_START_MS + 5002)
    await bench.signal('end', undefined, { id: 'end' })
    expect(bench.kinds).toEqual(['duplicate'])
    await bench.fire(timer?.effect ?? '', BENCH_START_MS + 5002)
    expect(bench.kinds).toEqual(['timer-done'])
    expect(bench.instance.data).toMatchObject({ phase: { kind: 'absent' }, incarnation: 0, timers: new Map() })
    expect(bench.instance.data.known.size).toBe(0)
    await bench.signal('note', 'x', { id: 'end' })
    expect(bench.instance.data).toMatchObject({ incarnation: 1, state: { log: ['x'] } })
  })

  it('is dropped when the instance is started again before', async () => {
    const bench = await closed({ retention: 5000 })
    const timer = bench.instance.data.timers.get('retention')
    await bench.send('start', '')
    expect(bench.kinds).toEqual(['timer-done', 'timer'])
    await bench.fire(timer?.effect ?? '', BENCH_START_MS + 5002)
    expect(bench.kinds).toEqual(['timer-done', 'ignored'])
    expect(bench.instance.data.phase.kind).toBe('running')
  })
})

describe('terminate', () => {
  it('closes the instance at once, with its reason', async () => {
    const bench = new InstanceBench(job())
    await bench.send('start', '')
    await bench.signal('act', 'a', { reply: '_INBOX.a' })
    await bench.send('admin', 'terminate', { reason: 'wrong customer' }, { reply: '_INBOX.b' })
    expect(bench.instance.data.phase).toMatchObject({
      kind: 'closed',
      outcome: { ok: false, error: { code: 'TERMINATED', message: 'job/i1 was terminated: wrong customer' } },
    })
    expect(outcomes(bench)).toMatchObject([{ ok: false, error: { code: 'TERMINATED' } }, { ok: true }])
    expect(bench.kinds).toEqual(['reply', 'reply', 'activity-done', 'timer-done', 'closed'])
  })

  it('says when there is nothing to terminate, and refuses a reason that is none', async () => {
    const bench = new InstanceBench(job())
    await bench.send('admin', 'terminate', undefined, { reply: '_INBOX.a' })
    expect(outcomes(bench)).toMatchObject([{ error: { code: 'NOT_FOUND' } }])
    await bench.send('start', '')
    await bench.send('admin', 'terminate', { reason: 5 })
    expect(bench.effects).toMatchObject([{ kind: 'dead', reason: { code: 'INVALID_PAYLOAD' } }])
    await bench.send('admin', 'terminate')
    await bench.send('admin', 'terminate', undefined, { reply: '_INBOX.a' })
    expect(outcomes(bench)).toMatchObject([{ error: { code: 'CLOSED' } }])
  })
})
