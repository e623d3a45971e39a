/** What operators do to an instance that stands: skip, retry, terminate, pause, resume; over crashes, and from an empty store. */
import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, implementActivities, type } from '../index.ts'
import { EngineWorld, keyOf } from '../testing/engine-world.ts'
import { MemoryDisk } from '../testing/memory-store.ts'

const Box = defineWorkflow('box', {
  signals: {
    add: type<number>(),
    boom: type<string>(),
    work: type<string>(),
    fall: type<string>(),
    beside: type<number>(),
    item: type<number>(),
    tick: type<void>(),
    sleep: type<number>(),
  },
  updates: { put: { input: type<number>(), output: type<number>() } },
  queries: { log: { output: type<unknown[]>() } },
  activities: { call: { input: type<string>(), output: type<string>() } },
})

const box = (isFixed: boolean, startOnSignal = true) =>
  implement(Box, {
    startOnSignal,
    state: () => ({ log: [] as unknown[] }),
    on: {
      add: (ctx, n) => void ctx.state.log.push(n),
      boom(ctx, why) {
        ctx.state.log.push('half')
        if (!isFixed) throw new Error(why)
        ctx.state.log.push('boom')
      },
      async work(ctx, what) {
        ctx.state.log.push(await ctx.activities.call(what))
      },
      async fall(ctx, what) {
        ctx.state.log.push(`falls ${what}`)
        await ctx.activities.call(what)
        throw new Error('fallen')
      },
      beside: (ctx, n) => void ctx.state.log.push(['beside', n]),
      tick: (ctx) => ctx.timers.bad.set(10),
      async sleep(ctx, ms) {
        await ctx.sleep(ms)
        ctx.state.log.push('slept')
      },
    },
    concurrent: ['beside'],
    updates: { put: (ctx, n) => ctx.state.log.push(n) },
    queries: { log: ({ log }) => [...log] },
    timers: {
      bad: {
        run() {
          throw new Error('bad timer')
        },
      },
    },
    async run(ctx) {
      for (;;) ctx.state.log.push(['item', (await ctx.receive('item')).payload])
    },
  })

const calls = implementActivities(Box, { call: (what) => `${what}!` })
const life = (isFixed = false) => ({ implementations: [box(isFixed)], activities: [calls] })

const logOf = (world: EngineWorld, id: string): Promise<unknown> =>
  world.ask({ op: 'query', key: keyOf('box', id), name: 'log', minSeq: 0 })
const signal = (world: EngineWorld, id: string, name: string, payload?: unknown, reply?: string): number =>
  world.send('box', id, 'signal', name, payload, {
    id: `${id}-${name}-${String(payload)}`,
    ...(reply === undefined ? {} : { reply }),
  })
const command = (world: EngineWorld, id: string, name: string, payload?: unknown, inputId?: string): number =>
  world.send('box', id, 'admin', name, payload, {
    reply: `_INBOX.${name}`,
    ...(inputId === undefined ? {} : { id: inputId }),
  })

/** What the journal says of an instance to a node that has nothing else. */
async function fromEmptyStore(world: EngineWorld, id: string): Promise<unknown> {
  await world.stop()
  world.disk = new MemoryDisk()
  await world.start(life())
  await world.settled()
  return world.describe('box', id)
}

