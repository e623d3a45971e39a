/** Type tests: every `@ts-expect-error` line must not compile. They run with the build. */
import type { OnError } from './on-error.ts'
import { z } from 'zod'

import {
  defineInterceptors,
  defineWorkflow,
  implement,
  implementActivities,
  type Interceptors,
  type,
} from '../index.ts'

type Level = 'bronze' | 'gold'

const Loyalty = defineWorkflow('loyalty', {
  input: type<{ email: string }>(),
  result: type<{ points: number }>(),
  signals: { purchase: z.object({ orderId: z.string(), amount: z.number().positive() }), close: type<void>() },
  updates: { redeem: { input: z.object({ points: z.number().int() }), output: type<{ left: number }>() } },
  queries: { status: { output: type<{ points: number; level: Level }>() } },
  activities: { notifyPartner: { input: type<{ level: Level }>(), output: type<{ receipt: string }>() }, ping: {} },
})

export const good = implement(Loyalty, {
  state: (input) => ({ email: input.email, points: 0, level: 'bronze' as Level }),
  on: {
    async purchase(ctx, { amount }) {
      ctx.state.points += amount
      const { receipt } = await ctx.activities.notifyPartner({ level: 'gold' })
      ctx.log.info(receipt.toUpperCase())
      await ctx.activities.ping()
      ctx.timers.monthly.cancel()
      // @ts-expect-error -- no such timer
      ctx.timers.yearly.cancel()
      // @ts-expect-error -- no such activity
      await ctx.activities.notify({ level: 'gold' })
      // @ts-expect-error -- wrong activity input
      await ctx.activities.notifyPartner({ level: 'silver' })
      // @ts-expect-error -- no such field of the state
      ctx.state.pionts += 1
    },
    close: (ctx) => ctx.complete({ points: ctx.state.points }),
  },
  updates: {
    redeem: {
      validate(state, { points }) {
        // @ts-expect-error -- a validator changes nothing
        state.points = points
      },
      run(ctx, { points }) {
        ctx.state.points -= points
        return { left: ctx.state.points }
      },
    },
  },
  queries: { status: (state) => ({ points: state.points, level: state.level }) },
  timers: { monthly: { every: '30 days', run: (ctx) => void (ctx.state.points += 1) } },
})

export const autoStarted = implement(Loyalty, {
  startOnSignal: true,
  // @ts-expect-error -- a type that starts by itself may have no input
  state: (input) => ({ email: input.email, points: 0, level: 'bronze' as Level }),
  on: { purchase: () => {}, close: (ctx) => ctx.complete({ points: 1 }) },
  updates: { redeem: () => ({ left: 1 }) },
  queries: { status: () => ({ points: 1, level: 'gold' as const }) },
})

// @ts-expect-error -- no handler for `close`
export const missingHandler = implement(Loyalty, {
  state: () => ({}),
  on: { purchase: () => {} },
  updates: { redeem: () => ({ left: 1 }) },
  queries: { status: () => ({ points: 1, level: 'gold' as const }) },
})

const Labelled = defineWorkflow('labelled', {
  input: type<{ region: string }>(),
  signals: { go: type<void>() },
  attributes: { region: 'text', points: 'number', vip: 'bool', due: 'time', tags: 'texts' },
})

// @ts-expect-error -- no such kind
defineWorkflow('wrong', { attributes: { size: 'integer' } })

export const labelled = implement(Labelled, {
  state: () => ({}),
  attributes: ({ region }) => ({ region }),
  on: {
    go(ctx) {
      ctx.attributes.set({ points: 1, vip: true, due: ctx.now(), tags: ['a'], region: undefined })
      ctx.attributes.set({ due: new Date() })
      ctx.attributes.unset('points', 'vip')
      const due: Date | undefined = ctx.attributes.get('due')
      const tags: readonly string[] | undefined = ctx.attributes.all().tags
      ctx.log.info(String(due), { tags })
      // @ts-expect-error -- a number is declared
      ctx.attributes.set({ points: '1' })
      // @ts-expect-error -- no such attribute
      ctx.attributes.set({ regoin: 'eu' })
      // @ts-expect-error -- no such attribute
      ctx.attributes.unset('regoin')
      // @ts-expect-error -- a text
      const region: number | undefined = ctx.attributes.get('region')
      ctx.log.info(String(region))
    },
  },
})

export const wronglyLabelled = implement(Labelled, {
  state: () => ({}),
  // @ts-expect-error -- a text is declared
  attributes: () => ({ region: 1 }),
  on: { go: () => {} },
})

export const concurrent = implement(Loyalty, {
  state: () => ({ paused: false }),
  on: { purchase: () => {}, close: (ctx) => void (ctx.state.paused = true) },
  concurrent: ['close'],
  updates: { redeem: () => ({ left: 1 }) },
  queries: { status: () => ({ points: 1, level: 'gold' as const }) },
})

