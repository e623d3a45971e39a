/** Tells people of their tasks: here a line in the node's log. */
import { implementActivities } from '@carillon/runtime'

import { Expense } from './contract.ts'

export const expenseActivities = implementActivities(Expense, {
  notify({ group, purpose, isEscalation, token }, ctx) {
    ctx.log.info(isEscalation ? 'an expense was not decided in time' : 'an expense waits', {
      group,
      purpose,
      decide: `POST /api/decide/${encodeURIComponent(token)}`,
      task: ctx.workflow.id,
    })
  },
})
