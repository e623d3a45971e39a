/**
 * Several coordinators in one virtual time: NATS servers, a bucket of records, hosts of partitions, and everything that goes wrong between them.
 *
 * Owns: the time, the network, the records, the processes; a history of what happened to ownership.
 * Does not own: what the nodes decide: that is the code under test, unchanged.
 *
 * A run is a function of its seed. Nothing here waits for the host.
 */
import type { NodeBeat, OwnerRecord, Partition, PingAnswer } from '@carillon/runtime/protocol'

import { TICK_MS } from '../cluster/cluster-timing.ts'
import { type Command, Coordinator } from '../cluster/coordinator.ts'
import type { HostAction, RecordAction, Successor } from '../cluster/decide.ts'
import type { HostedPartition, HostedRole } from '../cluster/partition-host.ts'
import { rememberedPlace } from '../cluster/remembered-place.ts'

export interface SimulationOptions {
  readonly seed: number
  readonly partitions?: number
  readonly servers?: number
  readonly standbys?: number
  /** The part of messages between nodes that is lost. */
  readonly loss?: number
  /** How long a message takes at most. */
  readonly delayMsMax?: number
  /** How long it takes to catch up with a partition, at most. */
  readonly followMsMax?: number
  readonly log?: ((line: string) => void) | undefined
}

/** A change of a record, as the bucket has seen it. */
export interface Change {
  readonly atMs: number
  readonly partition: Partition
  readonly before: OwnerRecord | undefined
  readonly after: OwnerRecord
  /** Which node wrote it. */
  readonly by: string
}

/** A node began to give a partition away. */
export interface Move {
  readonly atMs: number
  readonly from: string
  readonly to: string
  readonly partition: Partition
  /** How long ago its successor was caught up; 0 when it is, Infinity when it never was. */
  readonly staleMs: number
  /** With it, so many partitions are on the move from there. */
  readonly atOnce: number
}

const START_MS = 1000
const REQUEST_MS = 2000
/** Inputs of the journal a millisecond. */
const INPUTS_PER_MS = 2
const place = rememberedPlace()

export class Simulation {
  readonly options: Required<Omit<SimulationOptions, 'log'>> & Pick<SimulationOptions, 'log'>
  readonly nodes: SimulatedNode[] = []
  readonly changes: Change[] = []
  readonly moves: Move[] = []
  /** Which incarnations promoted a partition in an epoch, by `<partition>/<epoch>`. */
  readonly promoted = new Map<string, Set<string>>()
  /** Times at which two nodes had effects of one partition going out. */
  readonly overlaps: { readonly atMs: number; readonly partition: Partition; readonly nodes: readonly string[] }[] = []
  readonly records = new Map<Partition, { readonly record: OwnerRecord; readonly revision: number }>()
  readonly random: () => number
  nowMs = START_MS
  /** Whether the bucket can be written. */
  hasLeader = true
  /** What happens to writes meanwhile: refused at once, lost, or carried out when there is a leader again. */
  leaderless: 'refused' | 'lost' | 'late' = 'lost'
  /** Nodes that do not hear each other, though both reach the records. */
  #silenced: readonly string[] = []
  readonly #unservedSinceMs = new Map<number, number>()
  #revision = 0
  #order = 0
  #late: (() => void)[] = []
  #alarms: { readonly atMs: number; readonly order: number; readonly run: () => void }[] = []
  readonly #deadServers = new Set<string>()
  readonly #frozenServers = new Map<string, number>()
  /** Servers that do not reach the others. */
  #cutOff: ReadonlySet<string> = new Set()

  constructor(options: SimulationOptions) {
    this.options = {
      partitions: 8,
      servers: 3,
      standbys: 1,
      loss: 0,
      delayMsMax: 10,
      followMsMax: 1500,
      log: undefined,
      ...options,
    }
    this.random = randomOf(options.seed)
  }

  get journalSeq(): number {
    return Math.round((this.nowMs - START_MS) * INPUTS_PER_MS)
  }

