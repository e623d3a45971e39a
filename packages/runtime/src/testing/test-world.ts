/**
 * A world for the tests of workflows: an engine in this process, over a journal, a store and a bus in memory, with a time of its own.
 *
 * Owns: the engine's lives, the moments at which it crashes, time.
 * Does not own: the activities. They run when they are called, in the host's time.
 *
 * Invariants
 * 1. Time stands still unless the test waits: `skip`, `until`, `result`, an update or `wait: 'applied'`.
 * 2. With `crashBetweenTurns`, the engine ends after each input that it applies for the first time, as kill -9 would end it, before anything of
 *    that turn is saved or sent; the next one folds the journal.
 * 3. The seed decides everything that may differ between two runs: how inputs are grouped on their way, and made-up ids.
 */
import { type ActivityImplementations, missingActivities } from '../contract/activities.ts'
import type { Contract, ContractShape } from '../contract/contract.ts'
import { type Duration, toMs } from '../contract/duration.ts'
import type { Implementation } from '../contract/implement.ts'
import type { CountGroup, GroupBy, InstanceFilter, InstanceRow } from '../contract/instance-filter.ts'
import type { Interceptors } from '../contract/interceptors.ts'
import { Random } from '../core/random.ts'
import type { Failpoint } from '../engine/index.ts'
import { CarillonError, fromErrorData, hasCode } from '../errors.ts'
import {
  type Description,
  decodeMessage,
  encodeToken,
  HEADERS,
  type InputKind,
  type InstanceKey,
  type Outcome,
  type OpenTaskRow,
  parseKey,
  parseTaskToken,
  type Partition,
  type PayloadCodecs,
  type ReplyPayload,
  type RpcRequest,
  type RpcResponse,
  type TaskDeed,
  taskSignal,
} from '../protocol/index.ts'
import { type DeadMessage, EngineWorld } from './engine-world.ts'
import type { InstanceHandle } from './handle-types.ts'
import { type Life, RunningActivities } from './running-activities.ts'
import { readHistory } from './test-history.ts'
import { countInstances, listInstances, type ListOptions, type ListWorld } from './test-lists.ts'
import { type AwaitedInput, type HandleWorld, type KeyedRequest, type SentWith, TestHandle } from './test-handle.ts'
import { WorldDrive } from './world-drive.ts'

export interface TestWorldOptions {
  readonly workflows: readonly Implementation[]
  /** Real ones, or from `mockActivities`. */
  readonly activities?: readonly ActivityImplementations[]
  /** Another seed, another order of what may happen in any order. Default 1. */
  readonly seed?: number
  /** Ends the engine after every turn and folds the journal again. It must change no result. Default false. */
  readonly crashBetweenTurns?: boolean
  /** Default 4. */
  readonly partitions?: number
  /** Default `carillon`, as everywhere: the first token of the public door. */
  readonly namespace?: string
  /** Patches that are active from the start; default: all that the workflows declare. An empty list tests what began before them. */
  readonly patches?: readonly string[]
  /** Around workflow code and activities. Default: none. */
  readonly interceptors?: Interceptors
  /** What payloads pass, of the engine as of the handles of this world. Default: none. */
  readonly codecs?: PayloadCodecs
  /** When the world begins, milliseconds since the epoch. */
  readonly startMs?: number
  /** How long time stands still for one attempt of an activity, in milliseconds of the host; it may hang. Default 5000. */
  readonly activityPatienceMs?: number
}

/** Rounds of deliveries that the seed may hold an input back. */
const DELIVERY_DELAY_MAX = 3
const UNTIL_TIMEOUT_MS = 30_000
const ACTIVITY_PATIENCE_MS = 5000

/** A task that is open in a world. */
export interface WorldTask extends OpenTaskRow {
  readonly type: string
  readonly id: string
}

class Crash extends Error {}

export class TestWorld {
  #options: TestWorldOptions
  readonly #world: EngineWorld
  readonly #drive: WorldDrive
  readonly #activities: RunningActivities
  readonly #handles: HandleWorld
  readonly #replies = new Map<string, ReplyPayload>()
  #repliesRead = 0
  #life: Life = { isOver: true }
  #isLive = false
  #isClosed = false
  /** No turn up to here ends in a crash any more. */
  #crashedSeq = 0
  #crashes = 0
  #ids = 0
  #calls = 0

