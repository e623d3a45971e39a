import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, type, WorkflowFailure } from '../index.ts'
import { HEADERS } from '../protocol/index.ts'
import { EngineWorld, keyOf } from '../testing/engine-world.ts'

/** A tree of instances: a node of some depth starts its children, and comes to the sum of what they come to. */
const Tree = defineWorkflow('tree', {
  input: type<{ depth: number; width: number; waitMs: number; failAt?: string }>(),
  result: type<number>(),
  signals: { end: type<void>() },
})
const Missing = defineWorkflow('missing', { input: type<number>() })
const Holder = defineWorkflow('holder', {
  signals: {
    hold: type<'terminate' | 'cancel' | 'abandon'>(),
    strange: type<void>(),
    twice: type<void>(),
    call_off: type<void>(),
    end: type<void>(),
  },
  queries: { log: { output: type<readonly string[]>() } },
})

const tree = implement(Tree, {
  state: () => ({}),
  async run(ctx, { depth, width, waitMs, failAt }) {
    if (ctx.id === failAt) throw new WorkflowFailure('this one fails')
    await ctx.sleep(waitMs)
    if (depth === 0) return 1
    const children = Array.from({ length: width }, (_, n) =>
      ctx.children.start(Tree, `${ctx.id}-${n}`, {
        depth: depth - 1,
        width,
        waitMs,
        ...(failAt === undefined ? {} : { failAt }),
      }),
    )
    const results = await Promise.all(children.map((child) => child.result().catch(() => 1000)))
    return results.reduce((sum, result) => sum + result, 1)
  },
})
const holder = implement(Holder, {
  startOnSignal: true,
  state: () => ({ log: [] as string[] }),
  on: {
    hold(ctx, onParentClose) {
      ctx.children.start(
        Tree,
        `${ctx.id}-${onParentClose}`,
        { depth: 1, width: 2, waitMs: 3_600_000 },
        { onParentClose },
      )
    },
    async strange(ctx) {
      ctx.state.log.push(await why(ctx.children.start(Missing, 'm', 1).result()))
    },
    async twice(ctx) {
      const start = () => ctx.children.start(Tree, 'same', { depth: 0, width: 0, waitMs: 50 })
      ctx.state.log.push(...(await Promise.all([why(start().result()), why(start().result())])))
    },
    async call_off(ctx) {
      const child = ctx.children.start(Tree, 'late', { depth: 0, width: 0, waitMs: 3_600_000 })
      await ctx.sleep(10)
      child.cancel('no time')
      ctx.state.log.push(await why(child.result()))
    },
    end: (ctx) => ctx.complete(),
  },
  queries: { log: (state) => state.log },
})

async function why(result: Promise<unknown>): Promise<string> {
  return result.then(
    String,
    (error: unknown) => (error as { readonly details: { readonly code: string } }).details.code,
  )
}

const life = { implementations: [tree, holder] }

async function resultOf(world: EngineWorld, id: string): Promise<unknown> {
  return world.ask({ op: 'result', key: keyOf('tree', id), minSeq: 0, waitMs: 0 })
}

async function statusOf(world: EngineWorld, type: string, id: string): Promise<string> {
  // What was just sent may not be applied yet.
  return world.describe(type, id).then(
    ({ status }) => status,
    () => 'running',
  )
}

