/** What becomes of an input whose handler throws, by the type's policy. */
import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, implementActivities, type OnError, type } from '../index.ts'
import { EngineWorld, keyOf } from '../testing/engine-world.ts'
import { MemoryDisk } from '../testing/memory-store.ts'
import { TestWorld } from '../testing/index.ts'

const Box = defineWorkflow('box', {
  signals: { add: type<number>(), boom: type<string>(), work: type<string>(), fall: type<string>() },
  updates: { put: { input: type<number>(), output: type<number>() } },
  queries: { log: { output: type<unknown[]>() } },
  activities: { call: { input: type<string>(), output: type<string>() } },
})

const box = (onError: OnError | undefined, isFixed = () => false) =>
  implement(Box, {
    startOnSignal: true,
    ...(onError === undefined ? {} : { onError }),
    state: () => ({ log: [] as unknown[] }),
    on: {
      add: (ctx, n) => void ctx.state.log.push(n),
      boom(ctx, why) {
        ctx.state.log.push('half')
        if (!isFixed()) throw new Error(why)
      },
      async work(ctx, what) {
        ctx.state.log.push(await ctx.activities.call(what))
      },
      async fall(ctx, what) {
        ctx.state.log.push(`falls ${what}`)
        await ctx.activities.call(what)
        throw new Error('fallen')
      },
    },
    updates: {
      put(_, n) {
        throw new Error(`no ${n}`)
      },
    },
    queries: { log: ({ log }) => [...log] },
  })
const calls = implementActivities(Box, { call: (what) => `${what}!` })
const life = (onError: OnError | undefined, isFixed?: () => boolean) => ({
  implementations: [box(onError, isFixed)],
  activities: [calls],
})
const logOf = (world: EngineWorld, id: string): Promise<unknown> =>
  world.ask({ op: 'query', key: keyOf('box', id), name: 'log', minSeq: 0 })

