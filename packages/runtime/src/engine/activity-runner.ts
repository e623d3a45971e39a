/**
 * Runs the activities of this process: attempts, time-outs, back-off, heartbeats; and hands each result in once.
 *
 * Owns: which calls run, wait, or have ended and wait to be let go.
 * Does not own: which calls are pending (the partitions do), nor how results reach the journal.
 *
 * Invariants
 * 1. A call runs at most once at a time in this process, and is not started again between its result and `letGo`.
 * 2. At most `activitiesMax` attempts run and `activityQueueMax` calls wait; `start` says no beyond that.
 */
import type { ActivityContext, ActivityFunction, ActivityImplementations } from '../contract/activities.ts'
import type { ActivityOptions } from '../contract/contract.ts'
import { toMs } from '../contract/duration.ts'
import { validate } from '../contract/schema.ts'
import { CarillonError, codeOf, type ErrorData } from '../errors.ts'
import { toPlainError } from '../core/index.ts'
import type { Clock, Logger } from '../ports/index.ts'
import {
  decodeValue,
  encodeValue,
  type InstanceKey,
  type Outcome,
  parseKey,
  PAYLOAD_BYTES_MAX,
  typeTokenOf,
} from '../protocol/index.ts'
import type { ActivityCall } from './pending-effect.ts'

const DEFAULTS = { startToCloseMs: 60_000, initialMs: 200, backoff: 2, maxMs: 60_000 } as const

export interface ActivityRunnerOptions {
  readonly implementations: ReadonlyMap<string, ActivityImplementations>
  readonly clock: Clock
  readonly logger: Logger
  readonly activitiesMax: number
  readonly activityQueueMax: number
  /** Takes the result of a call into the journal. Called once per call, unless it rejects. */
  readonly complete: (call: ActivityCall, outcome: Outcome) => Promise<void>
}

interface Running {
  readonly call: ActivityCall
  readonly abort: AbortController
  phase: 'waiting' | 'running' | 'ended'
}

export class ActivityRunner {
  readonly #options: ActivityRunnerOptions
  readonly #calls = new Map<string, Running>()
  readonly #queue: Running[] = []
  readonly #tasks = new Set<Promise<void>>()
  #running = 0
  #closed = false

  constructor(options: ActivityRunnerOptions) {
    this.#options = options
  }

  get hasRoom(): boolean {
    return !this.#closed && this.#queue.length < this.#options.activityQueueMax
  }

  /** Sees to it that the call is run. False when there is no room: ask again later. */
  start(call: ActivityCall): boolean {
    const id = callId(call.key, call.id)
    if (this.#calls.has(id)) return true
    if (!this.hasRoom) return false
    const running: Running = { call, abort: new AbortController(), phase: 'waiting' }
    this.#calls.set(id, running)
    this.#queue.push(running)
    this.#pump()
    return true
  }

  /** The result was applied, or is not wanted any more: forgets the call, and aborts it if it runs. */
  letGo(key: InstanceKey, id: ActivityCall['id']): void {
    const running = this.#calls.get(callId(key, id))
    if (running === undefined) return
    this.#calls.delete(callId(key, id))
    if (running.phase !== 'ended')
      running.abort.abort(new CarillonError('CLOSED', 'the result of this activity is not wanted any more'))
  }

  /** Aborts all attempts and resolves when none runs. What is pending stays so. */
  async close(): Promise<void> {
    this.#closed = true
    this.#queue.length = 0
    for (const { abort } of this.#calls.values())
      abort.abort(new CarillonError('CLOSING', 'this node stops: the activity runs again on the next one'))
    await Promise.all(this.#tasks)
    this.#calls.clear()
  }

  #pump(): void {
    while (!this.#closed && this.#running < this.#options.activitiesMax) {
      const next = this.#queue.shift()
      if (next === undefined) return
      if (next.abort.signal.aborted) continue
      this.#running += 1
      next.phase = 'running'
      const task = this.#run(next).finally(() => {
        this.#running -= 1
        this.#tasks.delete(task)
        this.#pump()
      })
      this.#tasks.add(task)
    }
  }

