import { describe, expect, it } from 'vitest'

import { decodeData, decodeSummary, dataBytes, recordKey } from '../core/index.ts'
import { defineWorkflow, implement, implementActivities, type } from '../index.ts'
import type { Partition } from '../protocol/index.ts'
import { EngineWorld, keyOf, type LifeOptions } from '../testing/engine-world.ts'

const Account = defineWorkflow('account', {
  signals: { pay: type<number>(), check: type<number>(), turn: type<number>(), noop: type<void>() },
  queries: { state: { output: type<unknown>() } },
  activities: { rate: { input: type<number>(), output: type<number>() } },
})
interface V1 {
  sum: number
}
interface V2 {
  cents: number
  history: number[]
}
const v1 = implement(Account, {
  startOnSignal: true,
  state: (): V1 => ({ sum: 0 }),
  on: {
    pay: (ctx, n) => void (ctx.state.sum += n),
    async check(ctx, n) {
      ctx.state.sum += await ctx.activities.rate(n)
    },
    async turn(ctx, n) {
      ctx.continueAsNew(undefined, { state: { sum: ctx.state.sum + n } })
    },
    noop: () => {},
  },
  queries: { state: (state) => state },
})
const v2 = (migrate: (state: V1, from: number) => V2 = ({ sum }) => ({ cents: sum * 100, history: [] })) =>
  implement(Account, {
    version: 2,
    migrate,
    startOnSignal: true,
    state: (): V2 => ({ cents: 0, history: [] }),
    on: {
      pay: (ctx, n) => void (ctx.state.cents += n * 100),
      async check(ctx, n) {
        ctx.state.cents += (await ctx.activities.rate(n)) * 100
      },
      async turn(ctx, n) {
        ctx.continueAsNew(undefined, { state: { cents: ctx.state.cents + n * 100, history: [] } })
      },
      noop: () => {},
    },
    queries: { state: (state) => state },
  })

let letRate: (value: number) => void = () => {}
const activities = implementActivities(Account, { rate: () => new Promise((resolve) => (letRate = resolve)) })
const life = (implementation: typeof v1): LifeOptions => ({
  implementations: [implementation],
  activities: [activities],
})
const stateOf = (world: EngineWorld, id = 'a'): Promise<unknown> =>
  world.ask({ op: 'query', key: keyOf('account', id), name: 'state', minSeq: 0 })

/** One engine with the first build, stopped in order. */
async function worldOfV1(send: (world: EngineWorld) => void | Promise<void>): Promise<EngineWorld> {
  const world = new EngineWorld({ partitions: 1 })
  await world.start(life(v1))
  await send(world)
  await world.settled()
  await world.stop()
  return world
}

