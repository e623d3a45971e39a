import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, implementActivities, type } from '../index.ts'
import { mockActivities, TestWorld } from './index.ts'

const Media = defineWorkflow('media', {
  input: type<string>(),
  result: type<string>(),
  activities: {
    probe: { input: type<string>(), output: type<number>() },
    render: { input: type<string>(), output: type<string>(), queue: 'gpu' },
  },
})
const media = implement(Media, {
  state: () => ({}),
  run: async (ctx, path) => `${await ctx.activities.render(path)} ${await ctx.activities.probe(path)}`,
})

describe.each([false, true])(
  'activities with a queue in a test world (crash between turns: %s)',
  (crashBetweenTurns) => {
    it('run in the process like all others, also when they stand in a set of their own', async () => {
      const nodes = implementActivities(Media, { probe: (path) => path.length })
      const workers = implementActivities(Media, { render: (path) => `${path}.mp4` }, { queue: 'gpu' })
      const world = await TestWorld.open({ workflows: [media], activities: [nodes, workers], crashBetweenTurns })
      const handle = world.workflow(Media, 'm')
      await handle.start('film')
      expect(await handle.result()).toBe('film.mp4 4')
      await world.close()
    })

    it('are mocked, and fail on request, like all others', async () => {
      const activities = mockActivities(Media, { probe: () => 1, render: (path) => path })
      activities.failNext('render', 2)
      const world = await TestWorld.open({ workflows: [media], activities: [activities], crashBetweenTurns })
      const handle = world.workflow(Media, 'm')
      await handle.start('film')
      expect(await handle.result()).toBe('film 1')
      // After a crash the count of attempts begins anew.
      expect(activities.calls('render').length).toBeGreaterThanOrEqual(3)
      await world.close()
    })
  },
)

describe('a test world', () => {
  it('asks for the functions of queues as well', async () => {
    const nodes = implementActivities(Media, { probe: () => 1 })
    await expect(TestWorld.open({ workflows: [media], activities: [nodes] })).rejects.toThrow('declares render')
  })
})
