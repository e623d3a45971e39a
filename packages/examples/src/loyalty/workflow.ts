/** The loyalty programme: one instance per customer. Runs on the nodes. */
import { type Context, type Duration, implement, type Implementation, UpdateRejected } from '@carillon/runtime'

import { type Entry, type Level, Loyalty } from './contract.ts'

interface Customer {
  points: number
  /** Points of all purchases less returns: spending them does not lower it. */
  earned: number
  level: Level
  statements: number
  entries: Entry[]
}

/** Points to have earned for each level above bronze. A level is kept once it is reached. */
const LEVELS = [
  { level: 'silver', from: 300 },
  { level: 'gold', from: 1000 },
] as const

/** Entries of one statement. It is sent early when they are reached, so the state stays small whatever a customer does. */
const ENTRIES_MAX = 500

/** When statements are sent: at the moments of a cron pattern, or one period after the other. */
export type Schedule =
  | { readonly cron: string; readonly timeZone?: string; readonly jitter?: Duration }
  | { readonly every: Duration }

/** At nine in the morning on the first of each month, within ten minutes: not all customers at once. */
export const MONTHLY = {
  cron: '0 9 1 * *',
  timeZone: 'Europe/Berlin',
  jitter: '10 minutes',
} as const satisfies Schedule

export interface LoyaltyOptions {
  /** Default: MONTHLY. */
  readonly statements?: Schedule
}

export function createLoyalty({ statements = MONTHLY }: LoyaltyOptions = {}): Implementation {
  return implement(Loyalty, {
    // Customers simply exist: the first signal starts one.
    startOnSignal: true,
    state: (): Customer => ({ points: 0, earned: 0, level: 'bronze', statements: 0, entries: [] }),
    attributes: () => ({ level: 'bronze' }),
    on: {
      async purchase(ctx, { orderId, amountCents }) {
        const points = pointsFor(amountCents)
        ctx.state.earned += points
        await book(ctx, { orderId, points })
        for (const level of levelsReached(ctx.state)) {
          ctx.state.level = level
          ctx.attributes.set({ level })
          await ctx.activities.notifyPartner({ level })
        }
      },
      async return(ctx, { orderId, amountCents }) {
        const points = pointsFor(amountCents)
        ctx.state.earned -= points
        await book(ctx, { orderId, points: -points })
      },
      move(ctx, { timeZone }) {
        if ('cron' in statements) ctx.timers.monthly.cron(statements.cron, { timeZone })
      },
      close: (ctx) => ctx.complete({ points: ctx.state.points }),
    },
    updates: {
      redeem: {
        validate(state, { points }) {
          if (state.points < points)
            throw new UpdateRejected(`${points} points are asked for, and there are ${state.points}`)
        },
        async run(ctx, { orderId, points }) {
          await book(ctx, { orderId, points: -points })
          return { left: ctx.state.points }
        },
      },
    },
    queries: {
      status: ({ points, level, statements, entries }) => ({ points, level, statements, entries }),
    },
    // Months in which no node ran come as one statement, and two never cross.
    timers: {
      monthly: {
        ...statements,
        catchUp: 'once',
        overlap: 'queue',
        run: (ctx, { dueMs }) => sendStatement(ctx, dueMs),
      },
    },
  })
}

type LoyaltyContext = Context<typeof Loyalty.shape, Customer, 'monthly'>

async function book(ctx: LoyaltyContext, entry: Entry): Promise<void> {
  ctx.state.points += entry.points
  ctx.state.entries.push(entry)
  if (ctx.state.entries.length >= ENTRIES_MAX) await sendStatement(ctx, ctx.now())
}

/** The number and the entries change with the call, in one turn: whatever happens then, this statement is sent, and no entry is in two. */
async function sendStatement(ctx: LoyaltyContext, asOfMs: number): Promise<void> {
  const { level, points, entries } = ctx.state
  ctx.state.statements += 1
  ctx.state.entries = []
  const asOf = new Date(asOfMs).toISOString()
  await ctx.activities.sendStatement({ number: ctx.state.statements, asOf, level, points, entries })
}

/** One point for each whole unit of money. */
function pointsFor(amountCents: number): number {
  return Math.floor(amountCents / 100)
}

/** The levels above the customer's own that the earned points are enough for, lowest first: a big purchase may reach two. */
function levelsReached({ level, earned }: Customer): Level[] {
  const own = LEVELS.findIndex((step) => step.level === level)
  return LEVELS.slice(own + 1).flatMap((step) => (earned >= step.from ? [step.level] : []))
}
