import { mockActivities, TestWorld } from '@carillon/runtime/testing'
import { describe, expect, it } from 'vitest'

import { describeOnBothBackends } from '../testing/describe-on-both-backends.ts'
import { subscriptionActivities } from './activities.ts'
import { type Phase, Subscription } from './contract.ts'
import { subscription } from './workflow.ts'

const PLAN = { name: 'basic', priceCents: 900 }
/** Short enough to wait for on a server. */
const TERMS = { plan: PLAN, card: 'card-1', trialMs: 150, periodMs: 200, retryMs: 150, chargesMax: 3 }
const LONG = 3_600_000

/** A bank that declines cards until the test says that they are good. */
function bank(...good: string[]) {
  const goodCards = new Set(good)
  const activities = mockActivities(Subscription, {
    async charge({ invoice, card }) {
      if (!goodCards.has(card)) throw Object.assign(new Error('declined'), { code: 'CARD_DECLINED' })
      return { receipt: invoice }
    },
    notify: async () => {},
  })
  const charges = (): string[] =>
    activities.calls('charge').map(({ input: { invoice, amountCents, card } }) => `${invoice} ${amountCents} ${card}`)
  const notices = (): string[] => activities.calls('notify').map(({ input }) => input.notice)
  return { activities, charges, notices }
}

const setup = { workflows: [subscription], activities: [subscriptionActivities] }

describeOnBothBackends('a subscription', setup, (open) => {
  async function openWith(...good: string[]) {
    const own = bank(...good)
    const backend = await open({ activities: [own.activities] })
    const s1 = backend.workflow(Subscription, 's-1')
    const phase = async (wanted: Phase): Promise<void> =>
      backend.until(async () => (await s1.query('status')).phase === wanted)
    return { ...own, backend, s1, phase }
  }

  it('is free at first, then charged each period, until the end of the period in which it is cancelled', async () => {
    const { backend, s1, charges, notices } = await openWith('card-1')
    await s1.start(TERMS)
    expect(await s1.query('status')).toMatchObject({ phase: 'trial', periodsPaid: 0 })
    await backend.until(() => charges().length === 3)
    expect(await s1.update('cancel')).toMatchObject({ endsAtPeriodEnd: true })
    const { reason, periodsPaid, paidCents } = await s1.result({ timeoutMs: 10_000 })
    // On a slow machine the cancel may come a period later.
    expect(periodsPaid).toBeGreaterThanOrEqual(3)
    expect([reason, paidCents]).toEqual(['cancelled', periodsPaid * 900])
    const periods = Array.from({ length: periodsPaid }, (_, i) => i + 1)
    expect(charges()).toEqual(periods.map((period) => `s-1/${period} 900 card-1`))
    expect(notices()).toEqual(['trial-begins', ...periods.map(() => 'paid'), 'ended'])
  })

  it('charges the card and the plan of the day: both may change while it runs', async () => {
    const { backend, s1, charges } = await openWith('card-1', 'card-2')
    await s1.start({ ...TERMS, periodMs: 1000 })
    await s1.signal('changeCard', { card: 'card-2' })
    await backend.until(() => charges().length === 1)
    await s1.update('changePlan', { name: 'big', priceCents: 1900 })
    await backend.until(() => charges().length === 2)
    expect(charges()).toEqual(['s-1/1 900 card-2', 's-1/2 1900 card-2'])
  })

  it('is past due when a charge fails, and charges another card as soon as there is one', async () => {
    const { backend, s1, phase, charges, notices } = await openWith('card-2')
    await s1.start({ ...TERMS, retryMs: LONG, periodMs: LONG })
    await phase('past-due')
    await backend.until(async () => (await s1.query('status')).failedCharges === 1)
    await s1.signal('changeCard', { card: 'card-2' })
    await phase('active')
    expect(charges()).toEqual(['s-1/1 900 card-1', 's-1/1 900 card-2'])
    expect(notices().slice(0, 3)).toEqual(['trial-begins', 'charge-failed', 'paid'])
    expect(await s1.query('status')).toMatchObject({ periodsPaid: 1, failedCharges: 0, card: 'card-2' })
  })

  it('ends unpaid when every charge of a period has failed', async () => {
    const { s1, charges, notices } = await openWith()
    await s1.start(TERMS)
    expect(await s1.result({ timeoutMs: 10_000 })).toEqual({ reason: 'unpaid', periodsPaid: 0, paidCents: 0 })
    expect(charges()).toHaveLength(3)
    expect(notices()).toEqual(['trial-begins', 'charge-failed', 'charge-failed', 'charge-failed', 'ended'])
  })

  it('costs nothing when it is cancelled in the trial, which may be taken back', async () => {
    const { s1, charges } = await openWith('card-1')
    await s1.start({ ...TERMS, trialMs: 300 })
    await s1.update('cancel')
    expect(await s1.update('keep')).toMatchObject({ endsAtPeriodEnd: false })
    await s1.update('cancel')
    expect(await s1.result({ timeoutMs: 10_000 })).toMatchObject({ reason: 'cancelled', periodsPaid: 0 })
    expect(charges()).toEqual([])
  })

  it('ends at once when it is cancelled while it is past due', async () => {
    const { s1, phase, backend } = await openWith()
    await s1.start({ ...TERMS, retryMs: LONG })
    await phase('past-due')
    await backend.until(async () => (await s1.query('status')).failedCharges === 1)
    await s1.update('cancel')
    expect(await s1.result({ timeoutMs: 10_000 })).toMatchObject({ reason: 'cancelled' })
  })
})

describe('five years of a subscription', () => {
  it('are charged every 30 days, to the millisecond', async () => {
    const { activities, charges } = bank('card-1')
    const world = await TestWorld.open({ workflows: [subscription], activities: [activities] })
    const s1 = world.workflow(Subscription, 's-1')
    await s1.start({ plan: PLAN, card: 'card-1' })
    const beganMs = world.nowMs
    await world.skip('14 days')
    expect(charges()).toHaveLength(1)
    for (let period = 2; period <= 61; period++) {
      await world.skip('30 days')
      const { periodEndMs, periodsPaid } = await s1.query('status')
      expect([periodsPaid, periodEndMs - beganMs]).toEqual([period, (14 + 30 * period) * 86_400_000])
    }
    expect(charges()).toHaveLength(61)
    await world.close()
  })
})
