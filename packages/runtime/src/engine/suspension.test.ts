import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, implementActivities, type } from '../index.ts'
import { encodeToken } from '../protocol/index.ts'
import { EngineWorld, keyOf } from '../testing/engine-world.ts'

const Box = defineWorkflow('box', {
  signals: {
    add: type<number>(),
    fill: type<number>(),
    odd: type<string>(),
    boom: type<unknown>(),
    work: type<string>(),
  },
  queries: { state: { output: type<unknown>() } },
  activities: { call: { input: type<string>(), output: type<string>() } },
})

/** `boom` throws what it is sent, unless this is the fixed code. */
const box = (isFixed: boolean) =>
  implement(Box, {
    startOnSignal: true,
    state: () => ({ log: [] as unknown[], big: '', odd: undefined as unknown }),
    on: {
      add: (ctx, n) => void ctx.state.log.push(n),
      fill: (ctx, megabytes) => void (ctx.state.big = isFixed ? '' : 'x'.repeat(megabytes * 1024 * 1024)),
      odd: (ctx, what) => void (ctx.state.odd = isFixed ? what : oddThing(what)),
      boom(ctx, thrown) {
        if (!isFixed) throw oddThing(thrown)
        ctx.state.log.push('boom')
      },
      async work(ctx, what) {
        ctx.state.log.push(await ctx.activities.call(what))
      },
    },
    queries: { state: (state) => state.log },
  })
const calls = implementActivities(Box, { call: (what) => `${what}!` })
const life = (isFixed = false, limits = {}) => ({ implementations: [box(isFixed)], activities: [calls], limits })

function oddThing(what: unknown): unknown {
  const shared = {}
  switch (what) {
    case 'function':
      return () => 1
    case 'twice':
      return [shared, shared]
    case 'proto':
      return JSON.parse('{"__proto__":1}') as unknown
    case 'deep map':
      return Array.from({ length: 100 }).reduce<unknown>((inner) => new Map([[1, inner]]), 1)
    case 'surrogate':
      return '\ud800'.repeat(100)
    case 'error with a class in it':
      return Object.assign(new Error('odd'), { details: new URL('http://odd') })
    case 'error with a cycle':
      return Object.assign(new Error('odd'), { details: ((object: { self?: unknown }) => (object.self = object))({}) })
    case 'error of 200 kB':
      return Object.assign(new Error('x'.repeat(200_000)), { details: 'y'.repeat(200_000) })
    case 'error that cannot be printed':
      return Object.create(null)
    default:
      return new Error(String(what))
  }
}

const stateOf = (world: EngineWorld, id: string): Promise<unknown> =>
  world.ask({ op: 'query', key: keyOf('box', id), name: 'state', minSeq: 0 })

