/** Two engines with stores of their own over a real server: reads of both, while partitions move from one to the other. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Carillon, connect } from '@carillon/client'
import { defineWorkflow, implement, type } from '@carillon/runtime'
import { silentLogger } from '@carillon/runtime/ports'
import { type Partition, type PartitionRole, Subjects } from '@carillon/runtime/protocol'
import { connect as connectNats, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { snapshotOf } from '../src/cli/cluster-snapshot.ts'
import { verify, type VerifyFlags } from '../src/cli/cluster-verify.ts'
import { formatReport } from '../src/cli/cluster-verify-text.ts'
import { openCluster } from '../src/cluster.ts'
import { type ComposedHost, composeHost } from '../src/compose-host.ts'
import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'
import { makeWorkflowFolder, type WorkflowFolder } from './cli/workflow-folder.ts'

const PARTITIONS = 64
const INSTANCES = 600

const Purse = defineWorkflow('purse', {
  signals: { put: type<number>(), odd: type<void>() },
  updates: { take: { input: type<number>(), output: type<number>() } },
  queries: { total: { output: type<number>() } },
})
/** Two builds that differ in what they make of `odd`. */
const purse = (skew: number) =>
  implement(Purse, {
    startOnSignal: true,
    state: () => ({ total: 0 }),
    on: {
      put: (ctx, n) => void (ctx.state.total += n),
      odd: (ctx) => void (ctx.state.total += skew),
    },
    updates: {
      async take(ctx, n) {
        await ctx.sleep(20)
        return (ctx.state.total -= n)
      },
    },
    queries: { total: ({ total }) => total },
  })

/** What folds them again: the same as the build of `a`. */
const PURSE = `
import { defineWorkflow, implement, type } from '@carillon/runtime'
const Purse = defineWorkflow('purse', {
  signals: { put: type<number>(), odd: type<void>() },
  updates: { take: { input: type<number>(), output: type<number>() } },
})
export const purse = implement(Purse, {
  startOnSignal: true,
  state: () => ({ total: 0 }),
  on: { put: (ctx, n) => void (ctx.state.total += n), odd() {} },
  updates: {
    async take(ctx, n) {
      await ctx.sleep(20)
      return (ctx.state.total -= n)
    },
  },
})
`

const all = Array.from({ length: PARTITIONS }, (_, p) => p as Partition)

