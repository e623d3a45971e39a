/** The workflow under test: a counter, and a signal that runs one activity. */
import { defineWorkflow, implement, implementActivities, type } from '@carillon/runtime'

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
