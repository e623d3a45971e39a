import { describe, expect, it } from 'vitest'

import { defineInterceptors, defineWorkflow, implement, InputRejected, NonRetryable, type } from '../index.ts'
import { mockActivities, TestWorld } from './index.ts'

const Order = defineWorkflow('order', {
  result: type<readonly string[]>(),
  signals: { add: type<{ what: string; by: string }>(), close: type<void>() },
  activities: { pack: { input: type<string>(), output: type<string>() } },
})
const order = implement(Order, {
  startOnSignal: true,
  state: () => ({ packed: [] as string[] }),
  on: {
    async add(ctx, { what }) {
      ctx.state.packed.push(await ctx.activities.pack(what))
    },
    close: (ctx) => ctx.complete(ctx.state.packed),
  },
})

describe('a test world with interceptors', () => {
  it.each([false, true])('runs them as a node does, crashes between turns: %s', async (crashBetweenTurns) => {
    const attempts: string[] = []
    const packing = mockActivities(Order, { pack: (what) => `${what} packed` })
    packing.failNext('pack', 1, new NonRetryable('once'))
    const interceptors = defineInterceptors({
      workflow: [
        {
          handle({ kind, name, payload }, next) {
            if (kind === 'signal' && name === 'add' && (payload as { readonly by: string }).by !== 'ada')
              throw new InputRejected('only ada may')
            return next(payload)
          },
          activity: async ({ payload }, next) => `${String(await next(`[${String(payload)}]`))}.`,
        },
      ],
      activity: [
        async ({ name, payload, ctx }, next) => {
          attempts.push(`${name} ${ctx.attempt}`)
          try {
            return await next(payload)
          } catch {
            // As a service that has a second supplier.
            return `${String(payload)} elsewhere`
          }
        },
      ],
    })
    await using world = await TestWorld.open({
      workflows: [order],
      activities: [packing],
      interceptors,
      crashBetweenTurns,
    })
    const handle = world.workflow(Order, 'o')
    await handle.signal('add', { what: 'book', by: 'ada' })
    await handle.signal('add', { what: 'pen', by: 'ada' })
    const refused = handle.signal('add', { what: 'gold', by: 'bob' }, { wait: 'applied' })
    await expect(refused).rejects.toMatchObject({ code: 'INPUT_REJECTED', message: 'only ada may' })
    await handle.signal('close')
    expect(await handle.result()).toEqual(['[book] elsewhere.', '[pen] packed.'])
    // After a crash a letter may be stored twice.
    expect(new Set(world.deadLetters.map(({ reason }) => reason))).toEqual(new Set(['INPUT_REJECTED']))
    expect(new Set(attempts)).toEqual(new Set(['pack 1']))
  })
})
