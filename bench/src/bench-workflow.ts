/** The workflow under test: a counter, and a signal that runs one activity. */
import { defineWorkflow, implement, implementActivities, type Implementation, type } from '@carillon/runtime'

export interface Purchase {
  readonly orderId: string
  readonly amount: number
}

export const Counter = defineWorkflow('counter', {
  signals: { count: type<Purchase>(), work: type<Purchase>() },
  queries: { state: { output: type<{ orders: number; sum: number }>() } },
  activities: { touch: { input: type<number>(), output: type<number>() } },
})

export const counter = implement(Counter, {
  startOnSignal: true,
  state: () => ({ orders: 0, sum: 0, last: '' }),
  on: {
    count(ctx, { orderId, amount }) {
      ctx.state.orders += 1
      ctx.state.sum += amount
      ctx.state.last = orderId
    },
    async work(ctx, { amount }) {
      ctx.state.sum += await ctx.activities.touch(amount)
      ctx.state.orders += 1
    },
  },
  queries: { state: ({ orders, sum }) => ({ orders, sum }) },
})

export const counterActivities = implementActivities(Counter, { touch: async (amount) => amount })

/** The same payload in every case. */
export function purchase(i: number): Purchase {
  return { orderId: `order-${String(i).padStart(8, '0')}`, amount: (i % 97) + 1 }
}

/** An instance that waits for many timers at once, far in the future. */
export const Sleeper = defineWorkflow('sleeper', { signals: { sleep: type<{ timers: number }>() } })

export const sleeper = implement(Sleeper, {
  startOnSignal: true,
  state: () => ({}),
  on: {
    async sleep(ctx, { timers }) {
      await Promise.all(Array.from({ length: timers }, () => ctx.sleep('30 days')))
    },
  },
})

interface Sums {
  readonly orders: number
  readonly sum: number
}

/** Receives in its `run` what the counter handles, and continues as new every so many signals, or never. */
export const Renewing = defineWorkflow('renewing', {
  signals: { count: type<Purchase>() },
  queries: { state: { output: type<Sums>() } },
})
export const Endless = defineWorkflow('endless', {
  signals: { count: type<Purchase>() },
  queries: { state: { output: type<Sums>() } },
})

const RENEW_EVERY = 1000

export const receivers = [receiver(Renewing, RENEW_EVERY), receiver(Endless, Infinity)]

function receiver(contract: typeof Endless, every: number): Implementation {
  return implement(contract, {
    startOnSignal: true,
    state: () => ({ orders: 0, sum: 0 }),
    async run(ctx) {
      do {
        const { payload } = await ctx.receive('count')
        ctx.state.orders += 1
        ctx.state.sum += payload.amount
      } while (ctx.state.orders % every !== 0)
      return ctx.continueAsNew(undefined, { state: ctx.state })
    },
    queries: { state: (state) => state },
  })
}
