/** The contract of a subscription: what the shop, support and nodes share. */
import { defineWorkflow, type } from '@carillon/runtime'
import { z } from 'zod'

const DAY_MS = 86_400_000
const duration = z.number().int().positive()
const card = z.string().min(1).max(100)

const plan = z.object({ name: z.string().min(1), priceCents: z.number().int().positive() })
export type Plan = z.infer<typeof plan>

export type Phase =
  | 'trial'
  /** Paid until `periodEndMs`. */
  | 'active'
  /** A charge has failed: it is tried again, with another card as soon as there is one. */
  | 'past-due'
  | 'ended'

export interface Status {
  readonly phase: Phase
  readonly plan: Plan
  readonly card: string
  /** The end of the trial, or of what is paid for; milliseconds since the epoch. */
  readonly periodEndMs: number
  readonly periodsPaid: number
  readonly paidCents: number
  /** Charges of this period that have failed. */
  readonly failedCharges: number
  readonly endsAtPeriodEnd: boolean
}

export interface End {
  readonly reason: 'cancelled' | 'unpaid'
  readonly periodsPaid: number
  readonly paidCents: number
}

/** What a customer is told. */
export type Notice = 'trial-begins' | 'paid' | 'charge-failed' | 'ended'

export const Subscription = defineWorkflow('subscription', {
  input: z.object({
    plan,
    card,
    trialMs: duration.default(14 * DAY_MS),
    periodMs: duration.default(30 * DAY_MS),
    /** Between two charges of one period. */
    retryMs: duration.default(3 * DAY_MS),
    /** Charges of one period; then it ends unpaid. */
    chargesMax: z.number().int().min(1).max(20).default(4),
  }),
  result: type<End>(),
  signals: {
    /** From the next charge on; at once where one has failed. */
    changeCard: z.object({ card }),
  },
  updates: {
    /** From the next period on. */
    changePlan: { input: plan, output: type<Status>() },
    /** It ends when what is paid for ends: the trial, or the period. At once where a charge has failed. */
    cancel: { output: type<Status>() },
    /** Takes the cancel back, as long as it has not ended. */
    keep: { output: type<Status>() },
  },
  queries: { status: { output: type<Status>() } },
  activities: {
    /** The same invoice is paid once, however often it is charged. A card that is declined is not tried again by itself. */
    charge: {
      input: type<{ invoice: string; amountCents: number; card: string }>(),
      output: type<{ receipt: string }>(),
      startToClose: '30 seconds',
      retry: { attempts: 5, nonRetryable: ['CARD_DECLINED'] },
    },
    notify: { input: type<{ notice: Notice; text: string }>(), startToClose: '10 seconds' },
  },
})
