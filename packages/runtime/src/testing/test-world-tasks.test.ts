import { afterEach, describe, expect, it } from 'vitest'

import { codeOf, defineWorkflow, implement, type } from '../index.ts'
import { mockActivities, TestWorld } from './index.ts'

/** The pattern of docs/activities.md: ask, remind after a day, ask a manager as well after two, give up after three. */
const Leave = defineWorkflow('leave', {
  input: type<{ days: number }>(),
  result: type<{ ok: boolean; by: string }>(),
  tasks: { approve: { input: type<{ days: number }>(), output: type<{ ok: boolean; by: string }>() } },
  activities: { mail: { input: type<{ to: string; token: string; text: string }>() } },
})

const leave = implement(Leave, {
  state: () => ({}),
  async run(ctx, { days }) {
    const task = ctx.task('approve', { days }, { deadline: '3 days' })
    const { token } = task
    await ctx.activities.mail({ to: 'lead', token, text: 'please decide' })
    const isDone = (): boolean => !task.isOpen
    if (!(await ctx.condition(isDone, '1 day'))) await ctx.activities.mail({ to: 'lead', token, text: 'it waits' })
    if (!(await ctx.condition(isDone, '1 day'))) await ctx.activities.mail({ to: 'manager', token, text: 'help' })
    try {
      return await task.result
    } catch (error) {
      return { ok: false, by: String(codeOf(error)) }
    }
  },
})

describe.each([false, true])('tasks in a test world (crash between turns: %s)', (crashBetweenTurns) => {
  let world: TestWorld
  afterEach(() => world.close())

  async function open() {
    const activities = mockActivities(Leave, { mail: async () => {} })
    world = await TestWorld.open({ workflows: [leave], activities: [activities], crashBetweenTurns })
    const handle = world.workflow(Leave, 'ann')
    await handle.start({ days: 5 })
    await world.settled()
    const mails = (): readonly string[] => activities.calls('mail').map(({ input }) => `${input.to}: ${input.text}`)
    return { handle, mails, token: activities.calls('mail')[0]?.input.token as string }
  }

  it('are listed, and completed by the token that was sent out', async () => {
    const { handle, mails, token } = await open()
    expect(await world.tasks()).toEqual([
      { type: 'leave', id: 'ann', name: 'approve', token, dueMs: world.nowMs + 3 * 86_400_000, input: { days: 5 } },
    ])
    await world.skip('20 hours')
    await world.completeTask(token, { ok: true, by: 'lead' })
    expect(await handle.result()).toEqual({ ok: true, by: 'lead' })
    expect(await world.tasks()).toEqual([])
    expect(mails()).toEqual(['lead: please decide'])
    await expect(world.completeTask(token, { ok: false, by: 'late' })).rejects.toMatchObject({ code: 'CLOSED' })
    expect(world.deadLetters.map(({ reason }) => reason)).toEqual(['CLOSED'])
  })

  it('remind, escalate, and end at their deadline', async () => {
    const { handle, mails, token } = await open()
    await world.skip('25 hours')
    expect(mails().at(-1)).toBe('lead: it waits')
    await world.skip('24 hours')
    expect(mails().at(-1)).toBe('manager: help')
    await world.skip('24 hours')
    expect(await handle.result()).toEqual({ ok: false, by: 'TIMEOUT' })
    await expect(world.completeTask(token, { ok: true, by: 'late' })).rejects.toMatchObject({ code: 'CLOSED' })
  })

  it('fail by their token', async () => {
    const { handle, token } = await open()
    await world.failTask(token, { code: 'ON_LEAVE', message: 'nobody is there' })
    expect(await handle.result()).toEqual({ ok: false, by: 'TASK_FAILED' })
  })
})
