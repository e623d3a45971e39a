/**
 * An engine on ports in memory, which a test drives by hand: inputs, time, crashes.
 *
 * Invariants
 * 1. Nothing of an engine that crashed reaches the world any more: no append, no message, no alarm, no commit.
 */
import type { ActivityImplementations } from '../contract/activities.ts'
import type { CallMessage } from '../activity/index.ts'
import type { Implementation } from '../contract/implement.ts'
import type { Interceptors } from '../contract/interceptors.ts'
import {
  CodecStore,
  Engine,
  type EngineLimits,
  type NodeIdentity,
  type ReachFailpoint,
  type TurnWatchOptions,
} from '../engine/index.ts'
import { CarillonError } from '../errors.ts'
import type { AppendOptions, Bus, Clock, Controls, InputLog, Logger, LogReader, Snapshots } from '../ports/index.ts'
import {
  decodeMessage,
  encodeToken,
  encodeValue,
  HEADERS,
  type InputKind,
  type InstanceKey,
  type Partition,
  type PayloadCodecs,
  placeOfInput,
  type ReplyPayload,
  type RpcRequest,
  type RpcResponse,
  sealMessage,
  Subjects,
} from '../protocol/index.ts'
import { MemoryBus } from './memory-bus.ts'
import { MemoryControls } from './memory-controls.ts'
import { MemoryLog, type MemoryLogOptions } from './memory-log.ts'
import { MemoryDisk, MemoryStore, type MemoryStoreOptions } from './memory-store.ts'
import { VirtualClock } from './virtual-clock.ts'
import { snapshotsOf, type WorldSnapshots } from './world-snapshots.ts'

export interface WorldOptions {
  readonly partitions?: number
  readonly onAppend?: MemoryLogOptions['onAppend']
  readonly deliveryDelay?: MemoryLogOptions['deliveryDelay']
  /** Default `test`. */
  readonly namespace?: string
  /** Another node of the same cluster: the same journal, time, streams and connections; a disk and an engine of its own. */
  readonly beside?: EngineWorld
  /** Of the senders and readers outside, and of engines that are not given others. */
  readonly codecs?: PayloadCodecs | undefined
}

export interface LifeOptions {
  readonly implementations: readonly Implementation[]
  readonly activities?: readonly ActivityImplementations[]
  readonly limits?: Partial<EngineLimits>
  readonly workQueue?: string
  /** Default: all. */
  readonly partitions?: readonly Partition[]
  readonly gate?: MemoryStoreOptions['gate']
  readonly reach?: ReachFailpoint
  readonly announces?: (patch: string) => boolean
  /** Default: it has no name. */
  readonly node?: NodeIdentity
  /** Null for none. */
  readonly codecs?: PayloadCodecs | null
  readonly interceptors?: Interceptors | undefined
  readonly watch?: TurnWatchOptions | undefined
  /** Where partitions are saved by `save`, and restored from; default: nowhere. Not with codecs. */
  readonly snapshots?: Snapshots | undefined
}

export interface SendOptions {
  readonly id?: string
  readonly reply?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Goes past the codecs of the world. */
  readonly plain?: boolean
}

export interface DeadMessage {
  readonly subject: string
  readonly natsId: string | undefined
  readonly reason: string | undefined
  /** The input's place in the journal. */
  readonly seq: number
}

/** One engine from its start to its end. */
interface Life {
  isOver: boolean
  readonly readers: LogReader[]
  readonly served: (() => Promise<void>)[]
  readonly store: MemoryStore
  readonly engine: Engine
  readonly snapshots: WorldSnapshots | undefined
}

/** Rounds of the host's event loop that a condition may take. */
const ROUNDS_MAX = 20_000
/** So many rounds without any change count as quiet: half a second of the world's time. */
const QUIET_ROUNDS = 50

