/**
 * The bench of one node: rates, latencies and costs, as ratios to what bare JetStream does in the same run on the same machine.
 *
 *   npm run bench            a table
 *   npm run bench -- --json  the same as JSON
 *   npm run bench -- --quick fewer and shorter rounds
 *
 * One producer process, one nats-server, one consumer process. Cases take turns, round after round; medians are printed.
 */
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type NatsProcess, openNatsProcess } from '@carillon/node'

import { provideNatsServer } from '../../scripts/nats-server.mjs'
import { Child } from './ipc.ts'
import type { Load } from './bench-types.ts'
import { cpuMsOf } from './process-use.ts'
import { type CpuMicros, type Figures, printTable } from './report.ts'

/** The tail of the load before it, and its commits, are not what is measured. */
const SETTLE_MS = 1000
const NAMESPACE = 'bench'
const RAW = 'raw'
const flags = new Set(process.argv.slice(2))
const isQuick = flags.has('--quick')
const ROUNDS = isQuick ? 3 : 5
const SIGNALS = isQuick ? 30_000 : 60_000
const PINGS = isQuick ? 200 : 500
const IDLE_INSTANCES = isQuick ? 20_000 : 100_000
const ACTIVITIES = isQuick ? 5000 : 20_000
const TIMERS = isQuick ? 100_000 : 1_000_000
const TIMERS_EACH = 5000
const RESIDENTS_MAX = 10_000

await main()

async function main(): Promise<void> {
  const { path, version } = await provideNatsServer()
  const dir = await mkdtemp(join(tmpdir(), 'carillon-bench-'))
  const server = await openNatsProcess({ path, storeDir: join(dir, 'nats') })
  try {
    const figures = await measure(server, version, dir)
    if (flags.has('--json')) console.log(JSON.stringify(figures, undefined, 2))
    else printTable(figures)
  } finally {
    await server.kill9()
    await rm(dir, { recursive: true, force: true })
  }
}

async function measure(server: NatsProcess, version: string, dir: string): Promise<Figures> {
  // Two namespaces, each with its stream of the same layout: what one case stores, the other's process does not read.
  const producer = new Child('producer')
  const raw = new Child('consumer')
  const node = new Child('consumer')
  for (const [consumer, namespace] of [
    [raw, RAW],
    [node, NAMESPACE],
  ] as const) {
    await consumer.ask({
      do: 'open-node',
      servers: server.url,
      namespace,
      dataDir: join(dir, namespace),
      residentsMax: RESIDENTS_MAX,
    })
  }
  await raw.ask({ do: 'close-node' })
  await raw.ask({ do: 'consume' })

  const rates = { ceiling: [] as number[], many: [] as number[], one: [] as number[], activity: [] as number[] }
  const cpu = {
    ceiling: [] as CpuMicros[],
    many: [] as CpuMicros[],
    one: [] as CpuMicros[],
    activity: [] as CpuMicros[],
  }
  const pings = { raw: [] as number[], client: [] as number[] }
  // The first round warms everything up and is not counted.
  for (let round = -1; round < ROUNDS; round++) {
    const keep = (name: keyof typeof rates, run: Run): void => {
      if (round < 0) return
      rates[name].push(run.perSecond)
      cpu[name].push(run.cpu)
    }
    await producer.ask({ do: 'connect', servers: server.url, namespace: RAW })
    keep(
      'ceiling',
      await rate(server, producer, raw, 'raw', 'count', { signals: SIGNALS, instances: 1000, prefix: `r${round}` }),
    )
    pings.raw.push(...(await ping(producer, 'raw', `pr${round}`)))
    await producer.ask({ do: 'connect', servers: server.url, namespace: NAMESPACE })
    keep(
      'many',
      await rate(server, producer, node, 'client', 'count', { signals: SIGNALS, instances: 1000, prefix: `m${round}` }),
    )
    keep(
      'one',
      await rate(server, producer, node, 'client', 'count', { signals: SIGNALS, instances: 1, prefix: `o${round}` }),
    )
    keep(
      'activity',
      await rate(server, producer, node, 'client', 'work', {
        signals: ACTIVITIES,
        instances: 1000,
        prefix: `a${round}`,
      }),
    )
    pings.client.push(...(await ping(producer, 'client', `pc${round}`)))
  }
  await raw.ask({ do: 'stop-consuming' })
  await raw.end()
  await node.ask({ do: 'close-node' })
  await node.end()
  const idle = await measureIdle(server, producer, dir)
  await producer.end()
  return { version, rounds: ROUNDS, signals: SIGNALS, rates, cpu, pings, idle }
}

