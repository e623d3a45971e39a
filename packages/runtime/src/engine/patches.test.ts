import { describe, expect, it } from 'vitest'

import { patchRange } from '../core/index.ts'
import { defineWorkflow, implement, implementActivities, type } from '../index.ts'
import { encodeToken, NO_BYTES, type Partition } from '../protocol/index.ts'
import { Refold } from '../replay/index.ts'
import { EngineWorld, keyOf, type LifeOptions } from '../testing/engine-world.ts'

const Order = defineWorkflow('order', {
  signals: { ship: type<string>(), note: type<string>(), beside: type<string>(), go: type<string>() },
  updates: { take: { input: type<string>(), output: type<boolean>() } },
  queries: { log: { output: type<readonly string[]>() } },
  activities: { pay: { input: type<string>(), output: type<string>() }, check: { input: type<string>() } },
})
const waiting = new Map<string, (value: string) => void>()
const called: string[] = []
const activities = implementActivities(Order, {
  pay: (what) => new Promise((resolve) => waiting.set(what, resolve)),
  check: (what) => void called.push(`check ${what}`),
})

/** The first build pays and ships; the next one looks for fraud before it pays. */
const build = (patches: readonly string[] = [], asks = patches) =>
  implement(Order, {
    startOnSignal: true,
    patches,
    state: () => ({ log: [] as string[] }),
    on: {
      async ship(ctx, what) {
        if (asks.includes('fraud') && ctx.patched('fraud')) await ctx.activities.check(what)
        ctx.state.log.push(await ctx.activities.pay(what))
        // Asked behind a wait: what counts is where it began.
        ctx.state.log.push(asks.includes('fraud') && ctx.patched('fraud') ? `${what} new` : `${what} old`)
      },
      note: (ctx, what) => void ctx.state.log.push(asks.includes('fraud') && ctx.patched('fraud') ? `${what}!` : what),
      async beside(ctx, what) {
        const before = asks.includes('fraud') && ctx.patched('fraud')
        await ctx.activities.pay(what)
        ctx.state.log.push(`${what} ${before} ${asks.includes('fraud') && ctx.patched('fraud')}`)
      },
    },
    concurrent: ['beside'],
    updates: { take: (ctx) => asks.includes('fraud') && ctx.patched('fraud') },
    queries: { log: (state) => state.log },
    async run(ctx) {
      for (;;) {
        const { payload } = await ctx.receive('go')
        ctx.state.log.push(asks.includes('fraud') && ctx.patched('fraud') ? `run ${payload} new` : `run ${payload} old`)
        if (payload === 'renew') return ctx.continueAsNew(undefined, { state: ctx.state })
      }
    },
  })
const life = (implementation: ReturnType<typeof build>, more: Partial<LifeOptions> = {}): LifeOptions => ({
  implementations: [implementation],
  activities: [activities],
  ...more,
})
const logOf = (world: EngineWorld, id = 'a'): Promise<unknown> =>
  world.ask({ op: 'query', key: keyOf('order', id), name: 'log', minSeq: 0 })
const release = (what: string): void => waiting.get(what)?.(`paid ${what}`)
const announced = (world: EngineWorld): readonly string[] =>
  world.log.messages.map(({ subject }) => subject).filter((subject) => subject.includes('$type'))

