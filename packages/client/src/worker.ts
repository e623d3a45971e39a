/**
 * A remote worker: runs the activities of one queue, outside of the nodes.
 *
 * Owns: the calls that it has pulled: which wait, run, and are to be acknowledged.
 * Does not own: the connection; which calls there are (the work queue), and whether they are wanted (the instances).
 *
 * Invariants
 * 1. A call leaves the work queue only when its result is in the journal, or nobody wants it: a worker that dies loses no call.
 * 2. While a call is here, the server hears of it in time; when the worker is gone, the call goes to another one after `deadAfter` of its queue.
 * 3. How often a call was handed out is its attempt: a worker keeps nothing about calls that it does not hold.
 */
import { CarillonError, codeOf, type ErrorData } from '@carillon/runtime'
import {
  type ActivityCall,
  ActivityLanes,
  type ActivityPolicy,
  Attempt,
  callId,
  describeFailure,
  isFinal,
  type ParsedCall,
  parseCallMessage,
  pauseMs,
  policyOf,
} from '@carillon/runtime/activity'
import { type Clock, type Logger, silentLogger, systemClock } from '@carillon/runtime/ports'
import { activityKey, decodeValue, encodeToken, type Outcome, parseKey } from '@carillon/runtime/protocol'
import type { JsMsg } from '@nats-io/jetstream'
import type { Subscription } from '@nats-io/transport-node'

import { CallSource } from './call-source.ts'
import { JetStreamControls } from './jetstream-controls.ts'
import { ensureConsumer } from './queue-consumer.ts'
import type { Session } from './session.ts'
import { isWanted, lost, storeResult } from './worker-calls.ts'
import { concurrencyOf, type Held, type OwnActivity, ownActivities, type WorkerOptions } from './worker-activities.ts'

export type { WorkerOptions } from './worker-activities.ts'

/** Counted since the start. */
export interface WorkerCounts {
  /** Calls whose result was stored: good ones, and failures that are final. */
  completed: number
  failed: number
  /** Attempts that failed and will be made again, by any worker. */
  retried: number
  /** Calls that nobody wanted any more. */
  dropped: number
  /** Calls given back unfinished, by a stop or a pause. */
  handedBack: number
}

/** How long `close` lets calls come to their end. */
const GRACE_MS = 20_000
/** The server hears of a call so often before it would take the worker for dead. */
const KEEP_ALIVES = 3
/** Times that a call may be handed out beyond its attempts: each such worker died with it, or gave it back. */
const LOST_MAX = 10
/** When a call is handed out again that this worker cannot open. */
const UNKNOWN_CODEC_MS = 5000

/** Made by `Carillon.worker`. */
export class Worker {
  readonly counts: WorkerCounts = { completed: 0, failed: 0, retried: 0, dropped: 0, handedBack: 0 }
  readonly #session: Session
  readonly #queue: string
  readonly #concurrency: number
  readonly #logger: Logger
  readonly #clock: Clock = systemClock
  readonly #held = new Map<string, Held>()
  readonly #tasks = new Set<Promise<void>>()
  readonly #lanes: ActivityLanes<Held>
  #own: readonly OwnActivity[] = []
  #sources: readonly CallSource[] = []
  #notices: readonly Subscription[] = []
  #controls: JetStreamControls | undefined
  #isClosing = false
  #closed: Promise<void> | undefined

