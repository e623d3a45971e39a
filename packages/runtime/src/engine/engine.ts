/**
 * The engine of one node (or of one thread of it): reads the journal, applies it to its partitions, sees to their effects, and commits.
 *
 * Owns: the reader, the pace of turns and commits, the activity runner, the timer service, the rpc subjects.
 * Does not own: connections and files (they come as ports), nor which partitions are its own.
 *
 * Invariants
 * 1. Turns, collects and reads of instances exclude each other (`turns`); no effect leaves while a turn runs.
 * 2. The store never shows a position without everything that the inputs up to there changed (one batch).
 * 3. Nothing is emitted before the journal's end, as of the start, has been applied: effects that are done by then are not done again.
 * 4. A journal that ends before a saved position, or is another stream, stops the engine: it never builds upon lost data.
 */
import { type ActivityCall, callId } from '../activity/index.ts'
import { type ActivityImplementations, mergeActivities } from '../contract/activities.ts'
import { withHost, withInterceptors } from '../contract/host.ts'
import { type Implementation, withTaskSecret } from '../contract/implement.ts'
import type { Interceptors } from '../contract/interceptors.ts'
import { type Effect, installGuards, parseInput, parseSendId } from '../core/index.ts'
import { CarillonError, hasCode } from '../errors.ts'
import type {
  Bus,
  Clock,
  Controls,
  InputLog,
  LogBounds,
  Logger,
  LogMessage,
  LogReader,
  OrderedStore,
  Write,
} from '../ports/index.ts'
import {
  type ControlState,
  encodeToken,
  encodeValue,
  HEADERS,
  type Input,
  type InstanceKey,
  isPayloadEncoding,
  parseKey,
  type Partition as PartitionNumber,
  type PayloadCodecs,
  PROTOCOL_VERSION,
  type Subjects,
  typeTokenOf,
} from '../protocol/index.ts'
import { ActivityRunner } from './activity-runner.ts'
import { CatchUp } from './catch-up.ts'
import { EngineAppends } from './engine-appends.ts'
import { ENGINE_LIMITS, type EngineLimits } from './engine-limits.ts'
import { rememberCodecs } from './encoded-store.ts'
import { Hosted, type HostedPartition, type HostedRole } from './hosted.ts'
import { checkJournal, rememberJournal } from './journal-check.ts'
import { ListService } from './list-service.ts'
import { Mutex } from './mutex.ts'
import { noFailpoints, type ReachFailpoint } from './failpoints.ts'
import { Partition, type PartitionSink } from './partition.ts'
import { OutgoingCalls } from './outgoing-calls.ts'
import { encodeReply } from './outgoing-payload.ts'
import { OutgoingSends } from './outgoing-sends.ts'
import type { DeadLetter, OutgoingSend, PendingEffect } from './pending-effect.ts'
import type { PendingEffects } from './pending-effects.ts'
import { type NodeIdentity, ReplicaDigests } from './replica-digests.ts'
import { Replicas } from './replicas.ts'
import { RpcService, type RpcSide } from './rpc-service.ts'
import { answerThroughCodecs } from './sealed-rpc.ts'
import { TimerService } from './timer-service.ts'
import { TurnTracing } from './turn-tracing.ts'
import { TurnWatch, type TurnWatchOptions } from './turn-watch.ts'

/** So often the position of every partition is saved: idle ones would else be read again from far back. */
const POSITIONS_EVERY_MS = 4000
/** However soon a timer is due: so much may still come together into one commit. */
const COMMIT_SOONEST_MS = 5
/** Inputs of one instance that went without the clock being looked at, when it goes on in slices. */
const GO_ON_INPUTS = 64
/** Turns between two looks at the clock. */
const TURNS_PER_LOOK = 16
/** Whose instances that wait for the host alone go on. Those on the way to their place wait until they are there. */
const GOES_ON: Readonly<Record<HostedRole, boolean>> = {
  'catching-up': false,
  standby: true,
  promoting: false,
  owner: true,
}

