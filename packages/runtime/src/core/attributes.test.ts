/** Transcripts of attributes: inputs in, what the instance is found by out. */
import { describe, expect, it } from 'vitest'

import { ATTRIBUTE_LIMITS, defineWorkflow, implement, type } from '../index.ts'
import { BENCH_START_MS, InstanceBench } from '../testing/instance-bench.ts'
import { decodeData, encodeData } from './record.ts'

const Order = defineWorkflow('order', {
  signals: { set: type<Record<string, unknown>>(), read: type<void>(), close: type<void>(), renew: type<void>() },
  activities: { call: {} },
  attributes: { region: 'text', points: 'number', vip: 'bool', due: 'time', tags: 'texts' },
})

const order = implement(Order, {
  startOnSignal: true,
  state: () => ({ read: undefined as unknown }),
  attributes: () => ({ region: 'none' }),
  on: {
    set: (ctx, values) => ctx.attributes.set(values),
    read(ctx) {
      const all = ctx.attributes.all()
      ctx.state.read = [all, ctx.attributes.get('due'), ctx.attributes.get('points')]
    },
    close: (ctx) => ctx.complete(),
    async renew(ctx) {
      ctx.attributes.set({ vip: true, region: undefined })
      ctx.continueAsNew()
      ctx.attributes.unset('points')
    },
  },
})

async function bench(): Promise<InstanceBench> {
  const made = new InstanceBench(order)
  await made.signal('set', {})
  return made
}

async function refusal(values: Record<string, unknown>): Promise<unknown> {
  const result = await (await bench()).signal('set', values)
  return result.kind === 'poisoned' ? result.error : undefined
}

describe('attributes', () => {
  it('are set and unset one by one, and read back as copies', async () => {
    const made = await bench()
    await made.signal('set', { points: 5, due: BENCH_START_MS, tags: ['b', 'a', 'b'] })
    await made.signal('read')
    const due = new Date(BENCH_START_MS)
    expect(made.state).toEqual({ read: [{ region: 'none', points: 5, due, tags: ['a', 'b'] }, due, 5] })
    // What was read is in the state now: it can be saved only if it is a copy.
    expect(() => encodeData(made.instance.data)).not.toThrow()
    await made.signal('set', { tags: [], points: -0 })
    expect(made.instance.data.attributes).toEqual({ region: 'none', points: 0, due })
  })

  it('are part of the digest, and come back with the data', async () => {
    const one = await bench()
    const other = await bench()
    expect(one.digest).toBe(other.digest)
    await one.signal('set', { vip: true })
    await other.signal('set', { vip: false })
    expect(one.digest).not.toBe(other.digest)
    const data = decodeData(encodeData(one.instance.data), order.knownIdsMax, () => new Uint8Array(0))
    expect(new InstanceBench(order, data).digest).toBe(one.digest)
  })

  it('survive the close, and begin anew with the next life', async () => {
    const made = await bench()
    await made.signal('set', { region: 'eu', points: 1 })
    await made.signal('close')
    expect(made.instance.data.phase.kind).toBe('closed')
    expect(made.instance.data.attributes).toEqual({ region: 'eu', points: 1 })
    await made.signal('read')
    expect(made.instance.data.attributes).toEqual({ region: 'none' })
  })

  it('go on over continueAsNew', async () => {
    const made = await bench()
    await made.signal('set', { points: 1 })
    await made.signal('renew')
    expect(made.instance.data.attributes).toEqual({ vip: true })
  })

  it('refuse a value that is not of its kind', async () => {
    const values: Record<string, unknown>[] = [
      { points: 'x' },
      { points: Number.NaN },
      { region: 1 },
      { vip: 'yes' },
      { due: new Date(Number.NaN) },
      { due: 9e15 },
      { tags: 'a' },
      { tags: [1] },
      { region: null },
    ]
    for (const wrong of values) expect(await refusal(wrong)).toMatchObject({ code: 'INVALID_ATTRIBUTE' })
  })

  it('refuse a name that the contract does not declare, and say which it has', async () => {
    expect(await refusal({ regoin: 'eu' })).toMatchObject({
      code: 'UNKNOWN_NAME',
      message: expect.stringContaining('it has: region, points, vip, due, tags'),
    })
    expect(await refusal({ toString: 'eu' })).toMatchObject({ code: 'UNKNOWN_NAME' })
  })

  it('have limits: bytes of a text, texts of one, bytes of all', async () => {
    const { textBytes, texts } = ATTRIBUTE_LIMITS
    expect(await refusal({ region: 'x'.repeat(textBytes) })).toBeUndefined()
    expect(await refusal({ region: 'ä'.repeat(textBytes / 2 + 1) })).toMatchObject({ code: 'LIMIT_REACHED' })
    const many = (count: number, length: number): string[] =>
      Array.from({ length: count }, (_, i) => String(i).padEnd(length, 'x'))
    expect(await refusal({ tags: many(texts, 100) })).toBeUndefined()
    expect(await refusal({ tags: many(texts + 1, 3) })).toMatchObject({ code: 'LIMIT_REACHED' })
    const shape = Object.fromEntries(['a', 'b', 'c'].map((name) => [name, 'texts' as const]))
    const Big = defineWorkflow('big', { signals: { fill: type<void>() }, attributes: shape })
    const big = implement(Big, {
      startOnSignal: true,
      state: () => ({}),
      on: { fill: (ctx) => ctx.attributes.set({ a: many(texts, 99), b: many(texts, 99), c: many(texts, 99) }) },
    })
    expect(await new InstanceBench(big).signal('fill')).toMatchObject({ error: { code: 'LIMIT_REACHED' } })
  })

  it('are declared with a name, a kind, and not too many', () => {
    const refused = { code: 'INVALID_DEFINITION' }
    const define = (attributes: Record<string, never>) => () => defineWorkflow('x', { attributes })
    for (const name of ['', 'a/b', '1st', '_x', 'é', 'x'.repeat(ATTRIBUTE_LIMITS.nameChars + 1)])
      expect(define({ [name]: 'text' as never })).toThrow(expect.objectContaining(refused))
    expect(define({ size: 'int' as never })).toThrow(expect.objectContaining(refused))
    const many = Object.fromEntries(Array.from({ length: ATTRIBUTE_LIMITS.perType + 1 }, (_, i) => [`a${i}`, 'text']))
    expect(define(many as never)).toThrow(expect.objectContaining(refused))
  })
})