describe('an error of a handler', () => {
  it("with onError 'dead-letter' makes the input a dead letter: state, neighbours and later inputs are as if it had not come", async () => {
    const world = new EngineWorld({ partitions: 1 })
    await world.start(life('dead-letter'))
    world.send('box', 'a', 'signal', 'add', 1)
    const boom = world.send('box', 'a', 'signal', 'boom', 'no', { id: 'boom', reply: '_INBOX.boom' })
    world.send('box', 'b', 'signal', 'add', 7)
    const put = world.send('box', 'a', 'update', 'put', 5, { id: 'put', reply: '_INBOX.put' })
    world.send('box', 'a', 'signal', 'add', 2, { reply: '_INBOX.add' })
    await world.settled()
    expect(await logOf(world, 'a')).toEqual([1, 2])
    expect(await logOf(world, 'b')).toEqual([7])
    expect(world.deadLetters).toMatchObject([
      { seq: boom, reason: 'HANDLER_FAILED' },
      { seq: put, reason: 'HANDLER_FAILED' },
    ])
    expect(world.replies('_INBOX.boom')).toMatchObject([
      { outcome: { error: { code: 'HANDLER_FAILED', message: 'no' } } },
    ])
    expect(world.replies('_INBOX.put')).toMatchObject([{ outcome: { error: { message: 'no 5' } } }])
    expect(world.replies('_INBOX.add')).toMatchObject([{ outcome: { ok: true } }])
    const { digest } = await world.describe('box', 'a')
    await world.crash()
    world.disk = new MemoryDisk()
    await world.start(life('dead-letter'))
    expect(await world.describe('box', 'a')).toMatchObject({ digest, status: 'running' })
    await world.stop()
  })

  it('behind an await ends the handler there: what it did before stays, its input is the dead letter, later ones go on', async () => {
    const world = new EngineWorld()
    await world.start(life('dead-letter'))
    const fall = world.send('box', 'a', 'signal', 'fall', 'x', { reply: '_INBOX.fall' })
    const boom = world.send('box', 'a', 'signal', 'boom', 'no')
    world.send('box', 'a', 'signal', 'add', 1)
    world.send('box', 'a', 'signal', 'work', 'y')
    await world.settled()
    expect(await logOf(world, 'a')).toEqual(['falls x', 1, 'y!'])
    expect(world.deadLetters.map(({ seq }) => seq).toSorted((a, b) => a - b)).toEqual([fall, boom])
    expect(world.replies('_INBOX.fall')).toMatchObject([{ outcome: { error: { message: 'fallen' } } }])
    const { digest } = await world.describe('box', 'a')
    await world.crash()
    world.disk = new MemoryDisk()
    await world.start(life('dead-letter'))
    expect(await world.describe('box', 'a')).toMatchObject({ digest, status: 'running' })
    await world.stop()
  })

  it('with retries is tried again by the journal, each time later, over crashes; then the policy says what becomes of it', async () => {
    const world = new EngineWorld()
    const policy = { retries: 2, wait: 1000, finally: 'dead-letter' } as const
    await world.start(life(policy))
    const boom = world.send('box', 'a', 'signal', 'boom', 'no', { id: 'boom' })
    world.send('box', 'a', 'signal', 'add', 1)
    await world.settled()
    expect(await world.describe('box', 'a')).toMatchObject({ suspended: { seq: boom, retry: { tries: 1 } } })
    await world.crash()
    await world.start(life(policy))
    await world.clock.advance(1500)
    await world.settled()
    expect(await world.describe('box', 'a')).toMatchObject({ suspended: { seq: boom, retry: { tries: 2 } } })
    expect(world.deadLetters).toEqual([])
    await world.clock.advance(2500)
    await world.settled()
    expect(world.deadLetters).toMatchObject([{ seq: boom }])
    expect(await logOf(world, 'a')).toEqual([1])
    const { digest } = await world.describe('box', 'a')
    const inputs = world.log.lastSeq
    await world.crash()
    world.disk = new MemoryDisk()
    await world.start(life(policy))
    await world.clock.advance(60_000)
    await world.settled()
    // Every node agrees on how often it was tried: nothing new is in the journal.
    expect(world.log.lastSeq).toBe(inputs)
    expect(await world.describe('box', 'a')).toMatchObject({ digest })
    await world.stop()
  })

  it('with retries goes on when a deploy has mended it meanwhile', async () => {
    const world = new EngineWorld()
    const policy = { retries: 5, wait: '1 minute', finally: 'suspend' } as const
    await world.start(life(policy))
    world.send('box', 'a', 'signal', 'boom', 'no', { id: 'boom' })
    await world.settled()
    await world.stop()
    await world.start(life(policy, () => true))
    await world.clock.advance(61_000)
    await world.settled()
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'running' })
    expect(await logOf(world, 'a')).toEqual(['half'])
    await world.clock.advance(3_600_000)
    await world.settled()
    expect(world.engine.counts.suspended).toBe(0)
    await world.stop()
  })

  it('of an unknown version suspends under every policy', async () => {
    const world = new EngineWorld()
    await world.start(life('dead-letter'))
    world.send('box', 'a', 'signal', 'add', 1, { headers: { 'Carillon-Version': '7' } })
    await world.settled()
    expect(await world.describe('box', 'a')).toMatchObject({ suspended: { error: { code: 'UNKNOWN_VERSION' } } })
    expect(world.deadLetters).toEqual([])
    await world.stop()
  })

  it('is the same in a world that crashes between all turns, and operators may skip, pause and retry in it', async () => {
    for (const crashBetweenTurns of [false, true]) {
      const world = await TestWorld.open({
        workflows: [box('suspend')],
        activities: [calls],
        crashBetweenTurns,
      })
      const handle = world.workflow(Box, 'a')
      await handle.signal('add', 1)
      const { seq } = await handle.signal('boom', 'no')
      await handle.signal('add', 2)
      expect(await handle.retry(seq)).toBe(true)
      expect(await handle.skip(seq + 1)).toBe(false)
      expect(await handle.skip(seq)).toBe(true)
      await handle.pause('for a while', { wait: 'applied' })
      await handle.signal('work', 'x')
      world.pauseType(Box)
      await world.settled()
      expect(await handle.query('log')).toEqual([1, 2])
      expect(await handle.describe()).toMatchObject({ status: 'paused', paused: { reason: 'for a while' } })
      await handle.resume()
      await world.settled()
      expect(await handle.query('log')).toEqual([1, 2])
      world.resumeType(Box)
      await world.settled()
      expect(await handle.query('log')).toEqual([1, 2, 'x!'])
      await handle.terminate('enough', { wait: 'applied' })
      await expect(handle.cancel(undefined, { wait: 'applied' })).rejects.toMatchObject({ code: 'CLOSED' })
      await world.close()
    }
  })
})

describe('onError', () => {
  it.each([
    ['sometimes', 'onError'],
    [{ retries: -1, finally: 'suspend' }, 'retries'],
    [{ retries: 1.5, finally: 'suspend' }, 'retries'],
    [{ retries: 1, finally: 'skip' }, 'finally'],
    [{ retries: 1, wait: 0, finally: 'suspend' }, 'wait'],
  ])('is refused at the definition where it is none: %j', (onError, what) => {
    expect(() => box(onError as OnError)).toThrow(what)
  })
})