export interface EngineOptions {
  readonly subjects: Subjects
  /** Its own from the start, for as long as it runs. Others come by `follow` and `promote`. */
  readonly partitions: readonly PartitionNumber[]
  /** Brings what is stored of a partition to where the journal can be read from, before it is followed. */
  readonly restore?: (partition: PartitionNumber, bounds: LogBounds) => Promise<void>
  /** What this node calls itself: it is asked by that name, and compares digests under it. Undefined where there is one node for good, as in tests. */
  readonly node?: NodeIdentity | undefined
  /** The cluster's own: what the tokens of tasks are made with. */
  readonly taskSecret?: string
  /** The identity of the work queue of remote workers. Undefined: activities with a queue run in this process like all others, as in tests. */
  readonly workQueue?: string
  readonly implementations: readonly Implementation[]
  readonly activities: readonly ActivityImplementations[]
  readonly log: InputLog
  readonly store: OrderedStore
  readonly bus: Bus
  readonly clock: Clock
  /** What operators have paused. Default: nothing. */
  readonly controls?: Controls
  readonly logger: Logger
  /** Called once when the engine cannot go on; it takes no more inputs then. */
  readonly onFailed: (error: unknown) => void
  readonly limits?: Partial<EngineLimits>
  readonly reach?: ReachFailpoint
  /** Whether a patch that the implementations declare may become active; all when absent. For tests. */
  readonly announces?: (patch: string) => boolean
  /** What payloads pass on their way out and in. The store is given as it is to be used: behind them, as a `CodecStore`. */
  readonly codecs?: PayloadCodecs | undefined
  /** Around workflow code and activities. */
  readonly interceptors?: Interceptors | undefined
  /** Where it stands which turn runs, and what must not run again. Default: nobody watches. */
  readonly watch?: TurnWatchOptions | undefined
}

/** Counted since the start. */
export interface EngineCounts {
  applied: number
  duplicate: number
  ignored: number
  dead: number
  suspended: number
  /** States that were compared with those of owners, and those that differed: each is an alarm. */
  digestsCompared: number
  digestsDiffering: number
  commits: number
  /** Time that the commits took, and that was spent on turns; milliseconds. */
  commitMs: number
  turnMs: number
}

/** How the engine is doing at this moment. */
export interface EngineLoad {
  /** Everything of the journal up to here is applied. */
  readonly position: number
  /** Memory of the instances in it, estimated. */
  readonly residentBytes: number
  /** How long after it was stored the last input was applied; by the clocks of server and node. */
  readonly lagMs: number
}

export class Engine {
  readonly #options: EngineOptions
  readonly #limits: EngineLimits
  readonly #reach: ReachFailpoint
  readonly #turns: Mutex
  readonly #implementations: ReadonlyMap<string, Implementation>
  readonly #hosted = new Map<PartitionNumber, Hosted>()
  /** Those that are being added, by the promise of `follow`. */
  readonly #following = new Map<PartitionNumber, Promise<void>>()
  /** Those that are being dropped, by the promise of `drop`. */
  readonly #leaving = new Map<PartitionNumber, Promise<void>>()
  readonly #catchUp: CatchUp
  readonly #sends: OutgoingSends
  readonly #calls: OutgoingCalls
  readonly #runner: ActivityRunner
  readonly #timers: TimerService
  readonly #rpc: RpcService
  readonly #digests: ReplicaDigests | undefined
  readonly #replicas: Replicas
  readonly #tracing: TurnTracing
  readonly #watch: TurnWatch | undefined
  readonly #appends: EngineAppends
  readonly #tasks = new Set<Promise<unknown>>()
  readonly counts: EngineCounts = {
    applied: 0,
    duplicate: 0,
    ignored: 0,
    dead: 0,
    suspended: 0,
    digestsCompared: 0,
    digestsDiffering: 0,
    commits: 0,
    commitMs: 0,
    turnMs: 0,
  }
  /** Effects of turns, kept until no turn runs. */
  #outgoing: (() => void)[] = []
  /** Timers that the next commit makes visible, and those that it removes. */
  #timerNews: (() => void)[] = []
  #deadInFlight = 0
  #reader: LogReader | undefined
  #readSeq = 0
  #cancelCommit: (() => void) | undefined
  #commitInMs = 0
  /** Of the timers that the store does not show yet. */
  #soonestTimerMs = Infinity
  #committing: Promise<void> | undefined
  #positionsSavedMs = 0
  #lagMs = 0
  /** Some partition is muted. */
  #hasMuted = true
  #phase: 'new' | 'running' | 'failed' | 'closed' = 'new'
  readonly #caughtUp: Promise<void>
  #reportCaughtUp: () => void = () => {}
  #isGoingOn = false
  #unwatchControls: () => void = () => {}