describe('skip', () => {
  it('makes the input a dead letter with its error; the state is as if it had not come, and those behind it go on', async () => {
    const world = new EngineWorld()
    await world.start(life())
    signal(world, 'a', 'add', 1)
    const poison = signal(world, 'a', 'boom', 'no', '_INBOX.boom')
    signal(world, 'a', 'add', 2, '_INBOX.two')
    await world.settled()
    command(world, 'a', 'skip', { seq: poison })
    await world.settled()
    expect(await logOf(world, 'a')).toEqual([1, 2])
    expect(world.deadLetters).toMatchObject([{ seq: poison, reason: 'HANDLER_FAILED' }])
    expect(world.replies('_INBOX.skip')).toMatchObject([{ outcome: { ok: true, value: { skipped: true } } }])
    expect(world.replies('_INBOX.boom').at(-1)).toMatchObject({ outcome: { error: { message: 'no' } } })
    expect(world.replies('_INBOX.two').at(-1)).toMatchObject({ outcome: { ok: true } })
    // Its id stays known.
    signal(world, 'a', 'boom', 'no', '_INBOX.again')
    await world.settled()
    expect(world.replies('_INBOX.again')).toMatchObject([{ duplicate: true, outcome: { error: { message: 'no' } } }])

    const { digest } = await world.describe('box', 'a')
    await world.crash()
    await world.start(life())
    expect(await world.describe('box', 'a')).toMatchObject({ digest, status: 'running' })
    expect(await fromEmptyStore(world, 'a')).toMatchObject({ digest, status: 'running' })
    expect(await logOf(world, 'a')).toEqual([1, 2])
    await world.stop()
  })

  it('does nothing for any other input, and says so: repeating it is safe', async () => {
    const world = new EngineWorld()
    await world.start(life())
    signal(world, 'a', 'add', 1)
    const first = signal(world, 'a', 'boom', 'one')
    const second = signal(world, 'a', 'boom', 'two')
    await world.settled()
    command(world, 'a', 'skip', { seq: second })
    await world.settled()
    expect(world.replies('_INBOX.skip')).toMatchObject([{ outcome: { value: { skipped: false } } }])
    for (let i = 0; i < 3; i++) command(world, 'a', 'skip', { seq: first })
    await world.settled()
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'suspended', suspended: { seq: second } })
    command(world, 'a', 'skip', { seq: second })
    command(world, 'a', 'skip', { seq: second })
    command(world, 'a', 'skip', { seq: 'x' })
    await world.settled()
    expect(
      world.replies('_INBOX.skip').map(({ outcome }) => (outcome.ok ? outcome.value : outcome.error.code)),
    ).toEqual([
      { skipped: false },
      { skipped: true },
      { skipped: false },
      { skipped: false },
      { skipped: true },
      { skipped: false },
      'INVALID_PAYLOAD',
    ])
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'running' })
    await world.stop()
  })

  it('of a result ends the handler that threw, whose input is the dead letter', async () => {
    const world = new EngineWorld()
    await world.start(life())
    const fall = signal(world, 'a', 'fall', 'x', '_INBOX.fall')
    signal(world, 'a', 'add', 1)
    await world.settled()
    const { suspended } = await world.describe('box', 'a')
    expect(suspended?.error.message).toBe('fallen')
    command(world, 'a', 'skip', { seq: suspended?.seq })
    await world.settled()
    expect(await logOf(world, 'a')).toEqual(['falls x', 1])
    expect(world.deadLetters).toMatchObject([{ seq: fall, reason: 'HANDLER_FAILED' }])
    expect(world.replies('_INBOX.fall').at(-1)).toMatchObject({ outcome: { error: { message: 'fallen' } } })
    const { digest } = await world.describe('box', 'a')
    expect(await fromEmptyStore(world, 'a')).toMatchObject({ digest })
    await world.stop()
  })

  it('means the input whose handler went wrong, also where it had waited for its turn until then', async () => {
    const world = new EngineWorld()
    await world.start(life())
    signal(world, 'a', 'work', 'x')
    const poison = signal(world, 'a', 'boom', 'no')
    signal(world, 'a', 'add', 1)
    await world.settled()
    const { suspended } = await world.describe('box', 'a')
    expect(suspended?.seq).toBeGreaterThan(poison)
    command(world, 'a', 'skip', { seq: suspended?.seq })
    await world.settled()
    expect(await logOf(world, 'a')).toEqual(['x!', 1])
    expect(world.deadLetters).toMatchObject([{ seq: poison }])
    const { digest } = await world.describe('box', 'a')
    expect(await fromEmptyStore(world, 'a')).toMatchObject({ digest })
    await world.stop()
  })

  it('of a timer lets it be over', async () => {
    const world = new EngineWorld()
    await world.start(life())
    signal(world, 'a', 'tick')
    await world.until(() => world.log.lastSeq >= 2)
    await world.settled()
    const { suspended } = await world.describe('box', 'a')
    expect(suspended?.error.message).toBe('bad timer')
    command(world, 'a', 'skip', { seq: suspended?.seq })
    await world.settled()
    await world.clock.advance(10_000)
    await world.settled()
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'running', timers: [] })
    expect(world.deadLetters).toMatchObject([{ seq: suspended?.seq }])
    await world.stop()
  })
})