  /** Opens a world. @throws INVALID_DEFINITION when two implementations are of one type, or activities are missing. */
  static async open(options: TestWorldOptions): Promise<TestWorld> {
    checkWorkflows(options)
    const world = new TestWorld(options)
    await world.#drive.quiet()
    return world
  }

  private constructor(options: TestWorldOptions) {
    const { seed = 1, partitions = 4, namespace = 'carillon', startMs, codecs } = options
    const random = new Random(`test-world/${seed}`)
    this.#options = options
    this.#world = new EngineWorld({
      partitions,
      namespace,
      codecs,
      deliveryDelay: () => random.uint32() % (DELIVERY_DELAY_MAX + 1),
    })
    if (startMs !== undefined) this.#world.clock.jump(startMs)
    this.#activities = new RunningActivities(options.crashBetweenTurns === true)
    this.#drive = new WorldDrive({
      clock: this.#world.clock,
      fingerprint: () => this.#fingerprint(),
      tend: () => this.#tend(),
      isBusy: () => this.#isBusy(),
    })
    const idPrefix = random.uint32().toString(36)
    this.#handles = {
      nextId: () => `${idPrefix}-${++this.#ids}`,
      send: (type, id, kind, name, payload, sent) => this.#send(type, id, kind, name, payload, sent),
      outcome: (sent, timeoutMs) => this.#outcome(sent, timeoutMs),
      ask: (request) => this.#ask(request),
      history: (key, given) => {
        const { log, subjects, codecs } = this.#world
        return readHistory({ messages: log.messages, subjects, codecs }, key, given)
      },
      closed: (key, timeoutMs, what) => this.#closed(key, timeoutMs, what),
    }
  }

  /** The world's time, milliseconds since the epoch. */
  get nowMs(): number {
    return this.#world.clock.nowMs()
  }

  /** How often the engine has crashed. */
  get crashes(): number {
    return this.#crashes
  }

  /** Inputs that no instance took, with the reason. */
  get deadLetters(): readonly DeadMessage[] {
    return this.#world.deadLetters
  }

  /** Lines that workflows, activities and the engine have logged. */
  get logLines(): readonly { readonly level: string; readonly message: string; readonly fields: object }[] {
    return this.#world.lines
  }

  /** A handle on one instance, which may exist or not. @throws INVALID_ID */
  workflow<Shape extends ContractShape>(contract: Contract<Shape>, id: string): InstanceHandle<Shape> {
    return TestHandle.of(this.#handles, contract, id)
  }

  /** The instances that a filter is for, as the client's `list` gives them, when everything sent has been applied. */
  list<Shape extends ContractShape>(options: ListOptions<Shape> = {}): AsyncIterableIterator<InstanceRow<Shape>> {
    return listInstances(this.#lists, options) as AsyncIterableIterator<InstanceRow<Shape>>
  }

  /** How many there are, as the client's `count` gives it. */
  count<Shape extends ContractShape>(
    options: InstanceFilter<Shape> & { readonly groupBy: GroupBy<Shape> },
  ): Promise<readonly CountGroup[]>
  count<Shape extends ContractShape>(
    options?: InstanceFilter<Shape> & { readonly groupBy?: undefined },
  ): Promise<number>
  count(options: InstanceFilter & { readonly groupBy?: GroupBy | undefined } = {}): Promise<unknown> {
    return countInstances(this.#lists, options)
  }

  /** Pauses a workflow type, as operators do for the whole namespace: its instances take no inputs until `resumeType`. */
  pauseType(type: Contract | string): void {
    this.#setType(type, true)
  }

  resumeType(type: Contract | string): void {
    this.#setType(type, false)
  }

  /** What any NATS client may do: publishes JSON text on the public door, `<namespace>.signal.<type>.<id>.<name>`. */
  publish(subject: string, json: string, headers: Readonly<Record<string, string>> = {}): void {
    this.#throwIfClosed()
    const { subjects, log } = this.#world
    const [namespace, signal, type, id, name, ...rest] = subject.split('.')
    if (namespace !== subjects.namespace || signal !== 'signal' || name === undefined || rest.length > 0)
      throw new CarillonError(
        'INVALID_ID',
        `the subject ${JSON.stringify(subject)} is not of the public door: ${subjects.namespace}.signal.<type>.<id>.<name>`,
      )
    this.#calls += 1
    log.store(subjects.log(type as never, id as never, 'signal', name as never), {
      headers,
      payload: new TextEncoder().encode(json),
    })
  }

  /** The tasks that are open in all instances, with their tokens. */
  async tasks(): Promise<readonly WorldTask[]> {
    this.#throwIfClosed()
    const { log, subjects } = this.#world
    const keys = new Set(log.messages.flatMap(({ subject }) => subjects.parseLog(subject)?.key ?? []))
    const tasks: WorldTask[] = []
    for (const key of keys) {
      const request = { op: 'describe', key, minSeq: 0 } as const
      const described = await this.#ask(request).catch((error: unknown) => {
        // It was sent to, and never started.
        if (!hasCode(error, 'NOT_FOUND') && !hasCode(error, 'UNKNOWN_TYPE')) throw error
      })
      for (const task of (described as Description | undefined)?.tasks ?? []) tasks.push({ ...task, ...parseKey(key) })
    }
    return tasks
  }

  /** Completes the task of a token, as the client does. @throws CLOSED, NOT_FOUND, INVALID_PAYLOAD, INVALID_ID */
  completeTask(token: string, value?: unknown): Promise<void> {
    return this.#doTask(token, 'complete', value)
  }

  /** Fails the task of a token. Throws as `completeTask`. */
  failTask(token: string, error: string | { readonly code?: string; readonly message: string }): Promise<void> {
    return this.#doTask(token, 'fail', error)
  }

  /** Tells that the task of a token is worked on. Throws as `completeTask`. */
  heartbeatTask(token: string): Promise<void> {
    return this.#doTask(token, 'heartbeat', undefined)
  }

  /** Lets so much time pass. What falls due meanwhile happens, each at its time, with all that follows from it. */
  skip(duration: Duration): Promise<void> {
    this.#throwIfClosed()
    return this.#drive.skipTo(this.nowMs + toMs(duration))
  }

  /** Resolves when everything sent has been applied, no activity runs, and nothing is left to be done until time passes. */
  settled(): Promise<void> {
    this.#throwIfClosed()
    return this.#drive.settled()
  }

  /** Lets time pass, as little as it takes, until the condition holds. @throws TIMEOUT when it does not within `timeout` of the world's time (30 s). */
  async until(condition: () => boolean | Promise<boolean>, timeout: Duration = UNTIL_TIMEOUT_MS): Promise<void> {
    const endMs = this.nowMs + toMs(timeout)
    for (;;) {
      await this.#drive.quiet()
      if (await condition()) return
      // It may be what the condition waits for.
      if (this.#isBusy()) continue
      const { nextMs } = this.#world.clock
      if (this.nowMs >= endMs || nextMs === undefined)
        throw new CarillonError(
          'TIMEOUT',
          `the condition did not hold within ${toMs(timeout)} ms of the world's time${nextMs === undefined ? ', and nothing is left that could happen' : ''}: ${condition.toString()}`,
        )
      await this.#drive.skipTo(Math.min(nextMs, endMs))
    }
  }

  /** Ends the engine as kill -9 does, and opens it anew over the same store and journal. Activities that ran are called again. */
  async crash(): Promise<void> {
    this.#throwIfClosed()
    this.#endLife()
    await this.#drive.quiet()
  }

  /** Ends the engine as kill -9 does, and opens the next one only after so much time: timers that fell due meanwhile come late. */
  async down(duration: Duration): Promise<void> {
    this.#throwIfClosed()
    await this.#drive.quiet()
    this.#endLife()
    this.#world.clock.jump(this.nowMs + toMs(duration))
    await this.#drive.quiet()
  }

  /**
   * Another build, in the middle of everything: ends the engine as `crash` does, and opens one with other workflows. Its patches become active for what
   * begins from then on.
   *
   * @throws INVALID_DEFINITION as `open`.
   */
  async deploy(build: Pick<TestWorldOptions, 'workflows' | 'activities' | 'patches'>): Promise<void> {
    this.#throwIfClosed()
    const { patches: _, ...options } = this.#options
    checkWorkflows({ ...options, ...build })
    await this.#drive.quiet()
    this.#options = { ...options, ...build }
    await this.crash()
  }

  /** Ends the world. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#life.isOver = true
    await this.#world.crash()
  }

  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #doTask(token: string, deed: TaskDeed, payload: unknown): Promise<void> {
    const parsed = parseTaskToken(token)
    const { type, id } = parsed
    const name = taskSignal(parsed, deed)
    const inputId = this.#handles.nextId()
    const inbox = `_INBOX.${this.#handles.nextId()}`
    const seq = this.#send(type, id, 'signal', name, payload, { id: inputId, reply: inbox })
    const key: InstanceKey = `${encodeToken(type)}.${encodeToken(id)}`
    const sent = { inbox, key, id: inputId, seq, what: `${deed} of a task of ${type}/${id}` }
    const { outcome } = await this.#outcome(sent, UNTIL_TIMEOUT_MS)
    if (!outcome.ok) throw fromErrorData(outcome.error)
  }

  #setType(type: Contract | string, isPaused: boolean): void {
    this.#throwIfClosed()
    this.#calls += 1
    this.#world.controls.setType(typeof type === 'string' ? type : type.name, isPaused)
  }

  #send(type: string, id: string, kind: InputKind, name: string, payload: unknown, sent: SentWith): number {
    this.#throwIfClosed()
    this.#calls += 1
    const { traceparent, tracestate, ...options } = sent
    const headers = {
      ...(traceparent === undefined ? {} : { [HEADERS.trace]: traceparent }),
      ...(tracestate === undefined ? {} : { [HEADERS.traceState]: tracestate }),
    }
    return this.#world.send(type, id, kind, name, payload, { ...options, headers })
  }

  /** The reply, or what the instance knows of it: a sender whose handler was suspended later on gets none. */
  async #outcome(sent: AwaitedInput, timeoutMs: number): Promise<ReplyPayload> {
    const { inbox, key, id, seq, what } = sent
    const endMs = this.nowMs + timeoutMs
    const late = (): CarillonError =>
      new CarillonError(
        'TIMEOUT',
        `${what} was accepted but not applied within ${timeoutMs} ms of the world's time: give it more`,
      )
    for (;;) {
      await this.#drive.quiet()
      const reply = this.#takeReply(inbox) ?? (await this.#known(key, id, seq))
      if (reply !== undefined) return reply
      const { lastSeq } = this.#world.log
      await this.#drive.wait(
        () => (this.#takeReply(inbox) !== undefined || this.#world.log.lastSeq > lastSeq ? true : undefined),
        endMs,
        late,
      )
    }
  }

  async #known(key: InstanceKey, id: string, seq: number): Promise<ReplyPayload | undefined> {
    try {
      const outcome = (await this.#ask({ op: 'outcome', key, id, seq, waitMs: 0 })) as Outcome
      return { seq, duplicate: false, outcome }
    } catch (error) {
      if (hasCode(error, 'TIMEOUT')) return undefined
      throw error
    }
  }

  #takeReply(inbox: string): ReplyPayload | undefined {
    const { published } = this.#world.bus
    for (; this.#repliesRead < published.length; this.#repliesRead++) {
      const { subject, payload } = published[this.#repliesRead] ?? { subject: '', payload: new Uint8Array() }
      if (!this.#replies.has(subject))
        this.#replies.set(subject, decodeMessage(this.#world.codecs, payload, subject) as ReplyPayload)
    }
    return this.#replies.get(inbox)
  }

  #ask(request: KeyedRequest): Promise<unknown> {
    const [type = '', id = ''] = request.key.split('.')
    return this.#askPartition(this.#world.subjects.partitionOf(type as never, id as never), request)
  }

  get #lists(): ListWorld {
    const { partitions } = this.#world.subjects
    return { partitions, ask: (partition, request) => this.#askPartition(partition as Partition, request) }
  }

  /** Asked when all is applied, so that the answer takes no time; a crash on the way asks again. */
  async #askPartition(partition: Partition, request: RpcRequest): Promise<unknown> {
    this.#throwIfClosed()
    this.#calls += 1
    await this.#drive.quiet()
    const { bus, subjects, clock, codecs } = this.#world
    const subject = subjects.rpc(partition)
    const life = this.#life
    const asked = { isOver: false }
    const answer = bus
      .request(subject, this.#world.seal(request))
      .then((bytes) => decodeMessage(codecs, bytes, 'answer') as RpcResponse)
      .finally(() => (asked.isOver = true))
    answer.catch(() => {})
    while (!asked.isOver && !life.isOver) await clock.yield()
    if (!asked.isOver) return this.#askPartition(partition, request)
    const response = await answer
    if (response.ok) return response.value
    throw fromErrorData(response.error)
  }

  async #closed(key: InstanceKey, timeoutMs: number, what: string): Promise<Outcome> {
    const endMs = this.nowMs + timeoutMs
    for (;;) {
      const { closed } = (await this.#ask({ op: 'describe', key, minSeq: 0 })) as Description
      if (closed !== undefined) return closed.outcome
      const seq = this.#world.log.lastSeq
      await this.#drive.wait(
        () => (this.#world.log.lastSeq > seq ? true : undefined),
        endMs,
        () =>
          new CarillonError(
            'TIMEOUT',
            `${what} is not known after ${timeoutMs} ms of the world's time: skip more of it`,
          ),
      )
    }
  }

  /** Opens the next engine when there is none. */
  async #tend(): Promise<boolean> {
    if (this.#isClosed) throw new CarillonError('CLOSING', 'the world is closed: open another one')
    const [failure] = this.#world.failures
    if (failure !== undefined && !this.#life.isOver) throw failure as Error
    if (!this.#life.isOver) return false
    const life: Life = { isOver: false }
    this.#life = life
    this.#isLive = false
    const { workflows, activities = [], patches, interceptors } = this.#options
    await this.#world.open({
      implementations: workflows,
      interceptors,
      ...(patches === undefined ? {} : { announces: (patch: string) => patches.includes(patch) }),
      activities: this.#activities.of(activities, life),
      reach: (point) => this.#reached(point, life),
    })
    this.#world.engine.caughtUp.then(
      () => {
        if (!life.isOver) this.#isLive = true
      },
      () => {},
    )
    return true
  }

  /** Invariant 2. */
  #reached(point: Failpoint, life: Life): void {
    if (this.#options.crashBetweenTurns !== true || point !== 'after-apply' || life.isOver) return
    const { position } = this.#world.engine
    if (position <= this.#crashedSeq) return
    this.#crashedSeq = position
    this.#endLife()
    throw new Crash()
  }

  #endLife(): void {
    if (this.#life.isOver) return
    this.#life.isOver = true
    this.#crashes += 1
    this.#activities.lifeEnded()
    // What it awaits is nothing but a moment for others.
    this.#world.crash().catch(() => {})
  }

  #isBusy(): boolean {
    return this.#activities.isBusy(this.#options.activityPatienceMs ?? ACTIVITY_PATIENCE_MS)
  }

  #fingerprint(): string {
    const { log, bus, lines, deadLetters, engine } = this.#world
    return [
      this.#crashes,
      this.#isLive,
      this.#calls,
      this.#activities.changes,
      log.lastSeq,
      bus.published.length,
      lines.length,
      deadLetters.length,
      engine.position,
      engine.counts.commits,
    ].join(' ')
  }

  #throwIfClosed(): void {
    if (this.#isClosed) throw new CarillonError('CLOSING', 'the world is closed: open another one')
  }
}

function checkWorkflows({ workflows, activities = [] }: TestWorldOptions): void {
  const names = new Set<string>()
  for (const { contract } of workflows) {
    if (names.has(contract.name))
      throw new CarillonError('INVALID_DEFINITION', `two implementations of ${contract.name} were given: pass one`)
    names.add(contract.name)
    const missing = missingActivities(contract, activities, 'all')
    if (missing.length === 0) continue
    throw new CarillonError(
      'INVALID_DEFINITION',
      `no activities were given for ${contract.name}, which declares ${missing.join(', ')}: pass implementActivities(…) or mockActivities(…)`,
    )
  }
}
