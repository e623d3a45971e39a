import { describe, expect, it } from 'vitest'
import { z } from 'zod'

import { defineWorkflow, implement, type } from '../index.ts'
import { decodeValue, INPUT_ID_BYTES_MAX, type InstanceKey } from '../protocol/index.ts'
import { InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'
import { INSTANCE_LIMITS } from './instance-data.ts'
import { parseSendId, sendIdOf } from './outgoing.ts'

installGuards()

const Other = defineWorkflow('other type', {
  input: z.object({ name: z.string() }),
  signals: { add: z.number(), stop: type<void>() },
})
const Teller = defineWorkflow('teller', {
  signals: {
    tell: type<number>(),
    both: type<unknown>(),
    self: type<void>(),
    flood: type<number>(),
    wrong: type<unknown>(),
    large: type<void>(),
    nameless: type<void>(),
    waiting: type<void>(),
    call_off: type<string>(),
  },
})
const teller = implement(Teller, {
  startOnSignal: true,
  state: () => ({ told: 0 }),
  on: {
    tell(ctx, n) {
      const other = ctx.workflow(Other, 'a.b')
      other.signal('add', n)
      other.signal('stop')
      ctx.workflow(Other, 'c').signal('add', n + 1)
    },
    both: (ctx, input) =>
      ctx
        .workflow(Other, 'd')
        .signalWithStart({ input: input as { name: string }, signal: { name: 'add', payload: 1 } }),
    self: (ctx) => ctx.workflow(Teller, ctx.id).signal('tell', 1),
    flood(ctx, n) {
      for (let i = 0; i < n; i++) ctx.workflow(Other, 'e').signal('stop')
    },
    wrong: (ctx, payload) => ctx.workflow(Other, 'f').signal('add', payload as number),
    large: (ctx) => ctx.workflow(Teller, 'g').signal('both', 'x'.repeat(600_000)),
    nameless: (ctx) => ctx.workflow(Other, '').signal('stop'),
    call_off(ctx, reason) {
      ctx.workflow(Other, 'i').cancel()
      ctx.workflow(Other, 'i').cancel(reason)
    },
    async waiting(ctx) {
      ctx.workflow(Other, 'h').signal('add', 1)
      await ctx.sleep(10)
      ctx.workflow(Other, 'h').signal('add', 2)
    },
  },
})

function sends(bench: InstanceBench): readonly unknown[] {
  return bench.effects.flatMap((effect) =>
    effect.kind === 'send'
      ? [[effect.id, effect.target, effect.inputKind, effect.name, decodeValue(effect.payload)]]
      : [],
  )
}

describe('a signal from inside', () => {
  it('is an effect of the turn, named by input and place, in the order of the calls', async () => {
    const bench = new InstanceBench(teller)
    await bench.signal('tell', 7)
    expect(sends(bench)).toEqual([
      ['1.0', 'other=20type.a=2Eb', 'signal', 'add', 7],
      ['1.1', 'other=20type.a=2Eb', 'signal', 'stop', undefined],
      ['1.2', 'other=20type.c', 'signal', 'add', 8],
    ])
    expect(bench.instance.isQuiescent).toBe(true)
  })

  it('may go to the instance itself', async () => {
    const bench = new InstanceBench(teller)
    await bench.signal('self')
    expect(sends(bench)).toEqual([['1.0', 'teller.i1', 'signal', 'tell', 1]])
  })

  it('comes with a start as one input that goes on with an instance that runs', async () => {
    const bench = new InstanceBench(teller)
    await bench.signal('both', { name: 'x' })
    expect(sends(bench)).toEqual([
      [
        '1.0',
        'other=20type.d',
        'start',
        '',
        { input: { name: 'x' }, ifRunning: 'use', signal: { name: 'add', payload: 1 } },
      ],
    ])
  })

  it('may be a request to cancel, with a reason', async () => {
    const bench = new InstanceBench(teller)
    await bench.signal('call_off', 'too late')
    expect(sends(bench)).toEqual([
      ['1.0', 'other=20type.i', 'cancel', '', {}],
      ['1.1', 'other=20type.i', 'cancel', '', { reason: 'too late' }],
    ])
  })

  it('leaves in the turn of its call, also behind an await', async () => {
    const bench = new InstanceBench(teller)
    await bench.signal('waiting')
    expect(sends(bench)).toEqual([['1.0', 'other=20type.h', 'signal', 'add', 1]])
    const timer = bench.effects.find(({ kind }) => kind === 'timer')
    if (timer?.kind !== 'timer') throw new Error('no timer was set')
    await bench.fire(timer.id, timer.dueMs)
    expect(sends(bench)).toEqual([['2.0', 'other=20type.h', 'signal', 'add', 2]])
  })

  it.each([
    ['that the contract refuses', 'wrong', 'seven', 'INVALID_PAYLOAD'],
    ['with a start that the contract refuses', 'both', { name: 7 }, 'INVALID_PAYLOAD'],
    ['over the largest payload', 'large', undefined, 'PAYLOAD_TOO_LARGE'],
    ['to an id that is none', 'nameless', undefined, 'INVALID_ID'],
    ['with a reason that is too long', 'call_off', 'x'.repeat(501), 'INVALID_PAYLOAD'],
    ['too many in one turn', 'flood', INSTANCE_LIMITS.sends + 1, 'LIMIT_REACHED'],
  ])('%s throws at the call, and nothing of the turn leaves', async (_, name, payload, code) => {
    const bench = new InstanceBench(teller)
    expect(await bench.signal(name, payload)).toMatchObject({ kind: 'poisoned', error: { code } })
    expect(bench.effects).toEqual([])
  })

  it('is bounded for each turn, not over the life of the instance', async () => {
    const bench = new InstanceBench(teller)
    await bench.signal('flood', INSTANCE_LIMITS.sends)
    expect(sends(bench)).toHaveLength(INSTANCE_LIMITS.sends)
    await bench.signal('flood', INSTANCE_LIMITS.sends)
    expect(sends(bench)).toHaveLength(INSTANCE_LIMITS.sends)
  })
})

describe('the input id of what an instance sends', () => {
  it('tells its sender and its effect', () => {
    const id = sendIdOf('a.b=2Ec', '12.3')
    expect(id).toBe('a.b=2Ec/12.3')
    expect(parseSendId(id)).toEqual({ key: 'a.b=2Ec', effect: '12.3' })
  })

  it('is a valid id however long the key is, and another for each key', () => {
    const long = (last: string): InstanceKey => `${'t'.repeat(200)}.${'i'.repeat(199)}${last}` as InstanceKey
    const id = sendIdOf(long('a'), '999999999999999.9999999')
    expect(id.length).toBeLessThanOrEqual(INPUT_ID_BYTES_MAX)
    expect(id).not.toBe(sendIdOf(long('b'), '999999999999999.9999999'))
    expect(parseSendId(id)).toBeUndefined()
  })

  it.each(['order-1', 'a/1.0', 'a.b/1', 'a.b/x', '/1.0', 'a b.c/1.0', ''])('is not seen in %j', (id) => {
    expect(parseSendId(id)).toBeUndefined()
  })
})