describe('an instance whose handler throws', () => {
  it('counts what waits against the mailbox policies only once it is resumed', async () => {
    const bounded = (isFixed: boolean) => ({
      ...life(),
      implementations: [
        Object.freeze({ ...box(isFixed), mailbox: new Map([['work', { max: 1, overflow: 'reject' as const }]]) }),
      ],
    })
    const world = new EngineWorld()
    await world.start(bounded(false))
    world.send('box', 'a', 'signal', 'boom', 'no')
    for (const what of ['a', 'b', 'c', 'd']) world.send('box', 'a', 'signal', 'work', what, { id: what })
    await world.settled()
    expect(world.deadLetters).toEqual([])
    await world.crash()
    await world.start(bounded(true))
    world.send('box', 'a', 'admin', 'resume')
    await world.settled()
    // The first begins, the second waits, the rest is too much.
    expect(await stateOf(world, 'a')).toEqual(['boom', 'a!', 'b!'])
    expect(world.deadLetters.map(({ reason, seq }) => [reason, seq])).toEqual([
      ['MAILBOX_FULL', 4],
      ['MAILBOX_FULL', 5],
    ])
  })

  it('is suspended before that input; later inputs wait in order; the fixed code applies all of them, after a restart too', async () => {
    const world = new EngineWorld()
    await world.start(life())
    world.send('box', 'a', 'signal', 'add', 1)
    const poison = world.send('box', 'a', 'signal', 'boom', 'no', { reply: '_INBOX.boom' })
    world.send('box', 'a', 'signal', 'add', 2, { reply: '_INBOX.two' })
    world.send('box', 'b', 'signal', 'add', 9)
    await world.settled()
    expect(await world.describe('box', 'a')).toMatchObject({
      status: 'suspended',
      queued: 2,
      suspended: { seq: poison, error: { code: 'HANDLER_FAILED', message: 'no' } },
    })
    expect(await stateOf(world, 'a')).toEqual([1])
    expect(await stateOf(world, 'b')).toEqual([9])
    expect(world.replies('_INBOX.two')).toMatchObject([{ outcome: { ok: false, error: { code: 'SUSPENDED' } } }])

    await world.crash()
    await world.start(life(true))
    world.send('box', 'a', 'signal', 'add', 3)
    await world.settled()
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'suspended', queued: 3 })
    world.send('box', 'a', 'admin', 'resume', undefined, { reply: '_INBOX.resume' })
    await world.settled()
    expect(await stateOf(world, 'a')).toEqual([1, 'boom', 2, 3])
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'running', queued: 0 })
    expect(world.replies('_INBOX.resume')).toMatchObject([{ outcome: { ok: true } }])

    await world.stop()
    await world.start(life(true))
    expect(await stateOf(world, 'a')).toEqual([1, 'boom', 2, 3])
    await world.stop()
  })

  it('stays suspended when it is resumed with the same code, and loses nothing', async () => {
    const world = new EngineWorld()
    await world.start(life())
    world.send('box', 'a', 'signal', 'boom', 'no')
    world.send('box', 'a', 'signal', 'add', 1)
    for (let i = 0; i < 3; i++) world.send('box', 'a', 'admin', 'resume')
    await world.settled()
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'suspended', suspended: { seq: 1 } })
    await world.crash()
    await world.start(life(true))
    world.send('box', 'a', 'admin', 'resume')
    await world.settled()
    expect(await stateOf(world, 'a')).toEqual(['boom', 1])
    await world.stop()
  })

  it.each(['error with a class in it', 'error with a cycle', 'error of 200 kB', 'error that cannot be printed'])(
    'is suspended whatever it throws: %s',
    async (what) => {
      const world = new EngineWorld()
      await world.start(life())
      world.send('box', 'a', 'signal', 'add', 1)
      world.send('box', 'a', 'signal', 'boom', what)
      world.send('box', 'b', 'signal', 'add', 2)
      await world.settled()
      expect(world.failures).toEqual([])
      await world.crash()
      await world.start(life(true))
      expect(await world.describe('box', 'a')).toMatchObject({ status: 'suspended', suspended: { seq: 2 } })
      expect(await stateOf(world, 'b')).toEqual([2])
      world.send('box', 'a', 'admin', 'resume')
      await world.settled()
      expect(await stateOf(world, 'a')).toEqual([1, 'boom'])
      await world.stop()
    },
  )
})

describe('an instance whose state cannot be kept', () => {
  it.each([
    ['fill', 9],
    ['odd', 'function'],
    ['odd', 'twice'],
    ['odd', 'proto'],
    ['odd', 'deep map'],
    ['odd', 'surrogate'],
  ] as const)('is suspended with the reason while its neighbours go on: %s %s', async (name, what) => {
    const world = new EngineWorld()
    await world.start(life())
    world.send('box', 'a', 'signal', 'add', 1)
    const bad = world.send('box', 'a', 'signal', name, what)
    world.send('box', 'a', 'signal', 'add', 2)
    world.send('box', 'b', 'signal', 'add', 5)
    await world.settled()
    expect(world.failures).toEqual([])
    expect(await world.describe('box', 'a')).toMatchObject({
      status: 'suspended',
      suspended: { seq: bad, error: { code: 'INVALID_STATE' } },
    })
    expect(await stateOf(world, 'a')).toEqual([1])
    expect(await stateOf(world, 'b')).toEqual([5])
    await world.crash()
    await world.start(life(true))
    expect(await stateOf(world, 'b')).toEqual([5])
    world.send('box', 'a', 'admin', 'resume')
    await world.settled()
    expect(await stateOf(world, 'a')).toEqual([1, 2])
    await world.stop()
  })

  it('gets past the input when that is skipped, though those behind it had been applied already', async () => {
    const world = new EngineWorld()
    await world.start(life())
    world.send('box', 'a', 'signal', 'add', 1)
    const bad = world.send('box', 'a', 'signal', 'fill', 9)
    world.send('box', 'a', 'signal', 'add', 2, { reply: '_INBOX.two' })
    await world.settled()
    expect(world.replies('_INBOX.two')).toMatchObject([{ outcome: { ok: true } }])
    world.send('box', 'a', 'admin', 'skip', { seq: bad })
    world.send('box', 'a', 'signal', 'add', 3)
    await world.settled()
    expect(world.deadLetters).toMatchObject([{ seq: bad, reason: 'INVALID_STATE' }])
    expect(await stateOf(world, 'a')).toEqual([1, 2, 3])
    const { digest } = await world.describe('box', 'a')
    await world.crash()
    await world.start(life())
    expect(await world.describe('box', 'a')).toMatchObject({ digest, status: 'running' })
    await world.stop()
  })
})

