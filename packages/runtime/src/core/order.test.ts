/** The first law: one order over everything, the journal's. */
import { array, assert, asyncProperty, constantFrom } from 'fast-check'
import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, type } from '../index.ts'
import { BENCH_START_MS, InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'

installGuards()

const TASKS = 3
const KINDS = ['a', 'b', 'update', 'timer', 'activity'] as const

const Log = defineWorkflow('log', {
  signals: { a: type<number>(), b: type<number>(), begin: type<void>() },
  updates: { note: { input: type<number>(), output: type<number>() } },
  activities: { call: { input: type<number>(), output: type<number>() } },
})

/** Writes down everything that comes, in the order in which it takes effect. */
const log = implement(Log, {
  startOnSignal: true,
  state: () => ({ seen: [] as string[] }),
  on: {
    a: (ctx, n) => void ctx.state.seen.push(`a ${n}`),
    b: (ctx, n) => void ctx.state.seen.push(`b ${n}`),
    begin(ctx) {
      for (let task = 0; task < TASKS; task++)
        void ctx.activities.call(task).then(
          (n) => ctx.state.seen.push(`activity ${n}`),
          () => undefined,
        )
    },
  },
  updates: { note: (ctx, n) => ctx.state.seen.push(`update ${n}`) },
  timers: { tick: { every: '1 second', run: (ctx) => void ctx.state.seen.push('timer') } },
})

describe('everything that happens to an instance', () => {
  it('G2: takes effect in the order of the journal: signals of all names, updates, timers, results of activities', async () => {
    await assert(
      asyncProperty(array(constantFrom(...KINDS), { maxLength: 40 }), async (kinds) => {
        const bench = new InstanceBench(log)
        await bench.signal('begin')
        const calls = bench.effects.flatMap((effect) => (effect.kind === 'activity' ? [effect.id] : []))
        const expected: string[] = []
        let tasks = 0
        for (const [n, kind] of kinds.entries()) {
          if (kind === 'activity' && tasks === TASKS) continue
          expected.push(kind === 'timer' ? 'timer' : `${kind} ${kind === 'activity' ? tasks : n}`)
          if (kind === 'update') await bench.send('update', 'note', n)
          else if (kind === 'activity') await bench.result(calls[tasks] ?? '', tasks++)
          else if (kind === 'timer') {
            const { effect, dueMs } = bench.instance.data.timers.get('tick') ?? { effect: '0.0', dueMs: 0 }
            await bench.fire(effect, dueMs)
          } else await bench.signal(kind, n)
        }
        expect(bench.state).toEqual({ seen: expected })
      }),
    )
  })

  it('G2: takes effect in the same order whenever code asks for it: what came before the first receive comes first', async () => {
    const Late = defineWorkflow('late', { signals: { a: type<number>(), b: type<number>() } })
    const late = implement(Late, {
      startOnSignal: true,
      state: () => ({ seen: [] as string[] }),
      async run(ctx) {
        await ctx.sleep('1 hour')
        for (;;) {
          const { name, payload } = await ctx.receive()
          ctx.state.seen.push(`${name} ${payload}`)
        }
      },
    })
    const bench = new InstanceBench(late)
    await bench.signal('b', 1)
    await bench.signal('a', 2)
    await bench.signal('b', 3)
    expect(bench.state).toEqual({ seen: [] })
    await bench.fire('1.0', BENCH_START_MS + 3_600_001)
    await bench.signal('a', 4)
    expect(bench.state).toEqual({ seen: ['b 1', 'a 2', 'b 3', 'a 4'] })
  })
})
