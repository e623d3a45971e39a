import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, implementActivities, type } from '../index.ts'
import { encodeToken, type InputKind } from '../protocol/index.ts'
import { EngineWorld } from '../testing/engine-world.ts'
import { Refold, type RefoldStep } from './index.ts'

const Box = defineWorkflow('box', {
  signals: {
    add: type<number>(),
    act: type<number>(),
    boom: type<number>(),
    nap: type<number>(),
    again: type<number>(),
    close: type<void>(),
    other: type<string>(),
  },
  updates: { take: { input: type<number>(), output: type<number>() } },
  activities: { double: { input: type<number>(), output: type<number>() } },
})
const box = (isFixed: boolean) =>
  implement(Box, {
    startOnSignal: true,
    retention: 5000,
    state: () => ({ sum: 0, seen: new Set<number>() }),
    on: {
      add(ctx, n) {
        ctx.state.sum += n
        ctx.state.seen.add(n)
      },
      async act(ctx, n) {
        ctx.state.sum += await ctx.activities.double(n)
      },
      boom() {
        if (!isFixed) throw new Error('boom')
      },
      async nap(ctx, ms) {
        ctx.timers.reminder.set(ms * 2)
        await ctx.sleep(ms)
        ctx.state.sum += 1
      },
      again: (ctx, n) => void ctx.continueAsNew(undefined, { state: { sum: n, seen: new Set() } }),
      close: (ctx) => ctx.complete(ctx.state.sum),
      other: (ctx, id) => ctx.workflow(Box, id).signal('add', 1),
    },
    updates: { take: (ctx, n) => (ctx.state.sum -= n) },
    timers: { reminder: { run: (ctx) => void (ctx.state.sum += 1000) } },
  })
const activities = implementActivities(Box, { double: (n) => n * 2 })
const life = (isFixed = true) => ({ implementations: [box(isFixed)], activities: [activities] })

async function refold(
  world: EngineWorld,
  id: string,
): Promise<{ readonly fold: Refold; readonly steps: RefoldStep[] }> {
  const fold = new Refold({ subjects: world.subjects, implementation: box(true), id, taskSecret: 'c' })
  const filter = world.subjects.logOfInstance(encodeToken('box'), encodeToken(id)).slice(0, -1)
  const steps: RefoldStep[] = []
  for (const message of world.log.messages)
    if (message.subject.startsWith(filter)) steps.push((await fold.apply(message)) ?? expect.fail('no input'))
  return { fold, steps }
}

