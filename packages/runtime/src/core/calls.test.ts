import { describe, expect, it } from 'vitest'
import { z } from 'zod'

import { defineWorkflow, implement, type, UpdateRejected, WorkflowFailure } from '../index.ts'
import { decodeValue, formatAsker, type Input, parseAsker } from '../protocol/index.ts'
import { InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'
import { decodeData, encodeData } from './record.ts'

installGuards()

const Stock = defineWorkflow('stock', {
  signals: { close: type<void>() },
  updates: { reserve: { input: z.number(), output: type<{ left: number }>() }, slow: {} },
})
const stock = implement(Stock, {
  state: () => ({ left: 10 }),
  on: { close: (ctx) => ctx.complete() },
  updates: {
    reserve(ctx, n) {
      if (n === 13) throw new WorkflowFailure('that number')
      if (n > ctx.state.left) throw new UpdateRejected('not so many')
      ctx.state.left -= n
      return { left: ctx.state.left }
    },
    slow: (ctx) => ctx.sleep('1 day'),
  },
})
const Buyer = defineWorkflow('buyer', {
  signals: { buy: type<unknown>(), both: type<void>(), self: type<void>(), odd: type<void>(), end: type<void>() },
  updates: { x: {} },
})
const buyer = implement(Buyer, {
  startOnSignal: true,
  state: () => ({ log: [] as unknown[] }),
  on: {
    async buy(ctx, n) {
      try {
        ctx.state.log.push(await ctx.workflow(Stock, 's').update('reserve', n as number))
      } catch (error) {
        const { code, details } = error as { readonly code: unknown; readonly details: unknown }
        ctx.state.log.push(code, details)
      }
    },
    async both(ctx) {
      const stocks = [ctx.workflow(Stock, 's'), ctx.workflow(Stock, 't')]
      ctx.state.log.push(await Promise.all(stocks.map((one) => one.update('reserve', 1))))
    },
    self: (ctx) => ctx.workflow(Buyer, ctx.id).update('x'),
    odd: (ctx) => ctx.workflow(Stock, 's').update('nothing' as 'slow'),
    end: (ctx) => ctx.complete(),
  },
  updates: { x: () => {} },
})

const ASKER = 'instance:buyer.b/4.1'

function sends(bench: InstanceBench): readonly unknown[] {
  return bench.effects.flatMap((effect) =>
    effect.kind === 'send'
      ? [[effect.id, effect.target, effect.inputKind, effect.name, decodeValue(effect.payload)]]
      : [],
  )
}

async function startedStock(): Promise<InstanceBench> {
  const bench = new InstanceBench(stock)
  await bench.send('start', '')
  return bench
}

describe('an update of another instance', () => {
  it('is a send, and its answer an input that goes on with the code that waits', async () => {
    const bench = new InstanceBench(buyer)
    await bench.signal('buy', 3)
    expect(sends(bench)).toEqual([['1.0', 'stock.s', 'update', 'reserve', 3]])
    await bench.send('answer', 'reserve', { effect: '1.0', outcome: { ok: true, value: { left: 7 } } })
    expect(bench.state).toEqual({ log: [{ left: 7 }] })
    expect([bench.instance.isQuiescent, bench.instance.data.calls.size]).toEqual([true, 0])
  })

  it('that is refused or fails rejects with the reason', async () => {
    const bench = new InstanceBench(buyer)
    await bench.signal('buy', 30)
    const error = { code: 'UPDATE_REJECTED', message: 'not so many' }
    await bench.send('answer', 'reserve', { effect: '1.0', outcome: { ok: false, error } })
    expect(bench.state).toEqual({ log: ['UPDATE_FAILED', error] })
  })

  it('may wait beside others', async () => {
    const bench = new InstanceBench(buyer)
    await bench.signal('both')
    await bench.send('answer', 'reserve', { effect: '1.1', outcome: { ok: true, value: 't' } })
    await bench.send('answer', 'reserve', { effect: '1.0', outcome: { ok: true, value: 's' } })
    expect(bench.state).toEqual({ log: [['s', 't']] })
  })

  it('ignores an answer that comes twice, after the close, or to nothing', async () => {
    const bench = new InstanceBench(buyer)
    await bench.signal('buy', 3)
    await bench.send('answer', 'reserve', { effect: '1.0', outcome: { ok: true, value: 1 } })
    await bench.send('answer', 'reserve', { effect: '1.0', outcome: { ok: true, value: 2 } })
    expect([bench.kinds, bench.state]).toEqual([['ignored'], { log: [1] }])
    await bench.signal('buy', 3)
    await bench.send('admin', 'terminate')
    expect(bench.instance.data.calls.size).toBe(0)
    await bench.send('answer', 'reserve', { effect: '4.0', outcome: { ok: true, value: 3 } })
    expect(bench.kinds).toEqual(['ignored'])
    await bench.send('answer', 'reserve', 7)
    expect(bench.kinds).toEqual(['dead'])
  })

  it.each([
    ['to the instance itself', 'self', undefined, 'INVALID_DEFINITION'],
    ['that its contract does not declare', 'odd', undefined, 'UNKNOWN_NAME'],
  ])('%s throws at the call', async (_, name, payload, code) => {
    const bench = new InstanceBench(buyer)
    expect(await bench.signal(name, payload)).toMatchObject({ kind: 'poisoned', error: { code } })
  })

  it('whose input the contract refuses throws at the call', async () => {
    const bench = new InstanceBench(buyer)
    await bench.signal('buy', 'three')
    expect([sends(bench), bench.state]).toMatchObject([[], { log: ['INVALID_PAYLOAD', expect.anything()] }])
  })

  it('is still waited for when the data comes back from disk', async () => {
    const bench = new InstanceBench(buyer)
    await bench.signal('buy', 3)
    const restored = decodeData(encodeData(bench.instance.data), 10_000, () => new Uint8Array(0))
    expect([...restored.calls]).toEqual([['1.0', 'reserve']])
  })
})

describe('the answer to an instance', () => {
  const ask = (bench: InstanceBench, name: string, input?: unknown, more: Partial<Input> = {}) =>
    bench.send('update', name, input, { id: 'buyer.b/4.1', reply: ASKER, ...more })

  it('goes into its journal', async () => {
    const bench = await startedStock()
    await ask(bench, 'reserve', 3)
    expect(bench.kinds).toEqual(['send'])
    expect(sends(bench)).toEqual([
      ['2.0', 'buyer.b', 'answer', 'reserve', { effect: '4.1', outcome: { ok: true, value: { left: 7 } } }],
    ])
  })

  it.each([
    ['refused', 'reserve', 30, 'UPDATE_REJECTED'],
    ['that fails the instance', 'reserve', 13, 'WORKFLOW_FAILED'],
    ['of an unknown name', 'take', 1, 'UNKNOWN_NAME'],
    ['with a wrong input', 'reserve', 'x', 'INVALID_PAYLOAD'],
  ])('tells of an update %s', async (_, name, input, code) => {
    const bench = await startedStock()
    await ask(bench, name, input)
    expect(sends(bench)).toMatchObject([
      [expect.any(String), 'buyer.b', 'answer', name, { effect: '4.1', outcome: { ok: false, error: { code } } }],
    ])
  })

  it.each([
    ['that was never started', false, 'NOT_FOUND'],
    ['that has closed', true, 'CLOSED'],
  ])('tells of an instance %s', async (_, isStarted, code) => {
    const bench = isStarted ? await startedStock() : new InstanceBench(stock)
    if (isStarted) await bench.signal('close')
    await ask(bench, 'reserve', 1)
    expect(sends(bench)).toMatchObject([
      [expect.any(String), 'buyer.b', 'answer', 'reserve', { outcome: { ok: false, error: { code } } }],
    ])
  })

  it('tells that the instance was terminated before it was done', async () => {
    const bench = await startedStock()
    await ask(bench, 'slow')
    await bench.send('admin', 'terminate')
    expect(sends(bench)).toMatchObject([
      [expect.any(String), 'buyer.b', 'answer', 'slow', { outcome: { ok: false, error: { code: 'TERMINATED' } } }],
    ])
  })
})

describe('the address of an instance that asks', () => {
  it('says which, and which call', () => {
    const asker = { key: 'a.b=2Ec', effect: '12.3' } as const
    expect(formatAsker(asker)).toBe('instance:a.b=2Ec/12.3')
    expect(parseAsker(formatAsker(asker))).toEqual(asker)
  })

  it.each([
    '_INBOX.a',
    'instance:a/1.0',
    'instance:a.b/1',
    'instance:a.b.c/1.0',
    'instance:a.=6/1.0',
    'instance:',
    ' instance:a.b/1.0',
  ])('is not %j', (address) => expect(parseAsker(address)).toBeUndefined())
})
