import { mockActivities, TestWorld } from '@carillon/runtime/testing'
import { describe, expect, it } from 'vitest'

import { describeOnBothBackends } from '../testing/describe-on-both-backends.ts'
import { reportActivities } from './activities.ts'
import { Report, Schedule, type ScheduleStatus } from './contract.ts'
import { report, schedule } from './workflow.ts'

const setup = { workflows: [schedule, report], activities: [reportActivities] }
const NEVER = { cron: '0 0 1 1 *', report: 'stock' } as const
const SECONDS = { cron: '* * * * * *', overlap: 'queue', report: 'stock' } as const

/** Reports that are written when the test lets them. */
function desk() {
  const waiting: (() => void)[] = []
  const activities = mockActivities(Report, {
    write: () => new Promise((resolve) => waiting.push(() => resolve({ rows: 7 }))),
  })
  return { activities, waiting, letGo: () => waiting.shift()?.() }
}

describeOnBothBackends('a schedule', setup, (open) => {
  it('starts a report at each of its moments, and notes how it ended', async () => {
    const backend = await open()
    const stock = backend.workflow(Schedule, 'stock')
    const { next } = await stock.update('set', SECONDS)
    await backend.until(async () => (await stock.query('status')).ended.length >= 2)
    const { ended, nextMs } = await stock.query('status')
    const moments = ended.slice(0, 2).map(({ asOf }) => Date.parse(asOf))
    expect(moments).toEqual(next.slice(0, 2))
    expect(nextMs).toBeGreaterThan(moments[1]!)
    const first = backend.workflow(Report, `stock ${ended[0]!.asOf}`)
    expect(ended[0]!.outcome).toBe(`${(await first.result({ timeoutMs: 5000 })).rows} rows`)
  })

  it('does nothing while it is paused, but what it is told, and goes on from now', async () => {
    const backend = await open()
    const stock = backend.workflow(Schedule, 'stock')
    await stock.update('set', SECONDS)
    await stock.signal('pause', { because: 'stocktaking' }, { wait: 'applied' })
    const before = await stock.query('status')
    expect(before).toMatchObject({ pausedBecause: 'stocktaking' })
    expect(before.nextMs).toBeUndefined()
    await stock.signal('run', { moment: 60_000 }, { wait: 'applied' })
    expect((await stock.query('status')).ended.at(-1)).toEqual({ asOf: '1970-01-01T00:01:00.000Z', outcome: '2 rows' })
    await stock.signal('resume')
    const { length } = (await stock.query('status')).ended
    await backend.until(async () => (await stock.query('status')).ended.length > length)
  })

  it('makes up for moments of the past, one for each, and not for too many', async () => {
    const backend = await open()
    const stock = backend.workflow(Schedule, 'stock')
    await stock.update('set', { ...NEVER, overlap: 'queue' })
    const { moments } = await stock.update('backfill', { afterMs: 0, untilMs: Date.parse('1973-01-01T00:00Z') })
    expect(moments).toEqual(['1971', '1972', '1973'].map((year) => Date.parse(`${year}-01-01T00:00Z`)))
    await backend.until(async () => (await stock.query('status')).ended.length === 3)
    expect((await stock.query('status')).ended.map(({ asOf }) => Date.parse(asOf))).toEqual(moments)
    await stock.update('set', SECONDS)
    const tooMany = stock.update('backfill', { afterMs: 0, untilMs: 3_600_000 })
    await expect(tooMany).rejects.toMatchObject({ code: 'UPDATE_REJECTED' })
  })

  it('is refused with a pattern that is none, and stays as it is', async () => {
    const stock = (await open()).workflow(Schedule, 'stock')
    await stock.update('set', NEVER)
    const bad = stock.update('set', { cron: '0 0 30 2 *', report: 'stock' })
    await expect(bad).rejects.toMatchObject({ code: 'INVALID_PAYLOAD', message: expect.stringContaining('30 2') })
    expect((await stock.query('status')).spec).toEqual({ ...NEVER, timeZone: 'UTC', overlap: 'skip' })
  })

  it.each<['skip' | 'queue' | 'allow', Partial<ScheduleStatus>]>([
    ['skip', { skipped: 2, waiting: 0 }],
    ['queue', { skipped: 0, waiting: 2 }],
    ['allow', { skipped: 0, waiting: 0 }],
  ])('does what its spec says while a report is under way: %s', async (overlap, wanted) => {
    const { activities, waiting, letGo } = desk()
    const backend = await open({ activities: [activities] })
    const stock = backend.workflow(Schedule, 'stock')
    await stock.update('set', { ...NEVER, overlap })
    for (const moment of [1000, 2000, 3000]) await stock.signal('run', { moment })
    const running = overlap === 'allow' ? 3 : 1
    await backend.until(() => waiting.length === running)
    const status = await stock.query('status')
    expect(status).toMatchObject(wanted)
    expect(status.running).toHaveLength(running)
    const total = overlap === 'skip' ? 1 : 3
    for (let count = 1; count <= total; count++) {
      await backend.until(() => waiting.length > 0)
      letGo()
      await backend.until(async () => (await stock.query('status')).ended.length === count)
    }
    const { ended, ...end } = await stock.query('status')
    expect(end).toMatchObject({ running: [], waiting: 0 })
    if (overlap !== 'allow')
      expect(ended.map(({ asOf }) => Date.parse(asOf))).toEqual([1000, 2000, 3000].slice(0, total))
  })

  it('ends when it is removed; what is under way goes on, what waits does not begin', async () => {
    const { activities, waiting, letGo } = desk()
    const backend = await open({ activities: [activities] })
    const stock = backend.workflow(Schedule, 'stock')
    await stock.update('set', { ...NEVER, overlap: 'queue' })
    for (const moment of [1000, 2000]) await stock.signal('run', { moment })
    await backend.until(() => waiting.length === 1)
    await stock.signal('remove')
    await stock.result({ timeoutMs: 10_000 })
    letGo()
    const first = backend.workflow(Report, 'stock 1970-01-01T00:00:01.000Z')
    expect(await first.result({ timeoutMs: 10_000 })).toEqual({ rows: 7 })
    expect(activities.calls('write')).toHaveLength(1)
  })
})

describe('a schedule in a test world', () => {
  it('makes up for moments at which no node ran, each by its own clock on the wall', async () => {
    const world = await TestWorld.open({ ...setup, startMs: Date.parse('2026-03-27T12:00Z') })
    const stock = world.workflow(Schedule, 'stock')
    await stock.update('set', { cron: '30 2 * * *', timeZone: 'Europe/Berlin', overlap: 'queue', report: 'stock' })
    await world.down('3 days')
    await world.skip('1 minute')
    const { ended } = await stock.query('status')
    // On the 29th the clocks go forward at two: the half hour behind it does not exist.
    expect(ended.map(({ asOf }) => asOf)).toEqual([
      '2026-03-28T01:30:00.000Z',
      '2026-03-29T01:00:00.000Z',
      '2026-03-30T00:30:00.000Z',
    ])
    await world.close()
  })
})
