/** Several engines that save and restore partitions remotely, over a journal that is trimmed behind them. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, implementActivities, type } from '../index.ts'
import type { Partition } from '../protocol/index.ts'
import { EngineWorld, keyOf } from '../testing/engine-world.ts'
import { MemorySnapshots } from '../testing/memory-snapshots.ts'
import { MemoryDisk } from '../testing/memory-store.ts'
import { readHead } from './checkpoint.ts'

const Tally = defineWorkflow('tally', {
  signals: { add: type<number>() },
  queries: { state: { output: type<readonly (readonly [string, number])[]>() } },
  activities: { double: { input: type<number>(), output: type<number>() } },
})
const tally = implement(Tally, {
  startOnSignal: true,
  state: () => ({ entries: [] as [string, number][] }),
  on: {
    async add(ctx, n) {
      ctx.state.entries.push(['add', n])
      if (n % 4 === 1) await ctx.sleep(40)
      if (n % 3 === 0) ctx.state.entries.push(['double', await ctx.activities.double(n)])
    },
  },
  queries: { state: ({ entries }) => entries },
})
const activities = [implementActivities(Tally, { double: (n) => Promise.resolve(2 * n) })]

const IDS = ['a', 'b', 'c', 'd', 'e']
const PARTITIONS = 3
const partitions = Array.from({ length: PARTITIONS }, (_, p) => p as Partition)

class Cluster {
  readonly snapshots = new MemorySnapshots()
  readonly nodes: readonly EngineWorld[]
  readonly sent = new Map<string, number[]>()
  #count = 0

  constructor() {
    const first = new EngineWorld({ partitions: PARTITIONS })
    this.nodes = [first, new EngineWorld({ beside: first })]
  }

  get first(): EngineWorld {
    return this.nodes[0] as EngineWorld
  }

  async start(node: EngineWorld, restores = true): Promise<void> {
    const { snapshots } = this
    await node.open({
      implementations: [tally],
      activities,
      partitions: [],
      ...(restores ? { snapshots } : {}),
    })
  }

  add(id: string): void {
    this.#count += 1
    this.sent.set(id, [...(this.sent.get(id) ?? []), this.#count])
    this.first.send('tally', id, 'signal', 'add', this.#count, { id: `add-${this.#count}` })
  }

  async done<T>(task: Promise<T>): Promise<T> {
    let isDone = false
    const over = (): void => void (isDone = true)
    task.then(over, over)
    await this.first.until(() => isDone)
    return task
  }

  async own(node: EngineWorld): Promise<void> {
    for (const other of this.nodes)
      if (other !== node) for (const partition of partitions) await this.done(other.engine.drop(partition))
    for (const partition of partitions) {
      await this.done(node.engine.follow(partition))
      await this.done(node.engine.promote(partition))
    }
  }

  async covered(): Promise<number> {
    const heads = await Promise.all(partitions.map((partition) => readHead(this.snapshots, partition)))
    return Math.min(...heads.map((head) => head?.checkpoint.coveredSeq ?? 0))
  }

  /** Ends the engine and starts another, over the same disk or an empty one. */
  async restart(node: EngineWorld, isWiped: boolean): Promise<void> {
    await node.crash()
    if (isWiped) node.disk = new MemoryDisk()
    await this.start(node)
  }

  async entriesOf(id: string): Promise<unknown> {
    const { lastSeq: minSeq } = this.first.log
    return this.first.ask({ op: 'query', key: keyOf('tally', id), name: 'state', minSeq })
  }
}

function expected(added: readonly number[]): readonly (readonly [string, number])[] {
  return added.flatMap((n) => [['add', n] as const, ...(n % 3 === 0 ? [['double', 2 * n] as const] : [])])
}

const STEPS = ['add', 'add', 'add', 'wait', 'save', 'save', 'trim', 'own', 'crash', 'wipe'] as const

describe('engines that save partitions remotely', () => {
  it('G1, G4: lose nothing, whoever owns, whoever loses its disk, however far the journal is trimmed', async () => {
    let trimmed = 0
    let wiped = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom(...STEPS), fc.nat(9)), { minLength: 20, maxLength: 50 }),
        async (steps) => {
          const cluster = new Cluster()
          for (const node of cluster.nodes) await cluster.start(node)
          let owner = cluster.first
          await cluster.own(owner)
          for (const [step, argument] of steps) {
            const node = cluster.nodes[argument % 2] as EngineWorld
            if (step === 'add') cluster.add(IDS[argument % IDS.length] as string)
            if (step === 'wait') await cluster.first.clock.advance(300)
            if (step === 'save') for (const one of cluster.nodes) await one.save()
            if (step === 'trim') {
              const before = cluster.first.log.firstSeq
              cluster.first.log.trim((await cluster.covered()) + 1)
              trimmed += cluster.first.log.firstSeq - before
            }
            if (step === 'own') {
              // One that reads far behind the trimmed part has stopped: it is started again, as a supervisor does.
              for (const one of cluster.nodes) if (one.failures.length > 0) await cluster.restart(one, false)
              owner = node
              await cluster.own(owner)
            }
            if (step === 'crash' || step === 'wipe') {
              wiped += step === 'wipe' ? 1 : 0
              await cluster.restart(node, step === 'wipe')
              if (node === owner) await cluster.own(owner)
            }
            await cluster.first.clock.advance(5)
          }
          for (const one of cluster.nodes) if (one.failures.length > 0) await cluster.restart(one, false)
          await cluster.own(owner)
          for (const [id, added] of cluster.sent) {
            let last: unknown
            await cluster.first.clock.advance(500)
            for (let look = 0; look < 50 && JSON.stringify(last) !== JSON.stringify(expected(added)); look++) {
              await cluster.first.clock.advance(100)
              last = await cluster.entriesOf(id)
            }
            expect(last).toEqual(expected(added))
          }
          for (const node of cluster.nodes) await node.crash()
        },
      ),
      { numRuns: 40 },
    )
    expect(trimmed).toBeGreaterThan(50)
    expect(wiped).toBeGreaterThan(20)
  }, 60_000)

  it('law 8: raise JOURNAL_BEHIND where neither the journal nor a snapshot reaches', async () => {
    const cluster = new Cluster()
    const [owner, other] = cluster.nodes as [EngineWorld, EngineWorld]
    for (const node of cluster.nodes) await cluster.start(node)
    await cluster.own(owner)
    for (const id of IDS) cluster.add(id)
    await owner.settled()
    await owner.clock.advance(10_000)
    await owner.save()
    const covered = await cluster.covered()
    expect(covered).toBeGreaterThan(0)
    for (const id of IDS) cluster.add(id)
    await owner.settled()
    owner.log.trim(covered + 3)
    const failed = other.engine.follow(partitions[0] as Partition).catch((error: unknown) => error)
    expect(await cluster.done(failed)).toMatchObject({ code: 'JOURNAL_BEHIND' })
    // The owner has what is missing: when it has saved that, the other one can follow.
    await owner.clock.advance(10_000)
    await owner.save()
    await cluster.done(other.engine.follow(partitions[0] as Partition))
    // Without snapshots it cannot.
    await other.crash()
    other.disk = new MemoryDisk()
    await cluster.start(other, false)
    const blind = other.engine.follow(partitions[0] as Partition).catch((error: unknown) => error)
    expect(await cluster.done(blind)).toMatchObject({ code: 'JOURNAL_BEHIND' })
  })
})
