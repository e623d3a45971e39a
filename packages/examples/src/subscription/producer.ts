/**
 * A shop with four customers, whose months are short: one pays and leaves, one changes the card when it is declined, one has no other, one leaves in
 * the trial.
 *
 *     tsx producer.ts [servers]
 */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'

import { connect, type WorkflowHandle } from '@carillon/client'

import { type End, type Status, Subscription } from './contract.ts'

const TERMS = {
  plan: { name: 'basic', priceCents: 900 },
  card: 'card-1',
  trialMs: 500,
  periodMs: 1500,
  retryMs: 400,
  chargesMax: 3,
}

const carillon = await connect({ servers: process.argv[2] ?? 'nats://127.0.0.1:4222' })
const run = Date.now().toString(36)
const handles = new Map<string, WorkflowHandle<typeof Subscription.shape>>()
await Promise.all([paysAndLeaves(), changesCard(), hasNoOtherCard(), leavesInTrial()])
await carillon.close()

async function paysAndLeaves(): Promise<void> {
  const ann = subscriptionOf('ann')
  await ann.start(TERMS)
  await untilStatus('ann', ({ periodsPaid }) => periodsPaid === 1)
  say('ann', 'a bigger plan from the next month on', await ann.update('changePlan', { name: 'big', priceCents: 1900 }))
  await untilStatus('ann', ({ periodsPaid }) => periodsPaid === 2)
  say('ann', 'cancels', await ann.update('cancel'))
  assert.deepEqual(await endOf('ann'), { reason: 'cancelled', periodsPaid: 2, paidCents: 2800 })
}

async function changesCard(): Promise<void> {
  const bob = subscriptionOf('bob')
  await bob.start({ ...TERMS, card: 'empty-card', retryMs: 60_000 })
  say('bob', 'the charge failed', await untilStatus('bob', ({ failedCharges }) => failedCharges === 1))
  await bob.signal('changeCard', { card: 'card-2' })
  say('bob', 'another card, charged at once', await untilStatus('bob', ({ phase }) => phase === 'active'))
  await bob.update('cancel')
  assert.equal((await endOf('bob')).reason, 'cancelled')
}

async function hasNoOtherCard(): Promise<void> {
  await subscriptionOf('eve').start({ ...TERMS, card: 'empty-card' })
  assert.deepEqual(await endOf('eve'), { reason: 'unpaid', periodsPaid: 0, paidCents: 0 })
}

async function leavesInTrial(): Promise<void> {
  const joe = subscriptionOf('joe')
  await joe.start(TERMS)
  say('joe', 'cancels in the trial', await joe.update('cancel'))
  assert.deepEqual(await endOf('joe'), { reason: 'cancelled', periodsPaid: 0, paidCents: 0 })
}

/** One handle for each: it sees what it has sent. */
function subscriptionOf(customer: string): WorkflowHandle<typeof Subscription.shape> {
  const known = handles.get(customer) ?? carillon.workflow(Subscription, `${customer}-${run}`)
  handles.set(customer, known)
  return known
}

async function untilStatus(customer: string, isSo: (status: Status) => boolean): Promise<Status> {
  const deadlineMs = performance.now() + 20_000
  for (;;) {
    const status = await subscriptionOf(customer).query('status')
    if (isSo(status)) return status
    assert.ok(performance.now() < deadlineMs, `${customer}: not within 20 seconds: ${isSo.toString()}`)
    await delay(20)
  }
}

async function endOf(customer: string): Promise<End> {
  const end = await subscriptionOf(customer).result({ timeoutMs: 30_000 })
  process.stdout.write(`${customer}: the end: ${end.reason}, ${end.periodsPaid} months paid, ${end.paidCents} cents\n`)
  return end
}

function say(customer: string, what: string, { phase, card, periodsPaid }: Status): void {
  process.stdout.write(`${customer}: ${what}: ${phase}, ${card}, ${periodsPaid} months paid\n`)
}
