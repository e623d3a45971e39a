import { describe, expect, it } from 'vitest'

import { type Context, defineWorkflow, implement, implementActivities, type } from '../index.ts'
import { HEADERS } from '../protocol/index.ts'
import { EngineWorld, keyOf } from '../testing/engine-world.ts'
import type { AppendFault } from '../testing/memory-log.ts'

const Ledger = defineWorkflow('ledger', {
  signals: {
    add: type<void>(),
    note: type<{ from: string; nth: number }>(),
    burst: type<{ to: string; count: number }>(),
  },
  queries: { state: { output: type<LedgerState>() } },
})

interface LedgerState {
  readonly inputs: number
  /** Signals sent, by the one they went to. */
  readonly sent: Readonly<Record<string, number>>
  /** The numbers that came, by the one they came from. */
  readonly noted: Readonly<Record<string, readonly number[]>>
}

const ids = ['a', 'b', 'c', 'd', 'e']

/** Every 5th input of a ledger signals another, each of them in turn, itself too. */
const ledgerOf = (knownIdsMax?: number) =>
  implement(Ledger, {
    startOnSignal: true,
    ...(knownIdsMax === undefined ? {} : { knownIdsMax }),
    state: () => ({
      inputs: 0,
      sent: {} as Record<string, number>,
      noted: {} as Record<string, number[]>,
    }),
    on: {
      add: (ctx) => count(ctx),
      note(ctx, { from, nth }) {
        ;(ctx.state.noted[from] ??= []).push(nth)
        count(ctx)
      },
      burst(ctx, { to, count: signals }) {
        for (let i = 0; i < signals; i++) tell(ctx, to)
      },
    },
    queries: { state: (state) => state },
  })
const ledger = ledgerOf()

type LedgerContext = Context<(typeof Ledger)['shape'], MutableState>
interface MutableState {
  inputs: number
  sent: Record<string, number>
  noted: Record<string, number[]>
}

function count(ctx: LedgerContext): void {
  ctx.state.inputs += 1
  if (ctx.state.inputs % 5 !== 0) return
  tell(ctx, ids[(ctx.state.inputs / 5) % ids.length] as string)
}

function tell(ctx: LedgerContext, to: string): void {
  const nth = (ctx.state.sent[to] ?? 0) + 1
  ctx.state.sent[to] = nth
  ctx.workflow(Ledger, to).signal('note', { from: ctx.id, nth })
}

async function stateOf(world: EngineWorld, id: string): Promise<LedgerState> {
  return (await world.ask({ op: 'query', key: keyOf('ledger', id), name: 'state', minSeq: 0 })) as LedgerState
}

/** What every one sent to every other, and that it came there: once, and in order. Gives how many did. */
async function checkLedgers(world: EngineWorld): Promise<number> {
  const states = new Map<string, LedgerState>()
  for (const id of ids) states.set(id, await stateOf(world, id))
  let sent = 0
  for (const [from, sender] of states) {
    for (const [to, receiver] of states) {
      const signals = sender.sent[to] ?? 0
      sent += signals
      expect(receiver.noted[from] ?? [], `${from} to ${to}`).toEqual(Array.from({ length: signals }, (_, n) => n + 1))
    }
  }
  return sent
}

/** A send that fails is tried again a second later, so a quiet world may not be done. */
async function allSent(world: EngineWorld): Promise<void> {
  const isDone = (): boolean => [...world.store.range('effect', { from: '', to: '~', limit: 1 })].length === 0
  do {
    await world.until(isDone, 100)
    await world.settled()
  } while (!isDone())
}

