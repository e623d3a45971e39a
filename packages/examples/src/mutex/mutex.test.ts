import { mockActivities, TestWorld } from '@carillon/runtime/testing'
import { describe, expect, it } from 'vitest'

import { type Backend, describeOnBothBackends } from '../testing/describe-on-both-backends.ts'
import { printActivities } from './activities.ts'
import { Mutex, PrintJob } from './contract.ts'
import { mutex, printJob } from './workflow.ts'

/** A printer that prints a page when the test lets it. */
function printer() {
  const printing = new Map<string, () => void>()
  const began: string[] = []
  let most = 0
  const activities = mockActivities(PrintJob, {
    printPage: (_, { workflow: { id } }) =>
      new Promise((resolve) => {
        began.push(id)
        printing.set(id, () => {
          printing.delete(id)
          resolve()
        })
        most = Math.max(most, printing.size)
      }),
  })
  return { activities, began, most: () => most, letGo: (id: string) => printing.get(id)?.() }
}

const JOB = { printer: 'p', pages: 1, leaseMs: 60_000 }

// Pages are printed when the test says so: time need not stand still for them.
const setup = { workflows: [mutex, printJob], activities: [printActivities], activityPatienceMs: 50 }

describeOnBothBackends('a mutex', setup, (open) => {
  async function openPrinter() {
    const device = printer()
    const backend = await open({ activities: [device.activities] })
    const p = backend.workflow(Mutex, 'p')
    const began = (...ids: string[]): Promise<void> => backend.until(() => device.began.join() === ids.join())
    const waits = (count: number): Promise<void> =>
      backend.until(async () => (await waitingFor(backend)).length === count)
    return { ...device, began, waits, backend, p, job: (id: string) => backend.workflow(PrintJob, id) }
  }

  async function waitingFor(backend: Backend): Promise<readonly string[]> {
    const status = await backend
      .workflow(Mutex, 'p')
      .query('status')
      .catch(() => undefined)
    return status?.waiting.map(({ by }) => by.id) ?? []
  }

  it('is had by one at a time, in the order in which they asked', async () => {
    const { job, began, waits, letGo, most, p } = await openPrinter()
    await job('a').start(JOB)
    await began('a')
    for (const [i, id] of ['b', 'c', 'd'].entries()) {
      await job(id).start(JOB)
      await waits(i + 1)
    }
    expect((await p.query('status')).waiting.map(({ by }) => by)).toEqual([
      { type: 'print-job', id: 'b' },
      { type: 'print-job', id: 'c' },
      { type: 'print-job', id: 'd' },
    ])
    letGo('a')
    await began('a', 'b')
    letGo('b')
    await began('a', 'b', 'c')
    letGo('c')
    await began('a', 'b', 'c', 'd')
    letGo('d')
    expect(await job('d').result({ timeoutMs: 10_000 })).toMatchObject({ outcome: 'printed', fence: 4 })
    expect(most()).toBe(1)
  })

  it('is a semaphore with more permits', async () => {
    const { job, began, waits, letGo, most, p } = await openPrinter()
    await p.start({ permits: 2 })
    await job('a').start(JOB)
    await began('a')
    await job('b').start(JOB)
    await began('a', 'b')
    await job('c').start(JOB)
    await waits(1)
    letGo('a')
    await began('a', 'b', 'c')
    expect((await p.query('status')).holders.map(({ by, slot, fence }) => `${by.id} ${slot} ${fence}`)).toEqual([
      'b 2 2',
      'c 1 3',
    ])
    expect(most()).toBe(2)
  })

  it('is taken from a holder that has died when its lease ends, and from nobody before', async () => {
    const { job, began, waits, backend } = await openPrinter()
    await job('a').start({ ...JOB, leaseMs: 400 })
    await began('a')
    await job('b').start(JOB)
    await waits(1)
    await job('a').terminate('somebody pulled the plug')
    expect(await waitingFor(backend)).toEqual(['b'])
    await began('a', 'b')
  })

  it('refuses who has it already, who keeps it', async () => {
    const { job, began, letGo, p } = await openPrinter()
    await job('a').start({ ...JOB, asksTwice: true })
    await began('a')
    const { holders, waiting } = await p.query('status')
    expect([holders.map(({ by }) => by.id), waiting]).toEqual([['a'], []])
    letGo('a')
    expect(await job('a').result({ timeoutMs: 10_000 })).toEqual({
      outcome: 'printed',
      fence: 1,
      refused: 'you have or wait for p already',
    })
  })

  it('is not given to who has lost patience', async () => {
    const { job, began, waits, letGo, p } = await openPrinter()
    await job('a').start(JOB)
    await began('a')
    await job('b').start({ ...JOB, patienceMs: 200 })
    await waits(1)
    await job('c').start(JOB)
    await waits(2)
    expect(await job('b').result({ timeoutMs: 10_000 })).toMatchObject({
      outcome: 'gave-up',
      refused: 'p was not free within 200 ms',
    })
    await waits(1)
    letGo('a')
    await began('a', 'c')
    expect((await p.query('status')).holders.map(({ by }) => by.id)).toEqual(['c'])
  })

  it('is given back by who is cancelled', async () => {
    const { job, began, waits, p } = await openPrinter()
    await job('a').start(JOB)
    await began('a')
    await job('b').start(JOB)
    await waits(1)
    await job('a').cancel()
    await began('a', 'b')
    expect((await p.query('status')).holders.map(({ by }) => by.id)).toEqual(['b'])
  })
})

describe('the lease of a lock', () => {
  it('begins anew with each page, and ends exactly when it must', async () => {
    const device = printer()
    const world = await TestWorld.open({
      workflows: [mutex, printJob],
      activities: [device.activities],
      activityPatienceMs: 50,
    })
    const p = world.workflow(Mutex, 'p')
    await world.workflow(PrintJob, 'a').start({ ...JOB, pages: 3, leaseMs: 10_000 })
    await world.until(() => device.began.length === 1)
    const untilMs = async (): Promise<number | undefined> => (await p.query('status')).holders[0]?.untilMs
    const first = await untilMs()
    await world.skip('9 seconds')
    device.letGo('a')
    await world.until(() => device.began.length === 2)
    expect(await untilMs()).toBe((first ?? 0) + 9_000)
    await world.skip('9999 ms')
    expect((await p.query('status')).holders).toHaveLength(1)
    await world.skip('1 ms')
    expect((await p.query('status')).holders).toEqual([])
    await world.close()
  })
})