describe('a suspended instance', () => {
  it('keeps the results of its activities, and runs none of them again', async () => {
    const world = new EngineWorld()
    let runs = 0
    let finish: () => void = () => {}
    const slow = implementActivities(Box, {
      async call(what) {
        runs += 1
        await new Promise<void>((resolve) => (finish = resolve))
        return `${what}!`
      },
    })
    await world.start({ implementations: [box(false)], activities: [slow] })
    world.send('box', 'a', 'signal', 'work', 'x')
    await world.until(() => runs === 1)
    // The handler in progress holds this one back; a signal of an unknown version is applied at once.
    world.send('box', 'a', 'signal', 'add', 1, { headers: { 'Carillon-Version': '7' } })
    await world.settled()
    expect(await world.describe('box', 'a')).toMatchObject({
      status: 'suspended',
      suspended: { error: { code: 'UNKNOWN_VERSION' } },
    })
    finish()
    await world.settled()
    await world.crash()
    await world.start({ implementations: [box(true)], activities: [slow] })
    await world.settled()
    expect(runs).toBe(1)
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'suspended' })
    await world.stop()
  })

  it('is not harmed by a forged activity result, nor is another instance', async () => {
    const world = new EngineWorld({ partitions: 1 })
    let runs = 0
    const stuck = implementActivities(Box, {
      async call(what, { signal }) {
        runs += 1
        if (runs === 1)
          await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
        return `${what}!`
      },
    })
    await world.start({ implementations: [box(false)], activities: [stuck] })
    const work = world.send('box', 'a', 'signal', 'work', 'x')
    world.send('box', 'b', 'signal', 'boom', 'no')
    await world.until(() => runs === 1)
    const outcome = { ok: true, value: 'forged' }
    for (const effect of [5, {}, 'x', `${work}.0`]) world.send('box', 'b', 'activity', 'call', { effect, outcome })
    for (const effect of [`${work}.0`, '999999.0']) world.send('box', 'c', 'activity', 'call', { effect, outcome })
    await world.settled()
    expect(world.failures).toEqual([])
    await world.crash()
    await world.start({ implementations: [box(false)], activities: [stuck] })
    await world.settled()
    expect(runs).toBe(2)
    expect(await stateOf(world, 'a')).toEqual(['x!'])
    await world.stop()
  })

  it('goes on with activities that its resume asks for, though every place was taken then', async () => {
    const world = new EngineWorld({ partitions: 1 })
    const limits = { activitiesMax: 1, activityQueueMax: 1 }
    const held: (() => void)[] = []
    let isHolding = true
    const gated = implementActivities(Box, {
      async call(what) {
        if (isHolding) await new Promise<void>((resolve) => held.push(resolve))
        return `${what}!`
      },
    })
    await world.start({ implementations: [box(false)], activities: [gated], limits })
    world.send('box', 'a', 'signal', 'boom', 'no')
    world.send('box', 'a', 'signal', 'work', 'early')
    for (const id of ['b', 'c']) world.send('box', id, 'signal', 'work', id)
    await world.settled()
    await world.stop()
    await world.start({ implementations: [box(true)], activities: [gated], limits })
    for (const id of ['d', 'e']) world.send('box', id, 'signal', 'work', id)
    await world.settled()
    world.send('box', 'a', 'admin', 'resume')
    await world.settled()
    isHolding = false
    for (const resolve of held) resolve()
    await world.settled()
    expect(await stateOf(world, 'a')).toEqual(['boom', 'early!'])
    for (const id of ['b', 'c', 'd', 'e']) expect(await stateOf(world, id)).toEqual([`${id}!`])
    await world.stop()
  })
})

