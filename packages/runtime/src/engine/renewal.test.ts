/** Very many signals to one instance whose `run` receives them: with continueAsNew, everything about it stays flat. */
import { describe, expect, it } from 'vitest'

import { recordKey } from '../core/index.ts'
import { defineWorkflow, implement, type } from '../index.ts'
import { decodeValue as decode } from '../protocol/index.ts'
import { EngineWorld, keyOf } from '../testing/engine-world.ts'

const Feed = defineWorkflow('feed', { input: type<number>(), signals: { item: type<number>() } })

/** Continues as new every so many items; never, if zero. */
function feed(every: number): ReturnType<typeof implement> {
  return implement(Feed, {
    startOnSignal: true,
    knownIdsMax: 1000,
    state: (seen = 0) => ({ seen, sum: 0 }),
    async run(ctx) {
      do {
        const { payload } = await ctx.receive('item')
        ctx.state.seen += 1
        ctx.state.sum += payload
      } while (ctx.state.seen % every !== 0)
      return ctx.continueAsNew(ctx.state.seen, { state: ctx.state })
    },
  })
}

interface Flood {
  readonly digest: string
  readonly tailRowsMax: number
  readonly recordBytesMax: number
  readonly idRowsMax: number
  readonly firstMs: number
  readonly lastMs: number
  /** Turns that a restart runs again. */
  readonly restartMs: number
}

/** Waves of signals; what is on disk is looked at between them. */
async function flood(every: number, waves: number, perWave: number): Promise<Flood> {
  const world = new EngineWorld({ partitions: 1 })
  const life = { implementations: [feed(every)] }
  await world.start(life)
  const key = recordKey(0 as never, keyOf('feed', 'f'))
  const waveMs: number[] = []
  let tailRowsMax = 0
  let recordBytesMax = 0
  let idRowsMax = 0
  for (let wave = 0; wave < waves; wave++) {
    const startMs = performance.now()
    for (let n = 0; n < perWave; n++) world.send('feed', 'f', 'signal', 'item', n, { id: `id-${wave * perWave + n}` })
    const { commits } = world.engine.counts
    await world.until(() => world.engine.position === world.log.lastSeq)
    await world.until(() => world.engine.counts.commits > commits && !hasUnsaved(world), 50)
    waveMs.push(performance.now() - startMs)
    tailRowsMax = Math.max(tailRowsMax, rows(world, 'tail'))
    idRowsMax = Math.max(idRowsMax, rows(world, 'ids'))
    recordBytesMax = Math.max(recordBytesMax, world.store.get('record', key)?.length ?? 0)
  }
  const { digest } = await world.describe('feed', 'f')
  await world.crash()
  const restartedMs = performance.now()
  await world.start(life)
  expect(await world.describe('feed', 'f')).toMatchObject({ digest, status: 'running' })
  const restartMs = performance.now() - restartedMs
  await world.crash()
  const half = Math.floor(waves / 2)
  return {
    digest,
    tailRowsMax,
    recordBytesMax,
    idRowsMax,
    firstMs: median(waveMs.slice(1, half)),
    lastMs: median(waveMs.slice(half)),
    restartMs,
  }
}

function hasUnsaved(world: EngineWorld): boolean {
  return world.store.get('meta', 'position/0000') === undefined || savedPosition(world) < world.log.lastSeq
}

function savedPosition(world: EngineWorld): number {
  const bytes = world.store.get('meta', 'position/0000')
  return bytes === undefined ? 0 : (decode(bytes) as number)
}

function rows(world: EngineWorld, table: 'tail' | 'ids'): number {
  return [...world.store.range(table, { from: '', to: '~' })].length
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

describe('very many signals to one instance that receives them', () => {
  it('keep tail, record and time per signal flat with continueAsNew; without it the tail grows by each one', async () => {
    const renewed = await flood(50, 20, 2000)
    expect(renewed.tailRowsMax).toBeLessThanOrEqual(50)
    expect(renewed.recordBytesMax).toBeLessThan(10_000)
    expect(renewed.idRowsMax).toBeLessThanOrEqual(1000 / 64 + 3)
    expect(renewed.lastMs).toBeLessThan(renewed.firstMs * 3)

    const endless = await flood(Infinity, 20, 2000)
    expect(endless.tailRowsMax).toBe(40_000)
    // A restart applies the tail again: the price that continueAsNew saves.
    expect(endless.restartMs).toBeGreaterThan(renewed.restartMs)
    expect(endless.lastMs).toBeLessThan(endless.firstMs * 3)
  }, 60_000)
})