describe('retry', () => {
  it('tries the input again with the code as it is now; resume does so without its number', async () => {
    for (const name of ['retry', 'resume']) {
      const world = new EngineWorld()
      await world.start(life())
      const poison = signal(world, 'a', 'boom', 'no')
      signal(world, 'a', 'add', 1)
      command(world, 'a', 'retry', { seq: poison + 1 })
      command(world, 'a', name, { seq: poison })
      await world.settled()
      expect(await world.describe('box', 'a')).toMatchObject({ status: 'suspended', suspended: { seq: poison } })
      await world.crash()
      await world.start(life(true))
      command(world, 'a', name, { seq: poison })
      await world.settled()
      expect(await logOf(world, 'a')).toEqual(['half', 'boom', 1])
      await world.stop()
    }
  })
})

describe('terminate', () => {
  it('ends a suspended instance at once: the input is a dead letter, and what waits goes by the start rules', async () => {
    for (const startOnSignal of [false, true]) {
      const world = new EngineWorld()
      await world.start({ implementations: [box(false, startOnSignal)], activities: [calls] })
      world.send('box', 'a', 'start', '')
      const poison = signal(world, 'a', 'boom', 'no')
      const waits = signal(world, 'a', 'add', 1, '_INBOX.add')
      await world.settled()
      command(world, 'a', 'terminate', { reason: 'enough' })
      await world.settled()
      expect(world.replies('_INBOX.terminate')).toMatchObject([{ outcome: { ok: true } }])
      const dead = world.deadLetters.map(({ seq, reason }) => [seq, reason])
      if (startOnSignal) {
        expect(dead).toEqual([[poison, 'HANDLER_FAILED']])
        expect(await world.describe('box', 'a')).toMatchObject({ status: 'running', incarnation: 2 })
        expect(await logOf(world, 'a')).toEqual([1])
      } else {
        expect(dead).toEqual([
          [poison, 'HANDLER_FAILED'],
          [waits, 'CLOSED'],
        ])
        expect(await world.describe('box', 'a')).toMatchObject({ status: 'failed' })
        expect(world.replies('_INBOX.add').at(-1)).toMatchObject({ outcome: { error: { code: 'CLOSED' } } })
      }
      const { digest } = await world.describe('box', 'a')
      await world.crash()
      world.disk = new MemoryDisk()
      await world.start({ implementations: [box(false, startOnSignal)], activities: [calls] })
      expect(await world.describe('box', 'a')).toMatchObject({ digest })
      await world.stop()
    }
  })

  it('ends a paused instance in front of what waits', async () => {
    const world = new EngineWorld()
    await world.start({ implementations: [box(false, false)], activities: [calls] })
    world.send('box', 'a', 'start', '')
    command(world, 'a', 'pause')
    const waits = signal(world, 'a', 'add', 1)
    await world.settled()
    command(world, 'a', 'terminate')
    await world.settled()
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'failed', queued: 0 })
    expect(world.deadLetters).toMatchObject([{ seq: waits, reason: 'CLOSED' }])
    await world.stop()
  })
})