  /** Starts a node; the same name again is a new life. */
  start(name: string, { weight = 1, isAlone = false }: { weight?: number; isAlone?: boolean } = {}): SimulatedNode {
    const server = this.#liveServers()[Math.floor(this.random() * this.#liveServers().length)] ?? 's0'
    const lives = this.nodes.filter((node) => node.name === name).length
    const node = new SimulatedNode(this, { name, weight, server, incarnation: `${name}#${lives + 1}`, isAlone })
    this.nodes.push(node)
    node.begin()
    return node
  }

  after(delayMs: number, run: () => void): void {
    this.#order += 1
    const alarm = { atMs: this.nowMs + Math.max(0, delayMs), order: this.#order, run }
    let low = 0
    let high = this.#alarms.length
    while (low < high) {
      const middle = (low + high) >> 1
      const other = this.#alarms[middle] as typeof alarm
      if (other.atMs > alarm.atMs || (other.atMs === alarm.atMs && other.order > alarm.order)) low = middle + 1
      else high = middle
    }
    this.#alarms.splice(low, 0, alarm)
  }

  run(ms: number): void {
    const endMs = this.nowMs + ms
    for (let alarm = this.#alarms.at(-1); alarm !== undefined && alarm.atMs <= endMs; alarm = this.#alarms.at(-1)) {
      this.#alarms.pop()
      this.nowMs = alarm.atMs
      alarm.run()
    }
    this.nowMs = endMs
  }

  /** Runs until it holds, or the time is up; how long that took, or undefined. */
  runUntil(holds: () => boolean, msMax: number): number | undefined {
    const beganMs = this.nowMs
    while (this.nowMs - beganMs < msMax) {
      if (holds()) return this.nowMs - beganMs
      this.run(50)
    }
    return holds() ? this.nowMs - beganMs : undefined
  }

  /** Every partition belongs to a node that runs, and is served there and nowhere else. */
  isServed(): boolean {
    for (let partition = 0; partition < this.options.partitions; partition++) {
      const record = this.records.get(partition as Partition)?.record
      const serving = this.nodes.filter((node) => node.isRunning && node.roleOf(partition as Partition) === 'owner')
      if (serving.length !== 1 || serving[0]?.incarnation !== record?.incarnation) return false
    }
    return true
  }

  /** How long the partition that has been without effects for longest has been so. */
  unservedMs(): number {
    let longest = 0
    for (let partition = 0; partition < this.options.partitions; partition++) {
      const isServed = this.nodes.some((node) => node.isRunning && node.roleOf(partition as Partition) === 'owner')
      if (isServed) this.#unservedSinceMs.delete(partition)
      else if (!this.#unservedSinceMs.has(partition)) this.#unservedSinceMs.set(partition, this.nowMs)
      longest = Math.max(longest, this.nowMs - (this.#unservedSinceMs.get(partition) ?? this.nowMs))
    }
    return longest
  }

  /** Every partition is where the ring puts it, and so are those who stand by. */
  isBalanced(): boolean {
    const members = this.nodes
      .filter(({ isRunning, coordinator }) => isRunning && !coordinator.isDraining)
      .map(({ name, weight }) => ({ name, weight }))
    const { partitions, standbys } = this.options
    // Two lives under one name: one of them is about to stop.
    if (new Set(members.map(({ name }) => name)).size < members.length) return false
    return place({ partitions, members, standbys }).every((placement, partition) => {
      const hosting = this.nodes.filter((node) => node.isRunning && node.roleOf(partition as Partition) !== undefined)
      return (
        this.records.get(partition as Partition)?.record.node === placement.owner &&
        hosting.length === 1 + placement.standbys.length &&
        hosting.every(({ name }) => name === placement.owner || placement.standbys.includes(name))
      )
    })
  }

  killServer(name: string, reconnectMsMax: number): void {
    this.#deadServers.add(name)
    for (const node of this.nodes) {
      if (!node.isRunning) continue
      if (node.server === name) node.loseConnection(50 + this.random() * (reconnectMsMax - 50))
      else this.after(this.random() * 50, () => node.enqueue((at) => node.coordinator.serverLost(at)))
    }
  }

  restartServer(name: string): void {
    this.#deadServers.delete(name)
  }

  /** What goes through it waits until it goes on. Nobody is told. */
  freezeServer(name: string, ms: number): void {
    this.#frozenServers.set(name, this.nowMs + ms)
  }

  /** Cuts servers off from the others; an empty list heals. Those who are told hear of it as of a loss. */
  cutOff(servers: readonly string[], isTold: boolean): void {
    this.#cutOff = new Set(servers)
    if (isTold && servers.length > 0)
      for (const node of this.nodes) node.enqueue((at) => node.coordinator.serverLost(at))
  }

  loseLeader(): void {
    this.hasLeader = false
  }

  elect(): void {
    this.hasLeader = true
    for (const run of this.#late.splice(0)) run()
  }

  silence(...names: readonly string[]): void {
    this.#silenced = names
  }

  #hears(a: SimulatedNode, b: SimulatedNode): boolean {
    return a === b || !(this.#silenced.includes(a.name) && this.#silenced.includes(b.name))
  }

  #liveServers(): readonly string[] {
    return Array.from({ length: this.options.servers }, (_, i) => `s${i}`).filter(
      (name) => !this.#deadServers.has(name),
    )
  }

  anyServer(): string | undefined {
    const live = this.#liveServers()
    return live[Math.floor(this.random() * live.length)]
  }

  #reaches(a: string, b: string): boolean {
    return a === b || this.#cutOff.has(a) === this.#cutOff.has(b)
  }

  #delay(...servers: readonly string[]): number {
    const frozenMs = Math.max(0, ...servers.map((name) => (this.#frozenServers.get(name) ?? 0) - this.nowMs))
    return frozenMs + 0.2 + this.random() * this.options.delayMsMax
  }

  broadcast(from: SimulatedNode, beat: NodeBeat): void {
    for (const to of this.nodes) {
      if (to.server === undefined || from.server === undefined || !this.#reaches(from.server, to.server)) continue
      if (!this.#hears(to, from) || (to !== from && this.random() < this.options.loss)) continue
      const lane = to.laneFrom(from, this.nowMs + this.#delay(from.server, to.server))
      this.after(lane - this.nowMs, () => to.enqueue((at) => void (to.coordinator.heard(beat, at) && to.stepSoon())))
    }
  }

  ping(from: SimulatedNode, name: string): void {
    const { server } = from
    if (server === undefined) return
    const answered = (answer: PingAnswer | 'absent', ms: number): void =>
      this.after(ms, () => from.enqueue((at) => from.coordinator.pinged(name, answer, at)))
    const to = this.nodes.findLast(
      (node) =>
        node.name === name &&
        node.isRunning &&
        node.server !== undefined &&
        this.#reaches(node.server, server) &&
        this.#hears(from, node),
    )
    if (to?.server === undefined) return answered('absent', this.#delay(server))
    const wayMs = this.#delay(server, to.server)
    this.after(wayMs, () => {
      to.enqueue(() => answered({ node: name, incarnation: to.incarnation, sinceMs: to.sinceMs }, this.#delay(server)))
    })
  }

  /** Reads need no leader, and may come from a replica that is a little behind. */
  readAll(from: SimulatedNode, askedMs: number): void {
    if (from.server === undefined || this.#cutOff.has(from.server)) return
    const entries = [...this.records].map(([partition, { record, revision }]) => ({ partition, record, revision }))
    const missing = Array.from({ length: this.options.partitions }, (_, p) => p as Partition)
      .filter((partition) => !this.records.has(partition))
      .map((partition) => ({ partition, record: undefined, revision: 0 }))
    this.after(this.#delay(from.server) * 2, () =>
      from.enqueue((at) => {
        from.coordinator.ownersRead([...entries, ...missing], askedMs, at)
        from.stepSoon()
      }),
    )
  }

  read(from: SimulatedNode, partition: Partition): void {
    const answer = (isRead: boolean): void =>
      from.enqueue((at) => {
        const known = this.records.get(partition)
        const entry = { partition, record: known?.record, revision: known?.revision ?? 0 }
        from.coordinator.ownerRead(partition, isRead ? entry : undefined, at)
        from.stepSoon()
      })
    if (from.server === undefined || this.#cutOff.has(from.server) || !this.hasLeader)
      this.after(REQUEST_MS, () => answer(false))
    else this.after(this.#delay(from.server) * 2, () => answer(true))
  }

  compareAndSet(from: SimulatedNode, action: RecordAction): void {
    const fail = (): void => from.enqueue((at) => from.coordinator.recordFailed(action, new Error('no answer'), at))
    if (from.server === undefined || this.#cutOff.has(from.server)) return this.after(REQUEST_MS, fail)
    const write = (): number | undefined => this.#write(from, action)
    this.after(this.#delay(from.server), () => {
      if (!this.hasLeader) {
        if (this.leaderless === 'late') this.#late.push(() => void write())
        return this.after(this.leaderless === 'refused' ? 10 : REQUEST_MS, fail)
      }
      const revision = write()
      // The answer may be lost, though it is written.
      if (this.random() < this.options.loss) return this.after(REQUEST_MS, fail)
      this.after(this.#delay(from.server ?? 's0'), () =>
        from.enqueue((at) => {
          from.coordinator.recordDone(action, revision, at)
          from.stepSoon()
        }),
      )
    })
  }

  #write(from: SimulatedNode, { partition, record, revision }: RecordAction): number | undefined {
    const before = this.records.get(partition)
    if ((before?.revision ?? 0) !== revision) return undefined
    this.#revision += 1
    this.records.set(partition, { record, revision: this.#revision })
    this.changes.push({ atMs: this.nowMs, partition, before: before?.record, after: record, by: from.name })
    return this.#revision
  }

  /** Who owns and hosts what, for whoever looks for the cause of something. */
  summary(): string {
    const nodes = this.nodes.filter(({ isRunning }) => isRunning)
    const rows = Array.from({ length: this.options.partitions }, (_, p) => {
      const roles = nodes.map((node) => `${node.incarnation} ${node.roleOf(p as Partition) ?? '-'}`)
      return `${p}: ${this.records.get(p as Partition)?.record.incarnation}: ${roles.join(', ')}`
    })
    const views = nodes.map(({ incarnation, server, coordinator }) => {
      const peers = coordinator.peers.map((peer) => `${peer.incarnation} ${peer.verdict} ${peer.state}`)
      return `${incarnation} at ${server}, draining ${coordinator.isDraining}, settled ${coordinator.isSettled}: ${peers.join(', ')}`
    })
    return [`${this.nowMs}`, ...views, ...rows].join('\n')
  }

  /** What the nodes say, for whoever looks for the cause of something. */
  tell(node: SimulatedNode, text: string, fields: Readonly<Record<string, unknown>>): void {
    if (this.options.log !== undefined)
      this.options.log(`${this.nowMs.toFixed(0)} ${node.incarnation}: ${text} ${JSON.stringify(fields)}`)
  }

  notePromotion(node: SimulatedNode, partition: Partition): void {
    const epoch = node.coordinator.owners.get(partition)?.record?.epoch ?? 0
    const key = `${partition}/${epoch}`
    this.promoted.set(key, (this.promoted.get(key) ?? new Set()).add(node.incarnation))
  }

  noteOwner(partition: Partition): void {
    const owners = this.nodes.filter((node) => node.isRunning && node.roleOf(partition) === 'owner')
    if (owners.length > 1) this.overlaps.push({ atMs: this.nowMs, partition, nodes: owners.map(({ name }) => name) })
  }

  noteMove(from: SimulatedNode, partition: Partition, to: Successor): void {
    const successor = this.nodes.find(({ incarnation }) => incarnation === to.incarnation)
    this.moves.push({
      atMs: this.nowMs,
      from: from.name,
      to: to.node,
      partition,
      staleMs: successor?.staleMs(partition) ?? Infinity,
      atOnce: from.movesAtOnce,
    })
  }
}

interface SimulatedNodeOptions {
  readonly name: string
  readonly weight: number
  readonly server: string
  readonly incarnation: string
  readonly isAlone: boolean
}

/** One process: an event loop that may be busy, frozen or ended, and a host whose work takes time. */
export class SimulatedNode {
  readonly name: string
  readonly weight: number
  readonly incarnation: string
  readonly sinceMs: number
  readonly coordinator: Coordinator
  readonly #world: Simulation
  readonly #roles = new Map<Partition, { role: HostedRole; appliedSeq: number }>()
  readonly #lanes = new Map<string, number>()
  /** When it dropped a partition that had caught up. */
  readonly #caughtUpMs = new Map<Partition, number>()
  readonly #moving = new Set<Partition>()
  /** Undefined while it is not connected. */
  server: string | undefined
  isRunning = true
  /** Its event loop does nothing before. */
  #busyUntilMs = 0
  #starvedMs = 0
  #backlog: ((atMs: number) => void)[] = []
  #isPumping = false
  #wantsStep = false
  #tickDueMs: number

  constructor(world: Simulation, { name, weight, server, incarnation, isAlone }: SimulatedNodeOptions) {
    this.#world = world
    this.name = name
    this.weight = weight
    this.server = server
    this.incarnation = incarnation
    this.sinceMs = Math.round(world.nowMs)
    this.#tickDueMs = world.nowMs
    const { partitions, standbys } = world.options
    const own = { node: name, incarnation, weight, standbys, build: 'test', sinceMs: this.sinceMs }
    this.coordinator = new Coordinator(
      { ...own, partitions, aloneSinceMs: isAlone ? world.nowMs : undefined, place },
      world.nowMs,
    )
    this.coordinator.connected(server, true, world.nowMs)
  }

  begin(): void {
    this.#tick()
  }

  roleOf(partition: Partition): HostedRole | undefined {
    return this.#roles.get(partition)?.role
  }

  /** How long ago it had caught up with a partition. */
  staleMs(partition: Partition): number {
    const role = this.roleOf(partition)
    if (role !== undefined && role !== 'catching-up') return 0
    return this.#world.nowMs - (this.#caughtUpMs.get(partition) ?? -Infinity)
  }

  get movesAtOnce(): number {
    const isStillHere = (partition: Partition): boolean =>
      this.#world.records.get(partition)?.record.incarnation === this.incarnation
    return [...this.#moving].filter(isStillHere).length
  }

  /** As SIGKILL does. */
  kill(): void {
    this.isRunning = false
    this.server = undefined
  }

  /** As SIGSTOP and SIGCONT do. */
  freeze(ms: number): void {
    this.#busyUntilMs = Math.max(this.#busyUntilMs, this.#world.nowMs + ms)
  }

  /** From now on each of its looks comes late by up to so much; 0 ends it. */
  starve(msMax: number): void {
    this.#starvedMs = msMax
  }

  wakeUp(): void {
    this.#busyUntilMs = this.#world.nowMs
    if (this.isRunning) this.#tick()
  }

  loseConnection(forMs: number): void {
    this.server = undefined
    this.enqueue((at) => this.coordinator.disconnected(at))
    this.#reconnect(forMs)
  }

  #reconnect(inMs: number): void {
    this.#world.after(inMs, () => {
      const server = this.#world.anyServer()
      if (!this.isRunning) return
      if (server === undefined) return this.#reconnect(250)
      this.server = server
      this.enqueue((at) => {
        this.coordinator.connected(server, true, at)
        this.stepSoon()
      })
    })
  }

  /** When a message from there arrives: one connection keeps the order. */
  laneFrom(from: SimulatedNode, atMs: number): number {
    const arrivesMs = Math.max(atMs, (this.#lanes.get(from.incarnation) ?? 0) + 0.01)
    this.#lanes.set(from.incarnation, arrivesMs)
    return arrivesMs
  }

  stepSoon(): void {
    this.#wantsStep = true
  }

  /** What happens to it, when its event loop comes to it. */
  enqueue(event: (atMs: number) => void): void {
    if (!this.isRunning) return
    this.#backlog.push(event)
    this.#pump()
  }

  #pump(): void {
    if (this.#isPumping || !this.isRunning) return
    this.#isPumping = true
    this.#world.after(this.#busyUntilMs - this.#world.nowMs, () => {
      this.#isPumping = false
      if (!this.isRunning) return
      if (this.#world.nowMs < this.#busyUntilMs) return this.#pump()
      // Timers come before sockets, as in Node: what was missed is looked at first.
      if (this.#tickDueMs <= this.#world.nowMs) this.#tick()
      const events = this.#backlog
      this.#backlog = []
      for (const event of events) event(this.#world.nowMs)
      if (this.#wantsStep) this.#step()
    })
  }

  #tick(): void {
    if (!this.isRunning) return
    const { nowMs } = this.#world
    if (nowMs < this.#busyUntilMs) return this.#pump()
    if (nowMs < this.#tickDueMs) return
    this.#step()
    this.#tickDueMs = nowMs + TICK_MS
    this.#world.after(TICK_MS, () => this.#tick())
    if (this.#starvedMs > 0) this.freeze(this.#world.random() * this.#starvedMs)
  }

  #step(): void {
    this.#wantsStep = false
    const hosted = [...this.#roles].map(([partition, { role, appliedSeq }]): HostedPartition => {
      const isAttached = role !== 'catching-up'
      return { partition, role, appliedSeq: isAttached ? this.#world.journalSeq : appliedSeq, effectsDoneSeq: 0 }
    })
    for (const command of this.coordinator.step(hosted, this.#world.nowMs)) this.#carryOut(command)
  }

  #carryOut(command: Command): void {
    const world = this.#world
    switch (command.kind) {
      case 'beat':
        if (this.server !== undefined) world.broadcast(this, this.coordinator.nextBeat({}, world.nowMs))
        return
      case 'ping':
        return world.ping(this, command.node)
      case 'read-owners':
        return world.readAll(this, command.askedMs)
      case 'read-owner':
        return world.read(this, command.partition)
      case 'act':
        return this.#act(command.action)
      case 'stop':
        return this.kill()
      case 'tell':
        return world.tell(this, command.text, command.fields)
      case 'effects-done':
        return
    }
  }

  #act(action: HostAction | RecordAction): void {
    const world = this.#world
    if ('record' in action) return world.compareAndSet(this, action)
    const { kind, partition } = action
    if (action.kind === 'demote' && action.to !== undefined) {
      this.#moving.add(partition)
      world.noteMove(this, partition, action.to)
    }
    if (kind === 'follow') this.#roles.set(partition, { role: 'catching-up', appliedSeq: world.journalSeq })
    if (kind === 'promote') {
      this.#moving.delete(partition)
      world.notePromotion(this, partition)
      this.#setRole(partition, 'promoting')
    }
    world.after(this.#takesMs(kind), () =>
      this.enqueue((at) => {
        if (kind === 'follow') this.#setRole(partition, 'standby')
        if (kind === 'promote') this.#setRole(partition, 'owner')
        // Until then its effects may go out.
        if (kind === 'demote') this.#setRole(partition, 'standby')
        if (kind === 'drop') {
          if (this.staleMs(partition) === 0) this.#caughtUpMs.set(partition, world.nowMs)
          this.#roles.delete(partition)
        }
        this.coordinator.hostDone(action, at)
        this.stepSoon()
      }),
    )
  }

  #setRole(partition: Partition, role: HostedRole): void {
    this.#roles.set(partition, { role, appliedSeq: this.#world.journalSeq })
    if (role === 'owner') this.#world.noteOwner(partition)
  }

  #takesMs(kind: HostAction['kind']): number {
    return this.#world.random() * (kind === 'follow' ? this.#world.options.followMsMax : 60)
  }
}

/** mulberry32: small, fast, and good enough to choose faults. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
