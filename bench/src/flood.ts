/**
 * The flood: 1,000,000 signals to ONE instance, in three ways, each in a cluster of its own with a real node.
 *
 *   npm run bench:flood                      a table; about five minutes
 *   npm run bench:flood -- --signals 20000   fewer signals; --json prints the figures as JSON; --looks says how often it looks, --way which of the
 *                                            three ways alone
 *
 * It looks ten times on the way, unless told otherwise: time per signal, memory of the node, bytes of the instance on disk. Then the node is restarted, and the instance must
 * be as the signals make it. Exit code 1 when something does not stay flat, or the state is not what it must be.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { type NatsProcess, openNatsProcess } from '@carillon/node'

import { provideNatsServer } from '../../scripts/nats-server.mjs'
import { type DiskUse, readDiskUse } from './disk-use.ts'
import { judge, type FloodCase, type FloodLook, printFlood, WAYS, type Way } from './flood-report.ts'
import { Child } from './ipc.ts'

const LOOKS_MIN = 3
/** More than the node's commit interval: what was applied is on disk by then. */
const COMMITTED_MS = 500

const { values } = parseArgs({
  options: {
    signals: { type: 'string', default: '1000000' },
    looks: { type: 'string', default: '10' },
    way: { type: 'string', default: Object.keys(WAYS).join() },
    json: { type: 'boolean', default: false },
  },
})

process.exitCode = await main(Number(values.signals), Number(values.looks))

async function main(signals: number, looks: number): Promise<number> {
  if (!Number.isInteger(looks) || looks < LOOKS_MIN || !Number.isInteger(signals / looks)) {
    console.error(`--looks must be a whole number from ${LOOKS_MIN}, and --signals a multiple of it`)
    return 2
  }
  if (values.way.split(',').some((way) => !Object.hasOwn(WAYS, way))) {
    console.error(`--way must be of ${Object.keys(WAYS).join(', ')}`)
    return 2
  }
  const { path, version } = await provideNatsServer()
  const cases: FloodCase[] = []
  for (const way of values.way.split(',') as Way[]) {
    // A server for each way: what one has stored is not in the way of the next.
    const dir = await mkdtemp(join(tmpdir(), 'carillon-flood-'))
    const server = await openNatsProcess({ path, storeDir: join(dir, 'nats') })
    try {
      const measured = await flood(server, dir, { way, each: signals / looks, looks })
      cases.push(measured)
      if (!values.json) printFlood(measured)
    } finally {
      await server.kill9()
      await rm(dir, { recursive: true, force: true })
    }
  }
  const problems = cases.flatMap(judge)
  if (values.json) console.log(JSON.stringify({ version, signals, cases, problems }, undefined, 2))
  for (const problem of problems) console.error(`not as it must be: ${problem}`)
  return problems.length === 0 ? 0 : 1
}

interface Plan {
  readonly way: Way
  readonly looks: number
  /** Signals between two looks. */
  readonly each: number
}

async function flood(server: NatsProcess, dir: string, { way, looks: count, each }: Plan): Promise<FloodCase> {
  const producer = new Child('producer')
  const node = new Child('consumer')
  const dataDir = join(dir, 'node')
  const connection = { servers: server.url, namespace: way }
  const open = { do: 'open-node', ...connection, dataDir, residentsMax: 1000 } as const
  try {
    await node.ask(open)
    await producer.ask({ do: 'connect', ...connection })
    const looks: FloodLook[] = []
    for (let look = 0; look < count; look++)
      looks.push(await floodOnce(producer, node, dataDir, { way, from: look * each, count: each }))
    const restartMs = await restart(node, producer, open, way)
    const state = await producer.ask<{ orders: number; sum: number }>({ do: 'state', way })
    return { way, looks, restartMs, state, expected: expectedOf(count * each) }
  } finally {
    await producer.kill()
    await node.kill()
  }
}

async function floodOnce(
  producer: Child,
  node: Child,
  dataDir: string,
  load: { readonly way: Way; readonly from: number; readonly count: number },
): Promise<FloodLook> {
  const cpuBefore = await node.ask<number>({ do: 'cpu' })
  await node.ask({ do: 'mark' })
  const startedMs = performance.now()
  await Promise.all([producer.ask({ do: 'flood', ...load }), node.ask({ do: 'await', count: load.count })])
  const tookMs = performance.now() - startedMs
  await new Promise((resolve) => void setTimeout(resolve, COMMITTED_MS))
  const cpuMs = (await node.ask<number>({ do: 'cpu' })) - cpuBefore
  const { rss, heapUsed } = await node.ask<{ rss: number; heapUsed: number }>({ do: 'memory' })
  const disk: DiskUse = await readDiskUse(dataDir)
  return {
    signals: load.from + load.count,
    microsEach: (tookMs * 1000) / load.count,
    cpuMicrosEach: (cpuMs * 1000) / load.count,
    rssBytes: rss,
    heapBytes: heapUsed,
    ...disk,
  }
}

/** From the start of the node to the first answer about the instance. */
async function restart(node: Child, producer: Child, open: Parameters<Child['ask']>[0], way: Way): Promise<number> {
  await node.ask({ do: 'close-node' })
  const startedMs = performance.now()
  await node.ask(open)
  await producer.ask({ do: 'state', way })
  return performance.now() - startedMs
}

/** The sum of what `purchase(i)` holds. */
function expectedOf(count: number): { readonly orders: number; readonly sum: number } {
  let sum = 0
  for (let i = 0; i < count; i++) sum += (i % 97) + 1
  return { orders: count, sum }
}
