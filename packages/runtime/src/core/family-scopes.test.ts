/** Scopes and what comes from other instances: results of children, answers to updates. */
import { describe, expect, it } from 'vitest'

import { codeOf, defineWorkflow, implement, type } from '../index.ts'
import { InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'

installGuards()

const Part = defineWorkflow('part', { result: type<string>(), updates: { peek: { output: type<string>() } } })
const Whole = defineWorkflow('whole', { input: type<string>() })

const whole = implement(Whole, {
  state: () => ({ log: [] as unknown[] }),
  async run(ctx, script) {
    const { log } = ctx.state
    const note = async (wait: Promise<unknown>): Promise<void> => void log.push(await wait.catch(codeOf))
    switch (script) {
      case 'plain':
        return ctx.children.start(Part, 'p').result()
      case 'update':
        await note(ctx.scope((inner) => inner.workflow(Part, 'p').update('peek'), { timeout: 100 }))
        return ctx.sleep('1 day')
      case 'again': {
        const child = ctx.children.start(Part, 'p')
        await note(ctx.scope((inner) => child.result(inner), { timeout: 100 }))
        await note(child.result())
        return ctx.sleep('1 day')
      }
      case 'both': {
        const child = ctx.children.start(Part, 'p')
        const timed = note(ctx.scope((inner) => child.result(inner), { timeout: 100 }))
        await note(child.result())
        await timed
        return ctx.sleep('1 day')
      }
      default:
        try {
          return await ctx.children.start(Part, 'p').result()
        } catch (error) {
          log.push(codeOf(error))
          // The scope is cancelled: nothing waits in it any more.
          await note(ctx.workflow(Part, 'p').update('peek'))
          await note(ctx.scope((inner) => inner.children.start(Part, 'q').result(), { cancellable: false }))
          throw error
        }
    }
  },
})

async function started(script: string): Promise<InstanceBench> {
  const bench = new InstanceBench(whole)
  await bench.send('start', '', { input: script })
  return bench
}

const done = { ok: true, value: 'done' }

describe('a scope', () => {
  it('that is cancelled ends the wait for a child; the child stays one, and its result is noted', async () => {
    const bench = await started('again')
    await bench.fire('1.1', 1_000_101)
    expect(bench.state).toEqual({ log: ['TIMEOUT'] })
    expect(bench.instance.data.children.size).toBe(1)
    await bench.send('child', 'part', { effect: '1.0', outcome: done })
    expect(bench.state).toEqual({ log: ['TIMEOUT', 'done'] })
    expect(bench.instance.data.children.size).toBe(0)
  })

  it('that is cancelled ends its own wait for a child, and no other', async () => {
    const bench = await started('both')
    await bench.fire('1.1', 1_000_101)
    expect(bench.state).toEqual({ log: ['TIMEOUT'] })
    await bench.send('child', 'part', { effect: '1.0', outcome: done })
    expect(bench.state).toEqual({ log: ['TIMEOUT', 'done'] })
  })

  it('gives both waits for a child its result where it comes in time', async () => {
    const bench = await started('both')
    await bench.send('child', 'part', { effect: '1.0', outcome: done })
    expect(bench.state).toEqual({ log: ['done', 'done'] })
    expect(bench.kinds).toContain('timer-done')
  })

  it('that is cancelled ends the wait for an update; what was asked is not taken back, and its answer is ignored', async () => {
    const bench = await started('update')
    await bench.fire('1.0', 1_000_101)
    expect(bench.state).toEqual({ log: ['TIMEOUT'] })
    expect(bench.instance.data.calls.size).toBe(0)
    await bench.send('answer', 'peek', { effect: '1.1', outcome: done })
    expect(bench.kinds).toEqual(['ignored'])
    expect(bench.state).toEqual({ log: ['TIMEOUT'] })
  })

  it('of run is cancelled by a request while it waits for a child, which then ends with it', async () => {
    const bench = await started('plain')
    await bench.send('cancel', '')
    expect(bench.instance.data.phase).toMatchObject({ kind: 'closed', outcome: { error: { code: 'CANCELLED' } } })
    expect(bench.effects).toMatchObject([
      { kind: 'send', target: 'part.p', inputKind: 'admin', name: 'terminate' },
      { kind: 'closed' },
    ])
  })

  it('that is cancelled sends no update any more; one that is not cancellable waits for children as ever', async () => {
    const bench = await started('clean up')
    await bench.send('cancel', '')
    expect(bench.state).toEqual({ log: ['CANCELLED', 'CANCELLED'] })
    expect(bench.effects).toMatchObject([{ kind: 'send', target: 'part.q', inputKind: 'start' }])
    await bench.send('child', 'part', { effect: '2.0', outcome: done })
    expect(bench.state).toEqual({ log: ['CANCELLED', 'CANCELLED', 'done'] })
    expect(bench.instance.data.phase).toMatchObject({ kind: 'closed', outcome: { error: { code: 'CANCELLED' } } })
  })
})
