/** The life of an instance over a real node: what holds across a restart of the node, and through the client. */
import type { Carillon } from '@carillon/client'
import { codeOf, defineWorkflow, implement, implementActivities, type } from '@carillon/runtime'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { TestCluster } from './test-cluster.ts'

const Feed = defineWorkflow('feed', {
  input: type<{ total: number } | undefined>(),
  signals: { item: type<number>() },
  queries: { total: { output: type<{ total: number; lives: number }>() } },
})
const feed = implement(Feed, {
  startOnSignal: true,
  state: (input) => ({ total: input?.total ?? 0, lives: 1 }),
  queries: { total: ({ total, lives }) => ({ total, lives }) },
  async run(ctx) {
    for (let left = 3; left > 0; left--) ctx.state.total += (await ctx.receive('item')).payload
    return ctx.continueAsNew(undefined, { state: { total: ctx.state.total, lives: ctx.state.lives + 1 } })
  },
})

const Rollout = defineWorkflow('rollout', {
  signals: { deploy: type<string>(), pause: type<void>(), proceed: type<void>() },
  queries: { state: { output: type<{ done: string[]; isPaused: boolean }>() } },
  activities: { install: { input: type<string>() } },
})
const rollout = implement(Rollout, {
  startOnSignal: true,
  state: () => ({ done: [] as string[], isPaused: false }),
  on: {
    async deploy(ctx, host) {
      await ctx.activities.install(host)
      await ctx.condition(() => !ctx.state.isPaused)
      ctx.state.done.push(host)
    },
    pause: (ctx) => void (ctx.state.isPaused = true),
    proceed: (ctx) => void (ctx.state.isPaused = false),
  },
  concurrent: ['pause', 'proceed'],
  queries: { state: ({ done, isPaused }) => ({ done: [...done], isPaused }) },
})
const Quotes = defineWorkflow('quotes', {
  signals: { publish: type<void>(), price: type<number>(), order: type<number>(), hurry: type<void>() },
  queries: { seen: { output: type<number[]>() } },
  activities: { publish: {} },
})
const quotes = implement(Quotes, {
  startOnSignal: true,
  state: () => ({ seen: [] as number[] }),
  on: {
    publish: (ctx) => ctx.activities.publish(),
    price: (ctx, n) => void ctx.state.seen.push(n),
    order: (ctx, n) => void ctx.state.seen.push(-n),
    hurry: (ctx) => Promise.race([ctx.activities.publish(), ctx.sleep('1 day')]),
  },
  mailbox: { price: { max: 1, overflow: 'latest' }, order: { max: 2, overflow: 'reject' } },
  queries: { seen: ({ seen }) => [...seen] },
})
const Order = defineWorkflow('order', {
  input: type<{ total: number } | undefined>(),
  result: type<number>(),
  signals: { close: type<void>() },
  updates: {
    add: { input: type<number>(), output: type<number>() },
    addLater: { input: type<number>(), output: type<number>() },
  },
})
const order = implement(Order, {
  retention: 300,
  state: (input) => ({ total: input?.total ?? 0 }),
  on: { close: (ctx) => ctx.complete(ctx.state.total) },
  updates: {
    add: (ctx, n) => (ctx.state.total += n),
    async addLater(ctx, n) {
      await ctx.sleep(300)
      return (ctx.state.total += n)
    },
  },
})
const Trip = defineWorkflow('trip', {
  queries: { log: { output: type<string[]>() } },
  activities: { book: { input: type<string>(), output: type<string>() } },
})
const trip = implement(Trip, {
  state: () => ({ log: [] as string[] }),
  queries: { log: ({ log }) => [...log] },
  async run(ctx) {
    try {
      await ctx.activities.book('flight')
    } catch (error) {
      const refund = await ctx.scope((inner) => inner.activities.book('refund'), { cancellable: false })
      ctx.state.log.push(refund)
      throw error
    }
  },
})
const Tour = defineWorkflow('tour', { signals: { go: type<void>(), end: type<void>() } })
const tour = implement(Tour, {
  startOnSignal: true,
  state: () => ({}),
  on: {
    go: (ctx) => void ctx.children.start(Trip, `trip of ${ctx.id}`, undefined, { onParentClose: 'cancel' }),
    end: (ctx) => ctx.complete(),
  },
})
const Pulse = defineWorkflow('pulse', {
  signals: { begin: type<string>() },
  queries: { beats: { output: type<{ dueMs: number; missed: number; late: number }[]>() } },
})
const pulse = implement(Pulse, {
  startOnSignal: true,
  state: () => ({ beats: [] as { dueMs: number; missed: number; late: number }[] }),
  on: { begin: (ctx, timeZone) => ctx.timers.beat.cron('* * * * * *', { timeZone }) },
  queries: { beats: ({ beats }) => [...beats] },
  timers: {
    beat: {
      catchUp: 'all',
      run: (ctx, { dueMs, missed }) => void ctx.state.beats.push({ dueMs, missed, late: ctx.now() - dueMs }),
    },
  },
})
const attempts: string[] = []
const bookings = implementActivities(Trip, {
  book: (what, { signal }) => {
    attempts.push(`begin ${what}`)
    if (what === 'refund') return 'refunded'
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => {
        attempts.push(`abort ${what} ${codeOf(signal.reason)}`)
        reject(signal.reason as Error)
      })
    })
  },
})
let letInstall: () => void = () => {}
const installed = new Promise<void>((resolve) => (letInstall = resolve))
const installs = implementActivities(Rollout, { install: () => installed })
let letPublish: () => void = () => {}
const published = new Promise<void>((resolve) => (letPublish = resolve))
const publishes = implementActivities(Quotes, { publish: () => published })