export const wrongConcurrent = implement(Loyalty, {
  state: () => ({}),
  on: { purchase: () => {}, close: () => {} },
  // @ts-expect-error -- an update is no signal
  concurrent: ['redeem'],
  updates: { redeem: () => ({ left: 1 }) },
  queries: { status: () => ({ points: 1, level: 'gold' as const }) },
})

export const withRun = implement(Loyalty, {
  state: () => ({ seen: 0 }),
  updates: { redeem: () => ({ left: 1 }) },
  queries: { status: () => ({ points: 1, level: 'gold' as const }) },
  async run(ctx, input) {
    ctx.log.info(input.email)
    const next = await ctx.receive('purchase', 'close')
    if (next.name === 'purchase') return { points: next.payload.amount }
    // @ts-expect-error -- no such signal
    await ctx.receive('nothing')
    if (await ctx.condition(() => ctx.state.seen > 3, '1 day')) await ctx.sleep('5 seconds')
    // @ts-expect-error -- no such unit
    await ctx.sleep('5 fortnights')
    return { points: 0 }
  },
})

export const continuing = implement(Loyalty, {
  state: ({ email }) => ({ email, points: 0 }),
  on: {
    purchase: (ctx) => {
      ctx.continueAsNew({ email: ctx.state.email }, { state: { email: '', points: 1 } })
      // @ts-expect-error -- the input is missing
      ctx.continueAsNew()
      // @ts-expect-error -- wrong input
      ctx.continueAsNew({ mail: '' })
      // @ts-expect-error -- wrong state
      ctx.continueAsNew({ email: '' }, { state: { points: 1 } })
    },
  },
  updates: { redeem: () => ({ left: 1 }) },
  queries: { status: () => ({ points: 1, level: 'gold' as const }) },
  run: async (ctx, input) => ((await ctx.receive('close')).name === 'close' ? ctx.continueAsNew(input) : { points: 1 }),
})

export const scoped = implement(Loyalty, {
  state: () => ({ seen: 0 }),
  updates: { redeem: () => ({ left: 1 }) },
  queries: { status: () => ({ points: 1, level: 'gold' as const }) },
  async run(ctx) {
    const { receipt } = await ctx.scope((inner) => inner.activities.notifyPartner({ level: 'gold' }), {
      timeout: '1 minute',
      cancellable: false,
    })
    // @ts-expect-error -- no such unit
    await ctx.scope((inner) => inner.sleep(1), { timeout: '1 fortnight' })
    // @ts-expect-error -- a cancel request comes from outside
    ctx.cancelled = true
    return { points: ctx.cancelled ? 0 : receipt.length }
  },
})

export const wrongRun = implement(Loyalty, {
  state: () => ({}),
  updates: { redeem: () => ({ left: 1 }) },
  queries: { status: () => ({ points: 1, level: 'gold' as const }) },
  // @ts-expect-error -- wrong result of run
  run: async () => ({ pionts: 1 }),
})

export const wrongUpdate = implement(Loyalty, {
  state: () => ({}),
  on: { purchase: () => {}, close: () => {} },
  // @ts-expect-error -- wrong update result
  updates: { redeem: () => ({ rest: 1 }) },
  queries: { status: () => ({ points: 1, level: 'gold' as const }) },
})

export const wrongQuery = implement(Loyalty, {
  state: () => ({}),
  on: { purchase: () => {}, close: () => {} },
  updates: { redeem: () => ({ left: 1 }) },
  // @ts-expect-error -- wrong query result
  queries: { status: () => ({ points: 1, level: 'platinum' }) },
})

export const wrongComplete = implement(Loyalty, {
  state: () => ({}),
  on: {
    purchase: () => {},
    // @ts-expect-error -- wrong result
    close: (ctx) => ctx.complete({ pionts: 1 }),
  },
  updates: { redeem: () => ({ left: 1 }) },
  queries: { status: () => ({ points: 1, level: 'gold' as const }) },
})

export const activities = implementActivities(Loyalty, {
  notifyPartner: async ({ level }, ctx) => ({ receipt: `${ctx.callId} ${level}` }),
  ping: async () => {},
})

export const missingActivity = implementActivities(
  Loyalty,
  // @ts-expect-error -- `ping` is missing
  { notifyPartner: async () => ({ receipt: '' }) },
)

export const wrongActivity = implementActivities(Loyalty, {
  // @ts-expect-error -- wrong output
  notifyPartner: async () => ({ slip: '' }),
  ping: async () => {},
})

const Device = defineWorkflow('device', { signals: { ping: type<void>(), set: z.number() } })

