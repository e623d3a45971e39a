/** Calls of activities for remote workers, up to the work queue. */
import { describe, expect, it } from 'vitest'

import { parseCallMessage } from '../activity/index.ts'
import { defineWorkflow, implement, implementActivities, type } from '../index.ts'
import { decodeValue } from '../protocol/index.ts'
import { EngineWorld, keyOf } from '../testing/engine-world.ts'

const Media = defineWorkflow('media', {
  signals: { render: type<number>(), mail: type<void>(), probe: type<void>(), stop: type<void>() },
  queries: { done: { output: type<unknown[]>() } },
  activities: {
    render: { input: type<number>(), output: type<string>(), queue: 'gpu' },
    mail: { queue: 'post' },
    probe: { output: type<string>() },
  },
})

const media = implement(Media, {
  startOnSignal: true,
  state: () => ({ done: [] as unknown[] }),
  on: {
    async render(ctx, n) {
      const retry = { attempts: 3, nonRetryable: ['NO_GLÜCK'] }
      ctx.state.done.push(await ctx.activities.render(n, n === 7 ? { retry } : undefined))
    },
    async mail(ctx) {
      await ctx.activities.mail()
      ctx.state.done.push('mailed')
    },
    async probe(ctx) {
      ctx.state.done.push(await ctx.activities.probe())
    },
    stop: (ctx) => ctx.complete(),
  },
  concurrent: ['probe', 'stop'],
  queries: { done: ({ done }) => [...done] },
})

const life = {
  implementations: [media],
  activities: [implementActivities(Media, { probe: () => 'probed' })],
  workQueue: 'made at noon',
}

const doneOf = (world: EngineWorld, id: string): Promise<unknown> =>
  world.ask({ op: 'query', key: keyOf('media', id), name: 'done', minSeq: 0 })
const callsOf = (world: EngineWorld) =>
  world.calls.map(({ subject, headers, payload }) =>
    parseCallMessage(world.subjects, { subject, payload, header: (name) => headers[name] }).open(undefined),
  )

describe('calls for remote workers', () => {
  it('go into their queue, once, with their id, input and options; what comes back is applied once', async () => {
    const world = new EngineWorld()
    await world.start(life)
    const seq = world.send('media', 'a', 'signal', 'render', 7)
    await world.settled()
    const [call] = callsOf(world)
    expect(world.calls.map(({ subject }) => subject)).toEqual(['test.task.gpu.media.render'])
    expect(call).toMatchObject({ key: 'media.a', id: `${seq}.0`, name: 'render' })
    expect(call?.options).toEqual({ retry: { attempts: 3, nonRetryable: ['NO_GLÜCK'] } })
    expect(decodeValue(call?.input as Uint8Array)).toBe(7)
    for (const value of ['first', 'second'])
      world.send('media', 'a', 'activity', 'render', { effect: call?.id, outcome: { ok: true, value } })
    await world.settled()
    expect(await doneOf(world, 'a')).toEqual(['first'])
    await world.stop()
  })

  it('are not sent again by the next node once the queue has them, and are sent again until it has', async () => {
    const world = new EngineWorld()
    let asked = 0
    world.onCall = () => (++asked <= 2 ? 'full' : undefined)
    await world.start(life)
    world.send('media', 'a', 'signal', 'render', 1)
    await world.until(() => asked === 1)
    await world.crash()
    await world.start(life)
    await world.until(() => world.calls.length === 1)
    await world.settled()
    await world.crash()
    const before = asked
    await world.start(life)
    await world.settled()
    expect(asked).toBe(before)
    await world.stop()
  })

  it('are sent again when their queue was lost and made anew, unless they have a result', async () => {
    const world = new EngineWorld()
    await world.start(life)
    const seq = world.send('media', 'a', 'signal', 'render', 1)
    world.send('media', 'b', 'signal', 'render', 2)
    await world.settled()
    world.send('media', 'a', 'activity', 'render', { effect: `${seq}.0`, outcome: { ok: true, value: 'x' } })
    await world.settled()
    await world.crash()
    world.calls.length = 0
    await world.start({ ...life, workQueue: 'made at midnight' })
    await world.settled()
    expect(callsOf(world).map(({ key }) => key)).toEqual(['media.b'])
    await world.stop()
  })

  it('leave no row when the result comes before the word that the queue has them', async () => {
    const world = new EngineWorld()
    let isLost = true
    world.onCall = ({ headers }) => {
      if (!isLost) return undefined
      // The queue has it and a worker is fast, but the word of it is lost: the call is stored again a second later.
      isLost = false
      const [, effect] = (headers['Carillon-Call'] ?? '').split('/')
      world.send('media', 'a', 'activity', 'render', { effect, outcome: { ok: true, value: 'fast' } })
      return 'full'
    }
    await world.start(life)
    world.send('media', 'a', 'signal', 'render', 1)
    await world.settled()
    await world.until(() => world.calls.length === 1)
    await world.settled()
    expect(await doneOf(world, 'a')).toEqual(['fast'])
    expect([...world.store.range('effect', { from: '', to: '~' })]).toEqual([])
    await world.stop()
  })

  it('hold back only their own activity while its queue is full, however many wait', async () => {
    const world = new EngineWorld()
    let isFull = true
    world.onCall = ({ subject }) => (isFull && subject.includes('.gpu.') ? 'full' : undefined)
    await world.start(life)
    for (let i = 0; i < 300; i++) world.send('media', `r${i}`, 'signal', 'render', i)
    await world.until(() => world.engine.position >= 300, 1)
    for (let i = 0; i < 150; i++) world.send('media', `m${i}`, 'signal', 'mail')
    world.send('media', 'p', 'signal', 'probe')
    await world.until(() => world.calls.length === 150)
    await world.until(() => world.log.messages.some(({ subject }) => subject.includes('.activity.probe')))
    expect(world.calls.every(({ subject }) => subject === 'test.task.post.media.mail')).toBe(true)
    isFull = false
    await world.until(() => world.calls.length === 450)
    await world.settled()
    expect(callsOf(world).filter(({ name }) => name === 'render')).toHaveLength(300)
    expect(world.failures).toEqual([])
    await world.stop()
  })

  it('are wanted until they have a result or their instance has closed, and workers are told when not', async () => {
    const world = new EngineWorld()
    await world.start(life)
    const seq = world.send('media', 'a', 'signal', 'render', 1)
    await world.settled()
    const wanted = (id: string): Promise<unknown> =>
      world.ask({ op: 'wanted', key: keyOf('media', id), effect: `${seq}.0` })
    expect(await wanted('a')).toBe(true)
    expect(await wanted('b')).toBe(false)
    world.send('media', 'a', 'admin', 'terminate')
    await world.settled()
    expect(await wanted('a')).toBe(false)
    const notices = world.bus.published.filter(({ subject }) => subject === 'test.let-go.media')
    expect(notices.map(({ payload }) => decodeValue(payload))).toEqual([`media.a/${seq}.0`])
    await world.stop()
  })

  it('run in the process where no queues are wanted', async () => {
    const world = new EngineWorld()
    const all = implementActivities(Media, { probe: () => 'probed', render: (n) => `local ${n}`, mail() {} })
    await world.start({ implementations: [media], activities: [all] })
    world.send('media', 'a', 'signal', 'render', 3)
    await world.settled()
    expect(await doneOf(world, 'a')).toEqual(['local 3'])
    expect(world.calls).toEqual([])
    await world.stop()
  })
})