describe('a state of an older version', () => {
  it('is migrated when its instance is read back: a query on an idle one sees the new shape', async () => {
    const world = await worldOfV1((it) => void it.send('account', 'a', 'signal', 'pay', 7))
    await world.start(life(v2()))
    expect(await stateOf(world)).toEqual({ cents: 700, history: [] })
    world.send('account', 'a', 'signal', 'pay', 1)
    await world.settled()
    expect(await stateOf(world)).toEqual({ cents: 800, history: [] })
    const { digest } = await world.describe('account', 'a')
    await world.stop()
    await world.start(life(v2(() => expect.fail('it is of this version already'))))
    expect(await world.describe('account', 'a')).toMatchObject({ digest, status: 'running' })
    await world.stop()
    // A node that lost its disk folds the whole journal with the new build.
    const rebuilt = new EngineWorld({ partitions: 1 })
    for (const { subject, payload } of world.log.messages)
      rebuilt.log.store(subject, { headers: { 'Carillon-Encoding': 'msgpack' }, payload })
    rebuilt.clock.jump(world.clock.nowMs())
    await rebuilt.start(life(v2()))
    expect(await stateOf(rebuilt)).toEqual({ cents: 800, history: [] })
    await rebuilt.stop()
  })

  it('is migrated under code that waits: the data in front of it, then its inputs are folded with the new code', async () => {
    const world = await worldOfV1(async (it) => {
      it.send('account', 'a', 'signal', 'pay', 7)
      await it.settled()
      it.send('account', 'a', 'signal', 'check', 1)
    })
    await world.start(life(v2()))
    expect(await stateOf(world)).toEqual({ cents: 700, history: [] })
    letRate(5)
    await world.settled()
    expect(await stateOf(world)).toEqual({ cents: 1200, history: [] })
    await world.stop()
  })

  it('is migrated where the instance continued as new', async () => {
    const world = await worldOfV1(async (it) => {
      it.send('account', 'a', 'signal', 'pay', 7)
      it.send('account', 'a', 'signal', 'turn', 3)
      it.send('account', 'a', 'signal', 'check', 1)
    })
    await world.start(life(v2()))
    letRate(1)
    await world.settled()
    expect(await stateOf(world)).toEqual({ cents: 1100, history: [] })
    await world.stop()
  })

  it.each([
    ['throws', () => expect.fail('no'), /to 2: no$/],
    ['returns a promise', () => Promise.resolve({}) as never, /promise/],
    ['reads a file', () => ({ cents: setTimeout(() => {}, 1), history: [] }) as never, /setTimeout|sleep/],
    ['gives what cannot be kept', () => ({ cents: () => 1, history: [] }) as never, /function/],
  ])(
    'suspends its instance when migrate %s, and is left as it is until a fixed build is resumed',
    async (_, migrate, why) => {
      const world = await worldOfV1((it) => void it.send('account', 'a', 'signal', 'pay', 7))
      const key = recordKey(0 as Partition, keyOf('account', 'a'))
      const saved = dataBytes(world.disk.table('record').peek(key) as Uint8Array)
      await world.start(life(v2(migrate)))
      await expect(stateOf(world)).rejects.toMatchObject({ code: 'SUSPENDED' })
      world.send('account', 'a', 'signal', 'pay', 1, { id: 'one' })
      world.send('account', 'b', 'signal', 'pay', 2)
      world.send('account', 'a', 'admin', 'resume')
      await world.settled()
      expect(await world.describe('account', 'a')).toMatchObject({
        status: 'suspended',
        queued: 2,
        suspended: { error: { code: 'MIGRATION_FAILED', message: expect.stringMatching(why) } },
      })
      expect(await stateOf(world, 'b')).toEqual({ cents: 200, history: [] })
      await world.stop()
      const record = world.disk.table('record').peek(key) as Uint8Array
      expect(decodeSummary(record).status).toBe('suspended')
      expect(dataBytes(record)).toEqual(saved)

      await world.start(life(v2()))
      world.send('account', 'a', 'admin', 'resume')
      world.send('account', 'a', 'signal', 'pay', 1, { id: 'one' })
      await world.settled()
      expect(await world.describe('account', 'a')).toMatchObject({ status: 'running', queued: 0 })
      expect(await stateOf(world)).toEqual({ cents: 800, history: [] })
      await world.stop()
    },
  )

  it('suspends its instance also where code waits, and its effects keep their ids when it is resumed', async () => {
    const world = await worldOfV1(async (it) => {
      it.send('account', 'a', 'signal', 'pay', 7)
      await it.settled()
      it.send('account', 'a', 'signal', 'check', 1)
    })
    await world.start(life(v2(() => expect.fail('no'))))
    await world.settled()
    letRate(5)
    await world.settled()
    expect(await world.describe('account', 'a')).toMatchObject({ status: 'suspended' })
    await world.stop()
    await world.start(life(v2()))
    world.send('account', 'a', 'admin', 'resume')
    await world.settled()
    expect(await stateOf(world)).toEqual({ cents: 1200, history: [] })
    expect(world.disk.table('effect').next(undefined, { from: '', to: '~' })).toBeUndefined()
    await world.stop()
  })
})

describe('a state of a newer version', () => {
  it('suspends its instance with UNKNOWN_VERSION, and is left as it is for the build that knows it', async () => {
    const world = new EngineWorld({ partitions: 1 })
    await world.start(life(v2()))
    world.send('account', 'a', 'signal', 'pay', 7)
    await world.settled()
    await world.stop()
    await world.start(life(v1))
    world.send('account', 'a', 'signal', 'pay', 1)
    await world.settled()
    expect(await world.describe('account', 'a')).toMatchObject({
      status: 'suspended',
      suspended: { error: { code: 'UNKNOWN_VERSION', message: expect.stringContaining('version 2') } },
    })
    const key = recordKey(0 as Partition, keyOf('account', 'a'))
    const bytes = dataBytes(world.disk.table('record').peek(key) as Uint8Array)
    expect(decodeData(bytes, 1, () => bytes)).toMatchObject({ stateVersion: 2, state: { cents: 700 } })
    await world.stop()
    await world.start(life(v2(() => expect.fail('nothing to migrate'))))
    world.send('account', 'a', 'admin', 'resume')
    await world.settled()
    expect(await stateOf(world)).toEqual({ cents: 800, history: [] })
    await world.stop()
  })
})

describe('a version', () => {
  const state = (): V1 => ({ sum: 0 })
  const on = { pay: () => {}, check: () => {}, turn: () => {}, noop: () => {} }
  const queries = { state: () => 1 }
  it.each([
    [{ version: 2 }, 'no migrate'],
    [{ version: 0 }, 'whole number'],
    [{ version: 1.5, migrate: () => ({ sum: 0 }) }, 'whole number'],
    [{ migrate: () => ({ sum: 0 }) }, 'raise the version'],
  ])('that makes no sense is refused: %o', (more, why) => {
    expect(() => implement(Account, { state, on, queries, ...more })).toThrow(why)
  })
})
