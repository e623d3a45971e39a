/**
 * Several nats-servers on this machine as one cluster with JetStream: for tests, benches and demos of what a cluster of servers survives.
 *
 * Owns: the processes, their ports, their store folders' layout under one directory.
 * Does not own: that directory, which outlives the cluster; finding or fetching the binary.
 *
 * Invariants
 * 1. A member keeps its name, its ports and its store for as long as the cluster object lives: a server that came back under another name would leave
 *    its streams one member short for ever.
 * 2. The cluster's name is drawn at random: servers of another cluster that find a route's port in use do not join this one.
 * 3. No server outlives this process (`nats-process.ts`, invariant 2).
 *
 * What is asked about leaders and replicas is asked of the servers' monitoring, which needs neither an account nor a JetStream that answers.
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

import { CarillonError } from '@carillon/runtime'
import { connect, type NodeConnectionOptions } from '@nats-io/transport-node'

import { freePort, type NatsProcess, openNatsProcess } from './nats-process.ts'

export interface NatsClusterOptions {
  /** The nats-server binary. */
  readonly path: string
  /** Each member has a folder of its name in it; made when absent. */
  readonly dir: string
  /** Default 3. One runs by itself, and leads everything. */
  readonly size?: number
  /** More lines of every server's configuration, at the top level. */
  readonly config?: string
  /** More lines inside the `jetstream` block, for example `sync_interval: always`. */
  readonly jetstreamConfig?: string
  /** More lines inside the `cluster` block, for example TLS of the routes. */
  readonly clusterConfig?: string
  /** How `stepDown` connects where the servers ask who it is: a user of the stream's account. */
  readonly connection?: Omit<NodeConnectionOptions, 'servers'>
  /** Receives what the servers log, line by line. */
  readonly log?: (member: string, line: string) => void
  /** How long the servers may take to agree on a leader. Default 30 s. */
  readonly readyTimeoutMs?: number
}

export type NatsMemberState = 'running' | 'frozen' | 'stopped'

export interface NatsMember {
  readonly name: string
  readonly url: string
  readonly port: number
  /** The server's monitoring, as a URL without a path. */
  readonly monitorUrl: string
  readonly storeDir: string
  /** Of the process that was started last. */
  readonly pid: number
  readonly state: NatsMemberState
  /** Ends it as a crash would. */
  kill9(): Promise<void>
  /** Ends it gracefully: it hands over what it leads. */
  stop(): Promise<void>
  /** SIGSTOP: its connections stay open, and nothing answers. */
  freeze(): void
  /** SIGCONT. */
  thaw(): void
  /** Starts it on its ports and store; ends it gracefully before, if it runs. Resolves when it answers, which may be before its streams have caught up. */
  restart(): Promise<void>
}

export interface NatsCluster {
  readonly members: readonly NatsMember[]
  /** All URLs, for `servers` of a connection. */
  readonly servers: readonly string[]
  /** Resolves when the running members have a meta leader and every stream on them has a leader with all its replicas current. A stopped or frozen member's replicas are not waited for. @throws TIMEOUT */
  ready(timeoutMs?: number): Promise<void>
  /** The member that leads, and that no running member denies; waits for one. @throws TIMEOUT */
  metaLeader(timeoutMs?: number): Promise<NatsMember>
  /** As `metaLeader`, of a stream. */
  leaderOf(stream: string, timeoutMs?: number): Promise<NatsMember>
  /** Makes the stream's leader give up its place. Resolves with the next leader. @throws TIMEOUT */
  stepDown(stream: string, timeoutMs?: number): Promise<NatsMember>
  /** Kills the stream's leader as a crash would, and gives it back, for its `restart`. */
  killLeaderOf(stream: string, timeoutMs?: number): Promise<NatsMember>
  /** Ends all servers. Safe to call again. */
  close(): Promise<void>
}

const HOST = '127.0.0.1'
const TIMEOUT_MS = 30_000
const POLL_MS = 50
/** A frozen server takes connections and says nothing. */
const MONITOR_MS_MAX = 1000
const START_ATTEMPTS_MAX = 3
const NAME_BYTES = 6

