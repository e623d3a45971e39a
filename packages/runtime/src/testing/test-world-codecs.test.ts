import { describe, expect, it } from 'vitest'

import { compression, createCodecs, encryption } from '../codecs/index.ts'
import { defineWorkflow, implement, type } from '../index.ts'
import { mockActivities, TestWorld } from './index.ts'

const codecs = createCodecs([compression(), encryption({ keys: { k1: Buffer.alloc(32, 1) }, current: 'k1' })])
const Note = defineWorkflow('note', {
  result: type<string>(),
  signals: { add: type<string>(), close: type<void>() },
  updates: { length: { output: type<number>() } },
  activities: { spell: { input: type<string>(), output: type<string>() } },
})
const note = implement(Note, {
  startOnSignal: true,
  state: () => ({ text: '' }),
  on: {
    async add(ctx, text) {
      ctx.state.text += await ctx.activities.spell(text)
    },
    close: (ctx) => ctx.complete(ctx.state.text),
  },
  updates: { length: (ctx) => ctx.state.text.length },
})

describe('a test world with codecs', () => {
  it.each([false, true])(
    'gives the same results as one without, crashes between turns: %s',
    async (crashBetweenTurns) => {
      const activities = [mockActivities(Note, { spell: (text) => text.toUpperCase() })]
      await using world = await TestWorld.open({ workflows: [note], activities, codecs, crashBetweenTurns })
      const handle = world.workflow(Note, 'n')
      await handle.signal('add', 'long '.repeat(500))
      await handle.signal('add', 'short')
      expect(await handle.update('length')).toBe(2505)
      await handle.signal('close', undefined, { wait: 'applied' })
      expect(await handle.result()).toBe(`${'LONG '.repeat(500)}SHORT`)
      expect(world.deadLetters).toEqual([])
    },
  )

  it('takes plain JSON at its door as ever', async () => {
    const activities = [mockActivities(Note, { spell: (text) => text })]
    await using world = await TestWorld.open({ workflows: [note], activities, codecs })
    world.publish('carillon.signal.note.n.add', '"plain"')
    expect(await world.workflow(Note, 'n').update('length')).toBe(5)
  })
})
