/** Several engines over one journal: partitions move between them in every way, and nothing that users see tells of it. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { type ActivityContext, defineWorkflow, implement, implementActivities, type } from '../index.ts'
import type { Partition } from '../protocol/index.ts'
import { EngineWorld, keyOf, type LifeOptions } from '../testing/engine-world.ts'
import type { HostedPartition } from './hosted.ts'

interface LedgerState {
  readonly entries: readonly (readonly [string, number])[]
  readonly notes: readonly string[]
}

const Ledger = defineWorkflow('ledger', {
  signals: { add: type<number>(), note: type<string>(), nap: type<number>() },
  queries: { state: { output: type<LedgerState>() } },
  activities: { double: { input: type<number>(), output: type<number>(), retry: { attempts: 1 } } },
})

const IDS = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
const nextTo = (id: string, n: number): string => IDS[(IDS.indexOf(id) + 1 + (n % 3)) % IDS.length] as string

/** Every 3rd runs an activity, every 5th tells another, every 7th sleeps: each leaves its trace in the state. */
const ledger = implement(Ledger, {
  startOnSignal: true,
  state: () => ({ entries: [] as [string, number][], notes: [] as string[] }),
  on: {
    async add(ctx, n) {
      ctx.state.entries.push(['add', n])
      if (n % 5 === 0) ctx.workflow(Ledger, nextTo(ctx.id, n)).signal('note', `${ctx.id}:${n}`)
      if (n % 7 === 0) await ctx.sleep(30)
      if (n % 3 === 0) ctx.state.entries.push(['double', await ctx.activities.double(n)])
    },
    note: (ctx, text) => void ctx.state.notes.push(text),
    nap: (ctx, ms) => ctx.sleep(ms),
  },
  queries: { state: (state) => state },
})

/** What the journal makes of a ledger, by another way than the engine's. */
function expected(id: string, added: readonly number[]): LedgerState['entries'] {
  expect(IDS).toContain(id)
  return added.flatMap((n): [string, number][] =>
    n % 3 === 0
      ? [
          ['add', n],
          ['double', 2 * n],
        ]
      : [['add', n]],
  )
}

const PARTITIONS = 3
const partitions = Array.from({ length: PARTITIONS }, (_, p) => p as Partition)

/** A cluster of engines that a test moves partitions between. */
class Cluster {
  readonly nodes: EngineWorld[]
  readonly runs: number[] = []

  constructor(count: number, options: ConstructorParameters<typeof EngineWorld>[0] = {}) {
    const first = new EngineWorld({ partitions: PARTITIONS, ...options })
    this.nodes = [first, ...Array.from({ length: count - 1 }, () => new EngineWorld({ beside: first }))]
  }

  get first(): EngineWorld {
    return this.nodes[0] as EngineWorld
  }

  async start(
    node: EngineWorld,
    work?: (n: number, ctx: ActivityContext) => Promise<number>,
    gate?: LifeOptions['gate'],
  ): Promise<void> {
    await node.open({
      implementations: [ledger],
      activities: [
        implementActivities(Ledger, {
          double: (n, ctx) => {
            if (work !== undefined) return work(n, ctx)
            this.runs.push(n)
            return 2 * n
          },
        }),
      ],
      partitions: [],
      ...(gate === undefined ? {} : { gate }),
    })
  }

  /** Lets time go on until a task of an engine has ended. */
  async done<T>(task: Promise<T>): Promise<T> {
    let isDone = false
    const over = (): void => void (isDone = true)
    task.then(over, over)
    await this.first.until(() => isDone)
    return task
  }

  /** Until nothing is pending anywhere, and every engine has applied the journal. */
  async settled(): Promise<void> {
    let quiet = 0
    let last = -1
    await this.first.until(() => {
      const { lastSeq } = this.first.log
      const isBusy = this.nodes.some(
        (node) => node.isUp && node.engine.hosted().some((one) => isBehind(node, one, lastSeq)),
      )
      quiet = !isBusy && lastSeq === last ? quiet + 1 : 0
      last = lastSeq
      return quiet > 60
    })
  }

  /** What owners tell standbys now and then: which effects they need not remember. */
  tellEffectsDone(): void {
    const up = this.nodes.filter(({ isUp }) => isUp)
    for (const { engine } of up)
      for (const { partition, role, effectsDoneSeq } of engine.hosted())
        if (role === 'owner') for (const other of up) other.engine.effectsDone(partition, effectsDoneSeq)
  }

  async stateOf(id: string): Promise<LedgerState> {
    return (await this.first.ask({
      op: 'query',
      key: keyOf('ledger', id),
      name: 'state',
      minSeq: this.first.log.lastSeq,
    })) as LedgerState
  }
}