export class EngineWorld {
  readonly clock: VirtualClock
  readonly bus: MemoryBus
  readonly controls: MemoryControls
  readonly subjects: Subjects
  readonly log: MemoryLog
  /** What the engines reported as the reason why they cannot go on. */
  readonly failures: unknown[] = []
  readonly lines: { readonly level: string; readonly message: string; readonly fields: object }[] = []
  /** What is in the dead-letter stream, in order. */
  readonly deadLetters: DeadMessage[]
  /** The same as they were stored. */
  readonly buried: AppendOptions[]
  readonly codecs: PayloadCodecs | undefined
  disk = new MemoryDisk()
  /** What is in the work queue, in order, without what the server would drop as known. */
  readonly calls: CallMessage[]
  /** Asked for every call that is to be stored in the work queue. */
  onCall: ((message: CallMessage) => 'full' | undefined) | undefined
  /** Asked for every dead letter that is to be stored. */
  onBury: (() => 'lost' | undefined) | undefined
  #life: Life | undefined

  constructor({ partitions = 4, onAppend, deliveryDelay, namespace = 'test', beside, codecs }: WorldOptions = {}) {
    this.subjects = beside?.subjects ?? new Subjects(namespace, partitions)
    this.codecs = beside?.codecs ?? codecs
    this.clock = beside?.clock ?? new VirtualClock()
    this.bus = beside?.bus ?? new MemoryBus()
    this.controls = beside?.controls ?? new MemoryControls()
    this.deadLetters = beside?.deadLetters ?? []
    this.buried = beside?.buried ?? []
    this.calls = beside?.calls ?? []
    this.log =
      beside?.log ??
      new MemoryLog({
        subjects: this.subjects,
        clock: this.clock,
        ...(onAppend === undefined ? {} : { onAppend }),
        ...(deliveryDelay === undefined ? {} : { deliveryDelay }),
      })
  }

  /** False before the first start and behind a crash or a stop. */
  get isUp(): boolean {
    return this.#life !== undefined && !this.#life.isOver
  }

  get engine(): Engine {
    return this.#current().engine
  }

  get store(): MemoryStore {
    return this.#current().store
  }

  /** Starts an engine over the disk as it is; resolves when effects go out. */
  async start(options: LifeOptions): Promise<void> {
    await this.open(options)
    let isLive = false
    this.engine.caughtUp.then(
      () => (isLive = true),
      () => {},
    )
    await this.until(() => isLive || this.failures.length > 0)
  }

  /** Starts an engine. Throws as `Engine.start`. */
  async open({
    implementations,
    activities = [],
    limits,
    workQueue,
    partitions,
    gate,
    reach,
    announces,
    node,
    codecs: given = this.codecs,
    interceptors,
    watch,
    snapshots,
  }: LifeOptions): Promise<void> {
    const codecs = given ?? undefined
    const store = new MemoryStore({ disk: this.disk, ...(gate === undefined ? {} : { gate }) })
    this.#life = undefined
    this.failures.length = 0
    const own: { life?: Life } = {}
    const ports = this.#portsOf(own)
    const { identity } = this.log
    const engineOf = (): Engine | undefined => (own.life?.isOver === true ? undefined : own.life?.engine)
    const remote = snapshots && snapshotsOf({ snapshots, store, ports, identity, engine: engineOf })
    const engine = new Engine({
      subjects: this.subjects,
      partitions: partitions ?? Array.from({ length: this.subjects.partitions }, (_, number) => number as Partition),
      implementations,
      activities,
      codecs,
      interceptors,
      watch,
      store: remote?.store ?? (codecs === undefined ? store : new CodecStore(store, codecs)),
      ...(remote === undefined ? {} : { restore: remote.restore }),
      ...ports,
      onFailed: (error) => {
        if (!life.isOver) this.failures.push(error)
      },
      ...(limits === undefined ? {} : { limits }),
      ...(workQueue === undefined ? {} : { workQueue }),
      ...(reach === undefined ? {} : { reach }),
      ...(announces === undefined ? {} : { announces }),
      ...(node === undefined ? {} : { node }),
    })
    const life: Life = { isOver: false, readers: [], served: [], store, engine, snapshots: remote }
    own.life = life
    this.#life = life
    await engine.start()
  }

