/** `carillon cluster` over real nodes: a node is drained and comes back, its states are verified, builds that differ raise an alarm. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Carillon, connect } from '@carillon/client'
import { type CarillonNode, openNode } from '@carillon/node'
import { defineWorkflow, implement, type } from '@carillon/runtime'
import { silentLogger } from '@carillon/runtime/ports'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import type { ClusterSnapshot } from '../src/cli/cluster-snapshot.ts'
import type { VerifyReport } from '../src/cli/cluster-verify.ts'
import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'
import { runInProcess } from './cli/in-process.ts'

const PARTITIONS = 8

const Purse = defineWorkflow('purse', {
  signals: { put: type<number>(), odd: type<void>() },
  queries: { total: { output: type<number>() } },
})
/** Two builds that differ in what they make of `odd`. */
const purse = (skew: number) =>
  implement(Purse, {
    startOnSignal: true,
    state: () => ({ total: 0 }),
    on: { put: (ctx, n) => void (ctx.state.total += n), odd: (ctx) => void (ctx.state.total += skew) },
    queries: { total: ({ total }) => total },
  })

describe('carillon cluster, over real nodes', () => {
  let server: TestServer
  let dir: string
  let nodes: CarillonNode[]
  let carillon: Carillon
  beforeAll(async () => {
    server = await startTestServer()
    dir = await mkdtemp(join(tmpdir(), 'carillon-commands-'))
    const open = (name: string, skew: number): Promise<CarillonNode> =>
      openNode({
        servers: server.url,
        name,
        build: `build-${skew}`,
        dataDir: join(dir, name),
        partitions: PARTITIONS,
        workflows: { implementations: [purse(skew)], activities: [] },
        logger: silentLogger,
      })
    nodes = [await open('a', 0), await open('b', 1)]
    await Promise.all(nodes.map(({ caughtUp }) => caughtUp))
    carillon = await connect({ servers: server.url })
  })
  afterAll(async () => {
    await carillon.close()
    await Promise.all(nodes.map((node) => node.close()))
    await server.stop()
    await rm(dir, { recursive: true, force: true })
  })
  const cluster = (...args: readonly string[]) => runInProcess(['cluster', ...args, '--servers', server.url])
  const snapshot = async (): Promise<ClusterSnapshot> => JSON.parse((await cluster('--json')).stdout) as ClusterSnapshot

  it('drains a node while signals go on, lets it come back, and verifies that both have the same', async () => {
    const writing = { isOver: false }
    const total = (async () => {
      let sum = 0
      while (!writing.isOver) {
        const id = `p${sum % 20}`
        await carillon.workflow(Purse, id).signal('put', 1, { wait: 'applied' })
        sum += 1
      }
      return sum
    })()
    const drained = await cluster('drain', 'a')
    expect([drained.code, drained.stdout]).toEqual([0, 'a is drained\n'])
    const without = await snapshot()
    expect(without.nodes).toMatchObject([
      { node: 'a', state: 'draining', owns: 0 },
      { node: 'b', owns: PARTITIONS },
    ])
    expect(without.summary).toMatchObject({ nodes: 2, served: PARTITIONS })

    expect((await cluster('drain', 'a', '--undo')).code).toBe(0)
    const balanced = await cluster('rebalance')
    expect(balanced.code).toBe(0)
    writing.isOver = true
    const sum = await total
    const verified = await cluster('verify', '--json')
    const report = JSON.parse(verified.stdout) as VerifyReport
    expect(report).toMatchObject({
      ok: true,
      differingCount: 0,
      instances: Math.min(sum, 20),
      equal: Math.min(sum, 20),
      failed: [],
    })
    const after = await snapshot()
    expect(after.summary).toMatchObject({ nodes: 2, served: PARTITIONS, misplaced: 0, exposed: 0, differing: 0 })
  })

  it('shows states that differ as an alarm, and verify names the instance and both builds', async () => {
    const handle = carillon.workflow(Purse, 'odd-one')
    await handle.signal('odd', undefined, { wait: 'applied' })
    // Behind one input of 256 digests are compared.
    for (let n = 0; n < 600; n++) await handle.signal('put', 1)
    const deadline = performance.now() + 15_000
    let seen = await snapshot()
    while (seen.summary.differing === 0 && performance.now() < deadline) seen = await snapshot()
    expect(seen.summary.differing).toBeGreaterThan(0)
    const { code, stdout } = await cluster('verify')
    expect(code).toBe(1)
    expect(stdout).toMatch(/^! purse\/odd-one differs, partition \d$/m)
    expect(stdout).toMatch(/^ {4}a \(build-0\): [0-9a-f]{32} as of seq \d+$/m)
    expect(stdout).toMatch(/^ {4}b \(build-1\): [0-9a-f]{32} as of seq \d+$/m)
    expect(stdout).toMatch(/1 differ$/m)
  })
})