describe('pause', () => {
  it('keeps everything waiting in order, concurrent signals and results too, while queries are answered; resume applies it', async () => {
    const world = new EngineWorld()
    await world.start(life())
    signal(world, 'a', 'add', 1)
    command(world, 'a', 'pause', { reason: 'the partner is down' })
    await world.settled()
    signal(world, 'a', 'beside', 2)
    signal(world, 'a', 'work', 'x', '_INBOX.work')
    signal(world, 'a', 'item', 3)
    world.send('box', 'a', 'update', 'put', 4, { id: 'put-4' })
    await world.settled()
    expect(await world.describe('box', 'a')).toMatchObject({
      status: 'paused',
      queued: 4,
      paused: { by: 'command', seq: 2, reason: 'the partner is down' },
    })
    expect(await logOf(world, 'a')).toEqual([1])
    expect(world.replies('_INBOX.work')).toEqual([])
    await world.crash()
    await world.start(life())
    await world.settled()
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'paused', queued: 4 })
    command(world, 'a', 'resume')
    await world.settled()
    expect(await logOf(world, 'a')).toEqual([1, ['beside', 2], ['item', 3], 'x!', 4])
    expect(world.replies('_INBOX.work')).toMatchObject([{ outcome: { ok: true } }])
    const { digest } = await world.describe('box', 'a')
    expect(await fromEmptyStore(world, 'a')).toMatchObject({ digest, status: 'running' })
    await world.stop()
  })

  it('outlives an empty store, a passivation, and a repeat of the command behind its end', async () => {
    const world = new EngineWorld({ partitions: 1 })
    const small = { ...life(), limits: { residentsMax: 1 } }
    await world.start(small)
    signal(world, 'a', 'add', 1)
    command(world, 'a', 'pause', undefined, 'pause-1')
    signal(world, 'a', 'add', 2)
    for (let i = 0; i < 20; i++) signal(world, `other-${i}`, 'add', i)
    await world.settled()
    expect(world.engine.residents).toBeLessThan(5)
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'paused', queued: 1 })
    expect(await fromEmptyStore(world, 'a')).toMatchObject({ status: 'paused', queued: 1 })
    command(world, 'a', 'resume')
    command(world, 'a', 'pause', undefined, 'pause-1')
    await world.settled()
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'running', queued: 0 })
    expect(await logOf(world, 'a')).toEqual([1, 2])
    await world.stop()
  })

  it('of a suspended instance keeps it waiting behind a retry or a skip; resume ends both', async () => {
    const world = new EngineWorld()
    await world.start(life())
    const first = signal(world, 'a', 'boom', 'one')
    signal(world, 'a', 'add', 1)
    await world.settled()
    command(world, 'a', 'pause')
    command(world, 'a', 'skip', { seq: first })
    await world.settled()
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'paused' })
    // It was the first input: without it there is no instance yet.
    expect(world.deadLetters).toMatchObject([{ seq: first }])
    command(world, 'a', 'resume')
    await world.settled()
    expect(await logOf(world, 'a')).toEqual([1])
    const second = signal(world, 'a', 'boom', 'two')
    command(world, 'a', 'pause')
    signal(world, 'a', 'add', 2)
    await world.settled()
    await world.stop()
    await world.start(life(true))
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'suspended', paused: { by: 'command' } })
    command(world, 'a', 'retry', { seq: second })
    await world.settled()
    expect(await logOf(world, 'a')).toEqual([1, 'half', 'boom'])
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'paused' })
    command(world, 'a', 'resume')
    await world.settled()
    expect(await logOf(world, 'a')).toEqual([1, 'half', 'boom', 2])
    await world.stop()
  })

  it('does not let a timer that has fired fire again, however often the node starts', async () => {
    const world = new EngineWorld()
    await world.start(life(true))
    signal(world, 'a', 'sleep', 1000)
    command(world, 'a', 'pause')
    await world.settled()
    await world.clock.advance(2000)
    await world.settled()
    const { lastSeq } = world.log
    for (let i = 0; i < 3; i++) {
      await world.stop()
      await world.start(life(true))
      await world.clock.advance(60_000)
      await world.settled()
    }
    expect(world.log.lastSeq).toBe(lastSeq)
    command(world, 'a', 'resume')
    await world.settled()
    expect(await logOf(world, 'a')).toEqual(['slept'])
    await world.stop()
  })

  it('is refused where nothing runs', async () => {
    const world = new EngineWorld()
    await world.start({ implementations: [box(false, false)], activities: [calls] })
    command(world, 'nobody', 'pause')
    command(world, 'nobody', 'pause', { reason: 7 })
    await world.settled()
    expect(world.replies('_INBOX.pause')).toMatchObject([
      { outcome: { error: { code: 'NOT_FOUND' } } },
      { outcome: { error: { code: 'INVALID_PAYLOAD' } } },
    ])
    await world.stop()
  })

  it('lets any number of inputs wait, and go on in slices between those of others', async () => {
    const world = new EngineWorld({ partitions: 1 })
    await world.start(life())
    signal(world, 'a', 'add', -1)
    command(world, 'a', 'pause')
    for (let n = 0; n < 3000; n++) signal(world, 'a', 'add', n)
    await world.settled()
    await world.stop()
    await world.start(life())
    command(world, 'a', 'resume')
    signal(world, 'a', 'add', 3000)
    signal(world, 'b', 'add', 0)
    await world.until(() => world.replies('_INBOX.resume').length > 0)
    await world.settled()
    expect(await logOf(world, 'a')).toEqual(Array.from({ length: 3002 }, (_, i) => i - 1))
    await world.stop()
  })

  it('goes on behind a crash in the middle of the slices', async () => {
    const world = new EngineWorld({ partitions: 1 })
    await world.start(life())
    signal(world, 'a', 'add', -1)
    command(world, 'a', 'pause')
    for (let n = 0; n < 2000; n++) signal(world, 'a', 'add', n)
    await world.settled()
    command(world, 'a', 'resume')
    await world.until(() => world.engine.counts.applied > 600)
    await world.clock.advance(250)
    await world.crash()
    await world.start(life())
    signal(world, 'a', 'add', 2000)
    await world.settled()
    expect(await logOf(world, 'a')).toEqual(Array.from({ length: 2002 }, (_, i) => i - 1))
    await world.stop()
  })
})

