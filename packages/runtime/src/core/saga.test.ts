import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, type, WorkflowFailure } from '../index.ts'
import { InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'
import { INSTANCE_LIMITS } from './instance-data.ts'

installGuards()

const Trip = defineWorkflow('trip', {
  input: type<string>(),
  activities: { book: { input: type<string>(), output: type<string>() }, cancel: { input: type<string>() } },
})

const trip = implement(Trip, {
  state: () => ({ log: [] as unknown[] }),
  async run(ctx, script) {
    const { log } = ctx.state
    const saga = ctx.saga()
    if (script === 'too many') for (let n = 0; n <= INSTANCE_LIMITS.compensations; n++) saga.add(() => {})
    try {
      for (const what of ['flight', 'hotel', 'car']) {
        const booking = await ctx.activities.book(what)
        saga.add(async (undoing) => {
          if (script === 'a bug' && what === 'hotel') throw new TypeError('booking is undefined')
          if (script === 'on purpose' && what === 'hotel') throw new WorkflowFailure('no way back')
          await undoing.activities.cancel(booking)
          log.push(`cancelled ${booking}`)
        })
      }
      return 'booked'
    } catch {
      const failures = await saga.compensate()
      log.push(failures.map(({ message }) => message).join(), saga.size, (await saga.compensate()).length)
      return 'nothing'
    }
  },
})

/** Flight and hotel are booked, the car is not. */
async function failed(script: string): Promise<InstanceBench> {
  const bench = new InstanceBench(trip)
  await bench.send('start', '', { input: script })
  await bench.result('1.0', 'F1')
  await bench.result('2.0', 'H1')
  return bench
}

const outcome = { ok: false, error: { code: 'ACTIVITY_FAILED', message: 'it is closed' } }
const called = (bench: InstanceBench): unknown => [...bench.instance.data.activities]

describe('a saga', () => {
  it('undoes what was done, last first, one behind the other, and once', async () => {
    const bench = await failed('plain')
    await bench.send('activity', 'book', { effect: '3.0', outcome })
    expect(called(bench)).toEqual([['4.0', 'cancel']])
    await bench.result('4.0')
    expect(called(bench)).toEqual([['5.0', 'cancel']])
    await bench.result('5.0')
    expect(bench.state).toEqual({ log: ['cancelled H1', 'cancelled F1', '', 0, 0] })
    expect(bench.instance.data.phase).toMatchObject({ outcome: { ok: true, value: 'nothing' } })
  })

  it('goes on behind a step that cannot be undone, and says which failed', async () => {
    const bench = await failed('plain')
    await bench.send('activity', 'book', { effect: '3.0', outcome })
    await bench.send('activity', 'cancel', { effect: '4.0', outcome })
    await bench.result('5.0')
    expect(bench.state).toEqual({ log: ['cancelled F1', 'it is closed', 0, 0] })
  })

  it('takes a WorkflowFailure for a failure to undo', async () => {
    const bench = await failed('on purpose')
    await bench.send('activity', 'book', { effect: '3.0', outcome })
    await bench.result('4.0')
    expect(bench.state).toEqual({ log: ['cancelled F1', 'no way back', 0, 0] })
  })

  it('takes anything else that is thrown for a bug, which suspends the instance', async () => {
    const bench = await failed('a bug')
    expect(await bench.send('activity', 'book', { effect: '3.0', outcome })).toMatchObject({
      kind: 'poisoned',
      error: { message: 'booking is undefined' },
    })
  })

  it('is not reached by the cancel request that it answers', async () => {
    const bench = await failed('plain')
    await bench.send('cancel', '')
    expect(called(bench)).toEqual([['4.0', 'cancel']])
    await bench.result('4.0')
    await bench.result('5.0')
    expect(bench.state).toEqual({ log: ['cancelled H1', 'cancelled F1', '', 0, 0] })
  })

  it('has at most ten thousand steps', async () => {
    const bench = new InstanceBench(trip)
    expect(await bench.send('start', '', { input: 'too many' })).toMatchObject({
      kind: 'poisoned',
      error: { code: 'LIMIT_REACHED' },
    })
  })
})