describe('two nodes', () => {
  let server: TestServer
  let dir: string
  let nc: NatsConnection
  let a: ComposedHost
  let b: ComposedHost
  let carillon: Carillon
  let folder: WorkflowFolder

  const openHost = async (name: string, skew: number, partitions: readonly Partition[]): Promise<ComposedHost> => {
    const { record, subjects } = await openCluster(nc, { namespace: 'carillon', partitions: PARTITIONS })
    const host = await composeHost({
      nc,
      record,
      subjects,
      dataDir: join(dir, name),
      partitions,
      workflows: { implementations: [purse(skew)], activities: [] },
      node: { name, build: `build-${skew}` },
      logger: silentLogger,
      onFailed: () => {},
    })
    await host.engine.start()
    return host
  }
  beforeAll(async () => {
    server = await startTestServer()
    dir = await mkdtemp(join(tmpdir(), 'carillon-replicas-'))
    folder = makeWorkflowFolder(PURSE)
    nc = await connectNats({ servers: server.url })
    a = await openHost('a', 0, all)
    b = await openHost('b', 1, [])
    await Promise.all([a.engine.caughtUp, ...all.map((partition) => b.engine.follow(partition))])
    carillon = await connect({ servers: server.url })
    await carillon.signalMany(
      Array.from({ length: INSTANCES }, (_, n) => ({
        workflow: Purse,
        id: `p${n}`,
        name: 'put' as const,
        payload: n,
      })),
    )
  })
  afterAll(async () => {
    await carillon.close()
    await a.close()
    await b.close()
    await nc.close()
    await server.stop()
    folder.remove()
    await rm(dir, { recursive: true, force: true })
  })

  /** Moves every partition to the other one, some at a time. */
  const moveAll = async (from: ComposedHost, to: ComposedHost): Promise<void> => {
    for (let i = 0; i < PARTITIONS; i += 4) {
      await Promise.all(
        all.slice(i, i + 4).map(async (partition) => {
          await from.engine.demote(partition)
          await to.engine.promote(partition)
        }),
      )
    }
  }

  it('G7: a standby answers what a handle has written, and what anybody has when that is asked for', async () => {
    const reader = await connect({ servers: server.url, readsFrom: 'any' })
    for (let n = 0; n < 60; n++) {
      const handle = reader.workflow(Purse, `own${n % 3}`)
      await handle.signal('put', 1)
      expect(await handle.query('total')).toBe(Math.floor(n / 3) + 1)
      await carillon.workflow(Purse, 'foreign').signal('put', 1)
      const foreign = reader.workflow(Purse, 'foreign')
      expect(await foreign.query('total', undefined, { consistency: 'linearizable' })).toBe(n + 1)
    }
    expect(await reader.count({ type: 'purse' })).toBe(INSTANCES + 4)
    await reader.close()
  })

  it('lists each instance once, answers reads and updates, and shows nobody an error, while all partitions move', async () => {
    const state = { isMoving: true }
    const moving = moveAll(a, b)
      .then(() => moveAll(b, a))
      .finally(() => (state.isMoving = false))
    let rounds = 0
    const lists = (async () => {
      do {
        const ids: string[] = []
        let after: string | undefined
        do {
          const page = await carillon.listPage({
            type: 'purse',
            limit: 70,
            after,
            from: rounds % 2 === 0 ? 'owner' : 'any',
          })
          ids.push(...page.rows.map(({ id }) => id))
          after = page.next
        } while (after !== undefined)
        expect(new Set(ids).size).toBe(ids.length)
        expect(ids.filter((id) => id.startsWith('p'))).toHaveLength(INSTANCES)
        rounds += 1
      } while (state.isMoving)
    })()
    let updates = 0
    const writers = ['x', 'y', 'z'].map(async (id) => {
      const handle = carillon.workflow(Purse, id)
      await handle.signal('put', 1000)
      for (let n = 1; state.isMoving || n < 5; n++) {
        expect(await handle.update('take', 1)).toBe(1000 - n)
        expect(await handle.query('total', undefined, { from: n % 2 === 0 ? 'any' : 'owner' })).toBe(1000 - n)
        expect((await handle.describe()).status).toBe('running')
        updates += 1
      }
    })
    await Promise.all([moving, lists, ...writers])
    expect(rounds).toBeGreaterThan(0)
    expect(updates).toBeGreaterThan(15)
  })

  it('verify: the states of both are equal, and as the journal makes them, until builds differ', async () => {
    const subjects = new Subjects('carillon', PARTITIONS)
    const node = (name: string, role: PartitionRole) => ({
      beat: {
        node: name,
        incarnation: name,
        state: 'live' as const,
        weight: 1,
        standbys: 1,
        build: `build-${name === 'a' ? 0 : 1}`,
        server: '',
        sinceMs: 0,
        upMs: 0,
        beat: 1,
        partitions: all.map((partition) => ({ partition, role, epoch: 1, appliedSeq: 0, effectsDoneSeq: 0 })),
        counters: {},
      },
      silentMs: 0,
      earlier: undefined,
    })
    const snapshot = snapshotOf({
      namespace: 'carillon',
      partitions: PARTITIONS,
      timeMs: 0,
      nodes: [node('a', 'owner'), node('b', 'standby')],
      owners: new Map(all.map((partition) => [partition, { node: 'a', incarnation: 'a', epoch: 1 }])),
      lastSeq: 0,
      acceptedPerSecond: undefined,
      ideal: [],
    })
    const flags = {
      servers: server.url,
      namespace: 'carillon',
      connectTimeout: 5000,
      refold: 40,
      workflows: [folder.file('workflow.ts')],
    }
    const run = (more: Partial<VerifyFlags> = {}) => verify({ nc, subjects }, snapshot, { ...flags, ...more }, () => {})
    // It goes on meanwhile.
    const writing = { isOver: false }
    const busy = (async () => {
      const handle = carillon.workflow(Purse, 'busy')
      while (!writing.isOver) await handle.signal('put', 1)
    })()
    const report = await run()
    writing.isOver = true
    await busy
    expect(report).toMatchObject({
      ok: true,
      differingCount: 0,
      incomparable: 0,
      notRefolded: {},
      alone: [],
      failed: [],
    })
    expect(report.instances).toBeGreaterThanOrEqual(INSTANCES + 7)
    expect(report.equal + report.moving).toBe(report.instances)
    expect(report.refolded).toBeGreaterThan(15)

    const partition = subjects.partitionOf('purse' as never, 'p7' as never)
    await carillon.workflow(Purse, 'p7').signal('odd', undefined, { wait: 'applied' })
    const different = await run({ partition: [partition] })
    expect(different).toMatchObject({
      ok: false,
      differingCount: 1,
      differing: [{ type: 'purse', id: 'p7', partition }],
    })
    expect(different.differing[0]?.replicas.map(({ node: name, build }) => [name, build])).toEqual([
      ['a', 'build-0'],
      ['b', 'build-1'],
    ])
    expect(formatReport(different)[0]).toBe(`! purse/p7 differs, partition ${partition}`)
    // Both the same, and neither what the journal says.
    await a.engine.demote(partition)
    await b.engine.promote(partition)
    const ofB = snapshotOf({ ...(await factsOf(partition, 'b')), nodes: [node('b', 'owner')] })
    const wrong = await verify({ nc, subjects }, ofB, { ...flags, refold: Infinity, partition: [partition] }, () => {})
    expect(wrong).toMatchObject({
      ok: false,
      differingCount: 1,
      differing: [{ id: 'p7', journal: { digest: expect.any(String) } }],
      alone: [partition],
    })
  })
})

async function factsOf(partition: Partition, owner: string) {
  return {
    namespace: 'carillon',
    partitions: PARTITIONS,
    timeMs: 0,
    owners: new Map([[partition, { node: owner, incarnation: owner, epoch: 1 }]]),
    lastSeq: 0,
    acceptedPerSecond: undefined,
    ideal: [],
  }
}
