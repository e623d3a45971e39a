import { describe, expect, it } from 'vitest'

import { withHost } from '../contract/host.ts'
import {
  codeOf,
  defineInterceptors,
  defineWorkflow,
  implement,
  InputRejected,
  type,
  type WorkflowInterceptor,
} from '../index.ts'
import { decodeValue } from '../protocol/index.ts'
import { InstanceBench } from '../testing/instance-bench.ts'
import type { Effect } from './effect.ts'

const Till = defineWorkflow('till', {
  input: type<string | undefined>(),
  signals: { pay: type<number>(), tell: type<string>(), wait: type<string>(), next: type<void>() },
  updates: { take: { input: type<number>(), output: type<number>() } },
  activities: { call: { input: type<string>(), output: type<string>() } },
})
const till = implement(Till, {
  startOnSignal: true,
  state: () => ({ sum: 0, log: [] as unknown[] }),
  on: {
    pay: (ctx, n) => void (ctx.state.sum += n),
    async tell(ctx, text) {
      ctx.workflow(Till, 'other').signal('pay', 1)
      ctx.state.log.push(await ctx.activities.call(text))
    },
  },
  updates: { take: (ctx, n) => (ctx.state.sum -= n) },
  timers: { once: { run: (ctx, { dueMs }) => void ctx.state.log.push(['once', dueMs]) } },
  async run(ctx, input) {
    ctx.state.log.push(['run', input])
    ctx.timers.once.set(10)
    for (;;) {
      await ctx.receive('next')
      ctx.state.log.push((await ctx.receive('wait')).payload)
    }
  },
})

const bench = (...workflow: readonly WorkflowInterceptor[]): InstanceBench =>
  new InstanceBench(withHost(till, { interceptors: defineInterceptors({ workflow }) }))
const sent = (effects: readonly Effect[]): unknown[] =>
  effects.flatMap((effect) => (effect.kind === 'send' ? [decodeValue(effect.payload)] : []))
const called = (effects: readonly Effect[]): unknown[] =>
  effects.flatMap((effect) => (effect.kind === 'activity' ? [decodeValue(effect.input)] : []))

describe('interceptors of a workflow', () => {
  it('stand around handlers, updates, timers and run, the first outermost', async () => {
    const seen: unknown[] = []
    const named = (label: string): WorkflowInterceptor => ({
      handle(call, next) {
        seen.push(`${label} ${call.kind} ${call.name}`)
        const result = next(call.payload)
        seen.push(`${label} done`)
        return result
      },
    })
    const till = bench(named('a'), named('b'))
    await till.send('start', '', { input: 'x' })
    await till.signal('pay', 3)
    await till.send('update', 'take', 1)
    await till.fire('1.0', 1_000_011)
    expect(seen).toEqual(
      ['run ', 'signal pay', 'update take', 'timer once'].flatMap((what) => [
        `a ${what}`,
        `b ${what}`,
        'b done',
        'a done',
      ]),
    )
    expect(till.state).toMatchObject({ sum: 2 })
  })

  it('may change what a handler gets and returns, and keep it from running', async () => {
    const till = bench({
      handle({ kind, name, payload, ctx }, next) {
        if (name === 'pay' && payload === 0) return undefined
        if (kind === 'run') return next(`${String(payload)} for ${ctx.id}`)
        return kind === 'update' ? Number(next(payload)) * 100 : next(Number(payload) * 2)
      },
    })
    await till.send('start', '', { input: 'run' })
    await till.signal('pay', 5)
    await till.signal('pay', 0, { id: 'none', reply: '_INBOX.a' })
    expect(till.effects).toMatchObject([{ kind: 'reply', payload: { outcome: { ok: true } } }])
    await till.send('update', 'take', 1, { reply: '_INBOX.a' })
    expect(till.effects).toMatchObject([{ kind: 'reply', payload: { outcome: { ok: true, value: 900 } } }])
    expect(till.state).toMatchObject({ sum: 9, log: [['run', 'run for i1']] })
  })

  it('refuse an input with InputRejected: a dead letter, its sender told, nothing changed', async () => {
    const till = bench({
      handle({ payload }, next) {
        if (typeof payload === 'number' && payload > 100) throw new InputRejected('too much', { max: 100 })
        return next(payload)
      },
    })
    await till.signal('pay', 7)
    for (const [kind, name] of [
      ['signal', 'pay'],
      ['update', 'take'],
    ] as const) {
      await till.send(kind, name, 101, { id: `${kind}-1`, reply: '_INBOX.a' })
      const error = { code: 'INPUT_REJECTED', message: 'too much', details: { max: 100 } }
      expect(till.effects).toMatchObject([
        { kind: 'dead', reason: error },
        { kind: 'reply', payload: { outcome: { ok: false, error } } },
      ])
      await till.send(kind, name, 1, { id: `${kind}-1`, reply: '_INBOX.b' })
      expect(till.effects.at(-1)).toMatchObject({ payload: { duplicate: true, outcome: { error } } })
    }
    expect(till.state).toMatchObject({ sum: 7 })
  })

  it('any other error in one suspends the instance, as in a handler', async () => {
    const till = bench({
      handle() {
        throw new TypeError('a bug')
      },
    })
    expect(await till.signal('pay', 1)).toMatchObject({ kind: 'poisoned' })
  })

  it('stand around the signals that receive gives: changed, or refused and passed over', async () => {
    const till = bench({
      async handle({ name, payload }, next) {
        if (payload === 'bad') throw new InputRejected('no')
        const result = await next(payload)
        return name === 'wait' ? `<${String(result)}>` : result
      },
    })
    await till.signal('next')
    await till.signal('wait', 'bad', { id: 'w1' })
    expect(till.effects).toMatchObject([{ kind: 'dead', reason: { code: 'INPUT_REJECTED' } }])
    await till.signal('wait', 'good')
    expect(till.state).toMatchObject({ log: [['run', undefined], '<good>'] })
  })

  it('stand around activities and sends that workflow code asks for', async () => {
    const till = bench({
      async activity({ name, payload, ctx }, next) {
        if (payload === 'cached') return 'from the interceptor'
        return `${String(await next(`${ctx.id} ${name} ${String(payload)}`))}!`
      },
      send({ kind, name, payload, to }, next) {
        next([kind, name, payload, to.id])
      },
    })
    await till.signal('tell', 'hello')
    expect(called(till.effects)).toEqual(['i1 call hello'])
    expect(sent(till.effects)).toEqual([['signal', 'pay', 1, 'other']])
    await till.result('1.2', 'answer')
    await till.signal('tell', 'cached')
    expect(called(till.effects)).toEqual([])
    expect(till.state).toMatchObject({ log: [['run', undefined], 'answer!', 'from the interceptor'] })
  })

  it('must pass a send on, or throw', async () => {
    const result = await bench({ send: () => undefined }).signal('tell', 'x')
    expect(result.kind === 'poisoned' && codeOf(result.error)).toBe('INVALID_DEFINITION')
  })

  it('cost nothing where there are none: the implementation is run as it is', () => {
    expect(withHost(till, {})).toBe(till)
    expect(withHost(till, { interceptors: defineInterceptors({}) })).toBe(till)
    const { signals } = withHost(till, { interceptors: defineInterceptors({ workflow: [{ send: () => undefined }] }) })
    expect(signals).toBe(till.signals)
  })
})
