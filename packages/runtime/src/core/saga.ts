/** What `ctx.saga` gives: steps to undo, in memory as the code is that made them, and folded again with it. */
import type { Context } from '../contract/context.ts'
import type { Saga } from '../contract/saga.ts'
import { CarillonError, codeOf } from '../errors.ts'
import { INSTANCE_LIMITS } from './instance-data.ts'

/** What can go wrong in the world. Anything else is a mistake of the code, which is put right and resumed. */
const FAILURES: ReadonlySet<string | undefined> = new Set([
  'ACTIVITY_FAILED',
  'CHILD_FAILED',
  'UPDATE_FAILED',
  'TASK_FAILED',
  'WORKFLOW_FAILED',
  'TIMEOUT',
  'CANCELLED',
])

export function createSaga(ctx: Context): Saga<Context> {
  const steps: ((ctx: Context) => unknown)[] = []
  return {
    get size() {
      return steps.length
    },
    add(undo) {
      if (steps.length >= INSTANCE_LIMITS.compensations)
        throw new CarillonError(
          'LIMIT_REACHED',
          `a saga of ${ctx.type}/${ctx.id} has ${INSTANCE_LIMITS.compensations} steps, the most there may be: undo several in one`,
        )
      steps.push(undo)
    },
    compensate: () => ctx.scope((inner) => undoAll(inner, steps), { cancellable: false }),
  }
}

async function undoAll(ctx: Context, steps: ((ctx: Context) => unknown)[]): Promise<readonly Error[]> {
  const failures: Error[] = []
  for (let undo = steps.pop(); undo !== undefined; undo = steps.pop()) {
    try {
      await undo(ctx)
    } catch (error) {
      if (!(error instanceof Error) || !FAILURES.has(codeOf(error))) throw error
      failures.push(error)
    }
  }
  return failures
}