describe('a re-fold', () => {
  it('says of every input what became of it, and what it asked for', async () => {
    const world = new EngineWorld()
    await world.start(life())
    world.send('box', 'a', 'signal', 'add', 2, { id: 'one' })
    world.send('box', 'a', 'signal', 'add', 2, { id: 'one' })
    world.send('box', 'a', 'signal', 'nope')
    world.send('box', 'a', 'signal', 'act', 4)
    await world.settled()
    world.send('box', 'a', 'update', 'take', 1, { reply: '_INBOX.x' })
    world.send('box', 'a', 'signal', 'nap', 10)
    await world.settled()
    world.send('box', 'a', 'signal', 'other', 'b')
    world.send('box', 'a', 'signal', 'close')
    await world.settled()
    await world.clock.advance(5000)
    await world.settled()
    const { steps, fold } = await refold(world, 'a')
    expect(steps.map(({ kind, name, outcome }) => `${kind} ${name}: ${outcome}`)).toEqual([
      'signal add: applied',
      'signal add: duplicate',
      'signal nope: dead',
      'signal act: applied',
      'activity double: applied',
      'update take: applied',
      'signal nap: applied',
      'timer sleep: applied',
      'timer reminder: applied',
      'signal other: applied',
      'signal close: applied',
      'timer retention: applied',
    ])
    expect(steps[2]?.error).toMatchObject({ code: 'UNKNOWN_NAME' })
    expect(steps[3]?.effects).toEqual([{ kind: 'activity', id: '4.0', name: 'double', input: 4 }])
    expect(steps[5]?.effects).toEqual([{ kind: 'reply', seq: steps[5]?.seq, outcome: { ok: true, value: 9 } }])
    expect(steps[6]?.effects.map((effect) => (effect.kind === 'timer' ? effect.name : effect.kind))).toEqual([
      'reminder',
      'sleep',
    ])
    expect(steps[9]?.effects).toMatchObject([{ kind: 'send', target: 'box.b', name: 'add', payload: 1 }])
    // Its retention is over: it is as if it had never been.
    expect([fold.status, fold.state(), fold.digest()]).toEqual(['absent', undefined, undefined])
    await world.stop()
  })

  it('is suspended where the build throws, and goes on with what waits when it is resumed', async () => {
    const world = new EngineWorld()
    await world.start(life(false))
    world.send('box', 'a', 'signal', 'add', 1)
    const poison = world.send('box', 'a', 'signal', 'boom', 1)
    world.send('box', 'a', 'signal', 'add', 2)
    await world.settled()
    const fold = new Refold({ subjects: world.subjects, implementation: box(false), id: 'a', taskSecret: 'c' })
    const steps: RefoldStep[] = []
    for (const message of world.log.messages) steps.push((await fold.apply(message)) ?? expect.fail('no input'))
    expect(steps.map(({ outcome }) => outcome)).toEqual(['applied', 'suspended', 'parked'])
    expect(steps[1]?.error).toMatchObject({ code: 'HANDLER_FAILED', message: 'boom' })
    expect(fold).toMatchObject({ status: 'suspended', seq: 1, suspension: { seq: poison } })
    expect((await world.describe('box', 'a')).digest).toBe(fold.digest())
    // The fixed build does not stop there.
    expect((await refold(world, 'a')).steps.map(({ outcome }) => outcome)).toEqual(['applied', 'applied', 'applied'])
    await world.stop()
  })

  it('lets go on at once what a node lets go on in slices', async () => {
    const world = new EngineWorld()
    await world.start(life())
    world.send('box', 'a', 'signal', 'add', 1)
    world.send('box', 'a', 'admin', 'pause')
    for (let n = 0; n < 1200; n++) world.send('box', 'a', 'signal', 'add', 1)
    await world.settled()
    const { fold: paused, steps } = await refold(world, 'a')
    expect([paused.status, paused.state()]).toMatchObject(['paused', { sum: 1 }])
    expect(steps.slice(0, 3).map(({ outcome }) => outcome)).toEqual(['applied', 'applied', 'parked'])
    expect((await world.describe('box', 'a')).status).toBe('paused')
    world.send('box', 'a', 'admin', 'resume')
    await world.settled()
    const { fold } = await refold(world, 'a')
    expect([fold.status, fold.digest()]).toEqual(['running', (await world.describe('box', 'a')).digest])
    await world.stop()
  })

  it('refuses what is no input of its instance', async () => {
    const world = new EngineWorld()
    world.send('box', 'b', 'signal', 'add', 1)
    const fold = new Refold({ subjects: world.subjects, implementation: box(true), id: 'a', taskSecret: 'c' })
    await expect(fold.apply(world.log.messages[0] as never)).rejects.toMatchObject({ code: 'INVALID_ID' })
  })

  it('G4: comes to the state, status and digest of the node, whatever the instance was sent', async () => {
    const command = fc.record({
      what: fc.constantFrom(
        'add',
        'act',
        'nap',
        'boom',
        'again',
        'close',
        'take',
        'resume',
        'pause',
        'terminate',
        'wait',
      ),
      n: fc.nat(9),
      id: fc.option(fc.nat(3), { nil: undefined }),
    })
    let suspended = 0
    await fc.assert(
      fc.asyncProperty(fc.array(command, { minLength: 5, maxLength: 25 }), fc.boolean(), async (commands, isFixed) => {
        const world = new EngineWorld()
        await world.start(life(isFixed))
        for (const { what, n, id } of commands) {
          if (what === 'wait') await world.settled()
          else world.send('box', 'a', kindOf(what), what, n, id === undefined ? {} : { id: `${what}-${id}` })
        }
        await world.settled()
        const fold = new Refold({ subjects: world.subjects, implementation: box(isFixed), id: 'a', taskSecret: 'c' })
        for (const message of world.log.messages) await fold.apply(message)
        const found = await world.describe('box', 'a').catch(() => undefined)
        if (found?.status === 'suspended') suspended += 1
        expect([fold.status, fold.digest()]).toEqual([found?.status ?? 'absent', found?.digest])
        await world.stop()
      }),
      { numRuns: 40 },
    )
    expect(suspended).toBeGreaterThan(3)
  })
})

function kindOf(what: string): InputKind {
  if (what === 'take') return 'update'
  return ['resume', 'pause', 'terminate'].includes(what) ? 'admin' : 'signal'
}