/** Not all is applied, or something is pending. */
function isBehind({ store }: EngineWorld, { partition, appliedSeq }: HostedPartition, lastSeq: number): boolean {
  const prefix = partition.toString(16).padStart(4, '0')
  const range = { from: `${prefix}/`, to: `${prefix}0`, limit: 1 }
  return appliedSeq < lastSeq || [...store.range('effect', range), ...store.range('timer', range)].length > 0
}

/** The adds in the journal, by ledger, without repeats. */
function addsOf(cluster: Cluster, sent: ReadonlyMap<number, readonly [string, number]>): Map<string, number[]> {
  const adds = new Map<string, number[]>()
  for (const { seq } of cluster.first.log.messages) {
    const [id, n] = sent.get(seq) ?? []
    if (id !== undefined && n !== undefined) adds.set(id, [...(adds.get(id) ?? []), n])
  }
  return adds
}

type Step =
  | { readonly kind: 'add'; readonly id: number; readonly repeats: boolean }
  | { readonly kind: 'follow' | 'promote' | 'demote' | 'drop'; readonly node: number; readonly partition: number }
  | { readonly kind: 'crash' | 'wait' | 'tell'; readonly node: number; readonly partition: number }

const aStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('add' as const), id: fc.nat(6), repeats: fc.boolean() }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'follow' as const,
        'promote' as const,
        'promote' as const,
        'demote' as const,
        'drop' as const,
      ),
      node: fc.nat(2),
      partition: fc.nat(PARTITIONS - 1),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('crash' as const, 'wait' as const, 'tell' as const),
      node: fc.nat(2),
      partition: fc.nat(PARTITIONS - 1),
    }),
  },
)

describe('partitions that move between engines', () => {
  it(
    'G2, G3, G4, G5: leave the same states, with every effect, whoever owned them when',
    { timeout: 120_000 },
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(aStep, { minLength: 10, maxLength: 60 }), async (steps) => {
          let appends = 0
          const cluster = new Cluster(3, {
            onAppend: (subject) => (subject.includes('.note') && ++appends % 3 !== 0 ? 'not-stored' : undefined),
          })
          const sent = new Map<number, readonly [string, number]>()
          // Those of an engine that crashes end nowhere.
          const go = (task: Promise<void>): void => void task.catch(() => undefined)
          for (const node of cluster.nodes) await cluster.start(node)
          let n = 0
          for (const step of steps) {
            if (step.kind === 'add') {
              const id = IDS[step.id] as string
              n += 1
              sent.set(cluster.first.send('ledger', id, 'signal', 'add', n, { id: `add-${n}` }), [id, n])
              if (step.repeats) cluster.first.send('ledger', id, 'signal', 'add', n, { id: `add-${n}` })
              continue
            }
            const node = cluster.nodes[step.node] as EngineWorld
            const partition = step.partition as Partition
            if (step.kind === 'wait') await cluster.first.clock.advance(250)
            else if (step.kind === 'tell') cluster.tellEffectsDone()
            else if (step.kind === 'crash') {
              await node.crash()
              await cluster.start(node)
            } else if (step.kind === 'promote') {
              // Another may own it as well: one that does not know yet that it has lost it.
              go(node.engine.follow(partition))
              go(node.engine.promote(partition))
            } else go(node.engine[step.kind](partition))
            await cluster.first.clock.advance(5)
          }
          // In the end each has an owner and a standby.
          for (const partition of partitions) {
            const [owner, standby, other] = cluster.nodes.map(
              (_, i) => cluster.nodes[(i + partition) % 3] as EngineWorld,
            )
            await cluster.done(other!.engine.drop(partition))
            await cluster.done(standby!.engine.follow(partition))
            await cluster.done(standby!.engine.demote(partition))
            await cluster.done(owner!.engine.follow(partition))
            await cluster.done(owner!.engine.promote(partition))
          }
          const cancel = every(cluster.first, 500, () => cluster.tellEffectsDone())
          await cluster.settled()
          cancel()
          const adds = addsOf(cluster, sent)
          const notes = new Map<string, string[]>()
          for (const [id, added] of adds)
            for (const k of added)
              if (k % 5 === 0) notes.set(nextTo(id, k), [...(notes.get(nextTo(id, k)) ?? []), `${id}:${k}`])
          for (const id of new Set([...adds.keys(), ...notes.keys()])) {
            const state = await cluster.stateOf(id)
            expect(state.entries).toEqual(expected(id, adds.get(id) ?? []))
            expect([...state.notes].sort()).toEqual([...(notes.get(id) ?? [])].sort())
          }
          const digests = (node: EngineWorld): Map<string, string> =>
            new Map(
              [...node.store.range('record', { from: '', to: '~' })].map(({ key, value }) => [
                key,
                Buffer.from(value).toString('hex'),
              ]),
            )
          // A standby holds what the owner holds.
          for (const partition of partitions) {
            const prefix = partition.toString(16).padStart(4, '0')
            const [owner, standby] = [partition % 3, (partition + 1) % 3].map((i) =>
              digests(cluster.nodes[i] as EngineWorld),
            )
            for (const [key, value] of owner!) if (key.startsWith(prefix)) expect(standby!.get(key)).toBe(value)
          }
          expect(cluster.nodes.flatMap(({ failures }) => failures)).toEqual([])
          for (const node of cluster.nodes) await node.crash()
        }),
        { numRuns: Number(process.env['FOLD_RUNS'] ?? 25) },
      )
    },
  )
})

