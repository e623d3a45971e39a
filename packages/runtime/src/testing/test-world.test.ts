import { afterEach, describe, expect, it } from 'vitest'

import { defineWorkflow, implement, implementActivities, NonRetryable, type, UpdateRejected } from '../index.ts'
import { mockActivities, TestWorld, type TestWorldOptions } from './index.ts'

const Account = defineWorkflow('account', {
  input: type<{ owner: string }>(),
  result: type<{ sum: number }>(),
  signals: { add: type<number>(), report: type<string>(), close: type<void>() },
  updates: { take: { input: type<number>(), output: type<{ left: number }>() } },
  queries: { sum: { output: type<number>() }, sent: { output: type<readonly string[]>() } },
  activities: { mail: { input: type<string>(), output: type<string>(), startToClose: '10 seconds' } },
})

interface State {
  sum: number
  sent: string[]
}

const account = implement(Account, {
  state: (): State => ({ sum: 0, sent: [] }),
  on: {
    add: (ctx, n) => void (ctx.state.sum += n),
    async report(ctx, text) {
      ctx.state.sent.push(await ctx.activities.mail(`${text} ${ctx.random() < 2 ? 'ok' : ''}`))
    },
    close: (ctx) => ctx.complete({ sum: ctx.state.sum }),
  },
  updates: {
    take: {
      validate(state, n) {
        if (n > state.sum) throw new UpdateRejected(`there are ${state.sum}`)
      },
      async run(ctx, n) {
        ctx.state.sum -= n
        await ctx.sleep('1 second')
        return { left: ctx.state.sum }
      },
    },
  },
  queries: { sum: (state) => state.sum, sent: (state) => [...state.sent] },
  timers: {
    monthly: { every: '30 days', run: async (ctx) => void ctx.state.sent.push(await ctx.activities.mail('month')) },
  },
})

function mail() {
  return mockActivities(Account, { mail: (text) => `${text}!` })
}

let world: TestWorld

async function listOf<T>(given: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const one of given) all.push(one)
  return all
}

async function open(options: Partial<TestWorldOptions> = {}): Promise<void> {
  world = await TestWorld.open({ workflows: [account], activities: [mail()], ...options })
}

afterEach(() => world.close())