/**
 * Starts the servers and waits until they have a meta leader.
 *
 * @throws SERVER_UNREACHABLE when one does not start; the message quotes its last log lines. @throws TIMEOUT when they do not agree on a leader.
 */
export async function openNatsCluster(options: NatsClusterOptions): Promise<NatsCluster> {
  for (let attempt = 1; ; attempt++) {
    const cluster = await createCluster(options)
    try {
      await Promise.all(cluster.members.map((member) => member.restart()))
      await cluster.ready(options.readyTimeoutMs ?? TIMEOUT_MS)
      return cluster
    } catch (error) {
      await cluster.close()
      // Between finding a free port and listening on it, another program may take it.
      const taken = error instanceof Error && error.message.includes('address already in use')
      if (!taken || attempt === START_ATTEMPTS_MAX) throw error
    }
  }
}

async function createCluster(options: NatsClusterOptions): Promise<OwnCluster> {
  const size = options.size ?? 3
  const ports = await Promise.all(Array.from({ length: size * 3 }, () => freePort()))
  const portOf = (index: number): number => ports[index] ?? 0
  const routes = Array.from({ length: size }, (_, index) => `nats://${HOST}:${portOf(size + index)}`)
  const clusterName = `carillon-${randomBytes(NAME_BYTES).toString('hex')}`
  const members = routes.map((_, index) => {
    const monitorPort = portOf(2 * size + index)
    const cluster = `cluster { name: ${clusterName}, host: ${HOST}, port: ${portOf(size + index)}, routes: ${JSON.stringify(routes)}\n${options.clusterConfig ?? ''}\n}`
    return new Member({
      ...options,
      name: `nats-${index + 1}`,
      port: portOf(index),
      monitorPort,
      // One server is no cluster: without others it would wait for them.
      config: [`http: "${HOST}:${monitorPort}"`, size === 1 ? '' : cluster, options.config ?? ''].join('\n'),
    })
  })
  return new OwnCluster(members, options)
}

type MemberOptions = NatsClusterOptions & {
  readonly name: string
  readonly port: number
  readonly monitorPort: number
}

class Member implements NatsMember {
  readonly name: string
  readonly port: number
  readonly url: string
  readonly monitorUrl: string
  readonly storeDir: string
  readonly #options: MemberOptions
  #process: NatsProcess | undefined
  #isFrozen = false
  #isRunning = false

  constructor(options: MemberOptions) {
    this.#options = options
    this.name = options.name
    this.port = options.port
    this.url = `nats://${HOST}:${options.port}`
    this.monitorUrl = `http://${HOST}:${options.monitorPort}`
    this.storeDir = join(options.dir, options.name)
  }

  get pid(): number {
    return this.#running().pid
  }