  /** Saves the partitions that the engine owns in the snapshots that it was started with. */
  async save(): Promise<void> {
    await this.#current().snapshots?.save()
  }

  /** Ends the engine as a planned stop does. */
  async stop(): Promise<void> {
    const { engine, store } = this.#current()
    let isClosed = false
    const closed = engine.close().then(() => (isClosed = true))
    await this.until(() => isClosed)
    await closed
    await store.close()
    this.#current().isOver = true
  }

  /** Ends the engine as kill -9 does. */
  async crash(): Promise<void> {
    const life = this.#current()
    life.isOver = true
    life.store.crash()
    for (const reader of life.readers) reader.close().catch(() => {})
    for (const stop of life.served) stop().catch(() => {})
    await this.clock.yield()
  }

  /** Stores an input; gives its sequence. */
  send(
    type: string,
    id: string,
    kind: InputKind,
    name: string,
    payload?: unknown,
    { id: inputId, reply, headers, plain = false }: SendOptions = {},
  ): number {
    const subject = this.subjects.log(
      encodeToken(type),
      encodeToken(id),
      kind,
      kind === 'start' || kind === 'cancel' ? undefined : encodeToken(name),
    )
    const place = placeOfInput(keyOf(type, id), kind, kind === 'start' || kind === 'cancel' ? '' : name)
    const { bytes, encoding } = (plain ? undefined : this.codecs)?.encode(encodeValue(payload), 'msgpack', place) ?? {
      bytes: encodeValue(payload),
      encoding: 'msgpack',
    }
    const own: Record<string, string> = { [HEADERS.encoding]: encoding, ...headers }
    if (inputId !== undefined) own[HEADERS.id] = inputId
    if (reply !== undefined) own[HEADERS.reply] = reply
    return this.log.store(subject, { headers: own, payload: bytes })
  }

