import { afterEach, describe, expect, it } from 'vitest'

import { defineWorkflow, implement, type } from '../index.ts'
import { TestWorld } from './index.ts'

const Ticket = defineWorkflow('ticket', {
  input: type<{ to: string }>(),
  signals: { pass: type<string>(), score: type<number>(), solve: type<void>() },
  attributes: { assignee: 'text', score: 'number' },
})

const ticket = implement(Ticket, {
  state: () => ({}),
  attributes: ({ to }) => ({ assignee: to }),
  on: {
    pass: (ctx, to) => ctx.attributes.set({ assignee: to }),
    async score(ctx, score) {
      await ctx.sleep('1 hour')
      ctx.attributes.set({ score })
      await ctx.sleep('1 hour')
    },
    solve: (ctx) => ctx.complete(),
  },
})

let world: TestWorld
afterEach(() => world.close())

async function idsOf(options: Parameters<typeof world.list<typeof Ticket.shape>>[0]): Promise<string[]> {
  const ids: string[] = []
  for await (const { id } of world.list(options)) ids.push(id)
  return ids.sort()
}

describe.each([{ crashBetweenTurns: false }, { crashBetweenTurns: true }])('a test world with %o', (options) => {
  it('lists and counts instances, over all partitions, without any time passing', async () => {
    world = await TestWorld.open({ workflows: [ticket], ...options })
    const contract = Ticket
    for (let i = 0; i < 20; i++) await world.workflow(Ticket, `t${i}`).start({ to: i % 2 === 0 ? 'ann' : 'bob' })
    await world.workflow(Ticket, 't0').signal('pass', 'bob')
    await world.workflow(Ticket, 't2').signal('solve')
    const beganMs = world.nowMs
    expect(await idsOf({ contract, where: { assignee: 'ann' }, status: 'running' })).toHaveLength(8)
    expect(await idsOf({ contract, status: 'completed' })).toEqual(['t2'])
    expect(await idsOf({ contract, limit: 7 })).toHaveLength(7)
    expect(await world.count({ contract })).toBe(20)
    expect(await world.count({ contract, groupBy: { attribute: 'assignee' } })).toEqual([
      { value: 'bob', count: 11 },
      { value: 'ann', count: 9 },
    ])
    expect(world.nowMs).toBe(beganMs)
    await world.workflow(Ticket, 't5').signal('score', 7)
    await world.skip('90 minutes')
    expect(await idsOf({ contract, where: { score: { atLeast: 7 } } })).toEqual(['t5'])
  })
})
