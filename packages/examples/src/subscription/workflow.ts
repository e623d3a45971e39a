/**
 * A subscription: a free trial, then one period after the other. Runs on the nodes.
 *
 * One life is one period: `run` charges, waits until the period is over, and continues as new. What it waits for outlives any node, and what is kept
 * to rebuild it is one period, not years.
 */
import { codeOf, type Context, implement, UpdateRejected } from '@carillon/runtime'

import { type End, type Notice, type Plan, type Status, Subscription } from './contract.ts'

/** A status, and the plan from the next period on, where that is another. */
type State = Status & { readonly nextPlan: Plan | undefined }

type SubscriptionContext = Context<typeof Subscription.shape, State>

interface Terms {
  readonly retryMs: number
  readonly chargesMax: number
}

export const subscription = implement(Subscription, {
  state: ({ plan, card }): State => ({
    phase: 'trial',
    plan,
    nextPlan: undefined,
    card,
    periodEndMs: 0,
    periodsPaid: 0,
    paidCents: 0,
    failedCharges: 0,
    endsAtPeriodEnd: false,
  }),
  async run(ctx, input) {
    if (ctx.state.phase === 'trial') await passTrial(ctx, input.trialMs)
    if (ctx.state.endsAtPeriodEnd) return end(ctx, 'cancelled')
    const outcome = await pay(ctx, input)
    if (outcome !== 'paid') return end(ctx, outcome)
    // From the end of the last one, not from now: periods do not drift, however long a charge took.
    change(ctx, { phase: 'active', periodEndMs: ctx.state.periodEndMs + input.periodMs })
    await until(ctx, ctx.state.periodEndMs)
    return ctx.state.endsAtPeriodEnd ? end(ctx, 'cancelled') : ctx.continueAsNew(input, { state: ctx.state })
  },
  on: {
    // `run` looks at the card when it charges next; where it waits after a charge that failed, it goes on at once.
    changeCard: (ctx, { card }) => void change(ctx, { card }),
  },
  updates: {
    changePlan: { validate: checkOpen, run: (ctx, plan) => statusOf(change(ctx, { nextPlan: plan })) },
    cancel: { validate: checkOpen, run: (ctx) => statusOf(change(ctx, { endsAtPeriodEnd: true })) },
    keep: { validate: checkOpen, run: (ctx) => statusOf(change(ctx, { endsAtPeriodEnd: false })) },
  },
  queries: { status: statusOf },
})

async function passTrial(ctx: SubscriptionContext, trialMs: number): Promise<void> {
  change(ctx, { periodEndMs: ctx.now() + trialMs })
  await tell(
    ctx,
    'trial-begins',
    `${ctx.state.plan.name} is free until ${new Date(ctx.state.periodEndMs).toISOString()}`,
  )
  await until(ctx, ctx.state.periodEndMs)
}

/** Charges one period, several times if need be: after a while, or as soon as there is another card. */
async function pay(ctx: SubscriptionContext, { retryMs, chargesMax }: Terms): Promise<'paid' | End['reason']> {
  const invoice = `${ctx.id}/${ctx.state.periodsPaid + 1}`
  change(ctx, { plan: ctx.state.nextPlan ?? ctx.state.plan, nextPlan: undefined, failedCharges: 0 })
  const amountCents = ctx.state.plan.priceCents
  while (ctx.state.failedCharges < chargesMax) {
    const { card } = ctx.state
    const failure = await charge(ctx, { invoice, amountCents, card })
    if (failure === undefined) return paid(ctx, amountCents)
    change(ctx, { phase: 'past-due', failedCharges: ctx.state.failedCharges + 1 })
    await tell(ctx, 'charge-failed', `${card}: ${failure}; charge ${ctx.state.failedCharges} of ${chargesMax}`)
    if (ctx.state.failedCharges === chargesMax) break
    await ctx.condition(() => ctx.state.card !== card || ctx.state.endsAtPeriodEnd, retryMs)
    if (ctx.state.endsAtPeriodEnd) return 'cancelled'
  }
  return 'unpaid'
}

/** @returns why it failed, if it did. */
async function charge(
  ctx: SubscriptionContext,
  input: { invoice: string; amountCents: number; card: string },
): Promise<string | undefined> {
  try {
    await ctx.activities.charge(input)
    return undefined
  } catch (error) {
    // A cancel of the instance, say, is not for dunning.
    if (codeOf(error) !== 'ACTIVITY_FAILED') throw error
    return error instanceof Error ? error.message : String(error)
  }
}

async function paid(ctx: SubscriptionContext, amountCents: number): Promise<'paid'> {
  const { periodsPaid, paidCents } = ctx.state
  change(ctx, { periodsPaid: periodsPaid + 1, paidCents: paidCents + amountCents, failedCharges: 0 })
  await tell(ctx, 'paid', `period ${periodsPaid + 1}: ${amountCents} cents by ${ctx.state.card}`)
  return 'paid'
}

async function end(ctx: SubscriptionContext, reason: End['reason']): Promise<End> {
  const { periodsPaid, paidCents } = change(ctx, { phase: 'ended' })
  await tell(ctx, 'ended', reason)
  return { reason, periodsPaid, paidCents }
}

async function tell(ctx: SubscriptionContext, notice: Notice, text: string): Promise<void> {
  await ctx.activities.notify({ notice, text })
}

async function until(ctx: SubscriptionContext, timeMs: number): Promise<void> {
  await ctx.sleep(Math.max(0, timeMs - ctx.now()))
}

function change(ctx: { state: State }, to: Partial<State>): State {
  ctx.state = { ...ctx.state, ...to }
  return ctx.state
}

function checkOpen({ phase }: Pick<State, 'phase'>): void {
  if (phase === 'ended') throw new UpdateRejected('the subscription has ended')
}

function statusOf(state: State): Status {
  const { phase, plan, card, periodEndMs, periodsPaid, paidCents, failedCharges, endsAtPeriodEnd } = state
  return { phase, plan, card, periodEndMs, periodsPaid, paidCents, failedCharges, endsAtPeriodEnd }
}