describe('a test world', () => {
  it('skips a year of a monthly timer in no time', async () => {
    await open()
    const ann = world.workflow(Account, 'ann')
    await ann.start({ owner: 'ann' })
    const beganMs = performance.now()
    await world.skip('365 days')
    expect(await ann.query('sent')).toHaveLength(12)
    expect(performance.now() - beganMs).toBeLessThan(2000)
  })

  it('lets time pass without a node, and fires late then what fell due', async () => {
    await open()
    const ann = world.workflow(Account, 'ann')
    await ann.start({ owner: 'ann' })
    const { nowMs, crashes } = world
    await world.down('95 days')
    expect(world.nowMs).toBe(nowMs + 95 * 86_400_000)
    expect(world.crashes).toBe(crashes + 1)
    await world.skip('1 minute')
    expect(await ann.query('sent')).toHaveLength(1)
    await world.skip('25 days')
    expect(await ann.query('sent')).toHaveLength(2)
  })

  it('fires a timer at the end of a skip, and not a moment before', async () => {
    await open()
    const ann = world.workflow(Account, 'ann')
    await ann.start({ owner: 'ann' })
    await world.skip(30 * 86_400_000 - 1)
    expect(await ann.query('sent')).toEqual([])
    await world.skip(1)
    expect(await ann.query('sent')).toEqual(['month!'])
  })

  it('lets time stand still between the calls of a test', async () => {
    await open()
    const ann = world.workflow(Account, 'ann')
    const beganMs = world.nowMs
    await ann.start({ owner: 'ann' })
    await ann.signal('add', 5, { wait: 'applied' })
    await world.settled()
    expect(await ann.query('sum')).toBe(5)
    expect(world.nowMs).toBe(beganMs)
  })

  it('lets time go on for an update that sleeps', async () => {
    await open()
    const ann = world.workflow(Account, 'ann')
    await ann.start({ owner: 'ann' })
    await ann.signal('add', 5)
    const beganMs = world.nowMs
    expect(await ann.update('take', 2)).toEqual({ left: 3 })
    expect(world.nowMs - beganMs).toBeGreaterThanOrEqual(1000)
    expect(world.nowMs - beganMs).toBeLessThan(2000)
  })

  it('starts by the start rules, updates with a start, cancels and terminates, as the client does', async () => {
    await open()
    const ann = world.workflow(Account, 'ann')
    await ann.start({ owner: 'ann' }, { startDelay: '1 hour' })
    await ann.signal('add', 5)
    expect(await ann.query('sum')).toBe(0)
    await world.skip('1 hour')
    expect(await ann.query('sum')).toBe(5)
    await ann.start({ owner: 'ann' }, { ifRunning: 'terminate' })
    expect(await ann.query('sum')).toBe(0)
    await ann.terminate('enough')
    await expect(ann.result()).rejects.toMatchObject({
      code: 'TERMINATED',
      message: expect.stringContaining('enough'),
    })
    await expect(ann.start({ owner: 'ann' }, { ifClosed: 'fail', wait: 'applied' })).rejects.toMatchObject({
      code: 'CLOSED',
    })

    const bob = world.workflow(Account, 'bob')
    const both = { input: { owner: 'bob' }, update: { name: 'take', input: 0 } } as const
    expect(await bob.updateWithStart(both)).toEqual({ left: 0 })
    await bob.cancel('changed my mind')
    await expect(bob.result()).rejects.toMatchObject({ message: expect.stringContaining('changed my mind') })
  })

  it('rejects an update that is not done within its time-out of the world, and applies it all the same', async () => {
    await open()
    const ann = world.workflow(Account, 'ann')
    await ann.start({ owner: 'ann' })
    await ann.signal('add', 5)
    await expect(ann.update('take', 2, { id: 't', timeoutMs: 500 })).rejects.toMatchObject({ code: 'TIMEOUT' })
    expect(await ann.update('take', 2, { id: 't' })).toEqual({ left: 3 })
  })

  it('starts an update, whose outcome is asked for later, and again', async () => {
    await open()
    const ann = world.workflow(Account, 'ann')
    await ann.start({ owner: 'ann' })
    await ann.signal('add', 5)
    const started = await ann.startUpdate('take', 2)
    expect(await started.result()).toEqual({ left: 3 })
    expect(await started.result()).toEqual({ left: 3 })
    await expect((await ann.startUpdate('take', 9)).result()).rejects.toMatchObject({ code: 'UPDATE_REJECTED' })
  })

  it('gives errors by their code, as a client does', async () => {
    await open()
    const ann = world.workflow(Account, 'ann')
    await expect(ann.query('sum')).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(ann.signal('add', 1, { wait: 'applied' })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await ann.start({ owner: 'ann' })
    await expect(ann.update('take', 2)).rejects.toMatchObject({ code: 'UPDATE_REJECTED' })
    await expect(ann.start({ owner: 'bob' }, { wait: 'applied' })).rejects.toMatchObject({ code: 'ALREADY_STARTED' })
    await expect(ann.result({ timeoutMs: 1000 })).rejects.toMatchObject({ code: 'TIMEOUT' })
    // @ts-expect-error -- no such signal
    await expect(ann.signal('nothing')).rejects.toMatchObject({ code: 'UNKNOWN_NAME' })
    expect(world.deadLetters.map(({ reason }) => reason)).toEqual(['NOT_FOUND'])
  })

  it('gives the result of an instance that closes', async () => {
    await open()
    const ann = world.workflow(Account, 'ann')
    await ann.signalWithStart({ input: { owner: 'ann' }, signal: { name: 'add', payload: 7 } })
    await ann.signal('close')
    expect(await ann.result()).toEqual({ sum: 7 })
    expect((await ann.describe()).status).toBe('completed')
  })

  it('lets an activity fail as often as a test wants, and retries it in its own time', async () => {
    const activities = mail()
    await open({ activities: [activities] })
    const ann = world.workflow(Account, 'ann')
    await ann.start({ owner: 'ann' })
    activities.failNext('mail', 3)
    await ann.signal('report', 'a', { wait: 'applied' })
    expect(activities.calls('mail').map(({ input, attempt }) => `${input} ${attempt}`)).toEqual([
      'a ok 1',
      'a ok 2',
      'a ok 3',
      'a ok 4',
    ])
    expect(new Set(activities.calls('mail').map(({ callId }) => callId)).size).toBe(1)
    activities.failNext('mail', 1, new NonRetryable('no'))
    await expect(ann.signal('report', 'b', { wait: 'applied' })).rejects.toMatchObject({ code: 'SUSPENDED' })
  })

  it('lets the time-out of an attempt that hangs come at once', async () => {
    const activities = mail()
    await open({ activities: [activities] })
    const ann = world.workflow(Account, 'ann')
    await ann.start({ owner: 'ann' })
    activities.hangNext('mail')
    const beganMs = world.nowMs
    await ann.signal('report', 'a', { wait: 'applied' })
    expect(activities.calls('mail')).toHaveLength(2)
    expect(world.nowMs - beganMs).toBeGreaterThanOrEqual(10_000)
  })

  it('waits for activities that take time of the host', async () => {
    await open({
      activities: [mockActivities(Account, { mail: (text) => new Promise((done) => setTimeout(done, 30, text)) })],
    })
    const ann = world.workflow(Account, 'ann')
    await ann.start({ owner: 'ann' })
    await ann.signal('report', 'slow')
    await world.settled()
    expect(await ann.query('sent')).toEqual(['slow ok'])
  })

  it('takes plain JSON on the public door, and refuses another subject', async () => {
    await open()
    const ann = world.workflow(Account, 'ann')
    await ann.start({ owner: 'ann' })
    world.publish('carillon.signal.account.ann.add', '41')
    world.publish('carillon.signal.account.ann.add', '41', { 'Nats-Msg-Id': 'once' })
    world.publish('carillon.signal.account.ann.add', '41', { 'Nats-Msg-Id': 'once' })
    await world.settled()
    expect(await ann.query('sum')).toBe(82)
    expect(() => world.publish('carillon.log.1.account.ann.signal.add', '1')).toThrow('public door')
  })

  it('calls an activity again that ran when the engine crashed', async () => {
    const activities = mail()
    await open({ activities: [activities] })
    const ann = world.workflow(Account, 'ann')
    await ann.start({ owner: 'ann' })
    activities.hangNext('mail')
    await ann.signal('report', 'a')
    await world.settled()
    expect(await ann.query('sent')).toEqual([])
    await world.crash()
    expect(await ann.query('sent')).toEqual(['a ok!'])
    const [first, second, ...rest] = activities.calls('mail')
    expect(rest).toEqual([])
    expect(second?.callId).toBe(first?.callId)
  })

  it('keeps what was logged, by workflows and activities', async () => {
    await open({
      activities: [
        mockActivities(Account, {
          mail(text, ctx) {
            ctx.log.info('mailed', { text })
            return text
          },
        }),
      ],
    })
    const ann = world.workflow(Account, 'ann')
    await ann.start({ owner: 'ann' })
    await ann.signal('report', 'a', { wait: 'applied' })
    expect(world.logLines.filter(({ message }) => message === 'mailed')).toMatchObject([{ fields: { text: 'a ok' } }])
  })

  it('lets time pass until a condition holds, and says when it cannot', async () => {
    await open()
    const ann = world.workflow(Account, 'ann')
    await ann.start({ owner: 'ann' })
    await world.until(async () => (await ann.query('sent')).length === 2, '70 days')
    await expect(world.until(() => false, '1 day')).rejects.toMatchObject({ code: 'TIMEOUT' })
  })

  it('gives the history of an instance, as a client does', async () => {
    await open({})
    const ann = world.workflow(Account, 'ann')
    await ann.start({ owner: 'ann' })
    await world.workflow(Account, 'bob').start({ owner: 'bob' })
    await ann.signal('add', 3, { id: 'three' })
    world.publish('carillon.signal.account.ann.add', '{')
    const entries = await listOf(ann.history())
    expect(entries).toMatchObject([
      { seq: 1, kind: 'start', name: '', payload: { input: { owner: 'ann' } } },
      { seq: 3, kind: 'signal', name: 'add', id: 'three', payload: 3, time: new Date(world.nowMs) },
      { seq: 4, kind: 'signal', name: 'add', id: undefined, payload: undefined },
    ])
    expect(entries[2]?.unreadable).toEqual(expect.any(String))
    expect(await listOf(ann.history({ from: 2, limit: 1 }))).toMatchObject([{ seq: 3 }])
    await expect(ann.history({ from: 0 }).next()).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  it('tells which signal stands for one that a mailbox policy has superseded', async () => {
    const Quotes = defineWorkflow('quotes', { signals: { pause: type<void>(), price: type<number>() } })
    const quotes = implement(Quotes, {
      startOnSignal: true,
      state: () => ({}),
      on: { pause: (ctx) => ctx.sleep('1 hour'), price: () => {} },
      mailbox: { price: { max: 1, overflow: 'latest' } },
    })
    world = await TestWorld.open({ workflows: [quotes], crashBetweenTurns: true })
    const q = world.workflow(Quotes, 'q')
    await q.signal('pause')
    await q.signal('price', 1, { id: 'one' })
    const { seq } = await q.signal('price', 2)
    expect(await q.signal('price', 1, { id: 'one', wait: 'applied' })).toMatchObject({
      id: 'one',
      duplicate: true,
      supersededBy: seq,
    })
    await world.close()
  })
})

describe('crashBetweenTurns', () => {
  async function scenario(options: Partial<TestWorldOptions>) {
    const activities = mail()
    await open({ ...options, activities: [activities] })
    const ann = world.workflow(Account, 'ann')
    const bob = world.workflow(Account, 'bob')
    await ann.start({ owner: 'ann' })
    await bob.start({ owner: 'bob' })
    activities.failNext('mail', 2)
    for (const n of [1, 2, 3, 4]) {
      await ann.signal('add', n)
      await bob.signal('report', `b${n}`)
    }
    const left = await ann.update('take', 4)
    await world.skip('61 days')
    await bob.signal('report', 'late', { wait: 'applied' })
    await ann.signal('close')
    const seen = {
      left,
      result: await ann.result(),
      sent: await bob.query('sent'),
      calls: activities.calls('mail').map(({ input, callId }) => `${callId} ${input}`),
      dead: world.deadLetters.length,
    }
    const { crashes } = world
    await world.close()
    return { seen, crashes }
  }

  it.each([1, 2, 3, 4, 5])('changes no result, with seed %i', async (seed) => {
    const calm = await scenario({ seed })
    const crashing = await scenario({ seed, crashBetweenTurns: true })
    expect(calm.crashes).toBe(0)
    expect(crashing.crashes).toBeGreaterThan(20)
    expect(calm.seen.sent).toHaveLength(7)
    expect([...crashing.seen.calls].toSorted()).toEqual([...calm.seen.calls].toSorted())
    expect({ ...crashing.seen, calls: [] }).toEqual({ ...calm.seen, calls: [] })
  })

  it('is the same run for the same seed', async () => {
    const once = await scenario({ seed: 7, crashBetweenTurns: true })
    expect(await scenario({ seed: 7, crashBetweenTurns: true })).toEqual(once)
  })

  it('shows a workflow that keeps something outside of its state', async () => {
    const Counter = defineWorkflow('counter', {
      signals: { add: type<void>() },
      queries: { n: { output: type<number>() } },
    })
    const count = async (crashBetweenTurns: boolean): Promise<number> => {
      let outside = 0
      const counter = implement(Counter, {
        startOnSignal: true,
        state: () => ({ n: 0 }),
        on: { add: (ctx) => void (ctx.state.n = ++outside) },
        queries: { n: (state) => state.n },
      })
      world = await TestWorld.open({ workflows: [counter], crashBetweenTurns })
      const c1 = world.workflow(Counter, 'c-1')
      for (let i = 0; i < 3; i++) await c1.signal('add', undefined, { wait: 'applied' })
      const n = await c1.query('n')
      await world.close()
      return n
    }
    expect(await count(false)).toBe(3)
    expect(await count(true)).toBe(6)
  })
})

describe('builds', () => {
  const Cart = defineWorkflow('cart', {
    signals: { order: type<string>() },
    queries: { log: { output: type<readonly string[]>() } },
    activities: { pay: { input: type<string>() } },
  })
  const buildOf = (patches: readonly string[]) =>
    implement(Cart, {
      startOnSignal: true,
      patches,
      state: () => ({ log: [] as string[] }),
      on: {
        async order(ctx, what) {
          if (patches.includes('check') && ctx.patched('check')) ctx.state.log.push(`checked ${what}`)
          await ctx.sleep('1 minute')
          await ctx.activities.pay(what)
          ctx.state.log.push(`paid ${what}`)
        },
      },
      queries: { log: ({ log }) => log },
    })
  const activities = [implementActivities(Cart, { pay: () => {} })]
  const [first, next] = [buildOf([]), buildOf(['check'])]

  it.each([false, true])(
    'deploys another build in the middle of everything: what waits goes its old way, what begins goes the new one (crashes: %s)',
    async (crashBetweenTurns) => {
      await using world = await TestWorld.open({ workflows: [first], activities, crashBetweenTurns })
      const cart = world.workflow(Cart, 'c')
      await cart.signal('order', 'one')
      await cart.signal('order', 'two')
      await world.deploy({ workflows: [next] })
      await cart.signal('order', 'three')
      await world.skip('1 hour')
      expect(await cart.query('log')).toEqual(['paid one', 'paid two', 'checked three', 'paid three'])
    },
  )

  it.each([
    [undefined, ['checked one', 'paid one']],
    [[], ['paid one']],
    [['check'], ['checked one', 'paid one']],
  ])('have the patches that are asked for active from the start: %o', async (patches, log) => {
    await using world = await TestWorld.open({
      workflows: [next],
      activities,
      ...(patches === undefined ? {} : { patches }),
    })
    const cart = world.workflow(Cart, 'c')
    await cart.signal('order', 'one')
    await world.skip('1 hour')
    expect(await cart.query('log')).toEqual(log)
  })

  it('deploy a newer version of the state: what is idle and what waits are migrated', async () => {
    const newer = implement(Cart, {
      startOnSignal: true,
      version: 2,
      migrate: ({ log }: { log: string[] }) => ({ log: new Map(log.map((line, i) => [i, line])) }),
      state: () => ({ log: new Map<number, string>() }),
      on: {
        async order(ctx, what) {
          await ctx.sleep('1 minute')
          await ctx.activities.pay(what)
          ctx.state.log.set(ctx.state.log.size, `paid ${what}`)
        },
      },
      queries: { log: ({ log }) => [...log].map(([i, line]) => `${i}: ${line}`) },
    })
    await using world = await TestWorld.open({ workflows: [first], activities, crashBetweenTurns: true })
    const [idle, waits] = [world.workflow(Cart, 'idle'), world.workflow(Cart, 'waits')]
    await idle.signal('order', 'one')
    await world.skip('1 hour')
    await waits.signal('order', 'two')
    await world.deploy({ workflows: [newer] })
    expect([await idle.query('log'), await waits.query('log')]).toEqual([['0: paid one'], []])
    await world.skip('1 hour')
    expect(await waits.query('log')).toEqual(['0: paid two'])
  })
})
