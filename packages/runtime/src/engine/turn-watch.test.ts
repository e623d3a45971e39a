import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, implementActivities, type } from '../index.ts'
import type { InstanceKey, Partition } from '../protocol/index.ts'
import { EngineWorld, keyOf, type LifeOptions } from '../testing/engine-world.ts'
import type { BesideKind, Judgement, TurnBoard } from './turn-watch.ts'

const Box = defineWorkflow('box', {
  signals: { add: type<number>(), spin: type<void>(), work: type<string>(), turn: type<number>() },
  queries: { log: { output: type<unknown>() } },
  activities: { call: { input: type<string>(), output: type<string>() } },
})

interface State {
  readonly log: unknown[]
}

/** What ends the world in the middle of a turn, as a kill does. */
let onSpin: () => void = () => {}
const box = (more: { readonly version?: number; readonly onError?: 'dead-letter' } = {}) =>
  implement(Box, {
    startOnSignal: true,
    ...more,
    ...(more.version === undefined ? {} : { migrate: (state: unknown) => state as State }),
    state: (): State => ({ log: [] }),
    on: {
      add: (ctx, n) => void ctx.state.log.push(n),
      spin(ctx) {
        onSpin()
        ctx.state.log.push('spun')
      },
      async work(ctx, what) {
        ctx.state.log.push(await ctx.activities.call(what))
      },
      turn: (ctx, n) => ctx.continueAsNew(undefined, { state: { log: [n] } }),
    },
    queries: { log: ({ log }) => log },
  })

let letCall: (value: string) => void = () => {}
const activities = implementActivities(Box, { call: () => new Promise((resolve) => (letCall = resolve)) })
const life = (judgements: readonly Judgement[] = [], board: TurnBoard = new Board(), more = {}): LifeOptions => ({
  implementations: [box(more)],
  activities: [activities],
  watch: { board, judgements },
})
const logOf = (world: EngineWorld, id: string): Promise<unknown> =>
  world.ask({ op: 'query', key: keyOf('box', id), name: 'log', minSeq: 0 })

class Board implements TurnBoard {
  now: string | undefined
  readonly all: string[] = []

  turn(_: Partition, seq: number, isStandby: boolean): void {
    this.#begin(`${seq}${isStandby ? ' of a standby' : ''}`)
  }

  beside(kind: BesideKind, _: Partition, key: InstanceKey, name: string): void {
    this.#begin(`${kind} ${key} ${name}`)
  }

  end(): void {
    this.now = undefined
  }

  #begin(what: string): void {
    if (this.now !== undefined) throw new Error(`${this.now} has not ended when ${what} begins`)
    this.now = what
    this.all.push(what)
  }
}

function judged(world: EngineWorld, seq: number, id = 'a'): Judgement {
  const partition = world.subjects.partitionOfKey(keyOf('box', id))
  return { kind: 'turn', partition, seq, code: 'TURN_ENDLESS', reason: `the turn of seq ${seq} did not come back` }
}

/** A world that ended in the turn of a `spin` of instance a, and the place of that input. */
async function endedInSpin(more = {}): Promise<{ readonly world: EngineWorld; readonly seq: number }> {
  const world = new EngineWorld()
  const board = new Board()
  let ended = false
  let shown: string | undefined
  onSpin = () => {
    onSpin = () => {}
    shown = board.now
    ended = true
    world.crash().catch(() => undefined)
  }
  await world.start(life([], board, more))
  world.send('box', 'a', 'signal', 'add', 1)
  const seq = world.send('box', 'a', 'signal', 'spin')
  world.send('box', 'a', 'signal', 'add', 2)
  world.send('box', 'b', 'signal', 'add', 9)
  await world.until(() => ended)
  expect(shown).toBe(String(seq))
  return { world, seq }
}

