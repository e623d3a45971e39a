/** Everything that runs in one cluster of the fault run: servers, nodes, a worker, producers, a reader, a recorder and the checker. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { type JetStreamManager, jetstreamManager } from '@nats-io/jetstream'
import { connect, type NatsConnection } from '@nats-io/transport-node'

import type { CheckerOptions } from '../checker/checker.ts'
import type { Finding } from '../checker/findings.ts'
import { FILES } from '../histories.ts'
import { CHECKER, PRODUCER, RECEIPTS_MODULE, WORKFLOWS } from '../paths.ts'
import type { ProducerOptions } from '../processes/producer.ts'
import { RECEIPTS } from '../workloads/contracts.ts'
import { CarillonProcess } from './carillon-process.ts'
import { Child } from './child.ts'
import { Looker } from './looker.ts'
import { type NatsServers, openServers } from './nats-servers.ts'
import { OwnerWatch } from './owner-watch.ts'
import { Recorder } from './recorder.ts'
import { holdsWithin } from './wait-until.ts'

export interface ClusterOptions {
  readonly natsServer: string
  readonly servers: 1 | 3
  readonly folder: string
  readonly seed: number
  readonly opsPerSecond: number
  readonly poisonShare: number
  readonly patience: number
  readonly bug?: string | undefined
}

export const NAMESPACE = 'proof'
const PARTITIONS = 32
const PRODUCERS = 2
const NODES = ['node-a', 'node-b', 'node-c']
const OPEN_MS_MAX = 40_000
const SPREAD_MS_MAX = 10_000
/** The disk of a node that can be filled: what it holds is a few megabytes. */
const SMALL_DISK_BYTES = 48 * 1024 * 1024
/** Snapshots and trimming keep up with rounds of seconds. The recorder reads what is trimmed long before that. */
const CHECKPOINT_EVERY = '1s'
const KEEP_HISTORY_S = 4
/** Repeats come long after it, too. */
const DEDUPE_WINDOW_NS = 2_000_000_000

export class Cluster {
  readonly folder: string
  /** All deadlines are so many times longer. */
  readonly patience: number
  readonly findings: Finding[] = []
  readonly nodes: readonly CarillonProcess[]
  readonly worker: CarillonProcess
  readonly servers: NatsServers
  readonly recorder: Recorder
  readonly looker: Looker
  readonly checker: Child
  readonly owners: OwnerWatch
  readonly producers: readonly Child[]
  /** The node whose disk is small, where the system allows to make one. */
  readonly smallDisk: CarillonProcess | undefined
  readonly #nc: NatsConnection

  private constructor(parts: Parts) {
    this.folder = parts.folder
    this.patience = parts.patience
    this.findings = parts.findings
    this.nodes = parts.nodes
    this.worker = parts.worker
    this.servers = parts.servers
    this.recorder = parts.recorder
    this.looker = parts.looker
    this.checker = parts.checker
    this.owners = parts.owners
    this.producers = parts.producers
    this.smallDisk = parts.smallDisk
    this.#nc = parts.nc
  }

