import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, type, UpdateRejected } from '../index.ts'
import { HEADERS } from '../protocol/index.ts'
import { EngineWorld, keyOf } from '../testing/engine-world.ts'

const Stock = defineWorkflow('stock', {
  updates: { take: { input: type<number>(), output: type<number>() } },
  signals: { break: type<void>() },
  queries: { left: { output: type<number>() } },
})
const Buyer = defineWorkflow('buyer', {
  signals: { buy: type<number>(), strange: type<void>() },
  queries: { log: { output: type<readonly unknown[]>() } },
})
const Missing = defineWorkflow('missing', { updates: { take: {} } })

let isBroken = false
const stock = implement(Stock, {
  startOnSignal: true,
  state: () => ({ left: 100 }),
  on: {
    break() {
      if (isBroken) throw new Error('broken')
    },
  },
  updates: {
    take(ctx, n) {
      if (n > ctx.state.left) throw new UpdateRejected('sold out')
      ctx.state.left -= n
      return ctx.state.left
    },
  },
  queries: { left: ({ left }) => left },
})
const buyer = implement(Buyer, {
  startOnSignal: true,
  state: () => ({ log: [] as unknown[] }),
  on: {
    async buy(ctx, n) {
      ctx.state.log.push(await answer(ctx.workflow(Stock, 's').update('take', n)))
    },
    async strange(ctx) {
      ctx.state.log.push(await answer(ctx.workflow(Missing, 'm').update('take')))
    },
  },
  queries: { log: ({ log }) => log },
})

async function answer(result: Promise<unknown>): Promise<unknown> {
  return result.catch((error: unknown) => (error as { readonly details: { readonly code: string } }).details.code)
}

const life = { implementations: [stock, buyer] }

async function logOf(world: EngineWorld, id: string): Promise<readonly unknown[]> {
  return (await world.ask({ op: 'query', key: keyOf('buyer', id), name: 'log', minSeq: 0 })) as readonly unknown[]
}

describe('updates between instances', () => {
  it.each([1, 2, 3, 5])('are done once and answered once, with a crash after every %i inputs', async (every) => {
    const world = new EngineWorld()
    await world.start(life)
    for (let i = 0; i < 30; i++) world.send('buyer', `b${i % 3}`, 'signal', 'buy', 5, { id: `${i}` })
    let crashes = 0
    const answers = (): number => world.log.messages.filter(({ subject }) => subject.includes('.answer.')).length
    for (let next = world.log.lastSeq + every; answers() < 30;) {
      await world.clock.advance(5)
      await world.clock.yield()
      if (world.log.lastSeq < next) continue
      next = world.log.lastSeq + every
      crashes += 1
      await world.crash()
      await world.start(life)
    }
    await world.settled()
    const logs = await Promise.all(['b0', 'b1', 'b2'].map((id) => logOf(world, id)))
    expect(logs.map(({ length }) => length)).toEqual([10, 10, 10])
    // 100 are there: 20 buyers get five each, and each sees what it left.
    const left = logs.flat().filter((value) => typeof value === 'number')
    expect(left.sort((a, b) => b - a)).toEqual(Array.from({ length: 20 }, (_, n) => 95 - 5 * n))
    expect(logs.flat().filter((value) => value === 'UPDATE_REJECTED')).toHaveLength(10)
    expect(crashes).toBeGreaterThan(5)
    await world.stop()
  })

  it('wait for a suspended instance until it is resumed', async () => {
    const world = new EngineWorld()
    await world.start(life)
    isBroken = true
    world.send('stock', 's', 'signal', 'break')
    world.send('buyer', 'b', 'signal', 'buy', 1)
    await world.settled()
    expect(await logOf(world, 'b')).toEqual([])
    isBroken = false
    world.send('stock', 's', 'admin', 'resume')
    await world.settled()
    expect(await logOf(world, 'b')).toEqual([99])
    await world.stop()
  })

  it('are answered where no node runs the type', async () => {
    const world = new EngineWorld()
    await world.start(life)
    world.send('buyer', 'b', 'signal', 'strange')
    await world.settled()
    expect(await logOf(world, 'b')).toEqual(['UNKNOWN_TYPE'])
    await world.stop()
  })

  it('are the only inputs that an instance may ask an answer for: a signal cannot reach into a journal by it', async () => {
    const world = new EngineWorld()
    await world.start(life)
    world.send('buyer', 'b', 'signal', 'buy', 1)
    await world.settled()
    const addresses = [
      'instance:buyer.b/1.0',
      world.subjects.logOfKey(world.subjects.partitionOfKey('buyer.b'), 'buyer.b', 'admin', undefined),
    ]
    for (const address of addresses)
      world.send('stock', 's', 'signal', 'break', undefined, { headers: { [HEADERS.reply]: address } })
    await world.settled()
    expect(world.bus.published).toEqual([])
    expect(world.log.messages.filter(({ subject }) => subject.includes('.answer.'))).toHaveLength(1)
    expect(world.deadLetters).toMatchObject([{ reason: 'INVALID_ID' }, { reason: 'INVALID_ID' }])
    await world.stop()
  })
})
