/** The contract of an expense that people approve: what the inbox, other producers and nodes share. */
import { defineWorkflow, type } from '@carillon/runtime'
import { z } from 'zod'

export const GROUPS = ['managers', 'directors'] as const
export type Group = (typeof GROUPS)[number]

export interface Decision {
  /** `expired`: nobody decided in time, the last group included. */
  readonly outcome: 'approved' | 'rejected' | 'expired'
  readonly by: string | undefined
  readonly comment: string
}

/** The task as an inbox shows it. */
export interface Task {
  readonly employee: string
  readonly purpose: string
  readonly amountCents: number
  /** Who may claim it now. */
  readonly group: Group
  readonly claimedBy: string | undefined
  /** When it goes to the next group, milliseconds since the epoch; the last group's expires. */
  readonly dueMs: number
  readonly decision: Decision | undefined
}

/** Short enough for an attribute: 200 bytes. */
const person = z.string().trim().min(1).max(60)
const DEADLINE_MS_MAX = 30 * 24 * 3_600_000
const comment = z.string().max(1000).default('')

export const Expense = defineWorkflow('expense', {
  input: z.object({
    employee: person,
    purpose: z.string().min(1).max(200),
    amountCents: z.number().int().positive(),
    /** How long each group has; default: what the workflow says. */
    deadlineMs: z.number().int().positive().max(DEADLINE_MS_MAX).optional(),
  }),
  result: type<Decision>(),
  updates: {
    /** Takes the task: until it is returned, nobody else may decide. */
    claim: { input: z.object({ by: person }), output: type<Task>() },
    /** Gives it back to the group. */
    return: { input: z.object({ by: person }), output: type<Task>() },
    complete: { input: z.object({ by: person, comment }), output: type<Task>() },
    reject: { input: z.object({ by: person, comment }), output: type<Task>() },
  },
  tasks: {
    /** The decision by the link in the message: whoever has it needs to claim nothing. */
    decide: { output: z.object({ by: person, approved: z.boolean(), comment }) },
  },
  queries: { task: { output: type<Task>() } },
  /** What the inbox lists by. */
  attributes: { group: 'text', claimedBy: 'text', due: 'time' },
  activities: {
    /** Tells a group of a task, with the token of the link that decides it. */
    notify: {
      input: type<{ group: Group; purpose: string; isEscalation: boolean; token: string }>(),
      startToClose: '10 seconds',
    },
  },
})