  constructor(options: EngineOptions) {
    this.#options = options
    this.#limits = { ...ENGINE_LIMITS, ...options.limits }
    this.#reach = options.reach ?? noFailpoints
    const { store, clock, logger, codecs, interceptors } = options
    this.#tracing = new TurnTracing(interceptors?.tracer)
    this.#appends = new EngineAppends({
      ...options,
      codecs,
      tracing: this.#tracing,
      reach: this.#reach,
      isRunning: () => this.#phase === 'running',
    })
    // Turns begin when nothing of the host waits in the microtask and tick queues: it would run within them (turn.ts, invariant 1).
    this.#turns = new Mutex(() => clock.yield())
    this.#caughtUp = new Promise((resolve) => (this.#reportCaughtUp = resolve))
    this.#runner = new ActivityRunner({
      implementations: mergeActivities(options.activities.map((one) => withInterceptors(one, interceptors))),
      clock,
      logger,
      activitiesMax: this.#limits.activitiesMax,
      activityQueueMax: this.#limits.activityQueueMax,
      traceOf: ({ key, id, trace }) => this.#tracing.of(key, id, trace),
      controls: options.controls,
      complete: (call, outcome) => this.#appends.result(call, outcome),
    })
    this.#timers = new TimerService({
      store,
      clock,
      logger,
      inFlightMax: this.#limits.timersInFlightMax,
      fire: (partition, row, name) => this.#appends.firing(partition, row, name),
    })
    this.#calls = new OutgoingCalls({
      implementations: options.implementations,
      identity: options.workQueue,
      store: (queue, call) => this.#appends.call(queue, call),
      onStored: (partition, call, identity) => {
        this.#hosted.get(partition)?.partition.callQueued(call, identity)
        this.#planCommit()
      },
      onRoom: () => this.#refillAll('pending'),
      onFailed: (error) => this.#fail(error),
    })
    this.#sends = new OutgoingSends({
      inFlightMax: this.#limits.sendsInFlightMax,
      bytesInFlightMax: this.#limits.sendBytesInFlightMax,
      store: (partition, send) => this.#storeSend(partition, send),
      onRoom: () => this.#refillAll('pendingSends'),
      onFailed: (error) => this.#fail(error),
    })
    this.#implementations = new Map(
      options.implementations.map((implementation) => [
        encodeToken(implementation.contract.name) as string,
        withHost(
          options.taskSecret === undefined ? implementation : withTaskSecret(implementation, options.taskSecret),
          { codecs, interceptors },
        ),
      ]),
    )
    this.#rpc = new RpcService({
      store,
      clock,
      turns: this.#turns,
      lists: new ListService({ store, implementations: this.#implementations }),
      save: (partition) => this.#save(partition),
      appliedSeq: () => this.#readSeq,
      samples: ({ number }, keys) => this.#digests?.of(number, keys) ?? [],
    })
    this.#digests = options.node && this.#compareDigests(options.node)
    this.#replicas = new Replicas({
      ...options,
      node: options.node,
      digests: this.#digests,
      answer: (partition, payload) => this.#answer(partition, payload, 'any'),
      release: (partition) => this.#rpc.release(partition, 'any'),
    })
    this.#catchUp = new CatchUp({
      log: options.log,
      between: (task) => this.#turns.run(task),
      giveWay: () => Promise.allSettled([...this.#hosted.values()].map(async ({ promoted }) => promoted)),
      apply: (messages) => this.#applyCatchUp(messages),
      mainSeq: () => this.#readSeq,
      extend: () => this.#reader?.setPartitions([...this.#hosted.keys()]) ?? this.#readSeq,
    })
    this.#watch = options.watch === undefined ? undefined : new TurnWatch(options.watch, () => clock.nowMs())
    for (const number of options.partitions) this.#host(number, 'catching-up').promote()
  }

  /** Resolves when the journal, as it was at the start, has been applied and effects go out. */
  get caughtUp(): Promise<void> {
    return this.#caughtUp
  }

  /** The highest sequence that has been applied. */
  get position(): number {
    return this.#readSeq
  }

  get load(): EngineLoad {
    return { position: this.#readSeq, residentBytes: this.#residentBytes, lagMs: this.#lagMs }
  }

  get residents(): number {
    return sum(this.#partitions, (partition) => partition.residents)
  }

  /**
   * Starts to read and apply.
   *
   * @throws JOURNAL_BEHIND, JOURNAL_REPLACED when the journal is not the one that the store was built from, or ends before it.
   */
  async start(): Promise<void> {
    const { log, store, logger } = this.#options
    installGuards()
    const bounds = await log.bounds()
    const positions = this.#partitions.map((partition) => partition.position)
    checkJournal(store, bounds, positions)
    await rememberCodecs(store, this.#options.codecs)
    await rememberJournal(store, bounds)
    this.#tracing.begin(bounds.identity)
    this.#phase = 'running'
    this.#watchControls()
    this.#readSeq = Math.min(bounds.lastSeq, ...positions)
    for (const hosted of this.#hosted.values()) hosted.goLiveSeq = bounds.lastSeq
    logger.info(
      { fromSeq: this.#readSeq + 1, toSeq: bounds.lastSeq, partitions: positions.length },
      'reading the journal',
    )
    this.#reader = log.read({
      partitions: this.#options.partitions,
      fromSeq: this.#readSeq + 1,
      onMessages: (messages, throughSeq) => this.#turns.run(() => this.#applyAll(messages, throughSeq)),
      onFailed: (error) => this.#fail(error),
    })
    const promoted = Promise.all([...this.#hosted.values()].map(async ({ promoted }) => promoted))
    promoted.then(
      () => this.#reportCaughtUp(),
      () => undefined,
    )
    this.#goLiveWhereDue()
  }

  /** How the partitions of this engine stand. */
  hosted(): readonly HostedPartition[] {
    return [...this.#hosted.values()].map(({ number, role, caughtUpSeq, isAttached, partition }) => ({
      partition: number,
      role,
      appliedSeq: isAttached ? this.#readSeq : caughtUpSeq,
      // Behind the end, the store may be closed.
      effectsDoneSeq: role === 'owner' && this.#phase === 'running' ? partition.effectsDoneSeq : 0,
    }))
  }

  /**
   * Applies a partition muted from now on. Resolves when it has caught up with the others, or is dropped before. Calling it again is no mistake.
   *
   * @throws JOURNAL_BEHIND, JOURNAL_REPLACED when the journal does not continue what the store has of it. The other partitions go on.
   */
  follow(partition: PartitionNumber): Promise<void> {
    const known = this.#following.get(partition)
    if (known !== undefined) return known
    const leaving = this.#leaving.get(partition)
    if (leaving !== undefined) return leaving.then(() => this.follow(partition))
    if (this.#hosted.has(partition)) return Promise.resolve()
    const following = this.#follow(partition).finally(() => this.#following.delete(partition))
    this.#following.set(partition, following)
    return following
  }

  /**
   * Makes a partition that is followed its own: what the journal holds by now is applied, then effects go out and requests are answered. Resolves then.
   * Calling it again is no mistake.
   *
   * @throws NOT_OWNER when it is demoted or dropped meanwhile.
   */
  async promote(partition: PartitionNumber): Promise<void> {
    await this.#following.get(partition)
    const hosted = this.#leaving.has(partition) ? undefined : this.#hosted.get(partition)
    if (hosted === undefined)
      throw new CarillonError('NOT_OWNER', `partition ${partition} is not followed: follow it before it is promoted`)
    if (hosted.role === 'owner') return
    if (hosted.promoted !== undefined) return hosted.promoted
    hosted.promote()
    this.#background(this.#planGoingLive(hosted))
    return hosted.promoted
  }

  /** A journal that cannot be asked now is asked again, by whoever wants it promoted. */
  async #planGoingLive(hosted: Hosted): Promise<void> {
    try {
      const { lastSeq } = await this.#options.log.bounds()
      if (hosted.role === 'promoting') hosted.goLiveSeq = lastSeq
      this.#goLiveWhereDue()
    } catch (error) {
      if (!hasCode(error, 'JETSTREAM_UNAVAILABLE')) throw error
      await this.#turns.run(async () => {
        if (hosted.role === 'promoting') hosted.becomeStandby(error)
      })
    }
  }

  /** Nothing of the partition goes out any more; it is applied on, muted. Resolves when that is so, and all of it is in the store. */
  async demote(partition: PartitionNumber): Promise<void> {
    const hosted = this.#hosted.get(partition)
    if (hosted === undefined || (hosted.role !== 'owner' && hosted.role !== 'promoting')) return
    this.#flush()
    await this.#turns.run(async () => hosted.becomeStandby())
    this.#hasMuted = true
    this.#timers.unwatch(partition)
    this.#rpc.release(hosted.partition, 'owner')
    this.#runner.release((key) => this.#options.subjects.partitionOfKey(key) === partition)
    const { stopServing } = hosted
    hosted.stopServing = undefined
    await stopServing?.()
    await this.#save(hosted.partition)
  }

  /** Stops to apply a partition. What is stored of it stays. */
  drop(partition: PartitionNumber): Promise<void> {
    const known = this.#leaving.get(partition)
    if (known !== undefined) return known
    const hosted = this.#hosted.get(partition)
    if (hosted === undefined) return Promise.resolve()
    const leaving = this.#drop(partition, hosted).finally(() => this.#leaving.delete(partition))
    this.#leaving.set(partition, leaving)
    return leaving
  }

  async #drop(partition: PartitionNumber, hosted: Hosted): Promise<void> {
    await this.demote(partition)
    await this.#replicas.leave(partition)
    await this.#save(hosted.partition)
    await this.#turns.run(async () => {
      this.#catchUp.cancel(hosted)
      this.#hosted.delete(partition)
    })
    this.#reader?.setPartitions([...this.#hosted.keys()])
  }

  /** What the owner of a partition said of its effects: see `HostedPartition`. */
  effectsDone(partition: PartitionNumber, seq: number): void {
    const hosted = this.#hosted.get(partition)
    if (hosted === undefined || hosted.role === 'owner' || this.#phase !== 'running') return
    hosted.partition.forgetEffects(seq)
    this.#planCommit()
  }

  async #follow(number: PartitionNumber): Promise<void> {
    const { log, store, restore } = this.#options
    await restore?.(number, await log.bounds())
    // What was restored may reach further than the journal did before.
    const bounds = await log.bounds()
    if (this.#phase !== 'running')
      throw new CarillonError('CLOSING', `partition ${number} is not followed: this engine stops`)
    const hosted = this.#host(number, 'catching-up')
    try {
      checkJournal(store, bounds, [hosted.partition.position])
      await rememberJournal(store, bounds)
      const { controls } = this.#options
      if (controls !== undefined) hosted.partition.hold(controls.current().pausedTypes)
      await this.#catchUp.add(hosted)
      // It may have been dropped meanwhile.
      if (this.#hosted.get(number) === hosted && hosted.isAttached) this.#replicas.enter(hosted.partition)
    } catch (error) {
      this.#hosted.delete(number)
      throw error
    }
    this.#planGoingOn()
  }

  #compareDigests(node: NodeIdentity): ReplicaDigests {
    const { clock, logger, bus, subjects } = this.#options
    return new ReplicaDigests({
      node,
      clock,
      logger,
      publish: (partition, message) => bus.publish(subjects.digests(partition), message),
      isOwner: (partition) => this.#hosted.get(partition)?.role === 'owner',
      count: (what) => (this.counts[what] += 1),
    })
  }

  #host(number: PartitionNumber, role: HostedRole): Hosted {
    const { store, codecs } = this.#options
    const partition = new Partition({
      number,
      store,
      implementations: this.#implementations,
      sink: this.#sinkOf(),
      codecs,
      watch: this.#watch?.of(number),
    })
    const hosted = new Hosted(partition, role, {
      store,
      admit: (effect) => this.#admit(number, effect),
      admitSend: (effect) => this.#admitSend(number, effect),
      laneOf: (effect) =>
        effect.kind === 'activity' ? (this.#calls.laneOf(effect) ?? this.#runner.laneOf(effect)) : effect.kind,
    })
    this.#hosted.set(number, hosted)
    this.#hasMuted = true
    return hosted
  }

  get #partitions(): readonly Partition[] {
    return [...this.#hosted.values()].map(({ partition }) => partition)
  }

  /** Finishes the turns that run, commits, and resolves when nothing is left running. Pending effects stay pending. */
  async close(): Promise<void> {
    if (this.#phase === 'closed') return
    const wasRunning = this.#phase === 'running'
    this.#phase = 'closed'
    // Before anything is waited for: what is not saved from now on must not be listed without it.
    this.#rpc.close()
    this.#unwatchControls()
    await this.#reader?.close()
    await this.#catchUp.close()
    await Promise.allSettled([...this.#following.values(), ...this.#leaving.values()])
    await Promise.all([
      ...[...this.#hosted.values()].map(async ({ stopServing }) => stopServing?.()),
      this.#replicas.close(),
    ])
    await this.#timers.close()
    await this.#runner.close()
    await this.#sends.close()
    await this.#calls.close()
    this.#cancelCommit?.()
    await this.#committing
    await this.#turns.run(async () => {})
    if (wasRunning) await this.#commit(true)
    while (this.#tasks.size > 0) await Promise.all(this.#tasks)
  }

  async #applyAll(messages: readonly LogMessage[], throughSeq: number): Promise<void> {
    const { clock } = this.#options
    if (!(await this.#applyEach(messages, (message) => (this.#readSeq = message.seq)))) return
    // What is behind the last message is of other partitions.
    this.#readSeq = throughSeq
    const last = messages.at(-1)
    if (last !== undefined) this.#lagMs = Math.max(0, clock.nowMs() - last.timeMs)
    this.#rpc.progressed()
    this.#planCommit()
    this.#planGoingOn()
    this.#goLiveWhereDue()
  }

  async #applyCatchUp(messages: readonly LogMessage[]): Promise<boolean> {
    const areApplied = await this.#applyEach(messages, () => undefined, true)
    this.#planCommit()
    return areApplied
  }

  /** Applies in slices, so that I/O gets its turn in between. False when the engine has ended before all were: positions must not pass the rest. */
  async #applyEach(
    messages: readonly LogMessage[],
    applied: (message: LogMessage) => void,
    isCatchUp = false,
  ): Promise<boolean> {
    const { clock } = this.#options
    const beganMs = performance.now()
    let sliceEndMs = beganMs + this.#limits.sliceMs
    let turns = 0
    for (const message of messages) {
      if (this.#phase !== 'running') return false
      const turn = this.#applyOne(message, isCatchUp)
      if (turn !== undefined) await turn
      applied(message)
      this.#reach('after-apply')
      if (++turns % TURNS_PER_LOOK !== 0 || performance.now() < sliceEndMs) continue
      this.#flush()
      await clock.yield()
      sliceEndMs = performance.now() + this.#limits.sliceMs
    }
    this.counts.turnMs += performance.now() - beganMs
    this.#flush()
    return true
  }

  #applyOne(message: LogMessage, isCatchUp: boolean): void | Promise<void> {
    const { subjects } = this.#options
    const parsed = parseInput(subjects, message)
    if (this.#hasMuted) this.#noteSent(parsed)
    const number = parsed.kind === 'malformed' ? subjects.partitionOfSubject(message.subject) : parsed.partition
    const hosted = this.#hosted.get(number)
    // Of one that catches up, the main reader's messages come too early.
    if (hosted === undefined || (isCatchUp ? hosted.isAttached || !hosted.isJoined : !hosted.isAttached))
      return undefined
    return hosted.partition.apply(message.seq, message.subject, parsed, () => rawInput(message))
  }

  /** Those that have been promoted, and for which the journal has been applied far enough (invariant 3). */
  #goLiveWhereDue(): void {
    if (!this.#hasMuted) return
    const due = [...this.#hosted.values()].filter(
      ({ role, isGoingLive, goLiveSeq }) => role === 'promoting' && !isGoingLive && this.#readSeq >= goLiveSeq,
    )
    if (due.length > 0) this.#background(this.#goLive(due))
  }

  async #goLive(due: readonly Hosted[]): Promise<void> {
    for (const hosted of due) hosted.isGoingLive = true
    await this.#commitNow()
    if (this.#phase !== 'running') return
    const { subjects, bus, logger } = this.#options
    // One may have been demoted while the commit ran.
    const live = due.filter((hosted) => hosted.isGoingLive && !hosted.isMuted)
    for (const hosted of live) {
      this.#timers.watch(hosted.number)
      this.#rpc.admit(hosted.partition, 'owner')
      hosted.stopServing = bus.serve(subjects.rpc(hosted.number), (payload) => this.#answer(hosted.partition, payload))
      hosted.becomeOwner()
      this.#replicas.enter(hosted.partition)
    }
    this.#countMuted()
    this.#flush()
    this.#refillAll('pending')
    this.#refillAll('pendingSends')
    logger.info({ seq: this.#readSeq, partitions: live.length }, 'caught up: effects go out')
    await this.#announcePatches(live)
    this.#planGoingOn()
  }

  /** Looked at for every message. */
  #countMuted(): void {
    this.#hasMuted = [...this.#hosted.values()].some(({ isMuted }) => isMuted)
  }

  /** Types that are paused are held from before the first turn; a change takes effect between two turns. */
  #watchControls(): void {
    const { controls } = this.#options
    if (controls === undefined) return
    const hold = ({ pausedTypes }: ControlState): void => {
      for (const partition of this.#partitions) partition.hold(pausedTypes)
    }
    hold(controls.current())
    this.#unwatchControls = controls.watch((state) =>
      this.#background(this.#turns.run(async () => hold(state)).then(() => this.#planGoingOn())),
    )
  }

  #planGoingOn(): void {
    if (this.#isGoingOn || !this.#hasDue) return
    this.#isGoingOn = true
    this.#background(this.#goOn().finally(() => (this.#isGoingOn = false)))
  }

  get #hasDue(): boolean {
    for (const { role, partition } of this.#hosted.values()) if (GOES_ON[role] && partition.hasDue) return true
    return false
  }

  /** Lets instances that wait for the host alone go on, in slices between the turns of others. */
  async #goOn(): Promise<void> {
    while (this.#phase === 'running' && this.#hasDue) {
      await this.#turns.run(() => this.#goOnSlice())
      this.#flush()
      this.#rpc.progressed()
      this.#planCommit()
      await this.#options.clock.yield()
    }
  }

  async #goOnSlice(): Promise<void> {
    const endMs = performance.now() + this.#limits.sliceMs
    for (const { role, partition } of this.#hosted.values()) {
      if (!GOES_ON[role]) continue
      while (partition.hasDue && this.#phase === 'running') {
        await partition.goOn(GO_ON_INPUTS)
        if (performance.now() >= endMs) return
      }
    }
  }

  #flush(): void {
    const outgoing = this.#outgoing
    if (outgoing.length === 0) return
    this.#outgoing = []
    for (const emit of outgoing) emit()
    this.#reach('after-emit')
  }

  /** Timers are seen once they are in the store, so one that is due soon hurries the commit. */
  #planCommit(): void {
    if (this.#committing !== undefined || this.#phase !== 'running') return
    const { clock } = this.#options
    const inMs = Math.max(COMMIT_SOONEST_MS, Math.min(this.#limits.commitEveryMs, this.#soonestTimerMs - clock.nowMs()))
    if (this.#cancelCommit !== undefined && inMs >= this.#commitInMs) return
    this.#cancelCommit?.()
    this.#commitInMs = inMs
    this.#cancelCommit = clock.after(inMs, () => {
      this.#cancelCommit = undefined
      this.#background(this.#commitNow())
    })
  }

  /** One commit at a time; those who ask meanwhile get the one after. */
  async #commitNow(): Promise<void> {
    while (this.#committing !== undefined) await this.#committing
    if (this.#phase !== 'running') return
    this.#committing = this.#commit(false).finally(() => (this.#committing = undefined))
    await this.#committing
    if (this.#partitions.some((partition) => partition.isDirty)) this.#planCommit()
  }

  /** Resolves when the positions of all partitions are in the store, those of idle ones too. */
  async savePositions(): Promise<void> {
    this.#positionsSavedMs = -Infinity
    await this.#commitNow()
  }

  /** Resolves when what the partition has applied by now is in the store. */
  async #save(partition: Partition): Promise<void> {
    while (this.#committing !== undefined) await this.#committing
    if (partition.isDirty) await this.#commitNow()
  }

  async #commit(last: boolean): Promise<void> {
    try {
      const writes: Write[] = []
      const news = await this.#turns.run(() => this.#collect(writes, last))
      if (writes.length === 0) return await this.#passivate()
      this.#reach('before-commit')
      const beganMs = performance.now()
      const done = this.#options.store.commit(writes)
      this.#reach('in-commit')
      await done
      this.counts.commitMs += performance.now() - beganMs
      this.#reach('after-commit')
      this.counts.commits += 1
      for (const partition of this.#partitions) partition.committed()
      for (const tell of news) tell()
      await this.#passivate()
      this.#refillAll('pending')
      this.#refillAll('pendingSends')
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Everything of one moment (invariant 2). Gives what is to be told when it is in the store. */
  async #collect(writes: Write[], last: boolean): Promise<readonly (() => void)[]> {
    const nowMs = this.#options.clock.nowMs()
    const all = last || nowMs - this.#positionsSavedMs >= POSITIONS_EVERY_MS
    if (all) this.#positionsSavedMs = nowMs
    for (const hosted of this.#hosted.values()) {
      const { partition } = hosted
      if (!all && !partition.isDirty && !hosted.isGoingLive) continue
      if (hosted.isAttached) partition.skipTo(this.#readSeq)
      await partition.collect(writes)
      // In one moment: effects before it are found in the store, those behind it are told.
      if (hosted.isGoingLive && hosted.isMuted) hosted.unmute()
    }
    const news = this.#timerNews
    this.#timerNews = []
    this.#soonestTimerMs = Infinity
    return news
  }

  get #isFull(): boolean {
    const { residentsMax, residentBytesMax } = this.#limits
    return this.residents > residentsMax || this.#residentBytes > residentBytesMax
  }

  get #residentBytes(): number {
    return sum(this.#partitions, (partition) => partition.residentBytes)
  }

  /** Between turns (invariant 1): one may be under way for an instance that has just been loaded. */
  async #passivate(): Promise<void> {
    if (!this.#isFull) return
    const { residentsMax, residentBytesMax } = this.#limits
    const share = this.#hosted.size
    await this.#turns.run(async () => {
      for (const partition of this.#partitions) {
        partition.passivate(
          () => partition.residents <= residentsMax / share && partition.residentBytes <= residentBytesMax / share,
        )
      }
    })
  }

  /** Reads bring instances into memory as well; nothing is to be committed behind them. */
  async #answer(partition: Partition, payload: Uint8Array, side: RpcSide = 'owner'): Promise<Uint8Array> {
    const { codecs, clock } = this.#options
    const plain = (request: Uint8Array): Promise<Uint8Array> => this.#rpc.answer(partition, request, side)
    const answer = await (codecs === undefined
      ? plain(payload)
      : answerThroughCodecs(codecs, payload, clock.nowMs(), plain))
    if (this.#isFull) this.#planCommit()
    return answer
  }

  /** False when there is no room for it now. */
  #admit(partition: PartitionNumber, effect: PendingEffect): boolean {
    if (effect.kind === 'activity')
      return this.#calls.laneOf(effect) === undefined
        ? this.#runner.start(effect)
        : this.#calls.start(partition, effect)
    if (effect.kind === 'send') return true
    if (this.#deadInFlight >= this.#limits.deadInFlightMax) return false
    this.#deadInFlight += 1
    this.#background(this.#storeDeadLetter(partition, effect).finally(() => (this.#deadInFlight -= 1)))
    return true
  }

  #admitSend(partition: PartitionNumber, effect: PendingEffect): boolean {
    return effect.kind !== 'send' || this.#sends.start(partition, effect)
  }

  #refillAll(which: 'pending' | 'pendingSends'): void {
    const all = [...this.#hosted.values()].map((hosted) => hosted[which])
    this.#refill(all.filter((pending) => pending !== undefined))
  }

  /** What had no room may have some now. A long way through the store is gone in steps. */
  #refill(all: Iterable<PendingEffects>): void {
    if (this.#phase !== 'running') return
    const more = [...all].filter((pending) => pending.refill())
    if (more.length > 0) this.#background(this.#options.clock.yield().then(() => this.#refill(more)))
  }

  /** An input that an instance of ours sent before the crash: it is in the journal, so it is not sent again. */
  #noteSent(parsed: ReturnType<typeof parseInput>): void {
    if (parsed.kind !== 'input' || parsed.input.id === undefined) return
    const sender = parseSendId(parsed.input.id)
    if (sender === undefined) return
    const hosted = this.#hosted.get(this.#options.subjects.partitionOfKey(sender.key))
    if (hosted?.isMuted === true) hosted.partition.sendArrived(sender.key, sender.effect, parsed.key)
  }

  async #storeSend(partition: PartitionNumber, send: OutgoingSend): Promise<void> {
    await this.#appends.send(send)
    this.#hosted.get(partition)?.partition.effectDone(send.key, send.id)
    this.#planCommit()
  }

  async #storeDeadLetter(partition: PartitionNumber, letter: DeadLetter): Promise<void> {
    await this.#appends.deadLetter(partition, letter)
    this.#hosted.get(partition)?.partition.effectDone(letter.key, letter.id)
    this.#planCommit()
  }

  /** Its worker hears of it, if it has one: a notice that is lost costs work, for the result is ignored. */
  #letGo(key: InstanceKey, id: ActivityCall['id']): void {
    const type = typeTokenOf(key)
    if (this.#runner.letGo(key, id) || !this.#calls.hasQueues(type)) return
    this.#calls.letGo(key, id)
    this.#options.bus.publish(this.#options.subjects.letGo(type), encodeValue(callId(key, id)))
  }

  /** Tells the journal, once, which patches this build has. */
  async #announcePatches(live: readonly Hosted[]): Promise<void> {
    const { announces = () => true } = this.#options
    const appends = live.flatMap(({ number, partition }) =>
      [...partition.missingPatches()]
        .filter(({ patch }) => announces(patch))
        .map(({ type, patch }) => this.#appends.patch(number, type, patch)),
    )
    const strange = new Set(live.flatMap(({ partition }) => partition.strangePatches()))
    if (strange.size > 0)
      this.#options.logger.info(
        { patches: [...strange] },
        'the journal shows patches that this build does not declare: they are over, or this build is older than one that was live',
      )
    await Promise.all(appends)
  }

  #sinkOf(): PartitionSink {
    const later = (emit: () => void): void => void this.#outgoing.push(emit)
    return {
      activity: (partition, call) => later(() => this.#hosted.get(partition)?.pending?.add(call)),
      activityDone: (_, key, id) => later(() => this.#letGo(key, id)),
      timer: (partition, key, id, dueMs) => {
        this.#soonestTimerMs = Math.min(this.#soonestTimerMs, dueMs)
        this.#timerNews.push(() => {
          this.#timers.letGo(partition, callId(key, id))
          this.#timers.noticed(partition, dueMs)
        })
      },
      timerDone: (partition, key, id) => this.#timerNews.push(() => this.#timers.letGo(partition, callId(key, id))),
      dead: (partition, letter) => later(() => this.#hosted.get(partition)?.pending?.add(letter)),
      send: (partition, send) => later(() => this.#hosted.get(partition)?.pendingSends?.add(send)),
      reply: (reply) => later(() => this.#options.bus.publish(reply.inbox, encodeReply(this.#options.codecs, reply))),
      log: (key, effect) => later(() => this.#writeLog(key, effect)),
      closed: (key) => later(() => this.#rpc.closed(key)),
      suspended: (key, seq, error) =>
        later(() =>
          this.#options.logger.error(
            { ...parseKey(key), seq, err: error },
            'an instance is suspended: fix its code or the input, deploy, then resume it',
          ),
        ),
      count: (what) => (this.counts[what] += 1),
      sampled: this.#digests && ((...sampled) => this.#digests?.sample(...sampled)),
      applied: this.#tracing.applied,
    }
  }

  #writeLog(key: InstanceKey, { level, message, fields }: Effect & { readonly kind: 'log' }): void {
    this.#options.logger[level]({ ...fields, ...parseKey(key) }, message)
  }

  #background(task: Promise<unknown>): void {
    const tracked = task.catch((error: unknown) => this.#fail(error)).finally(() => this.#tasks.delete(tracked))
    this.#tasks.add(tracked)
  }

  #fail(error: unknown): void {
    if (this.#phase !== 'running') return
    this.#phase = 'failed'
    this.#rpc.close()
    this.#cancelCommit?.()
    this.#options.onFailed(error)
  }
}

function rawInput(message: LogMessage): Input {
  const encoding = message.header(HEADERS.encoding) ?? 'json'
  return {
    seq: message.seq,
    timeMs: message.timeMs,
    kind: 'signal',
    name: '',
    id: undefined,
    encoding: isPayloadEncoding(encoding) ? encoding : 'json',
    payload: message.payload,
    reply: undefined,
    trace: undefined,
    version: PROTOCOL_VERSION,
  }
}

function sum<T>(items: Iterable<T>, of: (item: T) => number): number {
  let total = 0
  for (const item of items) total += of(item)
  return total
}