  private constructor(session: Session, options: WorkerOptions) {
    this.#session = session
    this.#queue = options.queue
    this.#concurrency = concurrencyOf(options)
    this.#logger = options.logger ?? silentLogger
    this.#lanes = new ActivityLanes({
      clock: this.#clock,
      runningMax: this.#concurrency,
      // What was pulled is held: how much that is, is decided before the pull.
      waitingMax: Infinity,
      start: (_, held) => this.#begin(held),
    })
  }

  /** Throws as `Carillon.worker`. */
  static async open(session: Session, options: WorkerOptions): Promise<Worker> {
    const own = ownActivities(options)
    const worker = new Worker(session, options)
    try {
      await worker.#open(own)
      return worker
    } catch (error) {
      await worker.close(0)
      throw error
    }
  }

  get queue(): string {
    return this.#queue
  }

  /** Calls that it holds now. */
  get held(): number {
    return this.#held.size
  }

  /**
   * Pulls nothing more, lets what runs come to its end, gives the rest back, and resolves when nothing is left running. Safe to call again.
   *
   * @param graceMs how long calls may take; then their signals are aborted. Default 20,000.
   */
  close(graceMs = GRACE_MS): Promise<void> {
    this.#closed ??= this.#close(graceMs)
    return this.#closed
  }

  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #open(own: readonly OwnActivity[]): Promise<void> {
    const session = this.#session
    const { subjects, connection: nc } = session
    const manager = await session.jetStream()
    const client = session.jetStreamClient()
    for (const { queued } of own) await ensureConsumer(manager, subjects, queued)
    this.#own = own
    const { jetStreamPrefix } = session
    const asked = { nc, subjects, clock: this.#clock, logger: this.#logger, jetStreamPrefix }
    this.#controls = await JetStreamControls.open(asked)
    this.#controls.watch(() => this.#applyControls())
    this.#applyControls()
    const types = new Set(own.map(({ queued }) => queued.type))
    this.#notices = [...types].map((type) =>
      nc.subscribe(subjects.letGo(encodeToken(type)), {
        callback: (error, { data }) => {
          if (error === null) this.#letGo(data)
        },
      }),
    )
    const parts = { client, manager, subjects, clock: this.#clock, logger: this.#logger }
    this.#sources = own.map(
      (one) =>
        new CallSource({
          ...parts,
          activity: one.queued,
          room: () => this.#roomOf(one),
          onCall: (message) => this.#take(one, message),
        }),
    )
  }

  async #close(graceMs: number): Promise<void> {
    this.#isClosing = true
    await Promise.all(this.#sources.map((source) => source.close()))
    this.#lanes.close()
    for (const held of this.#held.values()) if (held.own.lane.waiting.has(held)) this.#handBack(held)
    await this.#settledWithin(graceMs)
    const reason = new CarillonError('CLOSING', 'this worker stops: the call goes to another one')
    for (const { attempt } of this.#held.values()) attempt?.abort(reason)
    await Promise.all(this.#tasks)
    for (const notices of this.#notices) if (!notices.isClosed()) notices.unsubscribe()
    await this.#controls?.close()
    // What was given back is on its way: it shall not be lost with the process.
    if (!this.#session.connection.isClosed()) await this.#session.connection.flush().catch(() => {})
  }

  async #settledWithin(ms: number): Promise<void> {
    if (this.#tasks.size === 0) return
    let cancel = (): void => {}
    const late = new Promise<void>((resolve) => (cancel = this.#clock.after(ms, resolve)))
    await Promise.race([Promise.all(this.#tasks), late])
    cancel()
  }

  /** Calls of one activity that may be pulled now: a fair part of what is free, and nothing while some of them wait here. */
  #roomOf({ lane }: OwnActivity): number {
    if (this.#isClosing || lane.isPaused || lane.waiting.size > 0) return 0
    const free = this.#concurrency - this.#held.size
    const part = Math.max(1, Math.floor(free / this.#own.length))
    return free <= 0 ? 0 : Math.max(0, Math.min(part, lane.limits.concurrency - lane.running))
  }

  #take(own: OwnActivity, message: JsMsg): void {
    let call: ParsedCall
    try {
      const { subject, data: payload, headers } = message
      const header = (name: string): string | undefined => headers?.get(name) || undefined
      call = parseCallMessage(this.#session.subjects, { subject, payload, header })
    } catch (error) {
      this.#logger.error({ ...own.queued, err: error }, 'a message of the work queue is no call: it is dropped')
      return message.term()
    }
    const id = callId(call.key, call.id)
    const known = this.#held.get(id)
    // It was handed out again though it runs here: the server did not hear of it in time.
    if (known !== undefined) return void (known.message = message)
    const held: Held = { call, own, message, attempt: undefined, isUnwanted: false, cancelKeepAlive: () => {} }
    this.#held.set(id, held)
    this.#keepAlive(held)
    if (this.#isClosing || !this.#lanes.offer(own.lane, held)) this.#handBack(held)
  }

  /** Invariant 2. */
  #keepAlive(held: Held): void {
    held.cancelKeepAlive = this.#clock.after(held.own.queued.deadAfterMs / KEEP_ALIVES, () => {
      held.message.working()
      this.#keepAlive(held)
    })
  }

  #begin(held: Held): void {
    const task: Promise<void> = this.#run(held)
      .catch((error: unknown) => {
        this.#logger.error({ ...about(held), err: error }, 'a call could not be ended: it is handed out again')
        this.#handBack(held)
      })
      .finally(() => {
        this.#tasks.delete(task)
        this.#lanes.ended(held.own.lane)
        for (const source of this.#sources) source.poke()
      })
    this.#tasks.add(task)
  }

  async #run(held: Held): Promise<void> {
    if (held.isUnwanted || !(await isWanted(this.#session, held.call))) return this.#drop(held)
    const outcome = await this.#attempt(held)
    if (outcome === undefined) return
    await this.#report(held, outcome)
    this.counts[outcome.ok ? 'completed' : 'failed'] += 1
    this.#release(held, (message) => message.ack())
  }

  /** Undefined when there is nothing to report: the call was given back, or is not wanted any more. */
  async #attempt(held: Held): Promise<Outcome | undefined> {
    const { own, message } = held
    const number = message.info.deliveryCount
    let call: ActivityCall
    let policy: ActivityPolicy
    try {
      call = held.call.open(this.#session.codecs)
      policy = policyOf(own.type.contract.shape.activities?.[call.name], call.options)
    } catch (error) {
      if (codeOf(error) !== 'UNKNOWN_CODEC') return failed(describeFailure(error, 0))
      // Another worker may have the key, or this one once it is deployed with it.
      this.#retry(held, error, UNKNOWN_CODEC_MS)
      return undefined
    }
    if (number > policy.attempts + LOST_MAX) return failed(lost(held.call, number))
    const fn = own.type.functions.get(call.name)
    if (fn === undefined) throw new CarillonError('UNKNOWN_NAME', `this worker has no activity ${call.name}`)
    held.attempt = new Attempt({
      call,
      number,
      policy,
      clock: this.#clock,
      logger: this.#logger,
      trace: held.call.trace,
    })
    try {
      return { ok: true, value: await held.attempt.run(own.type, fn) }
    } catch (error) {
      const isOver = number >= policy.attempts || isFinal(error, policy)
      if (isOver && !held.isUnwanted && !this.#isClosing) return failed(describeFailure(error, number))
      if (held.isUnwanted) this.#drop(held)
      else if (this.#isClosing) this.#handBack(held)
      else this.#retry(held, error, pauseMs(policy, number))
      return undefined
    }
  }

  #retry(held: Held, error: unknown, waitMs: number): void {
    this.counts.retried += 1
    const attempt = held.message.info.deliveryCount
    this.#logger.warn({ ...about(held), attempt, retryInMs: waitMs, err: error }, 'an attempt of an activity failed')
    this.#release(held, (message) => message.nak(waitMs))
  }

  /** Invariant 1. @throws what it cannot be stored for, once the worker is to stop. */
  async #report({ call }: Held, outcome: Outcome): Promise<void> {
    for (;;) {
      try {
        return await storeResult(this.#session, call, outcome)
      } catch (error) {
        if (this.#isClosing) throw error
        this.#logger.warn(
          { activity: call.name, ...parseKey(call.key), err: error },
          'a result cannot be stored: trying again',
        )
      }
    }
  }

  /** An owner says that a call is not wanted any more. */
  #letGo(data: Uint8Array): void {
    const held = this.#held.get(readId(data))
    if (held === undefined || held.isUnwanted) return
    held.isUnwanted = true
    if (held.own.lane.waiting.has(held)) return this.#drop(held)
    held.attempt?.abort(new CarillonError('CLOSED', 'the result of this activity is not wanted any more'))
  }

  #drop(held: Held): void {
    this.counts.dropped += 1
    this.#release(held, (message) => message.ack())
  }

  #handBack(held: Held): void {
    this.counts.handedBack += 1
    this.#release(held, (message) => message.nak())
  }

  /** It is not here any more. */
  #release(held: Held, tell: (message: JsMsg) => void): void {
    held.cancelKeepAlive()
    this.#lanes.remove(held.own.lane, held)
    const id = callId(held.call.key, held.call.id)
    if (this.#held.get(id) !== held) return
    this.#held.delete(id)
    if (!this.#session.connection.isClosed()) tell(held.message)
  }

  #applyControls(): void {
    const { pausedActivities } = this.#controls?.current() ?? { pausedActivities: new Set<string>() }
    for (const { queued, lane } of this.#own) {
      const isPaused = pausedActivities.has(activityKey(queued.type, queued.activity))
      if (isPaused === lane.isPaused) continue
      if (!isPaused) this.#lanes.resume(lane)
      else {
        this.#lanes.pause(lane)
        for (const held of lane.waiting) this.#handBack(held)
      }
    }
    for (const source of this.#sources) source.poke()
  }
}

function readId(data: Uint8Array): string {
  try {
    return String(decodeValue(data))
  } catch {
    return ''
  }
}

function about({ call, own }: Held): object {
  return { activity: call.name, queue: own.queued.queue, ...parseKey(call.key) }
}

function failed(error: ErrorData): Outcome {
  return { ok: false, error }
}
