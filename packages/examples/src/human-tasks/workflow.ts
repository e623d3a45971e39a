/** An expense: managers decide, or directors when the managers let the deadline pass. Runs on the nodes. */
import { type Context, type Duration, implement, type Implementation, toMs, UpdateRejected } from '@carillon/runtime'

import { type Decision, Expense, GROUPS, type Task } from './contract.ts'

export interface ExpenseOptions {
  /** How long each group has, where the expense does not say. */
  readonly deadline: Duration
}

export function createExpense({ deadline }: ExpenseOptions): Implementation {
  return implement(Expense, {
    state: ({ employee, purpose, amountCents }): Task => ({
      employee,
      purpose,
      amountCents,
      group: GROUPS[0],
      claimedBy: undefined,
      dueMs: 0,
      decision: undefined,
    }),
    async run(ctx, { deadlineMs = toMs(deadline) }) {
      for (const group of GROUPS) {
        // Whoever has claimed it and did not decide loses it.
        const { purpose, dueMs } = change(ctx, { group, claimedBy: undefined, dueMs: ctx.now() + deadlineMs })
        const link = ctx.task('decide', { deadline: { until: dueMs } })
        await ctx.activities.notify({ group, purpose, isEscalation: group !== GROUPS[0], token: link.token })
        // Somebody decides in the inbox, or by the link, or the link closes at the deadline.
        await ctx.condition(() => ctx.state.decision !== undefined || !link.isOpen)
        const byLink = link.isOpen ? undefined : await link.result.then(toDecision, () => undefined)
        if (byLink !== undefined) change(ctx, { decision: byLink })
        if (ctx.state.decision !== undefined) return ctx.state.decision
      }
      const decision: Decision = { outcome: 'expired', by: undefined, comment: '' }
      change(ctx, { decision })
      return decision
    },
    updates: {
      claim: {
        validate(task, { by }) {
          checkOpen(task)
          if (task.claimedBy !== undefined && task.claimedBy !== by)
            throw new UpdateRejected(`${task.claimedBy} has claimed it: they return it, or decide`)
          if (by === task.employee) throw new UpdateRejected('nobody decides on their own expense')
        },
        run: (ctx, { by }) => change(ctx, { claimedBy: by }),
      },
      return: {
        validate: (task, { by }) => checkClaimed(task, by),
        run: (ctx) => change(ctx, { claimedBy: undefined }),
      },
      complete: {
        validate: (task, { by }) => checkClaimed(task, by),
        run: (ctx, { by, comment }) => change(ctx, { decision: { outcome: 'approved', by, comment } }),
      },
      reject: {
        validate(task, { by, comment }) {
          checkClaimed(task, by)
          if (comment.trim() === '') throw new UpdateRejected('say why it is rejected')
        },
        run: (ctx, { by, comment }) => change(ctx, { decision: { outcome: 'rejected', by, comment } }),
      },
    },
    queries: { task: (task) => task },
  })
}

function toDecision({ by, approved, comment }: { by: string; approved: boolean; comment: string }): Decision {
  return { outcome: approved ? 'approved' : 'rejected', by, comment }
}

/** The task as it is from now on, and what it is found by. */
function change(ctx: Pick<Context<typeof Expense.shape, Task>, 'state' | 'attributes'>, to: Partial<Task>): Task {
  ctx.state = { ...ctx.state, ...to }
  const { group, claimedBy, dueMs } = ctx.state
  ctx.attributes.set({ group, claimedBy, due: dueMs })
  return ctx.state
}

function checkOpen({ decision }: Task): void {
  if (decision !== undefined) throw new UpdateRejected(`it is ${decision.outcome} already`)
}

function checkClaimed(task: Task, by: string): void {
  checkOpen(task)
  if (task.claimedBy !== by) throw new UpdateRejected(`claim it first: it is ${task.claimedBy ?? 'nobody'}'s now`)
}

/** What `carillon dev` runs. */
export const expense = createExpense({ deadline: '2 days' })
