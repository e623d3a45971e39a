/** Worker processes that are killed: no call is lost, each result is applied once, and the world outside sees each call at least once. */
import { mkdtemp, readFile, rm, symlink, mkdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { type Carillon, connect } from '@carillon/client'
import { type CarillonNode, openNode } from '@carillon/node'
import { defineWorkflow, implement, type } from '@carillon/runtime'
import { silentLogger } from '@carillon/runtime/ports'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'
import { type CliProcess, endAll, runCli, startCli } from './cli/cli-process.ts'

const CONTRACT = `
import { defineWorkflow, type } from '@carillon/runtime'
export const Ledger = defineWorkflow('ledger', {
  signals: { pay: type<number>() },
  queries: { paid: { output: type<number[]>() } },
  activities: {
    pay: { input: type<number>(), output: type<number>(), queue: { name: 'bank', deadAfter: '1 second' } },
  },
})
`
const ACTIVITIES = `
import { appendFileSync } from 'node:fs'
import { implementActivities } from '@carillon/runtime'
import { Ledger } from './contract.ts'
export const bank = implementActivities(
  Ledger,
  {
    async pay(amount, ctx) {
      appendFileSync(process.env['TEST_SINK'] ?? '', ctx.callId + '\\n')
      await new Promise((resolve) => setTimeout(resolve, 40))
      return amount
    },
  },
  { queue: 'bank' },
)
`
/** As in the file. */
const Ledger = defineWorkflow('ledger', {
  signals: { pay: type<number>() },
  queries: { paid: { output: type<number[]>() } },
  activities: {
    pay: { input: type<number>(), output: type<number>(), queue: { name: 'bank', deadAfter: '1 second' } },
  },
})
const ledger = implement(Ledger, {
  startOnSignal: true,
  state: () => ({ paid: [] as number[] }),
  on: {
    async pay(ctx, amount) {
      ctx.state.paid.push(await ctx.activities.pay(amount))
    },
  },
  queries: { paid: ({ paid }) => [...paid] },
})
const CALLS = 90
const KILLS = 6

describe('worker processes', () => {
  let server: TestServer
  let dir: string
  let node: CarillonNode
  let carillon: Carillon
  beforeAll(async () => {
    server = await startTestServer()
    dir = await mkdtemp(join(tmpdir(), 'carillon-worker-crash-'))
    await mkdir(join(dir, 'node_modules', '@carillon'), { recursive: true })
    const runtime = fileURLToPath(new URL('../../runtime', import.meta.url))
    await symlink(runtime, join(dir, 'node_modules', '@carillon', 'runtime'))
    await writeFile(join(dir, 'package.json'), '{"type":"module"}')
    await writeFile(join(dir, 'contract.ts'), CONTRACT)
    await writeFile(join(dir, 'activities.ts'), ACTIVITIES)
    await writeFile(join(dir, 'sink'), '')
    node = await openNode({
      servers: server.url,
      dataDir: join(dir, 'node'),
      workflows: { implementations: [ledger], activities: [] },
      logger: silentLogger,
    })
    carillon = await connect({ servers: server.url })
  })
  afterAll(async () => {
    await endAll()
    await carillon.close()
    await node.close()
    await server.stop()
    await rm(dir, { recursive: true, force: true })
  })
  const env = (): Record<string, string> => ({ CARILLON_SERVERS: server.url, TEST_SINK: join(dir, 'sink') })
  const startWorker = async (): Promise<CliProcess> => {
    const args = ['worker', '--queue', 'bank', '--activities', join(dir, 'activities.ts'), '--concurrency', '4']
    const worker = startCli(args, { env: env() })
    await worker.says('the worker is ready')
    return worker
  }
  const sink = async (): Promise<readonly string[]> =>
    (await readFile(join(dir, 'sink'), 'utf8')).split('\n').filter((line) => line !== '')
  const until = async (condition: () => Promise<boolean>): Promise<void> => {
    const endMs = Date.now() + 60_000
    while (!(await condition())) {
      if (Date.now() > endMs) throw new Error(`not within a minute: ${condition.toString()}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  it('that are killed lose no call and apply no result twice; one that is asked to stop ends what it has begun', async () => {
    const waiting = await startWorker()
    waiting.signal('SIGTERM')
    expect(await waiting.exited).toBe(0)
    for (let i = 0; i < CALLS; i++) await carillon.workflow(Ledger, `l${i % 30}`).signal('pay', i)
    const listed = await runCli(['queues', '--json'], { env: env() })
    expect(JSON.parse(listed.stdout)).toEqual([
      {
        queue: 'bank',
        type: 'ledger',
        activity: 'pay',
        waiting: 30,
        held: 0,
        again: 0,
        pulls: expect.any(Number) as number,
      },
    ])
    const workers = await Promise.all([startWorker(), startWorker()])
    for (let kill = 0; kill < KILLS; kill++) {
      const before = (await sink()).length
      await until(async () => (await sink()).length >= Math.min(before + 4, CALLS))
      const victim = workers[kill % 2] as CliProcess
      victim.signal('SIGKILL')
      await victim.exited
      workers[kill % 2] = await startWorker()
    }
    const paid = async (): Promise<number[]> => {
      const all = await Promise.all(
        Array.from({ length: 30 }, (_, i) => carillon.workflow(Ledger, `l${i}`).query('paid')),
      )
      return all.flat()
    }
    await until(async () => (await paid()).length >= CALLS)
    expect((await paid()).toSorted((a, b) => a - b)).toEqual(Array.from({ length: CALLS }, (_, i) => i))
    const seen = await sink()
    expect(new Set(seen).size).toBe(CALLS)
    // Else nothing was under way when it was killed.
    expect(seen.length).toBeGreaterThan(CALLS)
    for (const worker of workers) worker.signal('SIGTERM')
    for (const worker of workers) expect(await worker.exited).toBe(0)
    expect(await carillon.queues()).toMatchObject([{ waiting: 0, held: 0 }])
  }, 120_000)
})
