/** Signals against instances that complete: every one is handled once, in this life or the next, or is answered and dead-lettered. */
import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, implementActivities, type } from '../index.ts'
import { EngineWorld, keyOf } from '../testing/engine-world.ts'

const INSTANCES = 10
const ROUNDS = 1000

/** By what a signal makes of its instance. */
const KINDS = ['note', 'act', 'done', 'doneLater', 'fail', 'renew', 'beside'] as const
const signals = Object.fromEntries(KINDS.map((kind) => [kind, type<string>()])) as {
  readonly [K in (typeof KINDS)[number]]: ReturnType<typeof type<string>>
}

/** What handlers have seen, in order: outside of the instances, because it is about all lives of them. */
function stormOf(name: string, startOnSignal: boolean, seen: Map<string, string[]>) {
  const Storm = defineWorkflow(name, { signals, activities: { call: {} } })
  const see = (id: string, signal: string): void => {
    const list = seen.get(id) ?? []
    seen.set(id, list)
    list.push(signal)
  }
  const storm = implement(Storm, {
    startOnSignal,
    state: () => ({}),
    on: {
      note: (ctx, id) => see(ctx.id, id),
      async act(ctx, id) {
        see(ctx.id, id)
        await ctx.activities.call()
      },
      done(ctx, id) {
        see(ctx.id, id)
        ctx.complete()
      },
      async doneLater(ctx, id) {
        see(ctx.id, id)
        ctx.complete()
        await ctx.activities.call()
      },
      fail(ctx, id) {
        see(ctx.id, id)
        ctx.fail('on purpose')
      },
      async renew(ctx, id) {
        see(ctx.id, id)
        ctx.continueAsNew()
        await ctx.activities.call()
      },
      async beside(ctx, id) {
        see(ctx.id, id)
        await ctx.activities.call()
      },
    },
    concurrent: ['beside'],
  })
  return { storm, activities: implementActivities(Storm, { call: () => undefined }) }
}

async function run(startOnSignal: boolean): Promise<{
  readonly seen: ReadonlyMap<string, readonly string[]>
  readonly sent: ReadonlyMap<string, readonly string[]>
  readonly codes: ReadonlyMap<string, readonly string[]>
  readonly dead: readonly string[]
  readonly incarnations: number
}> {
  const seen = new Map<string, string[]>()
  const { storm, activities } = stormOf('storm', startOnSignal, seen)
  const world = new EngineWorld({ partitions: 2 })
  await world.start({ implementations: [storm], activities: [activities] })
  const sent = new Map<string, string[]>()
  const seqs = new Map<number, string>()
  let random = 12345
  const dice = (sides: number): number => {
    random = (random * 1103515245 + 12345) % 2147483648
    return Math.floor((random / 2147483648) * sides)
  }
  for (let round = 0; round < ROUNDS; round++) {
    const id = `i${dice(INSTANCES)}`
    if (!startOnSignal && dice(3) === 0) world.send('storm', id, 'start', '', undefined, { id: `start-${round}` })
    const signal = `s${round}`
    seqs.set(
      world.send('storm', id, 'signal', KINDS[dice(KINDS.length)] ?? 'note', signal, {
        id: signal,
        reply: `_INBOX.${signal}`,
      }),
      signal,
    )
    sent.set(id, [...(sent.get(id) ?? []), signal])
    if (dice(7) === 0) await world.clock.advance(5)
  }
  await world.settled()
  let incarnations = 0
  for (const id of sent.keys())
    incarnations += (
      (await world.ask({ op: 'describe', key: keyOf('storm', id), minSeq: 0 })) as { incarnation: number }
    ).incarnation
  const codes = new Map(
    [...seqs.values()].map((signal) => [
      signal,
      world.replies(`_INBOX.${signal}`).map(({ outcome }) => (outcome.ok ? 'ok' : outcome.error.code)),
    ]),
  )
  const dead = world.deadLetters.map(({ seq }) => seqs.get(seq) ?? `seq ${seq}`)
  await world.stop()
  return { seen, sent, codes, dead, incarnations }
}

describe('a storm of signals against instances that complete, fail and continue as new', () => {
  it('is handled to the last signal, once each, in order, where the next life begins by itself', async () => {
    const { seen, sent, codes, dead, incarnations } = await run(true)
    // A concurrent handler may start before those that wait.
    for (const [id, signals] of sent) expect(seen.get(id)?.toSorted(byNumber)).toEqual(signals)
    expect([...codes.values()].filter((list) => list.join() !== 'ok')).toEqual([])
    expect(codes.size).toBe(ROUNDS)
    expect(dead).toEqual([])
    expect(incarnations).toBeGreaterThan(ROUNDS / 10)
  })

  it('is handled once, or answered and dead-lettered, where it does not', async () => {
    const { seen, sent, codes, dead } = await run(false)
    const handled = new Set([...seen.values()].flat())
    for (const signal of [...sent.values()].flat()) {
      const [code, ...more] = codes.get(signal) ?? []
      expect(more).toEqual([])
      if (handled.has(signal)) expect(code).toBe('ok')
      else expect(['CLOSED', 'NOT_FOUND']).toContain(code)
    }
    expect([...seen.values()].flat()).toHaveLength(handled.size)
    expect(handled.size).toBeGreaterThan(ROUNDS / 10)
    expect(dead.toSorted()).toEqual(
      [...sent.values()]
        .flat()
        .filter((signal) => !handled.has(signal))
        .toSorted(),
    )
    expect(dead.length).toBeGreaterThan(ROUNDS / 10)
  })
})

function byNumber(a: string, b: string): number {
  return Number(a.slice(1)) - Number(b.slice(1))
}
