/** The workflows of the kill test as a node runs them. fold.ts says the same a second time, without Carillon. */
import { createHash } from 'node:crypto'
import { appendFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

import { type ActivityContext, implement, implementActivities, NonRetryable, UpdateRejected } from '@carillon/runtime'

import { Ledger, type LedgerState, type Stamp, Steps, type StepsState, Stuck } from './contracts.ts'

const RECENT = 5
/** Less than one instance gets, so that the oldest ids leave. */
const KNOWN_IDS_MAX = 2000

const ledger = implement(Ledger, {
  startOnSignal: true,
  knownIdsMax: KNOWN_IDS_MAX,
  state: (): LedgerState => ({ n: 0, chain: '', recent: [], ticks: 0, taken: 0, luck: 0 }),
  on: {
    async put(ctx, { op }) {
      const { state } = ctx
      state.n += 1
      state.chain = link(state.chain, 'put', op)
      state.recent = [...state.recent, op].slice(-RECENT)
      ctx.attributes.set({ n: state.n, recent: state.recent })
      state.luck = ctx.random()
      const { n } = state
      if (n % 11 === 0) ctx.timers.tick.cancel()
      if (n % 7 === 0) ctx.timers.tick.set(10 + (n % 5) * 20)
      if (n % 5 === 0) await stamped(state, ctx.activities.stamp({ op, n }))
    },
  },
  updates: {
    take: {
      validate(state, { amount }) {
        if (amount > state.n) throw new UpdateRejected(`there are ${state.n}`)
      },
      async run(ctx, { op, amount }) {
        const { state } = ctx
        state.taken += amount
        state.chain = link(state.chain, 'take', op)
        if (amount % 3 === 0) await stamped(state, ctx.activities.stamp({ op, n: -amount }))
        return { taken: state.taken, n: state.n, chain: state.chain }
      },
    },
  },
  queries: { all: (state) => copy(state) },
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

const steps = implement(Steps, {
  knownIdsMax: KNOWN_IDS_MAX,
  state: (): StepsState => ({ n: 0, chain: '', credit: 0 }),
  on: {
    async credit(ctx, { op }) {
      const { state } = ctx
      if (op.endsWith('1')) await stamped(state, ctx.activities.stamp({ op, n: 0 }))
      state.credit += 1
      state.chain = link(state.chain, 'credit', op)
    },
  },
  async run(ctx, { limit }) {
    const { state } = ctx
    while (state.n < limit) {
      const { payload } = await ctx.receive('item')
      state.n += 1
      ctx.attributes.set({ n: state.n })
      state.chain = link(state.chain, 'item', payload.op)
      if (state.n % 2 === 0) {
        await ctx.sleep(15)
        state.chain = link(state.chain, 'slept', String(ctx.now()))
      }
      if (state.n % 3 === 0) {
        const isMet = await ctx.condition(() => state.credit > 0, 60)
        if (isMet) state.credit -= 1
        state.chain = link(state.chain, 'condition', `${isMet} ${ctx.now()}`)
      }
      if (state.n % 5 === 0) await stamped(state, ctx.activities.stamp({ op: payload.op, n: state.n }))
    }
    return { n: state.n, chain: state.chain }
  },
  queries: { all: (state) => copy(state) },
})

const stuck = implement(Stuck, {
  knownIdsMax: KNOWN_IDS_MAX,
  startOnSignal: true,
  state: () => ({ n: 0, chain: '' }),
  on: {
    put(ctx, { op }) {
      ctx.state.n += 1
      ctx.state.chain = link(ctx.state.chain, 'put', op)
    },
    bug(ctx, { op }) {
      ctx.state.n += 1000
      throw new TypeError(`the handler of ${op} has a bug`)
    },
  },
  queries: { all: (state) => copy(state) },
})

export const implementations = [ledger, steps, stuck]

/** Activities that tell the file of every attempt, fail now and then, and give another value at each attempt. */
export function activitiesOf(sinkFile: string) {
  const stamp = async (input: Stamp, { callId, attempt }: ActivityContext): Promise<string> => {
    appendFileSync(sinkFile, `${JSON.stringify({ callId, attempt, input })}\n`)
    if (input.n > 0 && input.n % 25 === 0) throw new NonRetryable('never works')
    await delay(Math.random() * 10)
    if (Math.random() < 0.05) throw new Error('fails now and then')
    return `${process.pid}-${attempt}-${Math.random()}`
  }
  return [implementActivities(Ledger, { stamp }), implementActivities(Steps, { stamp })]
}

/** Takes the result into the chain as it is then: handlers may have run meanwhile. */
async function stamped(state: { chain: string }, call: Promise<string>): Promise<void> {
  const result = await call.catch(() => 'failed')
  state.chain = link(state.chain, 'stamp', result)
}

function link(chain: string, what: string, value: string): string {
  return createHash('sha256').update(`${chain}\n${what}\n${value}`).digest('hex').slice(0, 24)
}

function copy<T>(value: unknown): T {
  return structuredClone(value) as T
}