  /** Lets time and the engine go on until the condition holds. */
  async until(condition: () => boolean, stepMs = 10): Promise<void> {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      if (condition()) return
      await this.clock.advance(stepMs)
      await this.clock.yield()
    }
    throw new Error(`the condition did not hold within ${ROUNDS_MAX} rounds: ${condition.toString()}`)
  }

  /** Lets time and the engine go on until the journal has been applied, and nothing has happened for a while. */
  async settled(): Promise<void> {
    let quiet = 0
    let last = ''
    await this.until(() => {
      const { position, counts } = this.engine
      const now = JSON.stringify([
        position,
        this.log.lastSeq,
        counts,
        this.bus.published.length,
        this.deadLetters.length,
      ])
      quiet = now === last ? quiet + 1 : 0
      last = now
      return this.failures.length > 0 || (quiet >= QUIET_ROUNDS && position >= this.log.lastSeq)
    })
  }

  /** Asks the engine; gives the value, or throws the error of its answer. */
  async ask(request: RpcRequest, stepMs = 10): Promise<unknown> {
    const [type = '', id = ''] = 'key' in request ? request.key.split('.') : []
    return this.askPartition(this.subjects.partitionOf(type as never, id as never), request, stepMs)
  }

  async askPartition(partition: Partition, request: RpcRequest, stepMs = 10): Promise<unknown> {
    let answer: RpcResponse | undefined
    const asked = this.bus
      .request(this.subjects.rpc(partition), this.seal(request))
      .then((bytes) => (answer = decodeMessage(this.codecs, bytes, 'answer') as RpcResponse))
    asked.catch(() => undefined)
    await Promise.race([asked, this.until(() => answer !== undefined, stepMs)])
    const response = await asked
    if (response.ok) return response.value
    throw Object.assign(new Error(response.error.message), {
      code: response.error.code,
      details: response.error.details,
    })
  }

  /** A request as a sender of this world makes it. */
  seal(request: RpcRequest): Uint8Array {
    const plain = encodeValue(request)
    return this.codecs === undefined || !('key' in request)
      ? plain
      : sealMessage(this.codecs, plain, request.key, 'request')
  }

  async describe(
    type: string,
    id: string,
  ): Promise<{
    readonly status: string
    readonly digest: string
    readonly queued: number
    readonly suspended?: { readonly seq: number; readonly error: { readonly code: string; readonly message: string } }
  }> {
    return (await this.ask({ op: 'describe', key: keyOf(type, id), minSeq: 0 })) as never
  }

  /** What was sent to an inbox. */
  replies(inbox: string): readonly ReplyPayload[] {
    return this.bus.published
      .filter(({ subject }) => subject === inbox)
      .map(({ payload }) => decodeMessage(this.codecs, payload, inbox) as ReplyPayload)
  }

  /** Dead letters have a stream of their own. */
  async #bury(subject: string, message: AppendOptions): Promise<number> {
    const { headers } = message
    await this.clock.yield()
    if (this.onBury?.() === 'lost')
      throw new CarillonError('NOT_ACKNOWLEDGED', 'the dead letter was not acknowledged (injected)')
    this.buried.push(message)
    return this.deadLetters.push({
      subject,
      natsId: headers[HEADERS.natsId],
      reason: headers[HEADERS.reasonCode],
      seq: Number(headers[HEADERS.originSeq]),
    })
  }

  /** Calls for workers have a work queue of their own. */
  async #queue(message: CallMessage): Promise<number> {
    await this.clock.yield()
    if (this.onCall?.(message) === 'full')
      throw new CarillonError('NOT_ACKNOWLEDGED', 'the call was not acknowledged: its queue is full (injected)')
    const id = message.headers[HEADERS.natsId]
    const known = this.calls.findIndex(({ headers }) => headers[HEADERS.natsId] === id)
    return known === -1 ? this.calls.push(message) : known + 1
  }

  #current(): Life {
    if (this.#life === undefined) throw new Error('start an engine first')
    return this.#life
  }

  /** The world's ports as one engine sees them (invariant 1). */
  #portsOf(own: { readonly life?: Life }): {
    readonly log: InputLog
    readonly bus: Bus
    readonly clock: Clock
    readonly controls: Controls
    readonly logger: Logger
  } {
    const isOver = (): boolean => own.life?.isOver ?? false
    const never = new Promise<never>(() => {})
    const line = (level: string) => (fields: object, message: string) =>
      void this.lines.push({ level, message, fields })
    return {
      log: {
        bounds: () => this.log.bounds(),
        read: (options) => {
          const reader = this.log.read({
            ...options,
            onMessages: (messages, throughSeq) => (isOver() ? never : options.onMessages(messages, throughSeq)),
            onFailed: (error) => (isOver() ? undefined : options.onFailed(error)),
          })
          own.life?.readers.push(reader)
          return reader
        },
        append: async (subject, options) => {
          if (isOver()) return never
          if (subject.startsWith(`${this.subjects.namespace}.dead.`)) return this.#bury(subject, options)
          if (this.subjects.parseCall(subject) !== undefined) return this.#queue({ subject, ...options })
          const seq = await this.log.append(subject, options)
          return isOver() ? never : seq
        },
      },
      bus: {
        publish: (subject, payload) => (isOver() ? undefined : this.bus.publish(subject, payload)),
        serve: (subject, handle, options) => {
          const stop = this.bus.serve(subject, (payload) => (isOver() ? never : handle(payload)), options)
          own.life?.served.push(stop)
          return stop
        },
        listen: (subject, hear) => this.bus.listen(subject, (payload) => (isOver() ? undefined : hear(payload))),
      },
      clock: {
        nowMs: () => this.clock.nowMs(),
        after: (delayMs, callback) => this.clock.after(delayMs, () => (isOver() ? undefined : callback())),
        yield: () => this.clock.yield(),
      },
      controls: {
        current: () => this.controls.current(),
        watch: (onChange) => this.controls.watch((state) => (isOver() ? undefined : onChange(state))),
      },
      logger: { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') },
    }
  }
}

export function keyOf(type: string, id: string): InstanceKey {
  return `${encodeToken(type)}.${encodeToken(id)}`
}