  get state(): NatsMemberState {
    if (!this.#isRunning) return 'stopped'
    return this.#isFrozen ? 'frozen' : 'running'
  }

  async kill9(): Promise<void> {
    await this.#process?.kill9()
  }

  async stop(): Promise<void> {
    await this.#process?.stop()
  }

  freeze(): void {
    this.#running().signal('SIGSTOP')
    this.#isFrozen = true
  }

  thaw(): void {
    this.#isFrozen = false
    this.#running().signal('SIGCONT')
  }

  async restart(): Promise<void> {
    await this.stop()
    const { path, port, name, config, jetstreamConfig, log, readyTimeoutMs } = this.#options
    const process = await openNatsProcess({
      path,
      storeDir: this.storeDir,
      port,
      name,
      ...(config === undefined ? {} : { config }),
      ...(jetstreamConfig === undefined ? {} : { jetstreamConfig }),
      ...(log === undefined ? {} : { log: (line: string) => log(name, line) }),
      ...(readyTimeoutMs === undefined ? {} : { readyTimeoutMs }),
    })
    this.#process = process
    this.#isFrozen = false
    this.#isRunning = true
    const onExited = (): void => {
      if (this.#process === process) this.#isRunning = false
    }
    process.exited.then(onExited, onExited)
  }

  #running(): NatsProcess {
    if (this.#process === undefined) throw new Error(`the nats-server ${this.name} was never started`)
    return this.#process
  }
}

class OwnCluster implements NatsCluster {
  readonly members: readonly Member[]
  readonly #options: NatsClusterOptions

  constructor(members: readonly Member[], options: NatsClusterOptions) {
    this.members = members
    this.#options = options
  }

  get servers(): readonly string[] {
    return this.members.map(({ url }) => url)
  }

  ready(timeoutMs = TIMEOUT_MS): Promise<void> {
    if (this.members.length === 1) return Promise.resolve()
    return waitFor(timeoutMs, async () => {
      const views = await this.#views()
      const missing = whatIsMissing(views, this.#runningMembers(), this.members.length)
      return missing === undefined ? { value: undefined } : { missing }
    })
  }

  metaLeader(timeoutMs = TIMEOUT_MS): Promise<NatsMember> {
    return this.#findMember(
      timeoutMs,
      'of JetStream',
      leaderIn((view) => view.meta),
    )
  }

  leaderOf(stream: string, timeoutMs = TIMEOUT_MS): Promise<NatsMember> {
    return this.#findMember(timeoutMs, `of the stream ${stream}`, leaderIn(streamOf(stream)))
  }

  async stepDown(stream: string, timeoutMs = TIMEOUT_MS): Promise<NatsMember> {
    const before = await this.leaderOf(stream, timeoutMs)
    const nc = await connect({ ...this.#options.connection, servers: before.url, ignoreClusterUpdates: true })
    try {
      const answer = await nc.request(`$JS.API.STREAM.LEADER.STEPDOWN.${stream}`, undefined, { timeout: timeoutMs })
      const { error } = answer.json<{ readonly error?: { readonly description?: string } }>()
      if (error !== undefined) throw new Error(`the leader of ${stream} does not step down: ${error.description}`)
    } finally {
      await nc.close()
    }
    const next = (views: readonly NamedView[]): string | undefined => {
      const leader = leaderIn(streamOf(stream))(views)
      return leader === before.name ? undefined : leader
    }
    return this.#findMember(timeoutMs, `of the stream ${stream} other than ${before.name}`, next)
  }

  async killLeaderOf(stream: string, timeoutMs = TIMEOUT_MS): Promise<NatsMember> {
    const leader = await this.leaderOf(stream, timeoutMs)
    await leader.kill9()
    return leader
  }

  async close(): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill9()))
  }

  #findMember(timeoutMs: number, what: string, find: (views: readonly NamedView[]) => string | undefined) {
    return waitFor<NatsMember>(timeoutMs, async () => {
      const found = this.members.length === 1 ? this.members[0]?.name : find(await this.#views())
      const member = this.members.find(({ name }) => name === found)
      return member === undefined ? { missing: `there is no leader ${what}` } : { value: member }
    })
  }

  #runningMembers(): readonly Member[] {
    return this.members.filter(({ state }) => state === 'running')
  }

  async #views(): Promise<readonly NamedView[]> {
    const asked = this.#runningMembers().map(async ({ name, monitorUrl }) => {
      const view = await readView(monitorUrl)
      return view === undefined ? [] : [{ member: name, view }]
    })
    return (await Promise.all(asked)).flat()
  }
}

/** How one server sees a group of replicas; it is not among its own `replicas`. */
interface Group {
  readonly leader: string | undefined
  readonly replicas: readonly { readonly name: string; readonly current: boolean; readonly offline: boolean }[]
}

interface View {
  readonly meta: Group | undefined
  readonly streams: ReadonlyMap<string, Group>
}

type GroupOf = (view: View) => Group | undefined

interface NamedView {
  readonly member: string
  readonly view: View
}

function streamOf(name: string): GroupOf {
  return (view) => view.streams.get(name)
}

