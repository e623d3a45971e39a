/** Random programs in a test world: a crash after every turn, whatever the seed, changes nothing that anybody can see. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { codeOf, defineWorkflow, implement, type, WorkflowFailure } from '../index.ts'
import { mockActivities, TestWorld } from './index.ts'

const Cell = defineWorkflow('cell', {
  signals: {
    note: type<string>(),
    call: type<string>(),
    later: type<number>(),
    forward: type<{ to: string; text: string }>(),
    mail: type<string>(),
    end: type<'complete' | 'fail'>(),
  },
  updates: { wait: { input: type<string>(), output: type<number>() } },
  queries: { notes: { output: type<readonly string[]>() } },
  activities: { work: { input: type<string>(), output: type<string>() } },
})

const cell = implement(Cell, {
  startOnSignal: true,
  state: (): { notes: string[] } => ({ notes: [] }),
  on: {
    note: (ctx, text) => void ctx.state.notes.push(text),
    async call(ctx, text) {
      ctx.state.notes.push(`${await ctx.activities.work(text)} ${Math.floor(ctx.random() * 1e9)}`)
    },
    async later(ctx, minutes) {
      await ctx.sleep(minutes * 60_000)
      ctx.state.notes.push(`slept ${minutes}`)
    },
    forward: (ctx, { to, text }) => ctx.workflow(Cell, to).signal('note', `${text} from ${ctx.id}`),
    end(ctx, how) {
      if (how === 'fail') throw new WorkflowFailure('as it was told')
      ctx.complete()
    },
  },
  async run(ctx) {
    for (;;) {
      const { payload } = await ctx.receive('mail')
      const [first, second] = await Promise.all([
        ctx.activities.work(`${payload}a`),
        ctx.activities.work(`${payload}b`),
      ])
      ctx.state.notes.push(`received ${first} ${second}`)
    }
  },
  updates: {
    async wait(ctx, text) {
      await ctx.condition(() => ctx.state.notes.includes(text), '1 hour')
      return ctx.state.notes.length
    },
  },
  queries: { notes: (state) => [...state.notes] },
  timers: { daily: { every: '1 day', run: (ctx) => void ctx.state.notes.push('day') } },
})

const CELLS = ['a', 'b', 'c'] as const
const to = fc.constantFrom(...CELLS)
const text = fc.constantFrom('x', 'y', 'z')
const calmStep = fc.oneof(
  fc.record({ cell: to, do: fc.constant('note' as const), with: text }),
  fc.record({ cell: to, do: fc.constant('call' as const), with: text }),
  fc.record({ cell: to, do: fc.constant('mail' as const), with: text }),
  fc.record({ cell: to, do: fc.constant('later' as const), with: fc.integer({ min: 1, max: 90 }) }),
  fc.record({ cell: to, do: fc.constant('forward' as const), with: fc.record({ to, text }) }),
  fc.record({ cell: to, do: fc.constant('end' as const), with: fc.constantFrom('complete' as const, 'fail' as const) }),
  fc.record({ cell: to, do: fc.constant('wait' as const), with: text }),
  fc.record({ do: fc.constant('skip' as const), with: fc.integer({ min: 0, max: 3000 }) }),
)
/** After a crash the next attempt comes at once, not when the back-off is over: other moments, another order among instances. */
const anyStep = fc.oneof(
  { arbitrary: calmStep, weight: 6 },
  { arbitrary: fc.record({ do: fc.constant('fail' as const), with: fc.integer({ min: 1, max: 3 }) }), weight: 1 },
)
type Step = typeof anyStep extends fc.Arbitrary<infer T> ? T : never

/** What a program shows: each answer, each state, what was called, what was refused. Moments in between settle, as a test would let them. */
async function run(steps: readonly Step[], seed: number, crashBetweenTurns: boolean): Promise<unknown> {
  const activities = mockActivities(Cell, { work: async (input) => `${input}!` })
  const world = await TestWorld.open({ workflows: [cell], activities: [activities], seed, crashBetweenTurns })
  const answers: unknown[] = []
  try {
    for (const one of steps) {
      if (one.do === 'skip') await world.skip(one.with * 60_000)
      else if (one.do === 'fail') activities.failNext('work', one.with)
      else if (one.do === 'wait') {
        const answer = world.workflow(Cell, one.cell).update('wait', one.with, { timeoutMs: 2 * 3_600_000 })
        answers.push(await answer.catch(codeOf))
      } else await world.workflow(Cell, one.cell).signal(one.do, one.with)
      await world.settled()
    }
    await world.skip('3 hours')
    const states = CELLS.map(async (id) => {
      const handle = world.workflow(Cell, id)
      const { status, incarnation } = await handle.describe()
      return { notes: await handle.query('notes'), status, incarnation }
    })
    return {
      answers,
      states: (await Promise.allSettled(states)).map((state) =>
        state.status === 'fulfilled' ? state.value : codeOf(state.reason),
      ),
      calls: activities.calls('work').map(({ input, workflow }) => `${workflow.id} ${input}`),
      dead: world.deadLetters.map(({ reason }) => reason),
    }
  } finally {
    await world.close()
  }
}

describe('random programs', () => {
  it('show the same with a crash after every turn', { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(calmStep, { maxLength: 12 }), fc.integer({ min: 1, max: 1e6 }), async (steps, seed) => {
        expect(await run(steps, seed, true)).toEqual(await run(steps, seed, false))
      }),
      { numRuns: 60 },
    )
  })

  it('show the same for the same seed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { maxLength: 8 }), fc.integer({ min: 1, max: 1e6 }), async (steps, seed) => {
        expect(await run(steps, seed, true)).toEqual(await run(steps, seed, true))
      }),
      { numRuns: 15 },
    )
  })
})