describe('a turn that was judged', () => {
  it('suspends its instance in front of that input: the others go on, the suspension stays, and resume applies it', async () => {
    const { world, seq } = await endedInSpin()
    await world.start(life([judged(world, seq)]))
    await world.settled()
    const suspended = { status: 'suspended', queued: 2, suspended: { seq, error: { code: 'TURN_ENDLESS' } } }
    expect(await world.describe('box', 'a')).toMatchObject(suspended)
    expect(await logOf(world, 'a')).toEqual([1])
    expect(await logOf(world, 'b')).toEqual([9])
    await world.crash()
    await world.start(life())
    expect(await world.describe('box', 'a')).toMatchObject(suspended)
    world.send('box', 'a', 'admin', 'resume')
    await world.settled()
    expect(await logOf(world, 'a')).toEqual([1, 'spun', 2])
  })

  it('suspends again when it is judged again after a resume, and is left out by skip', async () => {
    const { world, seq } = await endedInSpin()
    await world.start(life([judged(world, seq)]))
    await world.settled()
    let ended = false
    onSpin = () => {
      onSpin = () => {}
      ended = true
      world.crash().catch(() => undefined)
    }
    world.send('box', 'a', 'admin', 'resume')
    await world.until(() => ended)
    await world.start(life([judged(world, seq)]))
    await world.settled()
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'suspended', suspended: { seq } })
    world.send('box', 'a', 'admin', 'skip', { seq })
    await world.settled()
    expect(await logOf(world, 'a')).toEqual([1, 2])
    expect(world.deadLetters).toMatchObject([{ seq, reason: 'TURN_ENDLESS' }])
  })

  it('suspends under every policy: nothing else may follow from what another node may judge otherwise', async () => {
    const { world, seq } = await endedInSpin({ onError: 'dead-letter' })
    await world.start(life([judged(world, seq)], new Board(), { onError: 'dead-letter' }))
    await world.settled()
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'suspended', suspended: { seq } })
    expect(world.deadLetters).toEqual([])
  })

  it('suspends where it stands in the tail of a coroutine that waits, with what came behind it', async () => {
    const world = new EngineWorld()
    await world.start(life())
    const work = world.send('box', 'a', 'signal', 'work', 'x')
    world.send('box', 'a', 'signal', 'add', 1)
    await world.settled()
    await world.crash()
    const board = new Board()
    await world.start(life([judged(world, work)], board))
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'suspended', queued: 2, suspended: { seq: work } })
    world.send('box', 'a', 'admin', 'resume')
    await world.until(() => board.all.includes(String(work)))
    letCall('y')
    await world.settled()
    expect(await logOf(world, 'a')).toEqual(['y', 1])
  })

  it('suspends an instance that continued as new in that turn, when it is taken up again', async () => {
    const world = new EngineWorld()
    const board = new Board()
    await world.start(life([], board))
    world.send('box', 'a', 'signal', 'work', 'x')
    world.send('box', 'a', 'signal', 'turn', 5)
    world.send('box', 'a', 'signal', 'work', 'z')
    await world.settled()
    letCall('y')
    await world.settled()
    // In the turn of the result the instance continued as new, and began to wait again.
    const seq = Number(board.all.at(-1))
    expect(await logOf(world, 'a')).toEqual([5])
    await world.crash()
    await world.start(life([judged(world, seq)]))
    expect(await world.describe('box', 'a')).toMatchObject({
      status: 'suspended',
      suspended: { seq, error: { code: 'TURN_ENDLESS' } },
    })
    world.send('box', 'a', 'admin', 'resume')
    await world.settled()
    letCall('w')
    await world.settled()
    expect(await logOf(world, 'a')).toEqual([5, 'w'])
  })
})

describe('code beside the turns that was judged', () => {
  it('suspends an instance whose migration did not come back, its data as they were, until resume migrates them', async () => {
    const world = new EngineWorld()
    await world.start(life())
    world.send('box', 'a', 'signal', 'add', 1)
    await world.settled()
    await world.stop()
    const key = keyOf('box', 'a')
    const partition = world.subjects.partitionOfKey(key)
    const judgement = { kind: 'migrate', partition, key, name: '', code: 'TURN_ENDLESS', reason: 'no end' } as const
    const board = new Board()
    await world.start(life([judgement], board, { version: 2 }))
    world.send('box', 'a', 'signal', 'add', 2)
    await world.settled()
    expect(await world.describe('box', 'a')).toMatchObject({
      status: 'suspended',
      suspended: { error: { code: 'TURN_ENDLESS', message: 'no end' } },
    })
    expect(board.all).not.toContain(`migrate ${key} `)
    world.send('box', 'a', 'admin', 'resume')
    await world.settled()
    expect(board.all).toContain(`migrate ${key} `)
    expect(await logOf(world, 'a')).toEqual([1, 2])
  })

  it('refuses a query for a minute, of that instance and name alone, and then tries it again', async () => {
    const world = new EngineWorld()
    const key = keyOf('box', 'a')
    const partition = world.subjects.partitionOfKey(key)
    const judgement = { kind: 'query', partition, key, name: 'log', code: 'TURN_ENDLESS', reason: 'no end' } as const
    await world.start(life([judgement]))
    world.send('box', 'a', 'signal', 'add', 1)
    world.send('box', 'b', 'signal', 'add', 2)
    await world.settled()
    await expect(logOf(world, 'a')).rejects.toMatchObject({ code: 'TURN_ENDLESS', message: 'no end' })
    await expect(logOf(world, 'a')).rejects.toMatchObject({ code: 'TURN_ENDLESS' })
    expect(await logOf(world, 'b')).toEqual([2])
    expect(await world.describe('box', 'a')).toMatchObject({ status: 'running' })
    await world.clock.advance(60_000)
    expect(await logOf(world, 'a')).toEqual([1])
  })
})

describe('the board', () => {
  it('shows each turn while it runs, live, while catching up and folded again, and nothing in between', async () => {
    const world = new EngineWorld()
    const first = new Board()
    await world.start(life([], first))
    const add = world.send('box', 'a', 'signal', 'add', 1)
    const work = world.send('box', 'b', 'signal', 'work', 'x')
    await world.settled()
    await logOf(world, 'a')
    expect(first.all).toEqual([`${add}`, `${work}`, `query ${keyOf('box', 'a')} log`])
    expect(first.now).toBeUndefined()
    await world.crash()
    const late = world.send('box', 'b', 'signal', 'add', 2)
    const second = new Board()
    await world.start(life([], second))
    await world.settled()
    expect(second.all).toEqual([`${work}`, `${late}`])
    expect(second.now).toBeUndefined()
  })
})
