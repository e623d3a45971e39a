import { describe, expect, it } from 'vitest'

import { codeOf, defineWorkflow, implement, type } from '../index.ts'
import { BENCH_START_MS, InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'

installGuards()

const Trip = defineWorkflow('trip', {
  input: type<string>(),
  signals: { go: type<void>(), slow: type<void>() },
  activities: { book: { input: type<string>(), output: type<string>() } },
})

const trip = implement(Trip, {
  state: () => ({ log: [] as string[] }),
  on: {
    async slow(ctx) {
      ctx.state.log.push(`slow ${await ctx.activities.book('slow')} ${ctx.cancelled}`)
    },
  },
  async run(ctx, script) {
    const { log } = ctx.state
    switch (script) {
      case 'clean up':
        try {
          await ctx.activities.book('flight')
        } catch (error) {
          log.push(`${codeOf(error)} ${ctx.cancelled}`)
          await ctx.sleep(1).catch((again: unknown) => log.push(`again ${codeOf(again)}`))
          await ctx.scope(
            async (inner) => {
              log.push(await inner.activities.book('refund'))
              await inner.sleep(1000)
            },
            { cancellable: false },
          )
          throw error
        }
        return 'never'
      case 'all kinds': {
        const ends = await Promise.allSettled([
          ctx.sleep(1000),
          ctx.condition(() => false, 1000),
          ctx.receive('go'),
          ctx.activities.book('x'),
        ])
        return ends.map((end) => (end.status === 'rejected' ? codeOf(end.reason) : 'ok')).join()
      }
      case 'time out':
        try {
          await ctx.scope(async (inner) => log.push(await inner.activities.book('slow')), { timeout: 500 })
        } catch (error) {
          log.push(String(codeOf(error)))
        }
        return ctx.scope((inner) => inner.activities.book('quick'), { timeout: 500 })
      case 'nested':
        return ctx.scope(
          (outer) =>
            outer.scope(
              async (shielded) => {
                await shielded.sleep(100)
                return shielded.scope((inner) => inner.activities.book('deep'), { timeout: 100 }).catch(codeOf)
              },
              { cancellable: false },
            ),
          { timeout: 1000 },
        )
      case 'throws':
        throw Object.assign(new Error('no request'), { code: 'CANCELLED' })
      default:
        await ctx.sleep(1000)
        return 'done'
    }
  },
})

async function started(script: string): Promise<InstanceBench> {
  const bench = new InstanceBench(trip)
  await bench.send('start', '', { input: script })
  return bench
}

const phaseOf = (bench: InstanceBench): unknown => bench.instance.data.phase

describe('a cancel request', () => {
  it('rejects what run waits for, lets go of it, and leaves run the time to clean up', async () => {
    const bench = await started('clean up')
    await bench.send('cancel', '', { reason: 'ill' }, { reply: '_INBOX.a' })
    expect(bench.effects).toMatchObject([
      { kind: 'activity-done', id: '1.0' },
      { kind: 'reply', payload: { outcome: { ok: true } } },
      { kind: 'activity', id: '2.0', name: 'book' },
    ])
    expect(bench.state).toEqual({ log: ['CANCELLED true', 'again CANCELLED'] })
    await bench.result('1.0', 'late')
    expect(bench.kinds).toEqual(['activity-done', 'ignored'])
    await bench.result('2.0', 'refunded')
    await bench.fire('4.0', BENCH_START_MS + 1004)
    expect(phaseOf(bench)).toMatchObject({
      kind: 'closed',
      outcome: { ok: false, error: { code: 'CANCELLED', message: 'trip/i1 was cancelled: ill' } },
    })
  })

  it('reaches every kind of wait; a run that goes on in spite of it may complete', async () => {
    const bench = await started('all kinds')
    await bench.send('cancel', '')
    expect(bench.effects.map(({ kind }) => kind)).toEqual(['timer-done', 'activity-done', 'timer-done', 'closed'])
    expect(phaseOf(bench)).toMatchObject({
      outcome: { ok: true, value: 'CANCELLED,CANCELLED,CANCELLED,CANCELLED' },
    })
  })

  it('does not reach handlers: they come to their end, and see it in ctx.cancelled', async () => {
    const bench = await started('plain')
    await bench.signal('slow')
    await bench.send('cancel', '')
    expect(phaseOf(bench)).toMatchObject({ kind: 'running' })
    await bench.result('2.0', 'S')
    expect(bench.state).toEqual({ log: ['slow S true'] })
    expect(phaseOf(bench)).toMatchObject({ kind: 'closed', outcome: { error: { code: 'CANCELLED' } } })
  })

  it('closes an instance without run behind the handlers in front of it', async () => {
    const Plain = defineWorkflow('plain', {
      signals: { act: type<void>(), note: type<void>() },
      activities: { call: {} },
    })
    const plain = implement(Plain, {
      startOnSignal: true,
      state: () => ({ n: 0 }),
      on: {
        act: (ctx) => ctx.activities.call(),
        note: (ctx) => void (ctx.state.n += 1),
      },
    })
    const bench = new InstanceBench(plain)
    await bench.signal('act')
    await bench.signal('note')
    await bench.send('cancel', '', undefined, { reply: '_INBOX.a' })
    await bench.signal('note', undefined, { reply: '_INBOX.b' })
    await bench.result('1.0')
    expect(bench.kinds).toEqual(['activity-done', 'closed', 'reply'])
    expect(bench.instance.data).toMatchObject({ incarnation: 2, state: { n: 1 } })
  })

  it('that comes when the life ends already is for what comes behind', async () => {
    const bench = await started('plain')
    await bench.signal('slow')
    await bench.fire('1.0', BENCH_START_MS + 1001)
    await bench.send('cancel', '', undefined, { reply: '_INBOX.a' })
    await bench.result('2.0', 'S')
    expect(phaseOf(bench)).toMatchObject({ kind: 'closed', outcome: { ok: true, value: 'done' } })
    expect(bench.effects.at(-1)).toMatchObject({ payload: { outcome: { ok: false, error: { code: 'CLOSED' } } } })
  })

  it('is answered NOT_FOUND or CLOSED where nothing runs, and refused with a reason that is none', async () => {
    const bench = new InstanceBench(trip)
    await bench.send('cancel', '', undefined, { reply: '_INBOX.a' })
    expect(bench.effects).toMatchObject([{ payload: { outcome: { error: { code: 'NOT_FOUND' } } } }])
    await bench.send('cancel', '', { reason: 5 })
    expect(bench.effects).toMatchObject([{ kind: 'dead', reason: { code: 'INVALID_PAYLOAD' } }])
  })

  it('must be real: the code alone does not end run well', async () => {
    const bench = new InstanceBench(trip)
    expect(await bench.send('start', '', { input: 'throws' })).toMatchObject({ kind: 'poisoned' })
  })
})

describe('a scope', () => {
  it('with a time-out ends what is in it, and drops its timer when it is done before', async () => {
    const bench = await started('time out')
    await bench.fire('1.0', BENCH_START_MS + 501)
    expect(bench.kinds).toEqual(['timer-done', 'activity-done', 'timer', 'activity'])
    expect(bench.state).toEqual({ log: ['TIMEOUT'] })
    await bench.result('2.1', 'Q')
    expect(bench.kinds).toEqual(['activity-done', 'timer-done', 'closed'])
    expect(phaseOf(bench)).toMatchObject({ outcome: { ok: true, value: 'Q' } })
  })

  it('that is not cancellable keeps a cancel away from everything below it, but not its own time-outs', async () => {
    const bench = await started('nested')
    await bench.send('cancel', '')
    expect(bench.kinds).toEqual([])
    await bench.fire('1.1', BENCH_START_MS + 101)
    expect(bench.effects).toMatchObject([{ kind: 'timer-done' }, { kind: 'timer', id: '3.0' }, { kind: 'activity' }])
    await bench.fire('3.0', BENCH_START_MS + 201)
    expect(bench.kinds).toEqual(['timer-done', 'activity-done', 'timer-done', 'closed'])
    expect(phaseOf(bench)).toMatchObject({ outcome: { ok: true, value: 'TIMEOUT' } })
  })
})
