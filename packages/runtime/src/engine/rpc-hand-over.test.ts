/** Requests while the node that answers them changes: none is lost in silence, and no answer goes back behind an earlier one. */
import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, implementActivities, type } from '../index.ts'
import { decodeValue, type RpcRequest, type RpcResponse } from '../protocol/index.ts'
import { EngineWorld, keyOf } from '../testing/engine-world.ts'
import { MemoryDisk } from '../testing/memory-store.ts'

const Sum = defineWorkflow('sum', {
  signals: { add: type<number>(), ask: type<void>() },
  queries: { total: { output: type<number>() } },
  activities: { remote: { input: type<void>(), output: type<number>() } },
})
const sum = implement(Sum, {
  startOnSignal: true,
  state: () => ({ total: 0 }),
  on: {
    add: (ctx, n) => void (ctx.state.total += n),
    async ask(ctx) {
      ctx.state.total += await ctx.activities.remote()
    },
  },
  queries: { total: ({ total }) => total },
})
const never = implementActivities(Sum, { remote: () => new Promise<number>(() => {}) })
const life = { implementations: [sum], activities: [never] }
const key = keyOf('sum', 's')

/** A request whose answer may be an error, and what it is as of. */
async function respond(world: EngineWorld, request: RpcRequest): Promise<RpcResponse> {
  const bytes = await world.bus.request(world.subjects.rpc(world.subjects.partitionOfKey(key)), world.seal(request))
  return decodeValue(bytes) as RpcResponse
}

describe('a node that stops', () => {
  it.each([
    { op: 'query', key, name: 'total', minSeq: 99 },
    { op: 'describe', key, minSeq: 0, seen: 99 },
    { op: 'outcome', key, id: 'late', seq: 99, waitMs: 20_000 },
    { op: 'result', key, minSeq: 0, waitMs: 20_000 },
    { op: 'wanted', key, effect: '99.0' },
    { op: 'list', limit: 10, minSeq: 99 },
    { op: 'count', minSeq: 99 },
  ] satisfies RpcRequest[])('sends whoever waits for it to the next one at once: $op', async (request) => {
    const world = new EngineWorld({ partitions: 1 })
    await world.start(life)
    world.send('sum', 's', 'signal', 'add', 1)
    await world.settled()
    const asked = respond(world, request)
    const beganMs = world.clock.nowMs()
    await world.stop()
    expect(await asked).toMatchObject({ ok: false, error: { code: 'CLOSING' } })
    expect(world.clock.nowMs() - beganMs).toBeLessThan(1000)
  })

  it('lists nothing that it could not save any more', async () => {
    const world = new EngineWorld({ partitions: 1 })
    let release: () => void = () => {}
    const held = new Promise<void>((resolve) => (release = resolve))
    let isHeld = false
    await world.start({ ...life, gate: () => (isHeld ? held : undefined) })
    world.send('sum', 's', 'signal', 'add', 1)
    await world.settled()
    isHeld = true
    world.send('sum', 't', 'signal', 'add', 1)
    await world.until(() => world.engine.position === 2)
    const asked = respond(world, { op: 'list', limit: 10 })
    const stopped = world.stop()
    release()
    await stopped
    const answer = await asked
    expect(answer).toMatchObject({ ok: false, error: { code: 'CLOSING' } })
  })
})

describe('an answer', () => {
  it('says what it is as of', async () => {
    const world = new EngineWorld({ partitions: 1 })
    await world.start(life)
    const seq = world.send('sum', 's', 'signal', 'add', 1)
    world.send('sum', 't', 'signal', 'add', 1)
    await world.settled()
    expect(await respond(world, { op: 'query', key, name: 'total', minSeq: 0 })).toEqual({ ok: true, value: 1, seq })
    expect(await respond(world, { op: 'query', key, name: 'none', minSeq: 0 })).toMatchObject({ ok: false, seq })
    const unknown = { op: 'query', key: keyOf('sum', 'u'), name: 'total', minSeq: 0 } as const
    expect(await respond(world, unknown)).toMatchObject({ ok: false, error: { code: 'NOT_FOUND' }, seq: 2 })
  })

  it('G7: of a node that holds inputs which another has applied waits until it has applied them too', async () => {
    const world = new EngineWorld({ partitions: 1 })
    await world.start(life)
    const seq = world.send('sum', 's', 'signal', 'add', 1)
    await world.settled()
    await world.stop()
    // The next node has an empty disk, and has heard that the type is paused.
    world.disk = new MemoryDisk()
    world.controls.setType('sum', true)
    await world.start(life)
    const read = { op: 'query', key, name: 'total', minSeq: seq } as const
    expect(await respond(world, read)).toMatchObject({ ok: false })
    const asked = world.ask({ ...read, seen: seq })
    world.controls.setType('sum', false)
    expect(await asked).toBe(1)
  })

  it('to a worker never says that a call is not wanted which the node has not come to', async () => {
    const world = new EngineWorld({ partitions: 1 })
    await world.start(life)
    const seq = world.send('sum', 's', 'signal', 'ask')
    await world.settled()
    const wanted = { op: 'wanted', key, effect: `${seq}.0` } as const
    expect(await world.ask(wanted)).toBe(true)
    await world.stop()
    world.disk = new MemoryDisk()
    world.controls.setType('sum', true)
    await world.start(life)
    expect(await world.ask(wanted)).toBe(true)
    world.controls.setType('sum', false)
    await world.settled()
    expect(await world.ask(wanted)).toBe(true)
    expect(await world.ask({ ...wanted, effect: `${seq}.1` })).toBe(false)
  })
})
