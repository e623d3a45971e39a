/** The tasks of the inbox, by handles on instances. */
import type { ListOptions, WorkflowHandle } from '@carillon/client'
import type { InstanceRow } from '@carillon/runtime'

import { Expense } from './contract.ts'
import type { Tasks } from './inbox-server.ts'

/** Tasks that the inbox shows at once. */
const ROWS_MAX = 200

type Shape = typeof Expense.shape

type Handle = Pick<WorkflowHandle<Shape>, 'start' | 'update' | 'query'>
type List = (options: ListOptions<Shape>) => AsyncIterable<InstanceRow<Shape>>

type CompleteTask = (token: string, value: unknown) => Promise<unknown>

/** All of a client, or of a test world. */
export function tasksOf(handle: (id: string) => Handle, list: List, completeTask: CompleteTask): Tasks {
  return {
    async open(where) {
      const ids: string[] = []
      const running = { contract: Expense, status: 'running', where, limit: ROWS_MAX } as const
      for await (const { id } of list(running)) ids.push(id)
      return ids
    },
    decide: completeTask,
    start: (id, expense) => handle(id).start(expense, { wait: 'applied' }),
    task: (id) => handle(id).query('task'),
    act: (id, action, { by, comment }) =>
      action === 'complete' || action === 'reject'
        ? handle(id).update(action, { by, comment })
        : handle(id).update(action, { by }),
  }
}
