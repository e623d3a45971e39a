/** The tasks of the inbox, by handles on instances. */
import type { Carillon, WorkflowHandle } from '@carillon/client'

import { Expense } from './contract.ts'
import type { Tasks } from './inbox-server.ts'

const PAGE_ROWS = 200

export type ExpenseHandle = Pick<WorkflowHandle<typeof Expense.shape>, 'start' | 'update' | 'query'>

export function tasksOf(handle: (id: string) => ExpenseHandle, open: () => Promise<readonly string[]>): Tasks {
  return {
    open,
    start: (id, expense) => handle(id).start(expense, { wait: 'applied' }),
    task: (id) => handle(id).query('task'),
    act: (id, action, { by, comment }) =>
      action === 'complete' || action === 'reject'
        ? handle(id).update(action, { by, comment })
        : handle(id).update(action, { by }),
  }
}

/** The first page of what is open, as of the last commit of each partition. */
export async function openTaskIds(carillon: Carillon): Promise<readonly string[]> {
  const { rows } = await carillon.listPage({ type: Expense.name, status: 'running', limit: PAGE_ROWS })
  return rows.map(({ id }) => id)
}