/** Numbers from 0 to 1, the same for a seed. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let bits = Math.imul(state ^ (state >>> 15), 1 | state)
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
}

describe('signals between instances', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'are neither lost nor doubled, and stay in order, over crashes and an unreliable journal (seed %i)',
    async (seed) => {
      const next = random(seed)
      const faults: (AppendFault | undefined)[] = ['stored-twice', 'stored-unacknowledged', 'not-stored']
      let faulty = true
      let failed = 0
      const world = new EngineWorld({
        onAppend() {
          const fault = faulty && next() < 0.1 ? faults[Math.floor(next() * faults.length)] : undefined
          if (fault !== undefined) failed += 1
          return fault
        },
      })
      // So few places that most wait in the store.
      const life = { implementations: [ledger], limits: { sendsInFlightMax: 1 + Math.floor(next() * 4) } }
      await world.start(life)
      let crashes = 0
      for (let i = 0; i < 600; i++) {
        const id = ids[Math.floor(next() * ids.length)] as string
        if (next() < 0.03)
          world.send('ledger', id, 'signal', 'burst', { to: ids[Math.floor(next() * ids.length)], count: 7 })
        else world.send('ledger', id, 'signal', 'add', undefined, { id: `in-${i}` })
        for (let rounds = Math.floor(next() * 3); rounds > 0; rounds--) {
          await world.clock.advance(Math.floor(next() * 40))
          await world.clock.yield()
        }
        if (next() > 0.02) continue
        crashes += 1
        await world.crash()
        await world.start(life)
      }
      faulty = false
      await allSent(world)
      const sent = await checkLedgers(world)
      expect(sent).toBeGreaterThan(150)
      expect([crashes > 0, failed > 0]).toEqual([true, true])
      expect(world.deadLetters).toEqual([])
      await world.stop()
    },
  )

  it('are not sent again when the journal shows them, also where the receiver has forgotten their ids', async () => {
    const world = new EngineWorld()
    const life = { implementations: [ledgerOf(2)], limits: { commitEveryMs: 60_000 } }
    await world.start(life)
    world.send('ledger', 'a', 'signal', 'burst', { to: 'b', count: 3 })
    await world.until(() => world.log.lastSeq === 4)
    await world.crash()
    // Nothing was committed, and b remembers two ids.
    for (let i = 0; i < 20; i++) world.send('ledger', 'b', 'signal', 'note', { from: 'x', nth: i }, { id: `x-${i}` })
    await world.start({ ...life, limits: {} })
    await world.settled()
    expect((await stateOf(world, 'b')).noted['a']).toEqual([1, 2, 3])
    expect(
      world.log.messages.filter((message) => message.header(HEADERS.id)?.startsWith('ledger.a/') === true),
    ).toHaveLength(3)
    await world.stop()
  })

  it('are sent once the journal can be written, in order, without holding up other pairs', async () => {
    let isDown = true
    const world = new EngineWorld({
      onAppend: (subject) => (isDown && subject.includes('.b.') ? 'not-stored' : undefined),
    })
    await world.start({ implementations: [ledger] })
    world.send('ledger', 'a', 'signal', 'burst', { to: 'b', count: 20 })
    world.send('ledger', 'a', 'signal', 'burst', { to: 'c', count: 2 })
    await world.until(() => world.log.messages.filter(({ subject }) => subject.includes('.c.')).length === 2)
    expect(world.log.messages.filter(({ subject }) => subject.includes('.b.'))).toEqual([])
    isDown = false
    await world.until(() => world.log.messages.some(({ subject }) => subject.includes('.b.')))
    await allSent(world)
    expect((await stateOf(world, 'b')).noted['a']).toEqual(Array.from({ length: 20 }, (_, n) => n + 1))
    await world.stop()
  })

  it('leave although activities of the same partition have no room', async () => {
    const Busy = defineWorkflow('busy', { signals: { go: type<void>() }, activities: { wait: {} } })
    const busy = implement(Busy, {
      startOnSignal: true,
      state: () => ({}),
      on: {
        async go(ctx) {
          const waits = Array.from({ length: 5 }, () => ctx.activities.wait())
          ctx.workflow(Ledger, 'b').signal('note', { from: 'busy', nth: 1 })
          await Promise.all(waits)
        },
      },
    })
    const never = (): Promise<void> => new Promise(() => {})
    const world = new EngineWorld({ partitions: 1 })
    await world.start({
      implementations: [busy, ledger],
      activities: [implementActivities(Busy, { wait: (_, { signal }) => Promise.race([never(), aborted(signal)]) })],
      limits: { activitiesMax: 1, activityQueueMax: 1 },
    })
    world.send('busy', 'a', 'signal', 'go')
    await world.settled()
    expect((await stateOf(world, 'b')).noted).toEqual({ busy: [1] })
    await world.stop()
  })

  it('of a suspended instance leave when it is resumed, in front of its later ones', async () => {
    const Fragile = defineWorkflow('fragile', { signals: { tell: type<number>() } })
    let isBroken = true
    const fragile = implement(Fragile, {
      startOnSignal: true,
      state: () => ({}),
      on: {
        tell(ctx, nth) {
          if (isBroken) throw new Error('broken')
          ctx.workflow(Ledger, 'b').signal('note', { from: ctx.id, nth })
        },
      },
    })
    const world = new EngineWorld({ partitions: 1 })
    await world.start({ implementations: [fragile, ledger], limits: { sendsInFlightMax: 1 } })
    for (let nth = 1; nth <= 5; nth++) world.send('fragile', 'f', 'signal', 'tell', nth)
    // Later ones of another go in front of those that wait.
    world.send('ledger', 'a', 'signal', 'burst', { to: 'c', count: 5 })
    await world.settled()
    isBroken = false
    world.send('fragile', 'f', 'admin', 'resume')
    for (let nth = 6; nth <= 9; nth++) world.send('fragile', 'f', 'signal', 'tell', nth)
    await world.settled()
    expect((await stateOf(world, 'b')).noted['f']).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
    await world.stop()
  })

  it('that nobody takes are dead letters of the receiver, and trouble nobody else', async () => {
    const Gone = defineWorkflow('gone', { signals: { hello: type<void>() } })
    const Caller = defineWorkflow('caller', { signals: { call: type<void>() } })
    const caller = implement(Caller, {
      startOnSignal: true,
      state: () => ({}),
      on: { call: (ctx) => ctx.workflow(Gone, 'x').signal('hello') },
    })
    const world = new EngineWorld()
    await world.start({ implementations: [caller] })
    world.send('caller', 'a', 'signal', 'call')
    await world.settled()
    expect(world.deadLetters).toMatchObject([{ reason: 'UNKNOWN_TYPE' }])
    expect((await world.describe('caller', 'a')).status).toBe('running')
    await world.stop()
  })
})

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
}
