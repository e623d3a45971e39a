/** A workflow type with one of everything that a role may do something with. */
import { defineWorkflow, implement, implementActivities, type } from '@carillon/runtime'

export const Order = defineWorkflow('order', {
  input: type<{ total: number }>(),
  signals: { add: type<number>(), render: type<string>(), trip: type<void>() },
  updates: { take: { input: type<number>(), output: type<{ left: number }>() } },
  queries: { state: { output: type<{ total: number; pages: string[] }>() } },
  activities: {
    render: { input: type<string>(), output: type<string>(), queue: 'pdf', startToClose: '10 seconds' },
  },
})

/** While it is set, the signal `trip` suspends its instance. */
export const fault = { isOn: true }

export const order = implement(Order, {
  startOnSignal: true,
  state: (input) => ({ total: input?.total ?? 0, pages: [] as string[] }),
  on: {
    add: (ctx, n) => void (ctx.state.total += n),
    async render(ctx, what) {
      ctx.state.pages.push(await ctx.activities.render(what))
    },
    trip() {
      if (fault.isOn) throw new Error('the handler is broken')
    },
  },
  updates: {
    take(ctx, n) {
      ctx.state.total -= n
      return { left: ctx.state.total }
    },
  },
  queries: { state: ({ total, pages }) => ({ total, pages: [...pages] }) },
})

export const rendering = implementActivities(Order, { render: (what) => `${what}.pdf` }, { queue: 'pdf' })
