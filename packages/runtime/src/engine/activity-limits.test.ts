/** Activities that reach their limits, over a whole engine. */
import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, implementActivities, type } from '../index.ts'
import { EngineWorld, keyOf } from '../testing/engine-world.ts'

const Mail = defineWorkflow('mail', {
  signals: { send: type<'narrow' | 'rated' | 'wide' | 'failing'>(), count: type<void>() },
  queries: { sent: { output: type<number>() } },
  activities: {
    narrow: { concurrency: 2 },
    rated: { rate: { limit: 5, per: '1 second' } },
    failing: { retry: { initial: '1 hour', max: '1 hour' } },
    wide: {},
  },
})

const mail = implement(Mail, {
  startOnSignal: true,
  state: () => ({ sent: 0 }),
  on: {
    async send(ctx, what) {
      await ctx.activities[what]()
      ctx.state.sent += 1
    },
    count() {},
  },
  queries: { sent: ({ sent }) => sent },
})

describe('an activity that is paused', () => {
  it('begins nothing, whatever waits, and goes on in order; others and what runs do not mind', async () => {
    const world = new EngineWorld()
    const begun: string[] = []
    let release = (): void => {}
    const released = new Promise<void>((resolve) => (release = resolve))
    const life = {
      implementations: [mail],
      activities: [
        implementActivities(Mail, {
          async narrow(_, { workflow }) {
            begun.push(workflow.id)
            await released
          },
          rated() {},
          failing() {},
          wide: (_, { workflow }) => void begun.push(workflow.id),
        }),
      ],
      limits: { activityQueueMax: 20 },
    }
    await world.start(life)
    world.send('mail', 'n0', 'signal', 'send', 'narrow')
    await world.settled()
    world.controls.setActivity('mail', 'narrow', true)
    // More than there is room for in memory.
    for (let i = 1; i <= 60; i++) world.send('mail', `n${i}`, 'signal', 'send', 'narrow')
    world.send('mail', 'w', 'signal', 'send', 'wide')
    await world.settled()
    release()
    await world.settled()
    expect(begun).toEqual(['n0', 'w'])
    expect(await world.ask({ op: 'query', key: keyOf('mail', 'n0'), name: 'sent', minSeq: 0 })).toBe(1)
    // It holds for the next node as well.
    await world.crash()
    await world.start(life)
    await world.settled()
    expect(begun).toEqual(['n0', 'w'])
    world.controls.setActivity('mail', 'narrow', false)
    await world.until(() => begun.length === 62)
    // In order within each partition.
    const order = begun.slice(2).map((id) => ({ id, partition: world.subjects.partitionOfKey(keyOf('mail', id)) }))
    for (let partition = 0; partition < 4; partition++) {
      const numbers = order.filter((one) => one.partition === partition).map(({ id }) => Number(id.slice(1)))
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
    }
    await world.stop()
  })
})

describe('an activity at its limit', () => {
  /** Calls wait far over the room in memory, over several partitions; `release` lets go on what the narrow one waits for. */
  async function crowd() {
    const world = new EngineWorld()
    const counts = { narrow: 0, rated: 0, wide: 0, failing: 0 }
    const timesMs: number[] = []
    let running = 0
    let most = 0
    let release = (): void => {}
    const released = new Promise<void>((resolve) => (release = resolve))
    await world.start({
      implementations: [mail],
      activities: [
        implementActivities(Mail, {
          async narrow() {
            running += 1
            most = Math.max(most, running)
            await released
            running -= 1
            counts.narrow += 1
          },
          rated() {
            timesMs.push(world.clock.nowMs())
            counts.rated += 1
          },
          failing() {
            counts.failing += 1
            throw new Error('not today')
          },
          wide: () => void (counts.wide += 1),
        }),
      ],
      limits: { activitiesMax: 10, activityQueueMax: 20 },
    })
    const send = (what: keyof typeof counts, from: number, to: number): void => {
      for (let i = from; i < to; i++) world.send('mail', `${what}-${i}`, 'signal', 'send', what)
    }
    return { world, counts, timesMs, send, release: () => release(), most: () => most }
  }

  it('holds back no other one, however much of it waits', async () => {
    const { world, counts, send, release, most } = await crowd()
    send('narrow', 0, 400)
    send('failing', 0, 100)
    await world.settled()
    send('wide', 0, 300)
    await world.until(() => counts.wide === 300)
    expect(counts.narrow).toBe(0)
    expect(counts.failing).toBeGreaterThan(0)
    release()
    await world.until(() => counts.narrow === 400)
    await world.settled()
    expect(most()).toBe(2)
    for (const i of [0, 399])
      expect(await world.ask({ op: 'query', key: keyOf('mail', `narrow-${i}`), name: 'sent', minSeq: 0 })).toBe(1)
    await world.stop()
  })

  it('holds back none that waits in the store when the engine starts, behind all of it', async () => {
    const { world, send } = await crowd()
    send('narrow', 0, 700)
    send('wide', 0, 2)
    await world.settled()
    await world.crash()
    let wide = 0
    const never = new Promise<void>(() => {})
    await world.start({
      implementations: [mail],
      activities: [
        implementActivities(Mail, {
          narrow: () => never,
          rated() {},
          failing() {},
          wide: () => void (wide += 1),
        }),
      ],
      limits: { activityQueueMax: 20 },
    })
    send('wide', 2, 4)
    await world.until(() => wide >= 2)
    expect(world.failures).toEqual([])
    await world.crash()
  })

  it('begins no more attempts than its rate allows, and all in the end', async () => {
    const { world, counts, timesMs, send } = await crowd()
    send('rated', 0, 60)
    await world.until(() => counts.rated === 60)
    for (const [i, timeMs] of timesMs.entries())
      expect(timesMs[i + 5] ?? Infinity).toBeGreaterThanOrEqual(timeMs + 1000)
    await world.stop()
  })
})
