/**
 * One node's part in its cluster: runs the coordinator over NATS, and what it decides against the host of the partitions.
 *
 * Owns: the subscriptions of this node, the timer of its looks, the actions under way.
 * Does not own: the connection, the host of the partitions, what is decided.
 *
 * Invariants
 * 1. The coordinator is told what came of every action, in the order in which that happened.
 * 2. When `close` resolves, nothing of it runs; what the host was asked for last has been done.
 */
import { randomBytes } from 'node:crypto'

import { CarillonError } from '@carillon/runtime'
import type { Clock, Logger } from '@carillon/runtime/ports'
import type { NodeRequest, Partition, RpcResponse, Subjects } from '@carillon/runtime/protocol'
import type { NatsConnection } from '@nats-io/transport-node'

import { TICK_MS } from './cluster-timing.ts'
import { type ClusterCounts, type Command, Coordinator } from './coordinator.ts'
import type { HostAction, RecordAction } from './decide.ts'
import { KvOwnerStore } from './kv-owner-store.ts'
import { NatsNodeBus } from './nats-node-bus.ts'
import type { OwnerStore, StoredOwner } from './owner-store.ts'
import type { HostedPartition, HostedRole, PartitionHost } from './partition-host.ts'
import { rememberedPlace } from './remembered-place.ts'
import { watchServers } from './server-watch.ts'

export interface ClusterSessionOptions {
  readonly nc: NatsConnection
  readonly subjects: Subjects
  /** The node's name, unique in the cluster at a time. */
  readonly node: string
  readonly weight: number
  readonly standbys: number
  /** The release, for people. */
  readonly build: string
  readonly clock: Clock
  readonly logger: Logger
  /** Called once when this node must not go on. */
  readonly onFailed: (error: unknown) => void
}

/** What a session runs over, once it is there. */
export interface ClusterParts {
  readonly host: PartitionHost
  /** What heartbeats tell beside the partitions. */
  readonly counters: () => Readonly<Record<string, number>>
}

/** How a node takes part in its cluster at this moment. */
export interface ClusterStatus {
  readonly roles: Readonly<Record<HostedRole, number>>
  /** Other nodes that are live. */
  readonly peers: number
  /** Inputs of the journal that a partition which stands by here is behind its owner, at most. */
  readonly standbyLag: number
  readonly counts: ClusterCounts
  readonly isDraining: boolean
}

/** Another life under this name may be ending just now. */
const NAME_MS_MAX = 2000
const NAME_AGAIN_MS = 100
const INCARNATION_BYTES = 9
/** An action of the host that takes longer is told. */
const LONG_MS = 30_000

/** What was found when this node looked who is there. */
interface Found {
  readonly aloneSinceMs: number | undefined
}

interface Beginning {
  readonly bus: NatsNodeBus
  readonly owners: OwnerStore
  readonly found: Found
  /** The records as they were a moment ago; undefined when they could not be read. */
  readonly stored: readonly StoredOwner[] | undefined
}

export class ClusterSession {
  readonly #options: ClusterSessionOptions
  readonly #bus: NatsNodeBus
  readonly #owners: OwnerStore
  readonly #parts: ClusterParts
  readonly #coordinator: Coordinator
  readonly #running = new Set<Promise<void>>()
  readonly #settled: Promise<void>
  #reportSettled: () => void = () => {}
  #stopWatching: () => void = () => {}
  #cancelTick: () => void = () => {}
  #cancelStep: (() => void) | undefined
  #isConnected = true
  #phase: 'running' | 'closed' = 'running'
  /** Called behind each step. */
  readonly #waiting = new Set<() => void>()