describe('a patch', () => {
  it('is for what begins behind it: a handler that waits across the deploy goes on as it began, also when it is folded again', async () => {
    const world = new EngineWorld({ partitions: 2 })
    await world.start(life(build()))
    world.send('order', 'a', 'signal', 'ship', 'one')
    world.send('order', 'a', 'signal', 'beside', 'b1')
    world.send('order', 'a', 'signal', 'note', 'waits')
    await world.settled()
    await world.stop()

    await world.start(life(build(['fraud'])))
    world.send('order', 'a', 'signal', 'ship', 'two')
    await world.settled()
    // Once in each partition.
    expect(announced(world)).toEqual(['test.log.0.order.$type.patch.fraud', 'test.log.1.order.$type.patch.fraud'])
    const { waitingSince } = (await world.describe('order', 'a')) as { readonly waitingSince?: number }
    // `run` began with the first input.
    expect(waitingSince).toBe(1)
    release('one')
    release('b1')
    await world.settled()
    await world.crash()
    await world.start(life(build(['fraud'])))
    release('two')
    await world.settled()
    expect(announced(world)).toHaveLength(2)
    const log = ['b1 false false', 'paid one', 'one old', 'waits', 'paid two', 'two new']
    expect([...((await logOf(world)) as string[])].sort()).toEqual([...log].sort())
    expect(called).toContain('check two')
    expect(called).not.toContain('check one')
    const { digest } = await world.describe('order', 'a')
    await world.stop()

    // From an empty store, and by a re-fold.
    const fold = new Refold({ subjects: world.subjects, implementation: build(['fraud']), id: 'a', taskSecret: 'c' })
    const partition = world.subjects.partitionOf(encodeToken('order'), encodeToken('a'))
    for (const message of world.log.messages)
      if (message.subject.startsWith(`test.log.${partition}.`)) await fold.apply(message)
    expect(fold.digest()).toBe(digest)
  })

  it('is for a run whose life or renewal begins behind it', async () => {
    const world = new EngineWorld({ partitions: 1 })
    await world.start(life(build()))
    for (const id of ['a', 'b']) world.send('order', id, 'signal', 'go', '1')
    await world.settled()
    await world.crash()
    await world.start(life(build(['fraud'])))
    await world.settled()
    for (const payload of ['2', 'renew', '3']) world.send('order', 'a', 'signal', 'go', payload)
    world.send('order', 'new', 'signal', 'go', '1')
    await world.settled()
    await world.crash()
    await world.start(life(build(['fraud'])))
    world.send('order', 'b', 'signal', 'go', '2')
    world.send('order', 'a', 'signal', 'go', '4')
    await world.settled()
    expect(await logOf(world)).toEqual(['run 1 old', 'run 2 old', 'run renew old', 'run 3 new', 'run 4 new'])
    expect(await logOf(world, 'b')).toEqual(['run 1 old', 'run 2 old'])
    expect(await logOf(world, 'new')).toEqual(['run 1 new'])
    await world.stop()
  })

  it('is saved with the position: whoever goes on from the store, or folds everything again, gives the same answers', async () => {
    const world = new EngineWorld({ partitions: 1 })
    await world.start(life(build(['fraud'])))
    world.send('order', 'a', 'signal', 'note', 'first')
    await world.settled()
    world.send('order', 'a', 'update', 'take', 'x', { reply: '_INBOX.x' })
    await world.settled()
    expect(world.replies('_INBOX.x')).toMatchObject([{ outcome: { value: true } }])
    expect(world.disk.table('meta').next(undefined, patchRange(0 as Partition))?.key).toBe('patch/0000/order/fraud')
    const { digest } = await world.describe('order', 'a')
    // A later input of the same name changes nothing.
    world.log.store('test.log.0.order.$type.patch.fraud', { headers: {}, payload: NO_BYTES })
    await world.settled()
    expect(world.engine.counts.ignored).toBe(1)
    await world.stop()
    const [disk, { disk: empty }] = [world.disk, new EngineWorld()]
    for (const start of [disk, empty]) {
      world.disk = start
      await world.start(life(build(['fraud'])))
      await world.settled()
      expect((await world.describe('order', 'a')).digest).toBe(digest)
      await world.stop()
    }
    expect(announced(world)).toHaveLength(2)
    await world.start(life(build()))
    expect(world.lines.filter(({ message }) => message.includes('does not declare'))).toMatchObject([
      { level: 'info', fields: { patches: ['order: fraud'] } },
    ])
    await world.stop()
  })

  it('that the implementation does not list is refused at the call', async () => {
    const world = new EngineWorld({ partitions: 1 })
    await world.start(life(build(['other'], ['fraud'])))
    world.send('order', 'a', 'signal', 'note', 'x')
    await world.settled()
    expect(await world.describe('order', 'a')).toMatchObject({
      status: 'suspended',
      suspended: { error: { code: 'UNKNOWN_NAME', message: expect.stringContaining('it has: other') } },
    })
    await world.stop()
  })

  it('does not come through the door, nor from an instance of any id', async () => {
    const world = new EngineWorld({ partitions: 1 })
    await world.start(life(build(['fraud']), { announces: () => false }))
    // What the server makes of a publish to `test.signal.order.$type.patch`, and of an id that looks alike.
    world.log.store('test.log.0.order.$type.signal.patch', { headers: {}, payload: NO_BYTES })
    world.send('order', '$type', 'signal', 'note', 'x')
    await world.settled()
    expect(world.deadLetters.map(({ reason }) => reason)).toEqual(['INVALID_ID'])
    expect(await logOf(world, '$type')).toEqual(['x'])
    await world.stop()
  })

  it.each([
    [['ok', 'a\nb'], 'declares the patch'],
    [[''], 'declares the patch'],
    [Array.from({ length: 101 }, (_, i) => `p${i}`), '101 patches'],
  ])('of a name that makes no sense is refused: %o', (patches, why) => {
    expect(() => build(patches, [])).toThrow(why)
  })
})
