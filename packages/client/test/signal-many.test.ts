import { codeOf } from '@carillon/runtime'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import { type Carillon, connect, type SignalItem, type SignalManyProgress } from '../src/index.ts'
import { Loyalty } from './loyalty.ts'
import { type ScriptedCluster, startScriptedCluster, until } from './scripted-cluster.ts'

type Item = SignalItem<typeof Loyalty>

let cluster: ScriptedCluster
let carillon: Carillon

beforeAll(async () => {
  cluster = await startScriptedCluster()
})
afterAll(() => cluster.stop())
beforeEach(async () => {
  cluster.inputs.length = 0
  carillon = await connect({ servers: cluster.server.url })
})
afterEach(() => carillon.close())

function note(id: string, payload: unknown, inputId?: string): Item {
  return { workflow: Loyalty, id, name: 'note', payload, inputId }
}

function* notes(count: number, instances: number): Generator<Item> {
  for (let i = 0; i < count; i++) yield note(`m-${i % instances}`, i, `n-${i}`)
}

/** Not valid: the amount is below zero. */
const POISON: Item = { workflow: Loyalty, id: 'm-1', name: 'purchase', payload: { orderId: 'bad', amount: -1 } }

async function payloads(id: string): Promise<unknown[]> {
  const all = []
  for await (const { payload } of carillon.workflow(Loyalty, id).history()) all.push(payload)
  return all
}

describe('signalMany', () => {
  it('sends every signal, in order per instance, and tells how far it is', async () => {
    const seen: SignalManyProgress[] = []
    const result = await carillon.signalMany(notes(5000, 7), {
      onProgress: (progress) => seen.push(progress),
      progressEvery: 1000,
    })
    expect(result).toEqual({ accepted: 5000, failed: 0, settledThrough: 5000, failures: [] })
    expect(seen.map(({ accepted }) => accepted)).toEqual([1000, 2000, 3000, 4000, 5000, 5000])
    for (let i = 0; i < 7; i++)
      expect(await payloads(`m-${i}`)).toEqual(Array.from({ length: 5000 }, (_, n) => n).filter((n) => n % 7 === i))
  })

  it('takes no more from the iterable than there is room for', async () => {
    let taken = 0
    let settled = 0
    let ahead = 0
    async function* slowly(): AsyncGenerator<Item> {
      for (const item of notes(500, 50)) {
        taken += 1
        ahead = Math.max(ahead, taken - settled)
        yield { ...item, id: `slow-${item.id}` }
      }
    }
    const onProgress = ({ accepted }: SignalManyProgress): void => void (settled = accepted)
    const { accepted } = await carillon.signalMany(slowly(), { inFlightMax: 10, progressEvery: 1, onProgress })
    expect(accepted).toBe(500)
    expect(ahead).toBeLessThanOrEqual(10)
  })

  it('stops at a failed item, names it, and says how far all went', async () => {
    let ended = false
    function* items(): Generator<Item> {
      try {
        for (let i = 0; i < 30; i++) yield i === 12 ? POISON : note(`stop-${i}`, i)
      } finally {
        ended = true
      }
    }
    const error: unknown = await carillon.signalMany(items()).catch((error: unknown) => error)
    expect(error).toMatchObject({
      code: 'INVALID_PAYLOAD',
      message: expect.stringMatching(/^item 12, signal "purchase" to loyalty\/"m-1", failed: .*12 were accepted/),
      details: { index: 12, id: 'm-1', name: 'purchase', accepted: 12, failed: 1, settledThrough: 13 },
    })
    expect(ended).toBe(true)
    expect(await payloads('stop-11')).toEqual([11])
    expect(await payloads('stop-13')).toEqual([])
  })

  it('goes on behind failed items when it shall collect them, and describes only so many', async () => {
    function* items(): Generator<Item> {
      for (let i = 0; i < 100; i++) yield i % 10 === 0 ? POISON : note(`collect-${i}`, i)
    }
    const result = await carillon.signalMany(items(), { onError: 'collect', failuresMax: 3 })
    expect(result).toMatchObject({ accepted: 90, failed: 10, settledThrough: 100 })
    expect(result.failures.map(({ index, name, error }) => [index, name, codeOf(error)])).toEqual(
      [0, 10, 20].map((index) => [index, 'purchase', 'INVALID_PAYLOAD']),
    )
  })

  it('settles what it took before it passes on what the iterable throws', async () => {
    function* items(): Generator<Item> {
      yield* notes(20, 20)
      throw new Error('the file ended early')
    }
    const seen: SignalManyProgress[] = []
    await expect(carillon.signalMany(items(), { onProgress: (progress) => seen.push(progress) })).rejects.toThrow(
      'the file ended early',
    )
    expect(seen.at(-1)).toEqual({ accepted: 20, failed: 0, settledThrough: 20 })
  })

  it('takes no more once aborted, and rejects with the reason', async () => {
    const abort = new AbortController()
    let taken = 0
    function* endless(): Generator<Item> {
      for (;;) {
        taken += 1
        if (taken === 50) abort.abort(new Error('enough'))
        yield note(`endless-${taken % 5}`, taken)
      }
    }
    await expect(carillon.signalMany(endless(), { signal: abort.signal })).rejects.toThrow('enough')
    expect(taken).toBe(50)
  })

  it('is ended by close, with everything settled', async () => {
    async function* endless(): AsyncGenerator<Item> {
      for (let i = 0; ; i++) yield note(`closing-${i % 5}`, i)
    }
    const sending = carillon.signalMany(endless()).catch(codeOf)
    await until('some are seen', () => cluster.inputs.length > 100)
    await carillon.close()
    expect(await sending).toBe('CLOSING')
  })

  it('refuses limits that are none', async () => {
    for (const options of [{ inFlightMax: 0 }, { inFlightMax: 1e6 }, { failuresMax: 0 }, { progressEvery: 0.5 }]) {
      expect(await carillon.signalMany(notes(1, 1), options).catch(codeOf)).toBe('CONFIG_INVALID')
    }
  })

  it(
    'loses nothing and keeps the order per instance when the server dies and comes back',
    { timeout: 60_000 },
    async () => {
      const own = await startScriptedCluster()
      const client = await connect({ servers: own.server.url })
      const sending = client.signalMany(notes(20_000, 20))
      await until('it is under way', () => own.inputs.length > 1000)
      await own.server.kill9()
      await own.server.restart()
      expect(await sending).toMatchObject({ accepted: 20_000, failed: 0 })
      for (let i = 0; i < 20; i++) {
        const ids = new Set<string | undefined>()
        for await (const { id } of client.workflow(Loyalty, `m-${i}`).history()) ids.add(id)
        expect([...ids]).toEqual(Array.from({ length: 1000 }, (_, n) => `n-${n * 20 + i}`))
      }
      await client.close()
      await own.stop()
    },
  )
})