describe('the life of an instance', () => {
  let cluster: TestCluster
  let carillon: Carillon
  beforeAll(async () => {
    cluster = await TestCluster.open({
      name: 'node',
      workflows: {
        implementations: [feed, rollout, order, trip, tour, quotes, pulse],
        activities: [installs, bookings, publishes],
      },
    })
    carillon = cluster.carillon
  })
  afterAll(() => cluster.close())
  const restart = (): Promise<void> => cluster.restart()

  it('goes on through continueAsNew and a restart of the node, with its signals in order and each id once', async () => {
    const handle = carillon.workflow(Feed, 'f')
    for (let n = 1; n <= 10; n++) await handle.signal('item', n, { id: `id-${n}` })
    await handle.signal('item', 1, { id: 'id-1', wait: 'applied' })
    expect(await handle.query('total')).toEqual({ total: 55, lives: 4 })
    const { digest } = await handle.describe()
    await restart()
    expect(await handle.describe()).toMatchObject({ digest, status: 'running', incarnation: 1, mailbox: 0 })
    await handle.signal('item', 3, { id: 'id-3' })
    await handle.signal('item', 11, { wait: 'applied' })
    await handle.signal('item', 12, { wait: 'applied' })
    expect(await handle.query('total')).toEqual({ total: 78, lives: 5 })
  })

  it('takes a concurrent signal while a handler waits for its activity, and still knows it after a restart', async () => {
    const handle = carillon.workflow(Rollout, 'r')
    await handle.signal('deploy', 'a')
    const deployed = handle.signal('deploy', 'b', { wait: 'applied' })
    await handle.signal('pause', undefined, { wait: 'applied' })
    expect(await handle.query('state')).toEqual({ done: [], isPaused: true })
    await restart()
    letInstall()
    await handle.signal('proceed', undefined, { wait: 'applied' })
    await deployed
    expect(await handle.query('state')).toEqual({ done: ['a', 'b'], isPaused: false })
  })

  it('keeps what waits within its bounds, tells every sender, and still knows it after a restart', async () => {
    const handle = carillon.workflow(Quotes, 'q')
    await handle.signal('publish')
    const first = handle.signal('price', 1, { id: 'p-1', wait: 'applied' })
    for (let n = 2; n <= 50; n++) await handle.signal('price', n, { id: `p-${n}` })
    const superseded = await first
    expect(superseded).toMatchObject({ duplicate: false })
    expect(superseded.supersededBy).toBeGreaterThan(superseded.seq)
    for (let n = 1; n <= 2; n++) await handle.signal('order', n)
    await expect(handle.signal('order', 3, { id: 'o-3', wait: 'applied' })).rejects.toMatchObject({
      code: 'MAILBOX_FULL',
    })
    await restart()
    expect(await handle.signal('price', 1, { id: 'p-1', wait: 'applied' })).toMatchObject({ duplicate: true })
    expect(await handle.describe()).toMatchObject({ queued: 3 })
    letPublish()
    await handle.signal('publish', undefined, { wait: 'applied' })
    expect(await handle.query('seen')).toEqual([50, -1, -2])
    // The loser of a race sets no timer any more once its handler is done.
    await handle.signal('hurry', undefined, { wait: 'applied' })
    expect(await handle.describe()).toMatchObject({ timers: [] })
  })

  it('answers an update that was accepted before its node went, or while there was none, and its repeats', async () => {
    const handle = carillon.workflow(Order, 'accepted')
    await handle.start({ total: 1 })
    const inProgress = await handle.startUpdate('addLater', 5, { id: 'u-1' })
    await expect.poll(async () => (await handle.describe()).timers.length, { interval: 5 }).toBe(1)
    await cluster.stopNode()
    const whileNobodyServes = await handle.startUpdate('add', 10, { id: 'u-2' })
    expect(whileNobodyServes.seq).toBeGreaterThan(inProgress.seq)
    await cluster.startNode()
    expect(await inProgress.result()).toBe(6)
    expect(await whileNobodyServes.result()).toBe(16)
    expect(await whileNobodyServes.result()).toBe(16)
    expect(await handle.update('addLater', 5, { id: 'u-1' })).toBe(6)
    expect(await handle.update('add', 0)).toBe(16)
  })

  it('starts by its rules: update-with-start, terminate what runs, refuse what has closed, wait for a delay', async () => {
    const handle = carillon.workflow(Order, 'o')
    const add = (n: number, ifRunning: 'use' | 'terminate'): Promise<number> =>
      handle.updateWithStart({ input: { total: 10 }, update: { name: 'add', input: n } }, { ifRunning })
    expect(await add(1, 'use')).toBe(11)
    expect(await add(1, 'use')).toBe(12)
    expect(await add(5, 'terminate')).toBe(15)
    expect(await handle.describe()).toMatchObject({ incarnation: 2, status: 'running' })
    await handle.terminate('enough', { wait: 'applied' })
    await expect(handle.result()).rejects.toMatchObject({
      code: 'TERMINATED',
      message: 'order/o was terminated: enough',
    })
    await expect(handle.start(undefined, { ifClosed: 'fail', wait: 'applied' })).rejects.toMatchObject({
      code: 'CLOSED',
    })

    const later = carillon.workflow(Order, 'later')
    await later.start({ total: 1 }, { startDelay: 200, wait: 'applied' })
    const { timers, timeMs } = await later.describe()
    expect(timers).toEqual([{ name: 'sleep', dueMs: timeMs + 200 }])
    expect(await later.update('add', 1)).toBe(2)
    expect((await later.describe()).timeMs).toBeGreaterThanOrEqual(timeMs + 200)
  })

  it('is cancelled through the client: the activity is aborted, run cleans up, also after a restart', async () => {
    const handle = carillon.workflow(Trip, 't')
    await handle.start()
    await expect.poll(() => attempts).toEqual(['begin flight'])
    await restart()
    await expect.poll(() => attempts.slice(1)).toEqual(['abort flight CLOSING', 'begin flight'])
    await handle.cancel('ill', { wait: 'applied' })
    await expect(handle.result()).rejects.toMatchObject({ code: 'CANCELLED', message: 'trip/t was cancelled: ill' })
    expect(await handle.query('log')).toEqual(['refunded'])
    expect(attempts.slice(3).toSorted()).toEqual(['abort flight CLOSED', 'begin refund'])
    await expect(handle.cancel(undefined, { wait: 'applied' })).rejects.toMatchObject({ code: 'CLOSED' })
  })

  it('is asked to cancel when its parent closes, if that wants it so, and cleans up', async () => {
    attempts.length = 0
    const handle = carillon.workflow(Tour, 't')
    await handle.signal('go')
    await expect.poll(() => attempts).toEqual(['begin flight'])
    await handle.signal('end', undefined, { wait: 'applied' })
    const child = carillon.workflow(Trip, 'trip of t')
    await expect(child.result()).rejects.toMatchObject({
      code: 'CANCELLED',
      message: 'trip/trip of t was cancelled: its parent tour/t has closed',
    })
    expect(await child.query('log')).toEqual(['refunded'])
  })

  it('keeps a cron pattern of its own over a restart, and misses no moment of it', async () => {
    const handle = carillon.workflow(Pulse, 'p')
    await handle.signal('begin', 'Asia/Kathmandu')
    const beats = async (): Promise<number> => (await handle.query('beats')).length
    await expect.poll(beats, { timeout: 20_000, interval: 50 }).toBeGreaterThanOrEqual(1)
    await restart()
    const before = await beats()
    await expect.poll(beats, { timeout: 20_000, interval: 50 }).toBeGreaterThan(before + 1)
    const all = await handle.query('beats')
    expect(all.map(({ dueMs }) => dueMs)).toEqual(all.map((_, index) => (all[0]?.dueMs ?? 0) + index * 1000))
    for (const { dueMs, missed, late } of all) {
      expect([dueMs % 1000, missed]).toEqual([0, 0])
      expect(late).toBeGreaterThanOrEqual(0)
    }
  })

  it('is forgotten when its retention is over, also by a node that was restarted meanwhile', async () => {
    const handle = carillon.workflow(Order, 'gone')
    await handle.start({ total: 3 })
    await handle.signal('close')
    expect(await handle.result()).toBe(3)
    await restart()
    await expect
      .poll(() => handle.describe().then(() => 'known', codeOf), { timeout: 20_000, interval: 50 })
      .toBe('NOT_FOUND')
    const listed = async (): Promise<readonly string[]> =>
      (await carillon.listPage({ type: 'order' })).rows.map(({ id }) => id)
    await expect.poll(listed, { timeout: 20_000, interval: 50 }).not.toContain('gone')
    await handle.start({ total: 4 }, { ifClosed: 'fail', wait: 'applied' })
    expect(await handle.describe()).toMatchObject({ incarnation: 1, status: 'running' })
  })
})
