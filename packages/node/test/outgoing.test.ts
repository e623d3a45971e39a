import type { Carillon } from '@carillon/client'
import { defineWorkflow, implement, type, WorkflowFailure } from '@carillon/runtime'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { TestCluster } from './test-cluster.ts'

interface Entry {
  readonly from: string
  readonly amount: number
}

const Account = defineWorkflow('account', {
  input: type<{ owner: string } | undefined>(),
  signals: { pay: type<{ to: string; amount: number }>(), take: type<Entry>(), again: type<number>() },
  queries: {
    account: {
      output: type<{ owner: string; balance: number; entries: readonly Entry[]; rounds: number }>(),
    },
  },
})
const account = implement(Account, {
  startOnSignal: true,
  state: (input) => ({ owner: input?.owner ?? 'nobody', balance: 0, entries: [] as Entry[], rounds: 0 }),
  on: {
    pay(ctx, { to, amount }) {
      ctx.state.balance -= amount
      const take = { from: ctx.id, amount }
      if (to.startsWith('new-'))
        ctx.workflow(Account, to).signalWithStart({
          input: { owner: `friend of ${ctx.id}` },
          signal: { name: 'take', payload: take },
        })
      else ctx.workflow(Account, to).signal('take', take)
    },
    take(ctx, entry) {
      ctx.state.balance += entry.amount
      ctx.state.entries.push(entry)
    },
    again(ctx, rounds) {
      ctx.state.rounds += 1
      if (rounds > 1) ctx.workflow(Account, ctx.id).signal('again', rounds - 1)
    },
  },
  queries: { account: (state) => state },
})

const Parcel = defineWorkflow('parcel', {
  input: type<{ order: string; weight: number }>(),
  result: type<{ delivered: number }>(),
  signals: { deliver: type<void>(), lose: type<void>() },
})
const parcel = implement(Parcel, {
  state: ({ weight }) => ({ weight }),
  on: {
    deliver: (ctx) => ctx.complete({ delivered: ctx.state.weight }),
    lose() {
      throw new WorkflowFailure('lost')
    },
  },
})
const Till = defineWorkflow('till', { updates: { pay: { input: type<number>(), output: type<{ paid: number }>() } } })
const till = implement(Till, {
  startOnSignal: true,
  state: () => ({ paid: 0 }),
  updates: { pay: (ctx, n) => ({ paid: (ctx.state.paid += n * 10) }) },
})
const Order = defineWorkflow('order', {
  input: type<{ weights: readonly number[] }>(),
  result: type<{ delivered: number; lost: number; paid: number }>(),
  signals: { giveUp: type<void>() },
})
const order = implement(Order, {
  state: () => ({}),
  on: { giveUp: (ctx) => ctx.fail('given up') },
  async run(ctx, { weights }) {
    const parcels = weights.map((weight, n) => ctx.children.start(Parcel, `${ctx.id}-${n}`, { order: ctx.id, weight }))
    let [delivered, lost] = [0, 0]
    for (const one of parcels) {
      try {
        delivered += (await one.result()).delivered
      } catch {
        lost += 1
      }
    }
    const { paid } = await ctx.workflow(Till, 'till').update('pay', delivered)
    return { delivered, lost, paid }
  },
})

describe('signals and children from inside a workflow, over a real server', () => {
  let cluster: TestCluster
  let carillon: Carillon
  beforeAll(async () => {
    const implementations = [account, order, parcel, till]
    cluster = await TestCluster.open({ workflows: { implementations, activities: [] } })
    carillon = cluster.carillon
  })
  afterAll(() => cluster.close())

  const until = async <T>(read: () => Promise<T>, holds: (value: T) => boolean): Promise<T> => {
    const deadlineMs = Date.now() + 20_000
    for (;;) {
      const value = await read()
      if (holds(value)) return value
      if (Date.now() > deadlineMs) throw new Error(`not within 20 s: ${JSON.stringify(value)}`)
    }
  }
  const read = (id: string) =>
    carillon
      .workflow(Account, id)
      .query('account')
      .catch(() => undefined)

  it('reach the other instance once and in order, also when the node ends in the middle', async () => {
    const amounts = Array.from({ length: 300 }, (_, n) => n + 1)
    const sent = amounts.map((amount) => carillon.workflow(Account, 'payer').signal('pay', { to: 'payee', amount }))
    await sent[100]
    await cluster.stopNode()
    await Promise.all(sent)
    await cluster.startNode()
    const payee = await until(
      () => read('payee'),
      (found) => (found?.entries.length ?? 0) >= amounts.length,
    )
    expect(payee?.entries).toEqual(amounts.map((amount) => ({ from: 'payer', amount })))
    expect(payee?.balance).toBe(-((await read('payer'))?.balance ?? 0))
  })

  it('may start the other with an input of its own, and goes on with it when it runs', async () => {
    const payer = carillon.workflow(Account, 'rich')
    await payer.signal('pay', { to: 'new-1', amount: 5 })
    await payer.signal('pay', { to: 'new-1', amount: 6 })
    const found = await until(
      () => read('new-1'),
      (value) => value?.entries.length === 2,
    )
    expect(found).toMatchObject({ owner: 'friend of rich', balance: 11 })
  })

  it('may go to the instance itself, one turn after the other', async () => {
    await carillon.workflow(Account, 'loop').signal('again', 50)
    expect(
      await until(
        () => read('loop'),
        (value) => value?.rounds === 50,
      ),
    ).toMatchObject({ rounds: 50 })
  })

  it('start children, wait for their results, and ask another instance, over a restart of the node', async () => {
    const handle = carillon.workflow(Order, 'o-1')
    await handle.start({ weights: [1, 2, 4] })
    const parcels = [0, 1, 2].map((n) => carillon.workflow(Parcel, `o-1-${n}`))
    const isRunning = (one: (typeof parcels)[number]) => one.describe().then(({ status }) => status, String)
    for (const one of parcels)
      await until(
        () => isRunning(one),
        (status) => status === 'running',
      )
    await parcels[1]?.signal('lose')
    await cluster.stopNode()
    await parcels[2]?.signal('deliver')
    await parcels[0]?.signal('deliver')
    await cluster.startNode()
    expect(await handle.result({ timeoutMs: 20_000 })).toEqual({ delivered: 5, lost: 1, paid: 50 })
  })

  it('terminate the children that run when they close', async () => {
    const handle = carillon.workflow(Order, 'o-2')
    await handle.start({ weights: [8] })
    await handle.signal('giveUp')
    await expect(handle.result({ timeoutMs: 20_000 })).rejects.toMatchObject({ code: 'WORKFLOW_FAILED' })
    const child = carillon.workflow(Parcel, 'o-2-0')
    await until(
      () => child.describe().catch(() => undefined),
      (found) => found?.status === 'failed',
    )
    await expect(child.result({ timeoutMs: 20_000 })).rejects.toMatchObject({ code: 'TERMINATED' })
  })
})