export const sending = implement(Device, {
  state: () => ({}),
  on: {
    async ping(ctx) {
      const sender: void = ctx.workflow(Loyalty, 'c-1').signal('purchase', { orderId: 'o', amount: 1 })
      ctx.workflow(Loyalty, 'c-1').signal('close')
      ctx.workflow(Device, ctx.id).signalWithStart({ signal: { name: 'ping' } })
      ctx.workflow(Device, 'd').signalWithStart({ signal: { name: 'set', payload: 1 } })
      ctx.workflow(Loyalty, 'c-1').signalWithStart({ input: { email: 'a@b' }, signal: { name: 'close' } })
      // @ts-expect-error -- no such signal
      ctx.workflow(Loyalty, 'c-1').signal('buy')
      // @ts-expect-error -- wrong payload
      ctx.workflow(Loyalty, 'c-1').signal('purchase', { orderId: 'o' })
      // @ts-expect-error -- no payload
      ctx.workflow(Device, 'd').signal('set')
      // @ts-expect-error -- no input
      ctx.workflow(Loyalty, 'c-1').signalWithStart({ signal: { name: 'close' } })
      // @ts-expect-error -- the payload of another signal
      ctx.workflow(Device, 'd').signalWithStart({ signal: { name: 'set' } })
      const { left }: { left: number } = await ctx.workflow(Loyalty, 'c-1').update('redeem', { points: 1 })
      ctx.log.info(String(left))
      // @ts-expect-error -- no such update
      await ctx.workflow(Loyalty, 'c-1').update('refund', { points: 1 })
      // @ts-expect-error -- wrong input
      await ctx.workflow(Loyalty, 'c-1').update('redeem', { points: 'x' })
      // @ts-expect-error -- it declares no updates
      await ctx.workflow(Device, 'd').update('redeem')
      // @ts-expect-error -- only a contract tells what may be sent
      ctx.workflow('device', 'd').signal('ping')
      return sender
    },
    set: () => {},
  },
})

export const withChildren = implement(Device, {
  state: () => ({}),
  on: {
    async ping(ctx) {
      const child = ctx.children.start(Loyalty, 'c-1', { email: 'a@b' }, { onParentClose: 'abandon' })
      child.signal('purchase', { orderId: 'o', amount: 1 })
      const { points }: { points: number } = await child.result()
      const unknown: unknown = await ctx.children.start(Device, 'd').result()
      ctx.log.info(`${points} ${ctx.parent?.id} ${String(unknown)}`)
      // @ts-expect-error -- no input
      ctx.children.start(Loyalty, 'c-1')
      // @ts-expect-error -- wrong input
      ctx.children.start(Loyalty, 'c-1', { mail: 'a@b' })
      // @ts-expect-error -- no such policy
      ctx.children.start(Loyalty, 'c-1', { email: 'a@b' }, { onParentClose: 'ignore' })
      ctx.children.start(Loyalty, 'c-1', { email: 'a@b' }, { onParentClose: 'cancel' })
      await ctx.scope((inner) => child.result(inner), { timeout: '1 hour' })
      // @ts-expect-error -- no such signal of the child
      child.signal('ping')
      // @ts-expect-error -- it may have no parent
      ctx.log.info(ctx.parent.id)
    },
    set: () => {},
  },
})

export const compensating = implement(Loyalty, {
  state: () => ({ points: 0 }),
  async run(ctx) {
    const saga = ctx.saga()
    saga.add(async (undoing) => {
      const points: number = undoing.state.points
      await undoing.activities.notifyPartner({ level: points > 1 ? 'gold' : 'bronze' })
    })
    // @ts-expect-error -- a function of the ctx
    saga.add(1)
    const failures: readonly Error[] = await saga.compensate()
    return { points: failures.length }
  },
  updates: { redeem: () => ({ left: 1 }) },
  queries: { status: () => ({ points: 1, level: 'gold' as const }) },
})

export const bounded = implement(Loyalty, {
  state: () => ({}),
  on: { purchase: () => {}, close: () => {} },
  mailbox: { purchase: { max: 1, overflow: 'latest' } },
  updates: { redeem: () => ({ left: 1 }) },
  queries: { status: () => ({ points: 1, level: 'gold' as const }) },
})

export const wronglyBounded = implement(Device, {
  state: () => ({}),
  on: { ping: () => {}, set: () => {} },
  mailbox: {
    // @ts-expect-error -- no such policy
    ping: { max: 1, overflow: 'drop-newest' },
  },
})

export const boundsNothing = implement(Device, {
  state: () => ({}),
  on: { ping: () => {}, set: () => {} },
  // @ts-expect-error -- no such signal
  mailbox: { pong: { max: 1, overflow: 'latest' } },
})