  async #run(running: Running): Promise<void> {
    // What is thrown here, and not in an attempt, is about the options: a wrong duration.
    const outcome = await this.#attempts(running).catch((error: unknown) => failed(describe(error, 0)))
    if (outcome === undefined) return
    running.phase = 'ended'
    try {
      await this.#options.complete(running.call, outcome)
    } catch (error) {
      // Still pending in the store: whoever owns the partition next runs it again.
      this.#options.logger.error(
        { activity: running.call.name, ...parseKey(running.call.key), err: error },
        'the result of an activity could not be stored',
      )
      this.#calls.delete(callId(running.call.key, running.call.id))
    }
  }

  /** Undefined when it was aborted from outside: nobody wants the result. */
  async #attempts({ call, abort }: Running): Promise<Outcome | undefined> {
    const type = this.#options.implementations.get(typeTokenOf(call.key))
    const fn = type?.functions.get(call.name)
    if (type === undefined || fn === undefined) {
      return failed({
        code: 'UNKNOWN_NAME',
        message: `this node has no activity ${call.name} of ${parseKey(call.key).type}: pass implementActivities(…) to it`,
      })
    }
    const contract = type.contract.shape.activities?.[call.name]
    const options: ActivityOptions = {
      ...contract,
      ...call.options,
      retry: { ...contract?.retry, ...call.options?.retry },
    }
    const {
      attempts = Infinity,
      initial = DEFAULTS.initialMs,
      backoff = DEFAULTS.backoff,
      max = DEFAULTS.maxMs,
    } = options.retry ?? {}
    const maxMs = toMs(max)
    let waitMs = toMs(initial)
    for (let attempt = 1; ; attempt++) {
      try {
        const value = await this.#attempt(fn, call, options, attempt, abort.signal)
        return {
          ok: true,
          value: checkedOutput(validate(contract?.output, value, `the output of activity ${call.name}`), call.name),
        }
      } catch (error) {
        if (abort.signal.aborted) return undefined
        if (attempt >= attempts || isFinal(error, options)) return failed(describe(error, attempt))
        this.#options.logger.warn(
          { activity: call.name, ...parseKey(call.key), attempt, retryInMs: waitMs, err: error },
          'an attempt of an activity failed',
        )
        if (!(await this.#wait(waitMs, abort.signal))) return undefined
        waitMs = Math.min(waitMs * backoff, maxMs)
      }
    }
  }

  async #attempt(
    fn: ActivityFunction,
    call: ActivityCall,
    options: ActivityOptions,
    attempt: number,
    outer: AbortSignal,
  ): Promise<unknown> {
    const { clock } = this.#options
    const inner = new AbortController()
    const giveUp = new Promise<never>((_, reject) =>
      inner.signal.addEventListener('abort', () => reject(inner.signal.reason as Error), { once: true }),
    )
    giveUp.catch(() => {})
    const stop = (): void => inner.abort(outer.reason)
    outer.addEventListener('abort', stop, { once: true })
    const late = (what: string, ms: number) => (): void =>
      inner.abort(new CarillonError('TIMEOUT', `attempt ${attempt} of ${call.name} ${what} ${ms} ms`))
    const startToCloseMs = toMs(options.startToClose ?? DEFAULTS.startToCloseMs)
    const stopClock = clock.after(startToCloseMs, late('was not done within', startToCloseMs))
    const heartbeatMs = options.heartbeat === undefined ? undefined : toMs(options.heartbeat)
    let stopHeartbeat =
      heartbeatMs === undefined ? (): void => {} : clock.after(heartbeatMs, late('gave no heartbeat for', heartbeatMs))
    const heartbeat = (): void => {
      if (heartbeatMs === undefined || inner.signal.aborted) return
      stopHeartbeat()
      stopHeartbeat = clock.after(heartbeatMs, late('gave no heartbeat for', heartbeatMs))
    }
    try {
      if (outer.aborted) throw outer.reason as Error
      return await Promise.race([this.#invoke(fn, call, attempt, inner.signal, heartbeat), giveUp])
    } finally {
      stopClock()
      stopHeartbeat()
      outer.removeEventListener('abort', stop)
    }
  }

  async #invoke(
    fn: ActivityFunction,
    call: ActivityCall,
    attempt: number,
    signal: AbortSignal,
    heartbeat: () => void,
  ): Promise<unknown> {
    const workflow = parseKey(call.key)
    const { logger } = this.#options
    const line = (level: 'debug' | 'info' | 'warn' | 'error') => (message: string, fields?: object) =>
      logger[level]({ ...fields, ...workflow, activity: call.name }, message)
    const ctx: ActivityContext = {
      workflow,
      callId: callId(call.key, call.id),
      attempt,
      signal,
      heartbeat,
      log: { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') },
    }
    return fn(decodeValue(call.input), ctx)
  }

  /** False when it was aborted. */
  #wait(ms: number, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel()
        signal.removeEventListener('abort', done)
        resolve(!signal.aborted)
      }
      const cancel = this.#options.clock.after(ms, done)
      signal.addEventListener('abort', done, { once: true })
    })
  }
}

/** The name of a call for ever: `<type>.<id>/<seq>.<index>`, tokens as on the wire. */
export function callId(key: InstanceKey, id: ActivityCall['id']): string {
  return `${key}/${id}`
}

function checkedOutput(value: unknown, name: string): unknown {
  const size = encodeValue(value).length
  if (size <= PAYLOAD_BYTES_MAX) return value
  throw new CarillonError(
    'PAYLOAD_TOO_LARGE',
    `the activity ${name} returned ${size} bytes, over ${PAYLOAD_BYTES_MAX}: store it elsewhere and return a reference`,
  )
}

function isFinal(error: unknown, { retry }: ActivityOptions): boolean {
  const name = error instanceof Error ? error.name : undefined
  if (name === 'NonRetryable') return true
  const code = codeOf(error)
  // The same value would be refused again.
  if (
    code === 'INVALID_PAYLOAD' ||
    code === 'PAYLOAD_TOO_LARGE' ||
    code === 'INVALID_STATE' ||
    code === 'INVALID_DURATION'
  )
    return true
  const listed = retry?.nonRetryable ?? []
  return (name !== undefined && listed.includes(name)) || (code !== undefined && listed.includes(code))
}

function describe(error: unknown, attempts: number): ErrorData {
  const { code, message, details } = toPlainError(error, 'ACTIVITY_FAILED')
  const cause =
    error instanceof Error
      ? {
          name: error.name.slice(0, 200).toWellFormed(),
          code: codeOf(error)?.slice(0, 200).toWellFormed(),
          attempts,
        }
      : { attempts }
  return { code, message, details: details === undefined ? cause : { ...cause, details } }
}

function failed(error: ErrorData): Outcome {
  return { ok: false, error }
}
