/**
 * A million instances on three nodes: created, signalled; then one node is lost with its disk, and comes back with an empty one.
 *
 *   npm run bench:million                          1,000,000 instances, three servers with R3; about ten minutes
 *   npm run bench:million -- --instances 50000     fewer; --servers 1 one nats-server with R1; --json prints JSON; --keep leaves the nodes' logs
 *
 * Exit code 1 when an instance is not as its signals make it.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import type { Carillon, SignalItem } from '@carillon/client'
import { jetstreamManager } from '@nats-io/jetstream'

import { type BenchCluster, openBenchCluster } from './bench-cluster.ts'
import { Counter, purchase } from './bench-workflow.ts'
import { ClusterWatch } from './cluster-watch.ts'
import { Prober } from './failover-prober.ts'
import { type MillionFigures, type NodeUse, printMillion, type Rates } from './million-report.ts'
import { bytesOfFolder, residentBytes } from './process-use.ts'

const { values } = parseArgs({
  options: {
    instances: { type: 'string', default: '1000000' },
    servers: { type: 'string', default: '3' },
    partitions: { type: 'string', default: '64' },
    standbys: { type: 'string', default: '1' },
    sample: { type: 'string', default: '2000' },
    json: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
  },
})

const NODES = 3
const SETTLED_WITHIN_MS = 1_200_000
const PROBE_EVERY_MS = 10
const LOOK_EVERY_MS = 50
/** Queries at once. */
const READS = 50

async function main(): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), 'carillon-million-'))
  try {
    const cluster = await openBenchCluster({
      dir,
      servers: Number(values.servers),
      nodes: NODES,
      partitions: Number(values.partitions),
      env: { CARILLON_STANDBYS: values.standbys },
      readyTimeoutMs: SETTLED_WITHIN_MS,
    })
    const carillon = await cluster.openClient()
    const watch = new ClusterWatch(cluster.nc, cluster.subjects)
    try {
      const figures = await new Run(cluster, carillon, watch).measure()
      if (values.json) console.log(JSON.stringify(figures, undefined, 2))
      else printMillion(figures)
      return figures.wrong === 0 ? 0 : 1
    } finally {
      watch.close()
      await carillon.close()
      await cluster.close()
    }
  } finally {
    if (values.keep) console.error(`kept: ${dir}`)
    else await rm(dir, { recursive: true, force: true })
  }
}

class Run {
  readonly #cluster: BenchCluster
  readonly #carillon: Carillon
  readonly #watch: ClusterWatch
  readonly #instances = Number(values.instances)
  readonly #standbys = Number(values.standbys)

  constructor(cluster: BenchCluster, carillon: Carillon, watch: ClusterWatch) {
    this.#cluster = cluster
    this.#carillon = carillon
    this.#watch = watch
  }