describe('children', () => {
  it('may be asked to cancel by their parent, which gets to know what came of it', async () => {
    const world = new EngineWorld()
    await world.start(life)
    world.send('holder', 'h', 'signal', 'call_off')
    await world.settled()
    await world.crash()
    await world.start(life)
    await world.clock.advance(20)
    await world.settled()
    expect(await world.ask({ op: 'query', key: keyOf('holder', 'h'), name: 'log', minSeq: 0 })).toEqual(['CANCELLED'])
    expect(await resultOf(world, 'late')).toMatchObject({
      ok: false,
      error: { message: 'tree/late was cancelled: no time' },
    })
    expect(world.deadLetters).toEqual([])
    await world.stop()
  })

  it.each([1, 2, 3, 5, 8, 13])('come to the same result with a crash after every %i inputs', async (every) => {
    const world = new EngineWorld()
    await world.start(life)
    world.send('tree', 't', 'start', '', { input: { depth: 3, width: 3, waitMs: 30, failAt: 't-1-2' } })
    let crashes = 0
    for (let next = every; (await statusOf(world, 'tree', 't')) === 'running';) {
      await world.clock.advance(5)
      await world.clock.yield()
      if (world.log.lastSeq < next) continue
      next = world.log.lastSeq + every
      crashes += 1
      await world.crash()
      await world.start(life)
    }
    // 40 in all; one fails, and its three children are not started.
    expect(await resultOf(world, 't')).toEqual({ ok: true, value: 1036 })
    // Under load more inputs come at once.
    expect(crashes).toBeGreaterThan(1)
    await world.settled()
    const results = world.log.messages.filter(({ subject }) => subject.includes('.child.'))
    expect(new Set(results.map((message) => message.header(HEADERS.id))).size).toBe(36)
    expect(world.deadLetters).toEqual([])
    await world.stop()
  })

  it('end with their parent, down to the last, unless they were to be abandoned', async () => {
    const world = new EngineWorld()
    await world.start(life)
    world.send('holder', 'h', 'signal', 'hold', 'terminate')
    world.send('holder', 'h', 'signal', 'hold', 'abandon')
    // An hour later each has children of its own.
    await world.settled()
    await world.clock.advance(3_600_000)
    await world.settled()
    world.send('holder', 'h', 'signal', 'end')
    await world.settled()
    for (const id of ['h-terminate', 'h-terminate-0', 'h-terminate-1'])
      expect(await resultOf(world, id)).toMatchObject({ ok: false, error: { code: 'TERMINATED' } })
    for (const id of ['h-abandon', 'h-abandon-0', 'h-abandon-1'])
      expect(await statusOf(world, 'tree', id)).toBe('running')
    await world.clock.advance(3_600_000)
    await world.settled()
    expect(await resultOf(world, 'h-abandon')).toEqual({ ok: true, value: 3 })
    // Its parent has closed, and does not mind.
    expect(await statusOf(world, 'holder', 'h')).toBe('completed')
    expect(world.deadLetters).toEqual([])
    await world.stop()
  })

  it('may be asked to cancel when their parent closes, and clean up then', async () => {
    const world = new EngineWorld()
    await world.start(life)
    world.send('holder', 'h', 'signal', 'hold', 'cancel')
    world.send('holder', 'early', 'signal', 'hold', 'cancel')
    await world.settled()
    world.send('holder', 'early', 'signal', 'end')
    await world.settled()
    await world.crash()
    await world.start(life)
    await world.clock.advance(3_600_000)
    await world.settled()
    world.send('holder', 'h', 'signal', 'end')
    await world.settled()
    // It slept.
    expect(await resultOf(world, 'early-cancel')).toMatchObject({
      ok: false,
      error: { code: 'CANCELLED', message: 'tree/early-cancel was cancelled: its parent holder/early has closed' },
    })
    // It waited for its own children, and came to an end without them.
    expect(await resultOf(world, 'h-cancel')).toEqual({ ok: true, value: 2001 })
    expect(await resultOf(world, 'h-cancel-0')).toMatchObject({ ok: false, error: { code: 'TERMINATED' } })
    expect(world.deadLetters).toEqual([])
    await world.stop()
  })

  it('that are suspended end at once with their parent', async () => {
    const Fragile = defineWorkflow('tree', { input: type<unknown>(), signals: { end: type<void>() } })
    const fragile = implement(Fragile, {
      state: () => ({}),
      on: {
        end() {
          throw new Error('broken')
        },
      },
    })
    const world = new EngineWorld()
    await world.start({ implementations: [fragile, holder] })
    world.send('holder', 'h', 'signal', 'hold', 'terminate')
    await world.settled()
    world.send('tree', 'h-terminate', 'signal', 'end')
    await world.settled()
    expect(await statusOf(world, 'tree', 'h-terminate')).toBe('suspended')
    world.send('holder', 'h', 'signal', 'end')
    await world.settled()
    expect(await resultOf(world, 'h-terminate')).toMatchObject({ ok: false, error: { code: 'TERMINATED' } })
    await world.stop()
  })

  it('that cannot be started tell their parent so', async () => {
    const world = new EngineWorld()
    await world.start(life)
    world.send('holder', 'h', 'signal', 'strange')
    world.send('holder', 'h', 'signal', 'twice')
    await world.settled()
    const log = await world.ask({ op: 'query', key: keyOf('holder', 'h'), name: 'log', minSeq: 0 })
    expect(log).toEqual(['UNKNOWN_TYPE', '1', 'ALREADY_STARTED'])
    await world.stop()
  })
})