export const kept = implement(Loyalty, {
  ifClosed: 'fail',
  retention: '30 days',
  state: () => ({}),
  on: { purchase: () => {}, close: () => {} },
  updates: { redeem: () => ({ left: 1 }) },
  queries: { status: () => ({ points: 1, level: 'gold' as const }) },
})

export const wrongRetention = implement(Loyalty, {
  // @ts-expect-error -- no such rule
  ifClosed: 'use',
  // @ts-expect-error -- no such unit
  retention: '2 fortnights',
  state: () => ({}),
  on: { purchase: () => {}, close: () => {} },
  updates: { redeem: () => ({ left: 1 }) },
  queries: { status: () => ({ points: 1, level: 'gold' as const }) },
})

export const scheduled = implement(Loyalty, {
  state: () => ({ dueMs: 0 }),
  on: {
    purchase(ctx) {
      const { monthly } = ctx.timers
      monthly.set('1 day')
      monthly.setAt(new Date(0))
      monthly.every('2 weeks')
      monthly.cron('0 9 * * *', { timeZone: 'Europe/Berlin' })
      monthly.repeat()
      // @ts-expect-error -- no such unit
      monthly.every('2 months')
      // @ts-expect-error -- a time zone is a name
      monthly.cron('0 9 * * *', { timeZone: 2 })
    },
    async close(ctx) {
      await ctx.sleepUntil(new Date(0))
      await ctx.sleepUntil(() => ctx.state.dueMs)
      // @ts-expect-error -- a text is no moment
      await ctx.sleepUntil('1 day')
      const timer = ctx.timer('1 hour')
      timer.reset('2 hours')
      timer.resetAt(ctx.now() + 5)
      const fired: boolean = await timer
      if (await ctx.condition(() => fired, { until: ctx.state.dueMs })) timer.cancel()
      // @ts-expect-error -- a moment alone would be a duration
      await ctx.condition(() => fired, new Date(0))
    },
  },
  updates: { redeem: () => ({ left: 1 }) },
  queries: { status: () => ({ points: 1, level: 'gold' as const }) },
  timers: {
    monthly: {
      cron: '0 9 1 * *',
      timeZone: 'Europe/Berlin',
      catchUp: 'all',
      overlap: 'skip',
      jitter: '5 minutes',
      run: (ctx, { dueMs, missed }) => void (ctx.state.dueMs = dueMs + missed),
    },
    // @ts-expect-error -- no such policy
    wrong: { every: '1 day', overlap: 'cancel', run: () => {} },
  },
})

const Versioned = defineWorkflow('versioned', { signals: { add: type<number>() } })
implement(Versioned, {
  version: 2,
  state: () => ({ cents: 0 }),
  migrate: (state, fromVersion) => ({ cents: (state as { sum: number }).sum * 10 ** fromVersion }),
  on: { add: (ctx, n) => void (ctx.state.cents += n) },
})
implement(Versioned, {
  version: 3,
  state: () => ({ cents: 0 }),
  // The older shape may be named.
  migrate: ({ sum }: { sum: number }) => ({ cents: sum }),
  on: { add: (ctx, n) => void (ctx.state.cents += n) },
})
implement(Versioned, {
  patches: ['rounds'],
  state: () => ({ cents: 0 }),
  on: {
    add(ctx, n) {
      const isNew: boolean = ctx.patched('rounds')
      // @ts-expect-error -- a patch has a name
      ctx.patched()
      ctx.state.cents += isNew ? Math.round(n) : n
    },
  },
})
implement(Versioned, {
  version: 2,
  state: () => ({ cents: 0 }),
  // @ts-expect-error -- it must give a state of this version
  migrate: ({ sum }: { sum: number }) => ({ sum }),
  on: { add: (ctx, n) => void (ctx.state.cents += n) },
})

export const intercepting = defineInterceptors({
  workflow: [
    {
      handle({ kind, name, payload, ctx }, next) {
        const what: 'signal' | 'update' | 'timer' | 'run' = kind
        // @ts-expect-error -- a payload is of whatever type its contract says
        payload.amount += 1
        ctx.log.info(`${what} ${name}`)
        return next(payload)
      },
      // @ts-expect-error -- an activity gives its result later
      activity: () => 'now',
      send: ({ payload, to: { type, id } }, next) => next({ payload, type, id }),
    },
  ],
  activity: [async ({ payload, ctx: { attempt } }, next) => [attempt, await next(payload)]],
})
// @ts-expect-error -- only defineInterceptors makes them
export const handMade: Interceptors = { workflow: [], activity: [] }

export const policies: readonly OnError[] = [
  'suspend',
  'dead-letter',
  { retries: 3, finally: 'dead-letter' },
  { retries: 3, wait: '5 seconds', finally: 'suspend' },
  // @ts-expect-error -- it has to say what comes then
  { retries: 3 },
  // @ts-expect-error -- no such policy
  'ignore',
]