describe('an instance of a type that nobody runs', () => {
  it('is answered, and its inputs are dead letters; the partition goes on', async () => {
    const world = new EngineWorld({ partitions: 1 })
    await world.start(life())
    world.send('ghost', 'g', 'signal', 'x', 1, { reply: '_INBOX.g' })
    world.send('box', 'a', 'signal', 'add', 1)
    await world.settled()
    expect(world.replies('_INBOX.g')).toMatchObject([{ outcome: { error: { code: 'UNKNOWN_TYPE' } } }])
    expect(world.deadLetters).toMatchObject([
      { subject: `test.dead.0.${encodeToken('ghost')}.g`, reason: 'UNKNOWN_TYPE', seq: 1 },
    ])
    expect(await stateOf(world, 'a')).toEqual([1])
    await world.stop()
  })
})

describe('code that changed under a handler that waits', () => {
  const Payment = defineWorkflow('payment', {
    signals: { go: type<void>() },
    queries: { log: { output: type<string[]>() } },
    activities: { charge: { output: type<string>() }, refund: { output: type<string>() } },
  })
  const payment = (name: 'charge' | 'refund') =>
    implement(Payment, {
      startOnSignal: true,
      state: () => ({ log: [] as string[] }),
      on: { go: async (ctx) => void ctx.state.log.push(await ctx.activities[name]()) },
      queries: { log: ({ log }) => [...log] },
    })

  it('is suspended at the result of what the code before it asked for, and goes on with that code', async () => {
    let charge: (receipt: string) => void = () => {}
    const called = new Promise<string>((resolve) => (charge = resolve))
    const activities = [implementActivities(Payment, { charge: () => called, refund: () => 'refunded' })]
    const world = new EngineWorld()
    await world.start({ implementations: [payment('charge')], activities })
    world.send('payment', 'a', 'signal', 'go')
    await world.settled()
    await world.crash()
    await world.start({ implementations: [payment('refund')], activities })
    charge('charged')
    await world.settled()
    expect(await world.describe('payment', 'a')).toMatchObject({
      status: 'suspended',
      suspended: { seq: 2, error: { code: 'NONDETERMINISTIC' } },
    })
    await world.crash()
    await world.start({ implementations: [payment('charge')], activities })
    world.send('payment', 'a', 'admin', 'resume')
    await world.settled()
    expect(await world.ask({ op: 'query', key: keyOf('payment', 'a'), name: 'log', minSeq: 0 })).toEqual(['charged'])
  })
})

describe('the state of an instance whose code waits', () => {
  const Pile = defineWorkflow('pile', { signals: { add: type<number>(), go: type<void>() } })
  const pile = (keeps: boolean) =>
    implement(Pile, {
      startOnSignal: true,
      state: () => ({ heap: [] as string[] }),
      on: { add: (ctx, n) => void (keeps && ctx.state.heap.push(`${n}`.repeat(200_000))) },
      run: async (ctx) => void (await ctx.receive('go')),
    })

  it('is bounded as well: the instance is suspended where it has grown too large, and goes on with code that keeps less', async () => {
    const world = new EngineWorld()
    await world.start({ implementations: [pile(true)] })
    for (let n = 0; n < 300; n++) world.send('pile', 'a', 'signal', 'add', n % 10)
    await world.settled()
    const described = await world.describe('pile', 'a')
    expect(described).toMatchObject({ status: 'suspended', suspended: { error: { code: 'INVALID_STATE' } } })
    expect(described.suspended?.error.message).toContain('while code waits')
    expect(described.suspended?.seq).toBeLessThan(200)
    await world.crash()
    await world.start({ implementations: [pile(false)] })
    world.send('pile', 'a', 'admin', 'resume')
    await world.settled()
    expect(await world.describe('pile', 'a')).toMatchObject({ status: 'running' })
  })
})
