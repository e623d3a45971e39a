/**
 * What remote snapshots cost: `npm run bench:snapshots`, with another number of instances as its argument. One nats-server, and one process with a node and
 * a producer, on this machine.
 *
 * Whole: all rows of all partitions. Changed: one instance in a hundred has had a signal. Idle: nothing has. Latencies are those of signals to single
 * instances, 100 a second, from the call to the answer that it was applied.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Carillon, connect } from '@carillon/client'
import { type CarillonNode, openNatsProcess, openNode } from '@carillon/node'
import { silentLogger } from '@carillon/runtime/ports'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect as connectNats } from '@nats-io/transport-node'

import { provideNatsServer } from '../../scripts/nats-server.mjs'
import { Counter, counter, counterActivities, purchase } from './bench-workflow.ts'

const INSTANCES_DEFAULT = 100_000
const PROBES_PER_S = 100
const PROBES = 1000
const WAIT_MS = 20
/** No round by itself. */
const NEVER_MS = 2 ** 31 - 1

const instances = Number(process.argv[2] ?? INSTANCES_DEFAULT)
const dir = await mkdtemp(join(tmpdir(), 'carillon-bench-'))
const { path } = await provideNatsServer()
const server = await openNatsProcess({ path, storeDir: join(dir, 'nats') })
try {
  await measure()
} finally {
  await server.kill9()
  await rm(dir, { recursive: true, force: true })
}

async function measure(): Promise<void> {
  let node = await open()
  const carillon = await connect({ servers: server.url })
  const rows: string[][] = [['what', 'time', 'CPU of the process', 'bytes stored', 'instances/s']]
  await signalAll(node, carillon, 1)
  rows.push(await save('whole', node, instances))
  await signalAll(node, carillon, 100)
  rows.push(await save('one in 100 changed', node, instances / 100))
  rows.push(await save('idle', node, 0))
  const calm = await latencies(carillon, PROBES)
  await signalAll(node, carillon, 1)
  const [during, saved] = await Promise.all([
    latencies(carillon, PROBES),
    save('all changed, under load', node, instances),
  ])
  rows.push(saved)
  await node.saveCheckpoints()
  const bytes = await trimTo(Math.min(...node.checkpoints.map(({ coveredSeq }) => coveredSeq)))
  await node.close()
  await rm(join(dir, 'data'), { recursive: true })
  const beganMs = performance.now()
  node = await open()
  const tookMs = performance.now() - beganMs
  rows.push(['restored, caught up', seconds(tookMs), '', '', perSecond(instances, tookMs)])
  const count = await carillon.count({ contract: Counter })
  if (count !== instances) throw new Error(`${count} instances are there, not ${instances}`)
  await carillon.close()
  await node.close()
  print(rows)
  process.stdout.write(
    `\nsnapshot stream ${(bytes / 1e6).toFixed(0)} MB; latency calm ${calm}, while saving ${during}\n`,
  )
}

async function open(): Promise<CarillonNode> {
  const node = await openNode({
    servers: server.url,
    dataDir: join(dir, 'data'),
    logger: silentLogger,
    workflows: { implementations: [counter], activities: [counterActivities] },
    checkpoints: { everyMs: NEVER_MS },
  })
  await node.caughtUp
  return node
}

/** A signal to one instance in so many, applied and committed. */
async function signalAll(node: CarillonNode, carillon: Carillon, oneIn: number): Promise<void> {
  function* items(): Generator<{
    workflow: typeof Counter
    id: string
    name: 'count'
    payload: ReturnType<typeof purchase>
  }> {
    for (let i = 0; i < instances; i += oneIn)
      yield { workflow: Counter, id: `customer-${i}`, name: 'count', payload: purchase(i) }
  }
  await carillon.signalMany(items())
  await until(async () => (await node.journalUnapplied()) === 0)
  // Counting is answered behind a commit.
  await carillon.count({ contract: Counter })
}

async function save(what: string, node: CarillonNode, changed: number): Promise<string[]> {
  const before = node.checkpointBytes
  const cpu = process.cpuUsage()
  const beganMs = performance.now()
  await node.saveCheckpoints()
  const tookMs = performance.now() - beganMs
  const { user, system } = process.cpuUsage(cpu)
  const bytes = `${((node.checkpointBytes - before) / 1e6).toFixed(2)} MB`
  return [
    what,
    seconds(tookMs),
    seconds((user + system) / 1000),
    bytes,
    changed === 0 ? '' : perSecond(changed, tookMs),
  ]
}

async function latencies(carillon: Carillon, count: number): Promise<string> {
  const taken: number[] = []
  const beganMs = performance.now()
  const probes: Promise<void>[] = []
  for (let i = 0; i < count; i++) {
    await pause(beganMs + (i * 1000) / PROBES_PER_S - performance.now())
    const sentMs = performance.now()
    const id = `customer-${(i * 7919) % instances}`
    probes.push(
      carillon
        .workflow(Counter, id)
        .signal('count', purchase(i), { wait: 'applied' })
        .then(() => void taken.push(performance.now() - sentMs)),
    )
  }
  await Promise.all(probes)
  taken.sort((a, b) => a - b)
  const at = (share: number): string => `${(taken[Math.floor(taken.length * share)] ?? 0).toFixed(1)} ms`
  return `p50 ${at(0.5)}, p99 ${at(0.99)}`
}

/** What is covered is left in the snapshots alone. Gives the size of their stream. */
async function trimTo(seq: number): Promise<number> {
  const nc = await connectNats({ servers: server.url })
  const { streams } = await jetstreamManager(nc)
  await streams.purge('carillon-log', { seq: seq + 1 })
  const { bytes } = (await streams.info('carillon-snap')).state
  await nc.close()
  return bytes
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await pause(WAIT_MS)
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, Math.max(0, ms)))
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`
}

function perSecond(count: number, ms: number): string {
  return Math.round((count * 1000) / ms).toLocaleString('en')
}

function print([header = [], ...rows]: string[][]): void {
  const lines = [header, header.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`)
  process.stdout.write(`${lines.join('\n')}\n`)
}