describe('a type that is paused', () => {
  it('takes no inputs, of instances that are there and of new ones; then each goes on in order, without a new input', async () => {
    const world = new EngineWorld()
    await world.start(life())
    signal(world, 'a', 'add', 1)
    await world.settled()
    world.controls.setType('box', true)
    await world.settled()
    for (const id of ['a', 'new']) {
      signal(world, id, 'add', 2)
      signal(world, id, 'work', 'x')
      signal(world, id, 'beside', 3)
    }
    await world.settled()
    expect(await logOf(world, 'a')).toEqual([1])
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'paused', paused: { by: 'type' }, queued: 3 })
    expect(await world.describe('box', 'new')).toMatchObject({ status: 'paused', queued: 3 })
    await world.crash()
    await world.start(life())
    signal(world, 'new', 'add', 4)
    await world.settled()
    expect(await world.describe('box', 'new')).toMatchObject({ status: 'paused', queued: 4 })
    world.controls.setType('box', false)
    await world.settled()
    expect(await logOf(world, 'a')).toEqual([1, 2, ['beside', 3], 'x!'])
    expect(await logOf(world, 'new')).toEqual([2, ['beside', 3], 'x!', 4])
    await world.stop()
  })

  it('changes nothing but when: commands among what waits take effect at their place', async () => {
    const world = new EngineWorld()
    await world.start(life())
    world.controls.setType('box', true)
    const poison = signal(world, 'a', 'boom', 'no')
    signal(world, 'a', 'add', 1)
    command(world, 'a', 'skip', { seq: poison })
    command(world, 'a', 'pause')
    signal(world, 'a', 'add', 2)
    await world.settled()
    expect(world.deadLetters).toEqual([])
    world.controls.setType('box', false)
    await world.settled()
    expect(await logOf(world, 'a')).toEqual([1])
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'paused', queued: 1, paused: { by: 'command' } })
    command(world, 'a', 'resume')
    await world.settled()
    expect(await logOf(world, 'a')).toEqual([1, 2])
    const { digest } = await world.describe('box', 'a')
    expect(await fromEmptyStore(world, 'a')).toMatchObject({ digest })
    await world.stop()
  })

  it('goes on also where it was let go while the node was down', async () => {
    const world = new EngineWorld()
    await world.start(life())
    world.controls.setType('box', true)
    for (let i = 0; i < 150; i++) signal(world, `i-${i}`, 'add', i)
    await world.settled()
    await world.crash()
    world.controls.setType('box', false)
    await world.start(life())
    await world.settled()
    for (let i = 0; i < 150; i++) expect(await logOf(world, `i-${i}`)).toEqual([i])
    await world.stop()
  })
})
