/** The engines of `carillon node` in processes of their own: what an author's code may do to them, and to nobody else. */
import { readFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

import { type Carillon, connect } from '@carillon/client'
import { defineWorkflow, type } from '@carillon/runtime'

import { processTreeOf } from '../src/process-tree.ts'
import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'
import { type CliProcess, endAll, runCli, until } from './cli/cli-process.ts'
import { startNodeProcess } from './cli/start-node.ts'
import { makeWorkflowFolder, type WorkflowFolder } from './cli/workflow-folder.ts'

const Box = defineWorkflow('box', {
  signals: { add: type<number>(), spin: type<void>(), hog: type<void>(), quit: type<void>(), twist: type<void>() },
  queries: { total: { output: type<number>() }, spin: { output: type<number>() } },
})
const SOURCE = `
import { defineWorkflow, implement, type } from '@carillon/runtime'

const isFixed = process.env['TEST_FIXED'] === '1'
if (process.env['TEST_LOADS_FOR_EVER'] === '1') for (;;);
const keep: unknown[] = []

const Box = defineWorkflow('box', {
  signals: { add: type<number>(), spin: type<void>(), hog: type<void>(), quit: type<void>(), twist: type<void>() },
  queries: { total: { output: type<number>() }, spin: { output: type<number>() } },
})
export default implement(Box, {
  startOnSignal: true,
  state: () => ({ total: 0 }),
  on: {
    add(ctx, n) { ctx.state.total += n },
    spin(ctx) { if (!isFixed) for (;;); ctx.state.total += 1000 },
    async twist() { for (;;) await Promise.resolve() },
    hog() { const all = new Map<number, unknown>(); for (let i = 0; ; i++) all.set(i, { i }) },
    quit() { process.exit(3) },
  },
  queries: { total: ({ total }) => total, spin: () => { for (;;); } },
})
`
const NEIGHBOURS = 50
let server: TestServer
let folder: WorkflowFolder
let carillon: Carillon
let count = 0
let namespace = ''
let data = ''

beforeAll(async () => {
  server = await startTestServer()
  folder = makeWorkflowFolder(SOURCE)
})
afterEach(async () => {
  await carillon?.close()
  await endAll()
})
afterAll(async () => {
  await server?.stop()
  folder?.remove()
})

/** A node in a namespace and a data folder that no test has used. */
async function freshNode(
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<CliProcess> {
  count += 1
  namespace = `engines${count}`
  data = `data-${count}`
  const started = await node(args, env)
  carillon = await connect({ servers: server.url, namespace })
  return started
}

async function node(args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Promise<CliProcess> {
  const own = ['--namespace', namespace, '--partitions', '8', '--log-level', 'debug', ...args]
  const started = startNodeProcess({ servers: server.url, folder, data, args: own, env })
  await started.says('the node is ready')
  return started
}

function box(id: string) {
  return carillon.workflow(Box, id)
}

async function untilSuspended(id: string, code: string): Promise<void> {
  await until(
    async () => {
      try {
        return (await box(id).describe()).suspended?.error.code === code
      } catch {
        return false
      }
    },
    `${id} is suspended for ${code}`,
    60_000,
  )
}

async function resume(id: string): Promise<void> {
  const end = await runCli(['resume', 'box', id, '--servers', server.url, '--namespace', namespace])
  expect(end.code).toBe(0)
}

function lives(pid: number): boolean {
  try {
    // What has ended and has not been waited for is a zombie.
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

describe('a turn that never returns', () => {
  it('costs its instance alone: neighbours of the same engine go on, it is suspended, and resumes with fixed code', async () => {
    const started = await freshNode([], { CARILLON_SPARE: '1' })
    await started.says('an engine is kept ready')
    await box('bad').signal('add', 1, { wait: 'applied' })
    const neighbours = Array.from({ length: NEIGHBOURS }, (_, i) => box(`n${i}`))
    await Promise.all(neighbours.map((one) => one.signal('add', 1, { wait: 'applied' })))
    const fromMs = performance.now()
    await box('bad').signal('spin')
    await box('bad').signal('add', 2)
    await Promise.all(neighbours.map((one) => one.signal('add', 1, { wait: 'applied' })))
    const heldUpMs = performance.now() - fromMs
    // Half a second is the limit of the turn; how long the machine takes for that, and to go on, depends on what else it does.
    expect(heldUpMs).toBeLessThan(20_000)
    await untilSuspended('bad', 'TURN_ENDLESS')
    expect(await box('bad').describe()).toMatchObject({ status: 'suspended', queued: 2 })
    expect(await box('n7').query('total')).toBe(2)
    expect(started.stderr).toMatch(/"code":"TURN_ENDLESS","kind":"turn","partition":\d+,"seq":\d+/)
    // Without a fix it is judged anew; neighbours go on again.
    await resume('bad')
    await started.says('workflow code is judged', 2)
    await untilSuspended('bad', 'TURN_ENDLESS')
    expect(await box('n7').query('total')).toBe(2)
    const processes = processTreeOf(started.pid).slice(1)
    expect(processes.length).toBeGreaterThan(0)
    expect((await started.stop()).code).toBe(0)
    expect(processes.filter(lives)).toEqual([])
    await node([], { TEST_FIXED: '1' })
    await untilSuspended('bad', 'TURN_ENDLESS')
    await resume('bad')
    await until(async () => (await box('bad').query('total')) === 1003, 'everything is applied')
  }, 200_000)

  it('is ended also where it waits for microtasks without end, and in a query, which is refused from then on', async () => {
    const started = await freshNode()
    await box('a').signal('add', 1, { wait: 'applied' })
    await box('b').signal('twist')
    await untilSuspended('b', 'TURN_ENDLESS')
    await expect(box('a').query('spin')).rejects.toMatchObject({ code: 'TURN_ENDLESS' })
    expect(await box('a').query('total')).toBe(1)
    expect(await box('a').describe()).toMatchObject({ status: 'running' })
    expect(started.stderr).toMatch(/"code":"TURN_ENDLESS","kind":"query"/)
  }, 200_000)

  it('does not outlive a node that is killed, and the next node takes the folder', async () => {
    const started = await freshNode(['--turn-limit', '1h'])
    await box('a').signal('add', 1, { wait: 'applied' })
    await box('b').signal('spin')
    const processes = processTreeOf(started.pid).slice(1)
    started.signal('SIGKILL')
    await started.exited
    await node([], { TEST_FIXED: '1' })
    expect(processes.filter(lives)).toEqual([])
    await until(async () => (await box('b').query('total')) === 1000, 'the turn came to its end')
    expect(await box('a').query('total')).toBe(1)
  }, 200_000)
})

describe('a turn in which its process ends', () => {
  it('is left out once that has happened twice: memory without end, and a call that ends the process', async () => {
    const started = await freshNode(['--turn-limit', '1h'], { NODE_OPTIONS: '--max-old-space-size=120' })
    await box('n').signal('add', 1, { wait: 'applied' })
    await box('big').signal('hog')
    await untilSuspended('big', 'TURN_CRASHED')
    await box('gone').signal('quit')
    await untilSuspended('gone', 'TURN_CRASHED')
    await box('n').signal('add', 1, { wait: 'applied' })
    expect(await box('n').query('total')).toBe(2)
    expect((await started.stop()).code).toBe(0)
  }, 200_000)
})

describe('several engines', () => {
  it('have each their share of the partitions, and find them when there are more or fewer at the next start', async () => {
    const ids = Array.from({ length: 40 }, (_, i) => `i${i}`)
    let expected = 0
    for (const engines of ['1', '2', '1']) {
      const started = expected === 0 ? await freshNode(['--engines', engines]) : await node(['--engines', engines])
      // All of them from the folder: the journal is not read again.
      const from = [...started.stderr.matchAll(/"fromSeq":(\d+)/g)].map(([, seq]) => Number(seq))
      expect(from).toHaveLength(Number(engines))
      if (expected > 0) expect(Math.min(...from)).toBeGreaterThan(expected * ids.length - 20)
      await Promise.all(ids.map((id) => box(id).signal('add', 1, { wait: 'applied' })))
      expected += 1
      expect(await Promise.all(ids.map((id) => box(id).query('total')))).toEqual(ids.map(() => expected))
      expect((await started.stop()).code).toBe(0)
    }
  }, 200_000)
})

describe('a module that never comes to its end', () => {
  it('ends the start of the node with what to look for', async () => {
    const args = ['--namespace', 'loads', '--turn-limit', '250ms']
    const env = { TEST_LOADS_FOR_EVER: '1' }
    const end = await startNodeProcess({ servers: server.url, folder, data: 'loads', args, env }).end()
    expect(end.code).toBe(2)
    expect(end.stderr).toMatch(/error INVALID_DEFINITION: the process that loads .*workflow\.ts computed for \d+ ms/)
  }, 200_000)
})