/**
 * The member that says of itself that it leads, where nobody says otherwise: a leader that was frozen, or has just lost an election, goes on saying so
 * for a while.
 */
function leaderIn(groupOf: GroupOf): (views: readonly NamedView[]) => string | undefined {
  return (views) => {
    const groups = views.flatMap(({ member, view }) => {
      const group = groupOf(view)
      return group === undefined ? [] : [{ member, leader: group.leader }]
    })
    const own = groups.find(({ member, leader }) => leader === member)
    return own !== undefined && groups.every(({ leader }) => leader === own.member) ? own.member : undefined
  }
}

/** Undefined when all is well. */
function whatIsMissing(views: readonly NamedView[], members: readonly NatsMember[], size: number): string | undefined {
  if (members.length * 2 <= size) return `${members.length} of ${size} servers runs, which is no majority`
  if (views.length < members.length) return 'not every server answers'
  const running = new Set(members.map(({ name }) => name))
  const meta = missingOf(views, (view) => view.meta, 'JetStream', running)
  if (meta !== undefined) return meta
  const known = views.find(({ member, view }) => view.meta?.leader === member)?.view.meta
  const absent = members.find(({ name }) => name !== known?.leader && !known?.replicas.some((r) => r.name === name))
  if (absent !== undefined) return `${absent.name} is not known to JetStream's leader`
  const streams = [...new Set(views.flatMap(({ view }) => [...view.streams.keys()]))]
  return streams.map((name) => missingOf(views, streamOf(name), name, running)).find((text) => text !== undefined)
}

/** The leader's view counts: the others do not know how far their neighbours are. */
function missingOf(
  views: readonly NamedView[],
  groupOf: GroupOf,
  what: string,
  running: ReadonlySet<string>,
): string | undefined {
  const leader = leaderIn(groupOf)(views)
  const of = views.find(({ member }) => member === leader)
  const group = of === undefined ? undefined : groupOf(of.view)
  if (group === undefined) return `the servers name no leader of ${what}`
  const behind = group.replicas.find(({ name, current, offline }) => running.has(name) && (offline || !current))
  return behind === undefined ? undefined : `${behind.name} is behind the leader of ${what}`
}

interface RawGroup {
  readonly leader?: string
  readonly replicas?: readonly { readonly name: string; readonly current?: boolean; readonly offline?: boolean }[]
}

interface JetStreamView {
  readonly meta_cluster?: RawGroup
  readonly account_details?: readonly {
    readonly stream_detail?: readonly { readonly name: string; readonly cluster?: RawGroup }[]
  }[]
}

/** Undefined while the server does not answer. */
async function readView(monitorUrl: string): Promise<View | undefined> {
  let raw: JetStreamView
  try {
    const signal = AbortSignal.timeout(MONITOR_MS_MAX)
    const answer = await fetch(`${monitorUrl}/jsz?accounts=true&streams=true`, { signal })
    raw = (await answer.json()) as JetStreamView
  } catch {
    return undefined
  }
  const streams = (raw.account_details ?? []).flatMap(({ stream_detail }) => stream_detail ?? [])
  return {
    meta: raw.meta_cluster === undefined ? undefined : toGroup(raw.meta_cluster),
    streams: new Map(streams.map(({ name, cluster }) => [name, toGroup(cluster ?? {})])),
  }
}

function toGroup({ leader, replicas = [] }: RawGroup): Group {
  return {
    leader,
    replicas: replicas.map(({ name, current, offline }) => ({
      name,
      current: current === true,
      offline: offline === true,
    })),
  }
}

type Found<T> = { readonly value: T } | { readonly missing: string }

async function waitFor<T>(timeoutMs: number, look: () => Promise<Found<T>>): Promise<T> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const found = await look()
    if ('value' in found) return found.value
    if (performance.now() > deadline)
      throw new CarillonError(
        'TIMEOUT',
        `the nats-servers are not ready within ${timeoutMs} ms: ${found.missing}: look at their logs`,
      )
    await delay(POLL_MS)
  }
}
