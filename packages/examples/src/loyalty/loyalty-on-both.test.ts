import { mockActivities, TestWorld } from '@carillon/runtime/testing'
import { describe, expect, it } from 'vitest'

import { describeOnBothBackends } from '../testing/describe-on-both-backends.ts'
import { createLoyalty, Loyalty, MONTHLY } from './index.ts'

function partner() {
  return mockActivities(Loyalty, { notifyPartner: async () => {}, sendStatement: async () => {} })
}

const setup = { workflows: [createLoyalty()], activities: [partner()] }

describeOnBothBackends('the loyalty programme', setup, (open) => {
  it('tells the partner of each level once, in order, whatever fails and repeats', async () => {
    const activities = partner()
    const backend = await open({ activities: [activities] })
    const ann = backend.workflow(Loyalty, 'ann')
    for (const id of ['o1', 'o1', 'o2']) await ann.signal('purchase', { orderId: id, amountCents: 60_000 }, { id })
    await ann.signal('return', { orderId: 'o2', amountCents: 10_000 }, { id: 'r2', wait: 'applied' })
    expect(await ann.query('status')).toMatchObject({ points: 1100, level: 'gold' })
    expect(activities.calls('notifyPartner').map(({ input }) => input.level)).toEqual(['silver', 'gold'])
  })

  it('sends a statement by its schedule, with what happened since the last one', async () => {
    const activities = partner()
    const seconds = { cron: '* * * * * *', timeZone: 'Europe/Berlin' }
    const backend = await open({ workflows: [createLoyalty({ statements: seconds })], activities: [activities] })
    const ann = backend.workflow(Loyalty, 'ann')
    await ann.signal('purchase', { orderId: 'o1', amountCents: 2_500 })
    await backend.until(() => activities.calls('sendStatement').length >= 2)
    const [first, second] = activities.calls('sendStatement').map(({ input }) => input)
    const entries = [{ orderId: 'o1', points: 25 }]
    expect(first).toMatchObject({ number: 1, level: 'bronze', points: 25, entries })
    expect(second).toMatchObject({ number: 2, level: 'bronze', points: 25, entries: [] })
    for (const { asOf } of [first!, second!]) expect(asOf).toMatch(/:\d\d\.000Z$/)
    expect(Date.parse(second!.asOf)).toBeGreaterThan(Date.parse(first!.asOf))
  })

  it('refuses to spend more than there is', async () => {
    const ann = (await open()).workflow(Loyalty, 'ann')
    await ann.signal('purchase', { orderId: 'o1', amountCents: 2_500 })
    await expect(ann.update('redeem', { orderId: 'r1', points: 26 })).rejects.toMatchObject({ code: 'UPDATE_REJECTED' })
    expect(await ann.update('redeem', { orderId: 'r2', points: 20 })).toEqual({ left: 5 })
    await ann.signal('close')
    expect(await ann.result({ timeoutMs: 10_000 })).toEqual({ points: 5 })
  })

  it('lists and counts customers by their level', async () => {
    const backend = await open()
    for (const [id, amountCents] of [
      ['ann', 120_000],
      ['bob', 40_000],
      ['eve', 110_000],
      ['joe', 900],
    ] as const)
      await backend.workflow(Loyalty, id).signal('purchase', { orderId: `o-${id}`, amountCents }, { wait: 'applied' })
    await backend.workflow(Loyalty, 'eve').signal('close', undefined, { wait: 'applied' })
    const customers = { contract: Loyalty, status: 'running' } as const
    const gold: string[] = []
    for await (const { id } of backend.list({ ...customers, where: { level: 'gold' } })) gold.push(id)
    expect(gold).toEqual(['ann'])
    expect(await backend.count({ ...customers, where: { level: { anyOf: ['bronze', 'silver'] } } })).toBe(2)
    expect(await backend.count({ contract: Loyalty })).toBe(4)
  })
})

describe('the statements of a year', () => {
  const YEAR = { startMs: Date.parse('2026-01-15T12:00:00Z') }

  async function statementsOf(...moves: readonly string[]): Promise<readonly string[]> {
    const activities = partner()
    const world = await TestWorld.open({
      ...YEAR,
      workflows: [createLoyalty({ statements: exactly })],
      activities: [activities],
    })
    try {
      const ann = world.workflow(Loyalty, 'ann')
      await ann.signal('purchase', { orderId: 'o1', amountCents: 2_500 }, { wait: 'applied' })
      for (const timeZone of moves) await ann.signal('move', { timeZone })
      await world.skip('300 days')
      return activities.calls('sendStatement').map(({ input }) => input.asOf.replace(/:00\.000Z$/, 'Z'))
    } finally {
      await world.close()
    }
  }

  /** Without jitter. */
  const exactly = { cron: MONTHLY.cron, timeZone: MONTHLY.timeZone }

  it('are sent at nine in the morning in Berlin, in summer and in winter', async () => {
    const sent = await statementsOf()
    expect(sent).toHaveLength(10)
    expect(sent.slice(1, 4)).toEqual(['2026-03-01T08:00Z', '2026-04-01T07:00Z', '2026-05-01T07:00Z'])
    expect(sent.at(-1)).toBe('2026-11-01T08:00Z')
  })

  it('follow a customer who moves', async () => {
    await expect(statementsOf('Atlantis')).rejects.toMatchObject({ code: 'INVALID_PAYLOAD' })
    const sent = await statementsOf('America/New_York')
    expect(sent.slice(1, 3)).toEqual(['2026-03-01T14:00Z', '2026-04-01T13:00Z'])
  })

  it('come as one for months in which no node ran', async () => {
    const activities = partner()
    const world = await TestWorld.open({
      ...YEAR,
      workflows: [createLoyalty({ statements: exactly })],
      activities: [activities],
    })
    const ann = world.workflow(Loyalty, 'ann')
    await ann.signal('purchase', { orderId: 'o1', amountCents: 2_500 }, { wait: 'applied' })
    await world.down('70 days')
    await world.skip('1 minute')
    const sent = activities.calls('sendStatement').map(({ input }) => [input.number, input.asOf])
    expect(sent).toEqual([[1, '2026-03-01T08:00:00.000Z']])
    await world.close()
  })
})