  private constructor(options: ClusterSessionOptions, parts: ClusterParts, { bus, owners, found, stored }: Beginning) {
    const { node, weight, standbys, build, subjects } = options
    this.#options = options
    this.#parts = parts
    this.#bus = bus
    this.#owners = owners
    this.#settled = new Promise((resolve) => (this.#reportSettled = resolve))
    const self = { node, incarnation: randomBytes(INCARNATION_BYTES).toString('base64url'), sinceMs: Date.now() }
    this.#coordinator = new Coordinator(
      { ...self, weight, standbys, build, partitions: subjects.partitions, ...found, place: rememberedPlace() },
      performance.now(),
    )
    if (stored !== undefined) this.#coordinator.ownersRead(stored, performance.now(), performance.now())
    bus.join(self, {
      onBeat: (beat) => void (this.#coordinator.heard(beat, performance.now()) && this.#soon()),
      onRequest: (request) => this.#asked(request),
    })
    this.#stopWatching = watchServers(options.nc, {
      onConnected: (server, isLossTold) => {
        this.#isConnected = true
        this.#coordinator.connected(server, isLossTold, performance.now())
        this.#soon()
      },
      onDisconnected: () => {
        this.#isConnected = false
        this.#coordinator.disconnected(performance.now())
      },
      onServerLost: () => this.#coordinator.serverLost(performance.now()),
    })
    this.#tick()
  }

  /**
   * Looks who is there, and joins once `parts` are. Looking takes its time beside what `parts` take.
   *
   * @throws NODE_NAME_IN_USE when a node of this name is there. @throws what `parts` rejects with.
   */
  static async open(options: ClusterSessionOptions, parts: Promise<ClusterParts>): Promise<ClusterSession> {
    const bus = new NatsNodeBus(options.nc, options.subjects)
    const owners = await KvOwnerStore.open(options.nc, options.subjects)
    // Records that are a moment old are good enough to begin with: what is not so any more is found out by compare-and-set.
    const [ready, found, stored] = await Promise.all([
      parts,
      look(bus, options),
      owners.readAll().catch(() => undefined),
    ])
    return new ClusterSession(options, ready, { bus, owners, found, stored })
  }

  /** Resolves when this node has taken its part for the first time: what it is to host has caught up, what it owns is served. */
  get settled(): Promise<void> {
    return this.#settled
  }

  get status(): ClusterStatus {
    const hosted = this.#parts.host.hosted()
    const roles = { 'catching-up': 0, standby: 0, promoting: 0, owner: 0 }
    for (const { role } of hosted) roles[role] += 1
    const { counts, peers, isDraining } = this.#coordinator
    const live = peers.filter(({ isHeard, verdict }) => isHeard && verdict === 'live').length
    return { roles, peers: live, standbyLag: this.#standbyLag(hosted), counts, isDraining }
  }

  /**
   * Gives all partitions away, to standbys that have caught up, for so long at most. Resolves when none is left, or nobody is there to take one; then with
   * how many are left.
   */
  async drain(msMax: number): Promise<number> {
    const { clock, logger } = this.#options
    this.#coordinator.drain(performance.now())
    this.#soon()
    const untilMs = performance.now() + msMax
    const isOver = (): boolean => {
      const { owned, hasTakers } = this.#coordinator
      return owned === 0 || !hasTakers || !this.#isConnected || performance.now() >= untilMs
    }
    if (!isOver()) {
      logger.info({ partitions: this.#coordinator.owned }, 'giving the partitions to other nodes')
      await new Promise<void>((resolve) => {
        const cancel = clock.after(msMax, resolve)
        const look = (): void => {
          if (!isOver()) return
          cancel()
          resolve()
        }
        this.#waiting.add(look)
      })
      this.#waiting.clear()
    }
    const { owned, hasTakers } = this.#coordinator
    if (owned > 0 && hasTakers)
      logger.warn({ partitions: owned }, 'not all partitions could be given away in time: other nodes take them now')
    return owned
  }

  /** Says goodbye, and stops. What this node still owns is taken by others from then on. */
  async close(): Promise<void> {
    if (this.#phase === 'closed') return
    this.#phase = 'closed'
    this.#cancelTick()
    this.#cancelStep?.()
    this.#stopWatching()
    this.#coordinator.leave()
    if (this.#isConnected) this.#beat()
    await this.#bus.leave()
    await Promise.all(this.#running)
  }

  #tick(): void {
    this.#step()
    this.#cancelTick = this.#options.clock.after(TICK_MS, () => {
      if (this.#phase === 'running') this.#tick()
    })
  }

  /** What happens at once is looked at once. */
  #soon(): void {
    if (this.#phase !== 'running') return
    this.#cancelStep ??= this.#options.clock.after(0, () => {
      this.#cancelStep = undefined
      if (this.#phase === 'running') this.#step()
    })
  }

  #step(): void {
    for (const command of this.#coordinator.step(this.#parts.host.hosted(), performance.now())) this.#carryOut(command)
    if (this.#coordinator.isSettled) this.#reportSettled()
    for (const look of this.#waiting) look()
  }

  #carryOut(command: Command): void {
    switch (command.kind) {
      case 'beat':
        return this.#beat()
      case 'ping':
        return this.#background(this.#ping(command.node))
      case 'read-owners':
        return this.#background(this.#readOwners(command.askedMs))
      case 'read-owner':
        return this.#background(this.#readOwner(command.partition))
      case 'effects-done':
        return this.#parts.host.effectsDone(command.partition, command.seq)
      case 'act':
        return this.#background('record' in command.action ? this.#write(command.action) : this.#host(command.action))
      case 'tell':
        return this.#options.logger[command.level](command.fields, command.text)
      case 'stop':
        return this.#options.onFailed(command.error)
    }
  }

  #beat(): void {
    this.#bus.beat(this.#coordinator.nextBeat(this.#parts.counters(), performance.now()))
  }

  async #ping(node: string): Promise<void> {
    const found = await this.#bus.ping(node)
    if (found === 'silent') return
    this.#coordinator.pinged(node, found, performance.now())
    if (found === 'absent') this.#soon()
  }

  async #readOwners(askedMs: number): Promise<void> {
    try {
      this.#coordinator.ownersRead(await this.#owners.readAll(), askedMs, performance.now())
      this.#soon()
    } catch (error) {
      this.#options.logger.debug({ error }, 'the ownership records could not be read: they are read again')
    }
  }

  async #readOwner(partition: Partition): Promise<void> {
    const entry = await this.#owners.read(partition).catch(() => undefined)
    this.#coordinator.ownerRead(partition, entry, performance.now())
    this.#soon()
  }

  async #write(action: RecordAction): Promise<void> {
    const { partition, record, revision } = action
    try {
      const written = await this.#owners.compareAndSet(partition, record, revision)
      this.#coordinator.recordDone(action, written, performance.now())
    } catch (error) {
      this.#coordinator.recordFailed(action, error, performance.now())
    }
    this.#soon()
  }

  async #host(action: HostAction): Promise<void> {
    const { kind, partition } = action
    const { clock, logger } = this.#options
    const cancel = clock.after(LONG_MS, () =>
      logger.warn(
        { partition, action: kind, ms: LONG_MS },
        'an action on a partition takes long: look at the load of this node and of its disk',
      ),
    )
    try {
      await this.#parts.host[kind](partition)
      this.#coordinator.hostDone(action, performance.now())
    } catch (error) {
      this.#coordinator.hostFailed(action, error, performance.now())
    } finally {
      cancel()
    }
    this.#soon()
  }

  #asked(request: NodeRequest): RpcResponse {
    this.#coordinator.asked(request, performance.now())
    this.#soon()
    return { ok: true }
  }

  #standbyLag(hosted: readonly HostedPartition[]): number {
    const { owners, peers } = this.#coordinator
    const lives = new Map(peers.map((peer) => [peer.incarnation, peer]))
    let lag = 0
    for (const { partition, role, appliedSeq } of hosted) {
      const owner = lives.get(owners.get(partition)?.record?.incarnation ?? '')?.partitions.get(partition)
      if (role === 'standby' && owner !== undefined) lag = Math.max(lag, owner.appliedSeq - appliedSeq)
    }
    return lag
  }

  #background(task: Promise<void>): void {
    const running = task.finally(() => this.#running.delete(running))
    this.#running.add(running)
  }
}

/** Whether this node's name is free, and whether anybody is there. */
async function look(bus: NatsNodeBus, { node, clock }: ClusterSessionOptions): Promise<Found> {
  const [namesake, anybody] = await Promise.all([bus.ping(node), bus.discover()])
  const aloneSinceMs = anybody === 'absent' ? performance.now() : undefined
  const untilMs = performance.now() + NAME_MS_MAX
  for (let found = namesake; typeof found === 'object'; found = await bus.ping(node)) {
    if (performance.now() >= untilMs)
      throw new CarillonError(
        'NODE_NAME_IN_USE',
        `a node that is called ${node} takes part in this cluster already: give each node a name of its own (--name), or end the other one first`,
      )
    await new Promise<void>((resolve) => void clock.after(NAME_AGAIN_MS, resolve))
  }
  return { aloneSinceMs }
}
