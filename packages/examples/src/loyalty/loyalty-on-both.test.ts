import { mockActivities } from '@carillon/runtime/testing'
import { expect, it } from 'vitest'

import { describeOnBothBackends } from '../testing/describe-on-both-backends.ts'
import { createLoyalty, Loyalty } from './index.ts'

function partner() {
  return mockActivities(Loyalty, { notifyPartner: async () => {}, sendStatement: async () => {} })
}

const setup = { workflows: [createLoyalty({ month: '30 days' })], activities: [partner()] }

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

  it('sends a statement every month, with what happened in it', async () => {
    const activities = partner()
    const backend = await open({ workflows: [createLoyalty({ month: '300 ms' })], activities: [activities] })
    const ann = backend.workflow(Loyalty, 'ann')
    await ann.signal('purchase', { orderId: 'o1', amountCents: 2_500 })
    await backend.until(() => activities.calls('sendStatement').length >= 2)
    const [first, second] = activities.calls('sendStatement').map(({ input }) => input)
    expect(first).toEqual({ number: 1, level: 'bronze', points: 25, entries: [{ orderId: 'o1', points: 25 }] })
    expect(second).toEqual({ number: 2, level: 'bronze', points: 25, entries: [] })
  })

  it('refuses to spend more than there is', async () => {
    const ann = (await open()).workflow(Loyalty, 'ann')
    await ann.signal('purchase', { orderId: 'o1', amountCents: 2_500 })
    await expect(ann.update('redeem', { orderId: 'r1', points: 26 })).rejects.toMatchObject({ code: 'UPDATE_REJECTED' })
    expect(await ann.update('redeem', { orderId: 'r2', points: 20 })).toEqual({ left: 5 })
    await ann.signal('close')
    expect(await ann.result({ timeoutMs: 10_000 })).toEqual({ points: 5 })
  })
})
