/** Type tests of tasks: every `@ts-expect-error` line must not compile. They run with the build. */
import { z } from 'zod'

import { defineWorkflow, implement, type } from '../index.ts'

const Leave = defineWorkflow('leave', {
  input: type<{ days: number }>(),
  result: type<boolean>(),
  tasks: { approve: { input: type<{ days: number }>(), output: z.object({ ok: z.boolean() }) }, sign: {} },
})

export const leave = implement(Leave, {
  state: () => ({}),
  async run(ctx, { days }) {
    const { token, result, dueMs } = ctx.task('approve', { days }, { deadline: '2 days', heartbeat: '1 hour' })
    ctx.log.info(token.toUpperCase(), { at: dueMs?.toFixed() })
    const { ok } = await result
    await ctx.task('sign').result
    await ctx.task('sign', { deadline: 1000 }).result
    // @ts-expect-error -- no such task
    ctx.task('refuse', { days })
    // @ts-expect-error -- its input is missing
    ctx.task('approve')
    // @ts-expect-error -- not its input
    ctx.task('approve', { days: 'two' })
    // @ts-expect-error -- no such option
    ctx.task('sign', { dedline: 1000 })
    // @ts-expect-error -- no such field of its output
    await result.then(({ by }) => by as unknown)
    return ok
  },
})
