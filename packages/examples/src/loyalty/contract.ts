/** The contract of the loyalty programme: what producers and nodes share. Producers import this file and nothing else of the example. */
import { defineWorkflow, type } from '@carillon/runtime'
import { z } from 'zod'

export type Level = 'bronze' | 'silver' | 'gold'

/** One line of a customer's statement. */
export interface Entry {
  readonly orderId: string
  /** Earned (above zero), given back or spent (below zero). */
  readonly points: number
}

/** What a customer gets every month. */
export interface Statement {
  /** From 1, one more each time. */
  readonly number: number
  /** The moment of the schedule that it is for, also when it is sent later; ISO 8601. */
  readonly asOf: string
  readonly level: Level
  /** The balance after the entries. */
  readonly points: number
  readonly entries: readonly Entry[]
}

export interface Status {
  /** The balance. Below zero when points were spent and their purchase was returned. */
  readonly points: number
  readonly level: Level
  /** Statements sent so far. */
  readonly statements: number
  /** What the next statement will list. */
  readonly entries: readonly Entry[]
}

const timeZone = z.string().refine(isTimeZone, 'not a time zone: give a name such as Europe/Berlin')

const order = z.object({ orderId: z.string(), amountCents: z.number().int().positive() })

export const Loyalty = defineWorkflow('loyalty', {
  result: type<{ points: number }>(),
  signals: {
    purchase: order,
    return: order,
    /** The customer lives elsewhere now: statements come by the clock there. */
    move: z.object({ timeZone }),
    /** The customer leaves the programme. */
    close: type<void>(),
  },
  updates: {
    redeem: {
      input: z.object({ orderId: z.string(), points: z.number().int().positive() }),
      output: type<{ left: number }>(),
    },
  },
  queries: { status: { output: type<Status>() } },
  /** What customers are listed and counted by. */
  attributes: { level: 'text' },
  activities: {
    notifyPartner: { input: type<{ level: Level }>(), startToClose: '10 seconds' },
    sendStatement: { input: type<Statement>(), startToClose: '10 seconds' },
  },
})

function isTimeZone(name: string): boolean {
  try {
    return Intl.DateTimeFormat('en', { timeZone: name }).format(0) !== ''
  } catch {
    return false
  }
}