  /** Opens it, with one input in every instance. */
  static async open(options: ClusterOptions): Promise<Cluster> {
    const { folder, seed, natsServer, opsPerSecond, poisonShare, patience } = options
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, FILES.sink), '')
    const servers = await openServers(natsServer, folder, options.servers)
    const nc = await connect({ servers: servers.urls.split(','), maxReconnectAttempts: -1, reconnectTimeWait: 100 })
    const manager = await jetstreamManager(nc, { checkAPI: false, timeout: 3000 })
    const owners = new OwnerWatch(nc, NAMESPACE, folder)
    const findings: Finding[] = []
    const make = (name: string, args: string[]): CarillonProcess => makeProcess(name, args, options, servers, findings)
    const nodes = NODES.map((name) => make(name, nodeArgs(name, options)))
    const worker = make('worker', ['worker', '--queue', RECEIPTS, '--activities', RECEIPTS_MODULE])
    const smallDisk = mountSmallDisk(dataDirOf(folder, NODES[2] ?? '')) ? nodes[2] : undefined
    // The first one makes the streams.
    nodes[0]?.start()
    if (!(await holdsWithin(OPEN_MS_MAX * options.patience, () => nodes[0]?.isUp === true)))
      throw new Error('the first node did not come up')
    for (const one of [...nodes.slice(1), worker]) one.start()
    await shortenDedupe(manager)
    const checker = new Child('checker', CHECKER)
    const told: Omit<CheckerOptions, 'folder'> = { namespace: NAMESPACE, partitions: PARTITIONS, producers: PRODUCERS }
    writeFileSync(join(folder, 'checker.json'), JSON.stringify(told))
    await checker.ask('open', { ...told, folder } satisfies CheckerOptions)
    const producers = Array.from({ length: PRODUCERS }, (_, i) => new Child(`producer ${i}`, PRODUCER))
    const common = { servers: servers.urls, namespace: NAMESPACE, folder, poisonShare }
    await Promise.all(
      producers.map((one, number) =>
        one.ask('open', {
          ...common,
          number,
          seed: seed + 1 + number,
          opsPerSecond: opsPerSecond / PRODUCERS,
        } satisfies ProducerOptions),
      ),
    )
    const recorder = await Recorder.open(nc, NAMESPACE, folder)
    const looker = await Looker.open(servers.urls, NAMESPACE, folder, seed + 9)
    const parts = {
      owners,
      patience,
      folder,
      findings,
      nodes,
      worker,
      servers,
      recorder,
      looker,
      checker,
      producers,
      smallDisk,
      nc,
    }
    await producers[0]?.ask('begin')
    // Partitions that move to nodes that have just come make work twice, as they may.
    await holdsWithin(SPREAD_MS_MAX * patience, () => owners.count === nodes.length)
    return new Cluster(parts)
  }

  dataDir(node: CarillonProcess): string {
    return dataDirOf(this.folder, node.name)
  }

  failpointFile(node: CarillonProcess): string {
    return failpointFileOf(this.folder, node.name)
  }

  /** Nodes that serve. */
  get serving(): readonly CarillonProcess[] {
    return this.nodes.filter((node) => node.isReady)
  }

  async close(): Promise<void> {
    for (const one of [...this.nodes, this.worker]) one.thaw()
    await Promise.all([...this.nodes, this.worker].filter((one) => one.isRunning).map((one) => one.kill()))
    await Promise.all(this.producers.map((one) => one.end()))
    await this.checker.end()
    await this.recorder.close()
    await this.looker.close()
    await this.owners.close()
    await this.#nc.close()
    await this.servers.close()
    if (this.smallDisk !== undefined) unmount(this.dataDir(this.smallDisk))
  }
}

interface Parts {
  readonly folder: string
  readonly patience: number
  readonly findings: Finding[]
  readonly nodes: readonly CarillonProcess[]
  readonly worker: CarillonProcess
  readonly servers: NatsServers
  readonly recorder: Recorder
  readonly looker: Looker
  readonly checker: Child
  readonly owners: OwnerWatch
  readonly producers: readonly Child[]
  readonly smallDisk: CarillonProcess | undefined
  readonly nc: NatsConnection
}

function makeProcess(
  name: string,
  args: readonly string[],
  { folder, bug, seed }: ClusterOptions,
  servers: NatsServers,
  findings: Finding[],
): CarillonProcess {
  return new CarillonProcess({
    name,
    args: [...args, '--servers', servers.urls, '--namespace', NAMESPACE, '--name', name],
    env: {
      CARILLON_PROOF_SINK: join(folder, FILES.sink),
      CARILLON_NODE_NAME: name,
      CARILLON_STANDBYS: String(1 + (seed % 2)),
      CARILLON_FAILPOINT: name.startsWith('node') ? `file:${failpointFileOf(folder, name)}` : '',
      CARILLON_PLANTED_BUG: bug ?? '',
    },
    logFile: join(folder, `${name}.log`),
    onFinding: (text) => void findings.push({ check: 'process', text }),
  })
}

function nodeArgs(name: string, { folder, servers, patience }: ClusterOptions): string[] {
  const dataDir = dataDirOf(folder, name)
  const stored = ['--data-dir', dataDir, '--partitions', String(PARTITIONS), '--replicas', String(servers)]
  const snapshots = ['--checkpoint-every', CHECKPOINT_EVERY, '--keep-history', `${KEEP_HISTORY_S * patience}s`]
  return ['node', '--supervised', '--workflows', WORKFLOWS, ...stored, ...snapshots]
}

function dataDirOf(folder: string, name: string): string {
  return join(folder, 'data', name)
}

function failpointFileOf(folder: string, name: string): string {
  return join(folder, `${name}.failpoint`)
}

async function shortenDedupe(manager: JetStreamManager): Promise<void> {
  await manager.streams.update(`${NAMESPACE}-log`, { duplicate_window: DEDUPE_WINDOW_NS })
}

/** False where it is not allowed: it takes the rights of root. */
function mountSmallDisk(path: string): boolean {
  mkdirSync(path, { recursive: true })
  try {
    execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', `size=${SMALL_DISK_BYTES}`, 'carillon-proof', path], {
      stdio: 'ignore',
    })
    process.once('exit', () => unmount(path))
    return true
  } catch {
    rmSync(path, { recursive: true, force: true })
    return false
  }
}

function unmount(path: string): void {
  try {
    execFileSync('/bin/umount', ['-l', path], { stdio: 'ignore' })
  } catch {
    // It is not mounted any more.
  }
}
