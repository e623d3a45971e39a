import { describe, expect, it } from 'vitest'

import { type Context, defineWorkflow, implement, type } from '../index.ts'
import { InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'
import type { TurnResult } from './step.ts'

installGuards()

const Leaf = defineWorkflow('leaf', { updates: { peek: { output: type<string>() }, poke: { output: type<string>() } } })
const Twig = defineWorkflow('twig', { updates: { peek: { output: type<string>() } } })

const Order = defineWorkflow('order', {
  signals: { go: type<void>() },
  activities: { charge: { output: type<string>() }, refund: { output: type<string>() } },
})

type Ask = (ctx: Context<(typeof Order)['shape'], { log: unknown[] }, never>) => Promise<unknown>

/** What the handler asks for as its first effect. */
const asks = {
  charge: (ctx) => ctx.activities.charge(),
  refund: (ctx) => ctx.activities.refund(),
  sleep: (ctx) => ctx.sleep(1000),
  leaf: (ctx) => ctx.children.start(Leaf, 'l').result(),
  twig: (ctx) => ctx.children.start(Twig, 'l').result(),
  peek: (ctx) => ctx.workflow(Leaf, 'l').update('peek'),
  poke: (ctx) => ctx.workflow(Leaf, 'l').update('poke'),
} satisfies Record<string, Ask>
type Name = keyof typeof asks

const order = (ask: Ask) =>
  implement(Order, {
    startOnSignal: true,
    state: () => ({ log: [] as unknown[] }),
    on: { go: async (ctx) => void ctx.state.log.push(await ask(ctx)) },
  })

const outcome = { ok: true, value: 'done' }
/** How the result of each comes back. */
const results: Readonly<Record<Exclude<Name, 'sleep'>, readonly ['activity' | 'child' | 'answer', string]>> = {
  charge: ['activity', 'charge'],
  refund: ['activity', 'refund'],
  leaf: ['child', 'leaf'],
  twig: ['child', 'twig'],
  peek: ['answer', 'peek'],
  poke: ['answer', 'poke'],
}

/** The code asks for one thing when it is folded, and the journal has the result of another. */
async function meet(code: Name, result: Exclude<Name, 'sleep'>): Promise<{ turn: TurnResult; bench: InstanceBench }> {
  const bench = new InstanceBench(order(asks[code]))
  await bench.signal('go')
  const [kind, name] = results[result]
  return { turn: await bench.send(kind, name, { effect: '1.0', outcome }), bench }
}

describe('a result', () => {
  it.each(Object.keys(results) as Exclude<Name, 'sleep'>[])(
    'of %s reaches the code that asked for it',
    async (name) => {
      const { turn, bench } = await meet(name, name)
      expect(turn).toMatchObject({ kind: 'applied' })
      expect(bench.state).toEqual({ log: ['done'] })
    },
  )

  it.each([
    ['refund', 'charge', /is the result of the activity charge, but the code of order\/i1 asks for refund as 1\.0/],
    ['twig', 'leaf', /is the result of a child of type leaf, but the code of order\/i1 asks for twig as 1\.0/],
    ['poke', 'peek', /is the answer to the update peek, but the code of order\/i1 asks for poke as 1\.0/],
    ['sleep', 'charge', /result of the activity charge, but the code of order\/i1 asks for a sleep as 1\.0/],
    ['charge', 'leaf', /result of a child of type leaf, but the code of order\/i1 asks for an activity as 1\.0/],
    ['leaf', 'peek', /answer to the update peek, but the code of order\/i1 asks for a child as 1\.0/],
    ['peek', 'charge', /asks for an update of another instance as 1\.0.*deploy code that asks as before, then resume/],
  ] as const)('suspends code that asks for %s now, if it is of %s', async (code, result, message) => {
    const { turn } = await meet(code, result)
    expect(turn).toMatchObject({
      kind: 'poisoned',
      error: { code: 'NONDETERMINISTIC', message: expect.stringMatching(message) as unknown },
    })
  })

  it('that nothing asks for is ignored, of whatever it is', async () => {
    const { bench } = await meet('charge', 'charge')
    for (const [kind, name] of Object.values(results)) {
      await bench.send(kind, name, { effect: '1.0', outcome })
      expect(bench.kinds).toContain('ignored')
    }
  })
})
