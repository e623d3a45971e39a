import { describe, expect, it } from 'vitest'
import { z } from 'zod'

import { codeOf, defineWorkflow, implement, type } from '../index.ts'
import { withTaskSecret } from '../contract/implement.ts'
import { formatTaskToken, parseTaskToken, type TaskDeed, taskSignal } from '../protocol/index.ts'
import { BENCH_START_MS, InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'
import { tasksOf } from './tasks.ts'

installGuards()

const Claim = defineWorkflow('claim', {
  input: type<{ deadline?: number; heartbeat?: number; scope?: number }>(),
  result: type<unknown>(),
  signals: { poke: type<void>() },
  tasks: { decide: { input: type<{ amount: number }>(), output: z.object({ ok: z.boolean() }) }, confirm: {} },
})

const claim = implement(Claim, {
  state: () => ({ token: '', log: [] as unknown[] }),
  on: {
    poke(ctx) {
      ctx.state.token = ctx.task('confirm', { deadline: 500, heartbeat: 100 }).token
    },
  },
  async run(ctx, { deadline, heartbeat, scope }) {
    const options = {
      ...(deadline === undefined ? {} : { deadline }),
      ...(heartbeat === undefined ? {} : { heartbeat }),
    }
    const decide = async (inner: typeof ctx): Promise<unknown> => {
      const task = inner.task('decide', { amount: 5 }, options)
      ctx.state.token = task.token
      ctx.state.log.push(task.dueMs, task.isOpen)
      try {
        return await task.result
      } catch (error) {
        return [codeOf(error), (error as Error).message, (error as { details?: unknown }).details ?? null]
      } finally {
        ctx.state.log.push(task.isOpen)
      }
    }
    return scope === undefined ? decide(ctx) : ctx.scope(decide, { timeout: scope }).catch(codeOf)
  },
})

async function opened(input: object = {}, implementation = claim): Promise<InstanceBench> {
  const bench = new InstanceBench(implementation)
  await bench.send('start', '', { input })
  return bench
}

const tokenOf = (bench: InstanceBench): string => (bench.state as { token: string }).token
const deed = (bench: InstanceBench, what: TaskDeed, payload?: unknown, more = {}) =>
  bench.signal(taskSignal(parseTaskToken(tokenOf(bench)), what), payload, { reply: '_INBOX.x', ...more })
const outcomeOf = (bench: InstanceBench): unknown => (bench.instance.data.phase as { outcome?: unknown }).outcome
const answers = (bench: InstanceBench): readonly unknown[] =>
  bench.effects.flatMap((effect) => (effect.kind === 'reply' ? effect.payload.outcome : []))

describe('a task', () => {
  it('is open with its input until it is completed by its token, once', async () => {
    const bench = await opened()
    expect(tasksOf(bench.instance)).toEqual([{ name: 'decide', token: tokenOf(bench), input: { amount: 5 } }])
    expect(bench.instance.isQuiescent).toBe(false)
    await deed(bench, 'complete', { ok: true })
    expect(answers(bench)).toEqual([{ ok: true }])
    expect(outcomeOf(bench)).toEqual({ ok: true, value: { ok: true } })
    expect((bench.state as { log: unknown[] }).log).toEqual([undefined, true, false])
    await deed(bench, 'complete', { ok: false })
    expect(answers(bench)).toMatchObject([{ ok: false, error: { code: 'CLOSED' } }])
    expect(bench.kinds).toContain('dead')
    expect(outcomeOf(bench)).toEqual({ ok: true, value: { ok: true } })
  })

  it('is completed by plain JSON, and answers a repeat of an input id with the first outcome', async () => {
    const bench = await opened()
    const json = { encoding: 'json', payload: new TextEncoder().encode('{"ok":false}'), id: 'click-1' }
    await deed(bench, 'complete', undefined, json)
    expect(outcomeOf(bench)).toEqual({ ok: true, value: { ok: false } })
    await deed(bench, 'complete', undefined, json)
    expect(answers(bench)).toEqual([{ ok: true }])
    expect(bench.kinds).not.toContain('dead')
  })

  it('stays open when its contract refuses what it is completed with', async () => {
    const bench = await opened()
    await deed(bench, 'complete', { ok: 'perhaps' })
    expect(answers(bench)).toMatchObject([{ ok: false, error: { code: 'INVALID_PAYLOAD' } }])
    expect(tasksOf(bench.instance)).toHaveLength(1)
  })

  it('fails by its token, with an error as data or a text', async () => {
    const bench = await opened()
    await deed(bench, 'fail', { code: 'NO_BUDGET', message: 'not this year', details: { year: 2026 } })
    expect(outcomeOf(bench)).toEqual({
      ok: true,
      value: ['TASK_FAILED', 'not this year', { code: 'NO_BUDGET', message: 'not this year', details: { year: 2026 } }],
    })
    const other = await opened()
    await deed(other, 'fail', 'no')
    expect(outcomeOf(other)).toMatchObject({ value: ['TASK_FAILED', 'no', { code: 'TASK_FAILED' }] })
  })

  it('ends with TIMEOUT at its deadline, and drops the timer when it is done before', async () => {
    const bench = await opened({ deadline: 1000 })
    const dueMs = BENCH_START_MS + 1 + 1000
    expect(bench.effects).toContainEqual({ kind: 'timer', id: '1.1', name: 'sleep', dueMs })
    expect(tasksOf(bench.instance)).toMatchObject([{ dueMs }])
    await bench.fire('1.1', dueMs)
    expect(outcomeOf(bench)).toMatchObject({
      value: ['TIMEOUT', 'the task decide was not completed within 1000 ms', { code: 'TIMEOUT' }],
    })
    await deed(bench, 'complete', { ok: true })
    expect(answers(bench)).toMatchObject([{ ok: false, error: { code: 'CLOSED' } }])

    const early = await opened({ deadline: 1000 })
    await deed(early, 'complete', { ok: true })
    expect(early.effects).toContainEqual({ kind: 'timer-done', id: '1.1', dueMs })
    expect(early.instance.data.sleeps.size).toBe(0)
  })

  it('takes its timers with it, though the instance goes on', async () => {
    const bench = await opened()
    await bench.signal('poke')
    expect(bench.instance.data.sleeps.size).toBe(2)
    await deed(bench, 'complete')
    expect(bench.kinds).toEqual(['timer-done', 'timer-done', 'reply'])
    expect(bench.instance.data.sleeps.size).toBe(0)
    expect(tasksOf(bench.instance).map(({ name }) => name)).toEqual(['decide'])
  })

  it('ends with TIMEOUT when its heartbeats stay away, and goes on while they come', async () => {
    const bench = await opened({ heartbeat: 100 })
    await deed(bench, 'heartbeat', undefined, { timeMs: BENCH_START_MS + 50 })
    expect(bench.kinds).toEqual(['timer-done', 'timer', 'reply'])
    const [[timer, dueMs] = ['0.0', 0] as const] = bench.instance.data.sleeps
    expect(dueMs).toBe(BENCH_START_MS + 150)
    await bench.fire(timer, dueMs)
    expect(outcomeOf(bench)).toMatchObject({ value: ['TIMEOUT', 'the task decide gave no heartbeat for 100 ms', {}] })
  })

  it('is let go with the scope around it', async () => {
    const bench = await opened({ scope: 200, deadline: 1000 })
    const [timeout] = bench.instance.data.sleeps
    await bench.fire(timeout?.[0] as string, timeout?.[1] as number)
    expect(outcomeOf(bench)).toMatchObject({ value: ['TIMEOUT', 'the scope was not done within 200 ms', null] })
    expect(bench.instance.data.sleeps.size).toBe(0)
    await deed(bench, 'complete', { ok: true })
    expect(answers(bench)).toMatchObject([{ error: { code: 'CLOSED' } }])
  })

  it('gives the same token whenever its turn is folded again, and another one in another cluster', async () => {
    expect(tokenOf(await opened())).toBe(tokenOf(await opened()))
    const [a, b] = ['a', 'b'].map((secret) => withTaskSecret(claim, secret))
    expect(tokenOf(await opened({}, a))).not.toBe(tokenOf(await opened({}, b)))
    expect(tokenOf(await opened())).toBe(formatTaskToken('claim.i1', '1.0', 'carillon'))
    expect(tokenOf(await opened())).toMatch(/^claim\.i1\.task=3A1-0-[A-Za-z0-9_-]{22}$/)
  })

  it('is not touched by a forged token, which is told NOT_FOUND and becomes a dead letter', async () => {
    const bench = await opened()
    const forged = tokenOf(bench).slice(0, -1) + (tokenOf(bench).endsWith('A') ? 'B' : 'A')
    await bench.signal(taskSignal(parseTaskToken(forged), 'complete'), { ok: true }, { reply: '_INBOX.x' })
    expect(answers(bench)).toMatchObject([{ ok: false, error: { code: 'NOT_FOUND' } }])
    expect(bench.kinds).toContain('dead')
    expect(tasksOf(bench.instance)).toHaveLength(1)
    await bench.signal('task:nonsense', {}, { reply: '_INBOX.x' })
    expect(answers(bench)).toMatchObject([{ error: { code: 'UNKNOWN_NAME' } }])
  })

  it('starts no instance that starts on signals', async () => {
    const auto = implement(defineWorkflow('claim', {}), { startOnSignal: true, state: () => ({}) })
    const bench = new InstanceBench(auto)
    const token = formatTaskToken('claim.i1', '1.0', 'carillon')
    await bench.signal(taskSignal(parseTaskToken(token), 'complete'), 1, { reply: '_INBOX.x' })
    expect(bench.instance.data.phase.kind).toBe('absent')
    expect(answers(bench)).toMatchObject([{ error: { code: 'CLOSED' } }])
  })
})

describe('tokens of tasks', () => {
  it('are refused where they are none', () => {
    for (const text of [
      '',
      'a.b',
      'a.b.c',
      'claim.i1.approve',
      'claim.i1.task=3A1-0-short',
      'claim.i1.task=3A1-0-AAAAAAAAAAAAAAAAAAAAAA.admin',
      'claim.*.task=3A1-0-AAAAAAAAAAAAAAAAAAAAAA',
      'claim.i1.task:1-0-AAAAAAAAAAAAAAAAAAAAAA',
    ])
      expect(() => parseTaskToken(text)).toThrow(expect.objectContaining({ code: 'INVALID_ID' }) as Error)
  })

  it('begin as no signal of a contract may', () => {
    for (const name of ['task:x', 'task-failed:', 'task-alive:y'])
      expect(() => defineWorkflow('t', { signals: { [name]: type<void>() } })).toThrow('tokens of tasks')
  })
})