  async measure(): Promise<MillionFigures> {
    const { names } = this.#cluster.nodes
    await this.#watch.settled(names, this.#standbys, SETTLED_WITHIN_MS)
    const created = await this.#signalEach('created')
    const signalled = await this.#signalEach('signalled')
    const uses = await Promise.all(names.map((name) => this.#useOf(name)))
    const natsMemoryBytes = residentBytes(this.#cluster.nats.members[0]?.pid ?? 0)
    const natsBytes = await bytesOfFolder(join(this.#cluster.nats.members[0]?.storeDir ?? '', 'jetstream'))
    tell('one node is lost, with its disk')
    const lost = await this.#lose(names[0] ?? '')
    const { servedMs, partitions } = lost
    const { readyMs, caughtUpMs } = await this.#restore(names[0] ?? '')
    const restored = await this.#useOf(names[0] ?? '')
    tell('every instance is looked at')
    const wrong = await this.#countWrong()
    const { version } = this.#cluster
    const setUp = { version, servers: Number(values.servers), nodes: NODES, instances: this.#instances }
    return {
      ...setUp,
      created,
      signalled,
      uses,
      natsBytes,
      natsMemoryBytes,
      partitions,
      servedMs,
      readyMs,
      caughtUpMs,
      restored,
      wrong,
    }
  }

  /** Signals a second: until all are accepted, until their owners have applied them, and until the standbys have as well. */
  async #signalEach(what: string): Promise<Rates> {
    const beganMs = performance.now()
    const rate = (): number => (this.#instances / (performance.now() - beganMs)) * 1000
    await this.#carillon.signalMany(signals(this.#instances), {
      progressEvery: 100_000,
      onProgress: ({ accepted }) => tell(`${accepted.toLocaleString('en-US')} instances ${what}`),
    })
    const accepted = rate()
    const seq = await this.#lastSeq()
    await this.#until(() => this.#isApplied(seq, ['owner']))
    const applied = rate()
    await this.#until(() => this.#isApplied(seq, ['owner', 'standby']))
    return { accepted, applied, appliedEverywhere: rate() }
  }

  async #lose(name: string): Promise<{ readonly partitions: number; readonly servedMs: number }> {
    const { nodes, subjects } = this.#cluster
    const owners = await this.#watch.owners()
    const owned = owners.flatMap((owner, partition) => (owner?.node === name ? [partition] : []))
    const prober = new Prober(this.#carillon, subjects, PROBE_EVERY_MS)
    const lostMs = performance.now()
    await nodes.kill(name)
    const removed = rm(nodes.dataDirOf(name), { recursive: true, force: true })
    const sinceMs = performance.now()
    prober.aim(owned)
    prober.start()
    await this.#until(() => prober.waitsFor(owned, sinceMs) === undefined)
    const servedMs = performance.now() - lostMs
    await prober.stop()
    await removed
    return { partitions: owned.length, servedMs }
  }

  async #restore(name: string): Promise<{ readonly readyMs: number; readonly caughtUpMs: number }> {
    const { nodes } = this.#cluster
    const beganMs = performance.now()
    const { readyMs } = await nodes.start(name)
    await this.#watch.settled(nodes.names, this.#standbys, SETTLED_WITHIN_MS)
    return { readyMs, caughtUpMs: performance.now() - beganMs }
  }

  async #useOf(name: string): Promise<NodeUse> {
    const { nodes } = this.#cluster
    const { partitions: hosted = [], counters = {} } = this.#watch.beatOf(name) ?? {}
    return {
      name,
      owned: hosted.filter(({ role }) => role === 'owner').length,
      followed: hosted.filter(({ role }) => role !== 'owner').length,
      residents: counters['residents'] ?? Number.NaN,
      memoryBytes: residentBytes(nodes.processOf(name).pid),
      diskBytes: await bytesOfFolder(nodes.dataDirOf(name)),
    }
  }

  /** Instances that are missing or too many, and those of a sample whose state is not what two signals make of it. */
  async #countWrong(): Promise<number> {
    const total = await this.#carillon.count({ contract: Counter })
    const probes = this.#cluster.subjects.partitions
    let wrong = Math.max(0, this.#instances - total, total - this.#instances - probes)
    const step = Math.max(1, Math.floor(this.#instances / Number(values.sample)))
    const sample = Array.from({ length: Math.ceil(this.#instances / step) }, (_, i) => i * step)
    for (let from = 0; from < sample.length; from += READS) {
      const read = sample.slice(from, from + READS).map(async (i) => {
        const { orders, sum } = await this.#carillon
          .workflow(Counter, idOf(i))
          .query('state', undefined, { consistency: 'linearizable' })
        if (orders !== 2 || sum !== 2 * purchase(i).amount) wrong += 1
      })
      await Promise.all(read)
    }
    return wrong
  }

  #isApplied(seq: number, roles: readonly string[]): boolean {
    return this.#cluster.nodes.names.every((name) =>
      this.#watch.beatOf(name)?.partitions.every(({ role, appliedSeq }) => !roles.includes(role) || appliedSeq >= seq),
    )
  }

  async #lastSeq(): Promise<number> {
    const { nc, subjects } = this.#cluster
    return (await (await jetstreamManager(nc)).streams.info(subjects.logStream)).state.last_seq
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      this.#cluster.nodes.failure.throwIfAborted()
      await new Promise((resolve) => void setTimeout(resolve, LOOK_EVERY_MS))
    }
  }
}

function* signals(instances: number): Generator<SignalItem<typeof Counter>> {
  for (let i = 0; i < instances; i++) yield { workflow: Counter, id: idOf(i), name: 'count', payload: purchase(i) }
}

function idOf(i: number): string {
  return `customer-${i}`
}

function tell(text: string): void {
  console.error(text)
}

process.exitCode = await main()
