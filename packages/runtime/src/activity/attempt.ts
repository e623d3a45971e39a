/**
 * One attempt of a call: runs the function, and gives up on it when its time is over, when its heartbeats stay away, or when nobody wants it.
 *
 * Invariants
 * 1. `run` settles once; what the function does behind that changes nothing.
 * 2. The function's signal is made when it is asked for: most attempts never look at it.
 */
import type { ActivityContext, ActivityFunction, ActivityImplementations } from '../contract/activities.ts'
import type { InstanceLog } from '../contract/context.ts'
import { validate } from '../contract/schema.ts'
import { CarillonError } from '../errors.ts'
import type { Clock, Logger } from '../ports/index.ts'
import { decodeValue, encodeValue, parseKey, PAYLOAD_BYTES_MAX } from '../protocol/index.ts'
import { type ActivityCall, callId } from './activity-call.ts'
import type { ActivityPolicy } from './activity-policy.ts'

export interface AttemptOptions {
  readonly call: ActivityCall
  /** From 1. */
  readonly number: number
  readonly policy: ActivityPolicy
  readonly clock: Clock
  readonly logger: Logger
  /** The trace context that it belongs to. */
  readonly trace: string | undefined
}

export class Attempt {
  readonly #options: AttemptOptions
  #reason: Error | undefined
  #controller: AbortController | undefined
  #giveUp: ((reason: Error) => void) | undefined
  #stopClock: () => void = nothing
  #stopHeartbeat: () => void = nothing
  #lastBeatMs = 0

  constructor(options: AttemptOptions) {
    this.#options = options
  }

  /** Runs the function; settles with its output, checked against the contract, or with why it was given up. To be called once. */
  run(type: ActivityImplementations, fn: ActivityFunction): Promise<unknown> {
    const { call, policy, clock, number } = this.#options
    return new Promise((resolve, reject) => {
      const over =
        <T>(settle: (value: T) => void) =>
        (value: T): void => {
          this.#over()
          settle(value)
        }
      this.#giveUp = over(reject)
      const { startToCloseMs } = policy
      this.#stopClock = clock.after(startToCloseMs, () =>
        this.abort(late(call, number, 'was not done', startToCloseMs)),
      )
      this.#awaitHeartbeat()
      const finish = (value: unknown): unknown => checkedOutput(type, call.name, value)
      invoke(fn, call, this.#context()).then(finish).then(over(resolve), over(reject))
    })
  }

  /** Gives up, with what the function's signal is to say. */
  abort(reason: Error): void {
    if (this.#reason !== undefined || this.#giveUp === undefined) return
    this.#reason = reason
    this.#controller?.abort(reason)
    this.#giveUp(reason)
  }

  /** Tells that it is alive. */
  heartbeat(): void {
    this.#lastBeatMs = this.#options.clock.nowMs()
  }

  #over(): void {
    this.#stopClock()
    this.#stopHeartbeat()
    this.#stopHeartbeat = nothing
    this.#giveUp = undefined
  }

  #awaitHeartbeat(): void {
    const { policy, clock, call, number } = this.#options
    const { heartbeatMs } = policy
    if (heartbeatMs === undefined) return
    this.#lastBeatMs = clock.nowMs()
    const look = (): void => {
      const leftMs = this.#lastBeatMs + heartbeatMs - clock.nowMs()
      if (leftMs <= 0) return this.abort(late(call, number, 'gave no heartbeat', heartbeatMs))
      // The clock may have been set back.
      this.#stopHeartbeat = clock.after(Math.min(leftMs, heartbeatMs), look)
    }
    this.#stopHeartbeat = clock.after(heartbeatMs, look)
  }

  #context(): ActivityContext {
    const { call, number, logger, trace } = this.#options
    const signal = (): AbortSignal => this.#signal()
    const workflow = parseKey(call.key)
    let log: InstanceLog | undefined
    return {
      workflow,
      callId: callId(call.key, call.id),
      attempt: number,
      trace,
      get signal() {
        return signal()
      },
      heartbeat: () => this.heartbeat(),
      get log() {
        log ??= logOf(logger, { ...workflow, activity: call.name })
        return log
      },
    }
  }

  #signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#reason !== undefined && !this.#controller.signal.aborted) this.#controller.abort(this.#reason)
    return this.#controller.signal
  }
}

function nothing(): void {}

/** The function runs in this moment, and what it throws at once is a rejection as well. */
async function invoke(fn: ActivityFunction, call: ActivityCall, context: ActivityContext): Promise<unknown> {
  return fn(decodeValue(call.input), context)
}

function late(call: ActivityCall, number: number, what: string, ms: number): CarillonError {
  const within = what === 'was not done' ? 'within' : 'for'
  return new CarillonError('TIMEOUT', `attempt ${number} of ${call.name} ${what} ${within} ${ms} ms`)
}

function checkedOutput({ contract }: ActivityImplementations, name: string, value: unknown): unknown {
  const output = validate(contract.shape.activities?.[name]?.output, value, `the output of activity ${name}`)
  const size = encodeValue(output).length
  if (size <= PAYLOAD_BYTES_MAX) return output
  throw new CarillonError(
    'PAYLOAD_TOO_LARGE',
    `the activity ${name} returned ${size} bytes, over ${PAYLOAD_BYTES_MAX}: store it elsewhere and return a reference`,
  )
}

function logOf(logger: Logger, about: object): InstanceLog {
  const line = (level: 'debug' | 'info' | 'warn' | 'error') => (message: string, fields?: object) =>
    logger[level]({ ...fields, ...about }, message)
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') }
}