describe('a standby', () => {
  const all = async (cluster: Cluster, what: 'follow' | 'promote', node: EngineWorld): Promise<void> => {
    for (const partition of partitions) await cluster.done(node.engine[what](partition))
  }
  const pendingOf = (node: EngineWorld): readonly string[] =>
    [...node.store.range('effect', { from: '', to: '~' })].map(({ key }) => key)

  /** An owner with a standby of all partitions. */
  async function pair(options: ConstructorParameters<typeof EngineWorld>[0] = {}) {
    const cluster = new Cluster(2, options)
    const [owner, standby] = cluster.nodes as [EngineWorld, EngineWorld]
    for (const node of [owner, standby]) {
      await cluster.start(node)
      await all(cluster, 'follow', node)
    }
    await all(cluster, 'promote', owner)
    return { cluster, owner, standby }
  }

  it('is muted: runs no activity, fires no timer, sends nothing, and replies to nobody', async () => {
    const { cluster, standby } = await pair()
    for (const n of [3, 7, 10])
      cluster.first.send('ledger', 'a', 'signal', 'add', n, { id: `${n}`, reply: `_INBOX.${n}` })
    await cluster.settled()
    expect(cluster.runs).toEqual([3])
    const sent = cluster.first.log.messages.map(({ subject }) => subject.split('.').slice(5).join('.'))
    expect(sent.filter((name) => name !== 'signal.add').sort()).toEqual([
      'activity.double',
      'signal.note',
      'timer.sleep',
    ])
    for (const n of [3, 7, 10]) expect(cluster.first.replies(`_INBOX.${n}`)).toHaveLength(1)
    expect(standby.engine.hosted().map(({ role }) => role)).toEqual(['standby', 'standby', 'standby'])
  })

  it('forgets the sends that the owner has stored, and no other', async () => {
    let isCut = false
    const onAppend = (subject: string) => (isCut && subject.includes('.note') ? ('not-stored' as const) : undefined)
    const { cluster, owner, standby } = await pair({ onAppend })
    const partitionOf = (id: string): Partition => cluster.first.subjects.partitionOfKey(keyOf('ledger', id))
    // What comes to partitions of its own, it sees come there.
    for (const partition of partitions)
      if (partition !== partitionOf('a')) await cluster.done(standby.engine.drop(partition))
    const far = [5, 10, 20, 25, 40].filter((n) => partitionOf(nextTo('a', n)) !== partitionOf('a'))
    const [first, second] = far as [number, number]
    cluster.first.send('ledger', 'a', 'signal', 'add', first)
    await cluster.first.until(() => pendingOf(standby).length > 0)
    const stopTelling = every(cluster.first, 500, () => cluster.tellEffectsDone())
    await cluster.first.until(() => pendingOf(standby).length === 0)
    isCut = true
    cluster.first.send('ledger', 'a', 'signal', 'add', second)
    const endMs = cluster.first.clock.nowMs() + 15_000
    await cluster.first.until(() => cluster.first.clock.nowMs() > endMs)
    expect(pendingOf(standby)).toHaveLength(1)
    stopTelling()
    await owner.crash()
    isCut = false
    await all(cluster, 'follow', standby)
    await all(cluster, 'promote', standby)
    await cluster.settled()
    for (const n of [first, second]) expect((await cluster.stateOf(nextTo('a', n))).notes).toContain(`a:${n}`)
  })

  it('gives the replies of the last moments when it becomes the owner', async () => {
    const { cluster, owner, standby } = await pair()
    await owner.crash()
    cluster.first.send('ledger', 'a', 'signal', 'add', 1, { id: '1', reply: '_INBOX.1' })
    await cluster.first.until(() => standby.engine.position === cluster.first.log.lastSeq)
    expect(cluster.first.replies('_INBOX.1')).toEqual([])
    await all(cluster, 'promote', standby)
    expect(cluster.first.replies('_INBOX.1')).toMatchObject([{ seq: 1, outcome: { ok: true } }])
  })

  it('tells how it stands also when its engine has ended and the store is closed', async () => {
    const { cluster, owner, standby } = await pair()
    cluster.first.send('ledger', 'a', 'signal', 'add', 5)
    await cluster.settled()
    await owner.stop()
    expect(owner.engine.hosted()).toHaveLength(PARTITIONS)
    owner.engine.effectsDone(0 as Partition, 1)
    await standby.stop()
    expect(standby.engine.hosted()).toHaveLength(PARTITIONS)
    standby.engine.effectsDone(0 as Partition, 1)
    await expect(standby.engine.follow(0 as Partition)).resolves.toBeUndefined()
  })

  it('becomes the owner before others go on to catch up', async () => {
    const cluster = new Cluster(1)
    const [node] = cluster.nodes as [EngineWorld]
    let isHeld = false
    let release: (() => void) | undefined
    await cluster.start(node, undefined, (stage) =>
      isHeld && stage === 'resolve' ? new Promise<void>((resolve) => (release = resolve)) : undefined,
    )
    const partitionOf = (id: string): Partition => cluster.first.subjects.partitionOfKey(keyOf('ledger', id))
    const other = IDS.find((id) => partitionOf(id) !== partitionOf('a')) as string
    for (let n = 0; n < 20_000; n++) cluster.first.send('ledger', other, 'signal', 'note', `${n}`)
    await cluster.done(node.engine.follow(partitionOf('a')))
    node.engine.follow(partitionOf(other)).catch(() => undefined)
    const ofOther = () => node.engine.hosted().find(({ partition }) => partition === partitionOf(other))
    await cluster.first.until(() => (ofOther()?.appliedSeq ?? 0) > 0, 0)
    isHeld = true
    const promoted = node.engine.promote(partitionOf('a'))
    await cluster.first.until(() => release !== undefined, 0)
    const before = ofOther()?.appliedSeq ?? 0
    for (let round = 0; round < 200; round++) await cluster.first.clock.yield()
    // What was on its way then is applied, and no more.
    expect(ofOther()).toMatchObject({ role: 'catching-up' })
    expect((ofOther()?.appliedSeq ?? 0) - before).toBeLessThanOrEqual(2048)
    isHeld = false
    release?.()
    await cluster.done(promoted)
    await cluster.first.until(() => ofOther()?.role === 'standby')
  })

  it('that was an owner aborts its activities, and answers no more requests', async () => {
    const cluster = new Cluster(2)
    const [owner, next] = cluster.nodes as [EngineWorld, EngineWorld]
    let reason: unknown
    const work = (_: number, ctx: ActivityContext): Promise<number> =>
      new Promise((_resolve, reject) =>
        ctx.signal.addEventListener('abort', () => {
          reason = ctx.signal.reason
          reject(new Error('aborted'))
        }),
      )
    await cluster.start(owner, work)
    await cluster.start(next)
    for (const node of [owner, next]) await all(cluster, 'follow', node)
    await all(cluster, 'promote', owner)
    cluster.first.send('ledger', 'a', 'signal', 'add', 3)
    await cluster.first.settled()
    const asked = cluster.stateOf('nobody').catch((error: unknown) => error)
    for (const partition of partitions) await cluster.done(owner.engine.demote(partition))
    expect(reason).toMatchObject({ code: 'NOT_OWNER' })
    await asked
    await expect(cluster.stateOf('a')).rejects.toThrow('nobody serves')
    await all(cluster, 'promote', next)
    await cluster.settled()
    expect((await cluster.stateOf('a')).entries).toEqual(expected('a', [3]))
  })

  it('refuses a journal that ends before what it holds, and the others go on', async () => {
    const { cluster, owner, standby } = await pair()
    for (const id of IDS) cluster.first.send('ledger', id, 'signal', 'add', 1)
    await cluster.settled()
    await cluster.first.clock.advance(5000)
    await cluster.first.settled()
    for (const partition of partitions) await cluster.done(standby.engine.drop(partition))
    await owner.crash()
    cluster.first.log.truncate(2)
    const failed = standby.engine.follow(partitions[0] as Partition).catch((error: unknown) => error)
    expect(await cluster.done(failed)).toMatchObject({ code: 'JOURNAL_BEHIND' })
    expect(standby.engine.hosted()).toEqual([])
  })
})

function every(world: EngineWorld, ms: number, task: () => void): () => void {
  let cancel = world.clock.after(ms, function again() {
    task()
    cancel = world.clock.after(ms, again)
  })
  return () => cancel()
}
