/** What happens at the seams: between catching up and going live, between turns and the host's own code, between two commits. */
import { describe, expect, it } from 'vitest'

import { type ActivityContext, defineWorkflow, implement, implementActivities, type } from '../index.ts'
import { MemoryDisk } from '../testing/memory-store.ts'
import type { Partition } from '../protocol/index.ts'
import { EngineWorld, keyOf } from '../testing/engine-world.ts'

const Desk = defineWorkflow('desk', {
  signals: { call: type<void>(), nap: type<number>(), alarm: type<number>() },
  queries: { log: { output: type<readonly string[]>() } },
  activities: { work: { output: type<string>(), retry: { attempts: 1 } } },
})
const desk = implement(Desk, {
  startOnSignal: true,
  state: () => ({ log: [] as string[] }),
  on: {
    async call(ctx) {
      ctx.state.log.push(await ctx.activities.work().catch(String))
    },
    nap: (ctx, ms) => ctx.sleep(ms),
    alarm: (ctx, ms) => ctx.timers.ring.set(ms),
  },
  queries: { log: (state) => state.log },
  timers: { ring: { run: (ctx) => void ctx.state.log.push('rang') } },
})

const Shy = defineWorkflow('shy', { signals: { poke: type<void>() } })
const shy = implement(Shy, { state: () => ({}), on: { poke: () => {} } })

type Work = (input: unknown, ctx: ActivityContext) => string | Promise<string>
const life = (work: Work = () => 'done', limits = {}) => ({
  implementations: [desk, shy],
  activities: [implementActivities(Desk, { work })],
  limits,
})
const logOf = (world: EngineWorld, id: string): Promise<unknown> =>
  world.ask({ op: 'query', key: keyOf('desk', id), name: 'log', minSeq: 0 })

describe('an engine that goes live', () => {
  it('sees to the effects of inputs that it applies while the commit of that moment is under way', async () => {
    const world = new EngineWorld({ partitions: 1 })
    world.send('desk', 'first', 'signal', 'call')
    let hold = false
    let release: (() => void) | undefined
    const gate = (stage: string): void | Promise<void> => {
      if (!hold || stage !== 'resolve') return
      hold = false
      return new Promise<void>((resolve) => (release = resolve))
    }
    await world.open({ ...life(), gate })
    hold = true
    await world.until(() => release !== undefined)
    world.send('desk', 'second', 'signal', 'call')
    world.send('desk', 'third', 'signal', 'alarm', 50)
    world.send('shy', 'nobody', 'signal', 'poke')
    await world.until(() => world.engine.position >= 4, 1)
    release?.()
    await world.settled()
    expect(await logOf(world, 'second')).toEqual(['done'])
    expect(await logOf(world, 'third')).toEqual(['rang'])
    expect(world.deadLetters).toMatchObject([{ reason: 'NOT_FOUND' }])
  })
})

describe('an engine with some of the partitions', () => {
  const partitionOf = (world: EngineWorld, id: string): Partition => world.subjects.partitionOfKey(keyOf('desk', id))

  it('catches up, and saves its positions, where the end of the journal is of others', async () => {
    const world = new EngineWorld({ partitions: 4 })
    const ids = Array.from({ length: 40 }, (_, i) => `${i}`)
    const others = ids.filter((id) => partitionOf(world, id) !== partitionOf(world, '0'))
    world.send('desk', '0', 'signal', 'call')
    for (const id of others) world.send('desk', id, 'signal', 'call')
    const partitions = [partitionOf(world, '0')]
    await world.start({ ...life(), partitions })
    await world.settled()
    expect(await logOf(world, '0')).toEqual(['done'])
    for (const id of others) world.send('desk', id, 'signal', 'call')
    await world.settled()
    expect(world.engine.position).toBe(world.log.lastSeq)
    await world.stop()
    // What it has read must not be asked for again: it may have been trimmed.
    world.log.trim(world.log.lastSeq + 1)
    await world.start({ ...life(), partitions })
    expect(world.failures).toEqual([])
    expect(await logOf(world, '0')).toEqual(['done'])
  })
})

describe('activities', () => {
  it('never run within a turn, not even while a read brings an instance back', async () => {
    const world = new EngineWorld({ partitions: 1 })
    let release: () => void = () => {}
    const released = new Promise<void>((resolve) => (release = resolve))
    const work = async (): Promise<string> => {
      await released
      for (let hop = 0; hop < 2000; hop++) {
        await Promise.resolve()
        clearImmediate(setImmediate(() => {}))
      }
      return 'done'
    }
    await world.start(life(work, { residentsMax: 0 }))
    world.send('desk', 'napping', 'signal', 'nap', 3_600_000)
    world.send('desk', 'calling', 'signal', 'call')
    await world.settled()
    expect(world.engine.residents).toBe(0)
    release()
    await logOf(world, 'napping')
    await world.settled()
    expect(await logOf(world, 'calling')).toEqual(['done'])
  })
})

describe('an input that finds no instance and starts none', () => {
  it('leaves nothing behind, whether a commit comes in between or not', async () => {
    for (const pauses of [false, true]) {
      const world = new EngineWorld()
      await world.start(life())
      for (let repeat = 0; repeat < 2; repeat++) {
        world.send('shy', 'one', 'signal', 'poke', undefined, { id: 'same' })
        if (pauses) await world.settled()
      }
      world.send('shy', 'one', 'start', '', {})
      await world.settled()
      expect(world.deadLetters.map(({ seq }) => seq)).toEqual([1, 2])
      const { digest } = await world.describe('shy', 'one')
      await world.stop()
      world.disk = new MemoryDisk()
      await world.start(life())
      expect((await world.describe('shy', 'one')).digest).toBe(digest)
      await world.stop()
    }
  })
})

describe('a read', () => {
  it('that asks for an input of another partition is answered without a commit in its own', async () => {
    const world = new EngineWorld({ partitions: 64 })
    await world.start(life())
    world.send('desk', 'a', 'signal', 'nap', 1)
    await world.settled()
    const seq = world.send('desk', 'b', 'signal', 'nap', 3_600_000)
    await world.settled()
    expect(world.subjects.partitionOf('desk' as never, 'a' as never)).not.toBe(
      world.subjects.partitionOf('desk' as never, 'b' as never),
    )
    expect(await world.ask({ op: 'query', key: keyOf('desk', 'a'), name: 'log', minSeq: seq })).toEqual([])
  })
})