interface Run {
  readonly perSecond: number
  readonly cpu: CpuMicros
}

/** Signals a second from the first publish until the last one was consumed or applied, and what each cost. */
async function rate(
  server: NatsProcess,
  producer: Child,
  consumer: Child,
  how: 'raw' | 'client',
  name: 'count' | 'work',
  load: Load,
): Promise<Run> {
  await consumer.ask({ do: 'mark' })
  const cpuMs = async (): Promise<number[]> => [
    await producer.ask<number>({ do: 'cpu' }),
    cpuMsOf(server.pid),
    await consumer.ask<number>({ do: 'cpu' }),
  ]
  const before = await cpuMs()
  const started = performance.now()
  await producer.ask({ do: 'produce', how, name, load })
  // An activity's result is an input of its own.
  await consumer.ask({ do: 'await', count: name === 'work' ? load.signals * 2 : load.signals })
  const perSecond = (load.signals / (performance.now() - started)) * 1000
  const [producerMicros = 0, serverMicros = 0, consumerMicros = 0] = (await cpuMs()).map(
    (ms, i) => ((ms - (before[i] ?? 0)) * 1000) / load.signals,
  )
  return { perSecond, cpu: { producer: producerMicros, server: serverMicros, consumer: consumerMicros } }
}

async function ping(producer: Child, how: 'raw' | 'client', prefix: string): Promise<number[]> {
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
  return producer.ask<number[]>({ do: 'ping', how, perSecond: 100, count: PINGS, prefix })
}

/** Creates many instances in a fresh data folder and namespace, lets them go idle, and starts again over them. */
async function measureIdle(server: NatsProcess, producer: Child, dir: string): Promise<Figures['idle']> {
  const where = { servers: server.url, namespace: 'idle' }
  const dataDir = join(dir, 'idle')
  const owner = new Child('consumer')
  await owner.ask({ do: 'open-node', ...where, dataDir, residentsMax: 1000 })
  const before = await owner.ask<Memory>({ do: 'memory' })
  await producer.ask({ do: 'connect', ...where })
  const { perSecond: createdPerSecond } = await rate(server, producer, owner, 'client', 'count', {
    signals: IDLE_INSTANCES,
    instances: IDLE_INSTANCES,
    prefix: 'idle',
  })
  await owner.ask({ do: 'probe', id: 'idle-0' })
  const after = await owner.ask<Memory>({ do: 'memory' })
  const { size } = await stat(join(dataDir, 'data.mdb'))
  await owner.ask({ do: 'mark' })
  await producer.ask({ do: 'sleep', instances: TIMERS / TIMERS_EACH, timersEach: TIMERS_EACH })
  await owner.ask({ do: 'await', count: TIMERS / TIMERS_EACH })
  await owner.ask({ do: 'close-node' })
  await owner.ask({ do: 'open-node', ...where, dataDir, residentsMax: 1000 })
  await owner.ask({ do: 'probe', id: 'idle-0' })
  const withTimers = await owner.ask<Memory>({ do: 'memory' })
  await owner.ask({ do: 'close-node' })
  await owner.end()
  const started = performance.now()
  const again = new Child('consumer')
  await again.ask({ do: 'open-node', ...where, dataDir, residentsMax: 1000 })
  await again.ask({ do: 'probe', id: 'idle-1' })
  const restartMs = performance.now() - started
  await again.ask({ do: 'close-node' })
  await again.end()
  return {
    instances: IDLE_INSTANCES,
    createdPerSecond,
    diskBytesEach: size / IDLE_INSTANCES,
    memoryBytesEach: Math.max(0, usedBytes(after) - usedBytes(before)) / IDLE_INSTANCES,
    residents: after.residents,
    restartMs,
    timers: TIMERS,
    timerMemoryBytesEach: Math.max(0, usedBytes(withTimers) - usedBytes(after)) / TIMERS,
  }
}

interface Memory {
  readonly heapUsed: number
  readonly external: number
  readonly residents: number
}

function usedBytes({ heapUsed, external }: Memory): number {
  return heapUsed + external
}
