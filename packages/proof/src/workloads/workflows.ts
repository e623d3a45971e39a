/**
 * The workflows of the fault run as nodes run them. reference/programs.ts says the same a second time, without Carillon: change both or neither.
 *
 * The module is given to `carillon node`. With CARILLON_PLANTED_BUG it breaks the node that loads it: see planted-bugs.ts.
 */
import { createHash } from 'node:crypto'

import { implement, implementActivities } from '@carillon/runtime'

import { Account, Fragile, Hot, Ledger, LEDGERS, Sleeper } from './contracts.ts'
import { hurry } from './hurry.ts'
import { plantFromEnvironment } from './planted-bugs.ts'
import { attempt } from './sink.ts'

const RECENT = 5

hurry()
plantFromEnvironment()

export const ledger = implement(Ledger, {
  startOnSignal: true,
  state: () => ({ n: 0, chain: '', recent: [] as string[], notes: 0, ticks: 0, taken: 0 }),
  on: {
    async put(ctx, { op }) {
      const { state } = ctx
      state.n += 1
      state.chain = link(state.chain, 'put', op)
      state.recent = [...state.recent, op].slice(-RECENT)
      const { n } = state
      if (n % 11 === 0) ctx.timers.tick.cancel()
      if (n % 7 === 0) ctx.timers.tick.set(n % 35 === 0 ? 4000 : 20 + (n % 5) * 40)
      if (n % 5 === 0)
        ctx.workflow(Ledger, `l${(Number(ctx.id.slice(1)) * 7 + n) % LEDGERS}`).signal('note', { from: op })
      if (n % 3 === 0) await stamped(state, ctx.activities.stamp({ op, n }))
    },
    note({ state }, { from }) {
      state.notes += 1
      state.chain = link(state.chain, 'note', from)
    },
  },
  updates: {
    async take({ state, activities }, { op, amount }) {
      state.taken += amount
      state.chain = link(state.chain, 'take', op)
      if (amount % 3 === 0) await stamped(state, activities.stamp({ op, n: -amount }))
      return { taken: state.taken, n: state.n, chain: state.chain }
    },
  },
  timers: {
    tick: {
      async run(ctx) {
        const { state } = ctx
        state.ticks += 1
        state.chain = link(state.chain, 'tick', String(ctx.now()))
        if (state.ticks % 3 === 0) await stamped(state, ctx.activities.stamp({ op: 'tick', n: state.ticks }))
      },
    },
  },
})

export const hot = implement(Hot, {
  startOnSignal: true,
  state: () => ({ n: 0, chain: '' }),
  on: {
    async hit(ctx, { op }) {
      const { state } = ctx
      state.n += 1
      state.chain = link(state.chain, 'hit', op)
      const { n } = state
      if (n % 25 === 0) ctx.workflow(Ledger, `l${n % LEDGERS}`).signal('note', { from: op })
      if (n % 40 === 0) await stamped(state, ctx.activities.stamp({ op, n }))
    },
  },
})

export const account = implement(Account, {
  startOnSignal: true,
  state: () => ({ balance: 1000, n: 0, chain: '' }),
  on: {
    async transfer(ctx, { op, to, amount }) {
      const { state } = ctx
      state.n += 1
      state.balance -= amount
      state.chain = link(state.chain, 'transfer', op)
      ctx.workflow(Account, to).signal('deposit', { op, amount })
      if (state.n % 4 !== 0) return
      const receipt = await ctx.activities.receipt({ op, amount })
      state.chain = link(state.chain, 'receipt', receipt)
    },
    deposit({ state }, { op, amount }) {
      state.balance += amount
      state.chain = link(state.chain, 'deposit', op)
    },
  },
})

export const sleeper = implement(Sleeper, {
  startOnSignal: true,
  state: () => ({ naps: 0, alarms: 0, chain: '' }),
  on: {
    async nap(ctx, { op, ms }) {
      const { state } = ctx
      state.naps += 1
      state.chain = link(state.chain, 'nap', op)
      if (state.naps % 4 === 0) ctx.timers.alarm.cancel()
      if (state.naps % 3 === 0) ctx.timers.alarm.set(2 * ms)
      await ctx.sleep(ms)
      state.chain = link(state.chain, 'woke', String(ctx.now()))
    },
  },
  timers: {
    alarm: {
      run(ctx) {
        ctx.state.alarms += 1
        ctx.state.chain = link(ctx.state.chain, 'alarm', String(ctx.now()))
      },
    },
  },
})

export const fragile = implement(Fragile, {
  startOnSignal: true,
  onError: 'dead-letter',
  state: () => ({ n: 0, chain: '' }),
  on: {
    put({ state }, { op }) {
      state.n += 1
      state.chain = link(state.chain, 'put', op)
    },
    bug({ state }, { op }) {
      state.n += 1000
      throw new TypeError(`the handler of ${op} has a bug`)
    },
  },
})

export const activities = [
  implementActivities(Ledger, { stamp: (input, call) => attempt('stamp', input, call) }),
  implementActivities(Hot, { stamp: (input, call) => attempt('stamp', input, call) }),
]

/** Takes the result into the chain as it is then: other handlers may have run meanwhile. */
async function stamped(state: { chain: string }, call: Promise<string>): Promise<void> {
  const result = await call.catch(() => 'failed')
  state.chain = link(state.chain, 'stamp', result)
}

function link(chain: string, what: string, value: string): string {
  return createHash('sha256').update(`${chain}\n${what}\n${value}`).digest('hex').slice(0, 24)
}
