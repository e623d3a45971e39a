/**
 * Sends signals from an iterable, many at a time.
 *
 * Invariants
 * 1. Signals to one instance are stored in the order of the iterable.
 * 2. The iterable is asked for the next item only when there is room for it.
 * 3. When the call settles, every item that was taken from the iterable has settled, and the iterable has been told to end.
 */
import {
  CarillonError,
  codeOf,
  type Contract,
  type ErrorCode,
  ERROR_CODES,
  type NamedSignal,
  validate,
} from '@carillon/runtime'
import { quote } from '@carillon/runtime/protocol'

import type { OutgoingInput } from './input-sender.ts'
import { callOf, inputOf } from './intercepted.ts'
import { FAILURES_KEPT_DEFAULT, FAILURES_KEPT_MAX, IN_FLIGHT_DEFAULT, IN_FLIGHT_MAX } from './limits.ts'
import type { Session } from './session.ts'
import { formatTarget, payloadSchema } from './target.ts'

/** One signal to one instance of a workflow type. `SignalItem<typeof A | typeof B>` is one to either. */
export type SignalItem<C extends Contract = Contract> =
  C extends Contract<infer Shape>
    ? {
        readonly workflow: C
        readonly id: string
        readonly inputId?: string | undefined
        readonly traceparent?: string | undefined
        readonly tracestate?: string | undefined
      } & NamedSignal<Shape>
    : never

export interface SignalManyOptions {
  /** Signals under way at once, 1 to 65,536; default 2048. */
  readonly inFlightMax?: number | undefined
  /** Told how far it is, each time `progressEvery` signals more have settled and at the end. */
  readonly onProgress?: ((progress: SignalManyProgress) => void) | undefined
  /** Default 1000. */
  readonly progressEvery?: number | undefined
  /** Takes no more items once aborted, and rejects with the signal's reason when those under way have settled. */
  readonly signal?: AbortSignal | undefined
  /**
   * `stop` (the default) takes no more items after a failure and rejects; `collect` goes on and gives the failures in the result. Behind a failed
   * signal, those to the same instance that were under way fail as well; later ones are sent.
   */
  readonly onError?: 'stop' | 'collect' | undefined
  /** Failures that are described in the result; the rest are counted. At most 10,000, default 100. */
  readonly failuresMax?: number | undefined
}

export interface SignalManyProgress {
  /** Signals that are durable. */
  readonly accepted: number
  readonly failed: number
  /** So many items from the start of the iterable have all settled: where to go on after a failure, with the same ids. */
  readonly settledThrough: number
}

export interface SignalFailure {
  /** The item's place in the iterable, from 0. */
  readonly index: number
  readonly workflow: string
  readonly id: string
  readonly name: string
  readonly inputId: string | undefined
  readonly error: unknown
}

export interface SignalManyResult extends SignalManyProgress {
  /** The first failures, in the order in which they happened; empty unless `onError` is `collect`. */
  readonly failures: readonly SignalFailure[]
}

/** An item as it is at run time, whatever its contract. */
interface LooseItem {
  readonly workflow: Contract
  readonly id: string
  readonly name: string
  readonly payload?: unknown
  readonly inputId?: string | undefined
  readonly tracestate?: string | undefined
  readonly traceparent?: string | undefined
}

const PROGRESS_EVERY = 1000

/**
 * @throws the error of the first failed signal, with its code; the message names it and says how far all went, `details` is a `SignalFailure`
 * with a `SignalManyProgress`. @throws what the iterable throws, and the reason of an aborted signal.
 */
export async function signalMany(
  session: Session,
  items: Iterable<LooseItem> | AsyncIterable<LooseItem>,
  options: SignalManyOptions,
): Promise<SignalManyResult> {
  const run = new SignalRun(session, options)
  try {
    if (Symbol.asyncIterator in items) await run.takeAsync(items)
    else await run.take(items)
  } finally {
    await run.settled()
  }
  return run.finish()
}

class SignalRun {
  readonly #session: Session
  readonly #options: SignalManyOptions
  readonly #inFlightMax: number
  readonly #failuresMax: number
  readonly #progressEvery: number
  readonly #failures: SignalFailure[] = []
  /** Settled items behind the first one that has not; `#isFull` bounds it. */
  readonly #ahead = new Set<number>()
  #taken = 0
  #accepted = 0
  #failed = 0
  #settledThrough = 0
  #room: (() => void) | undefined
  /** How few have to be under way for `#room` to be told. */
  #wakeAt = 0

  constructor(session: Session, options: SignalManyOptions) {
    this.#session = session
    this.#options = options
    this.#inFlightMax = checkRange(options.inFlightMax ?? IN_FLIGHT_DEFAULT, 1, IN_FLIGHT_MAX, 'inFlightMax')
    this.#failuresMax = checkRange(options.failuresMax ?? FAILURES_KEPT_DEFAULT, 1, FAILURES_KEPT_MAX, 'failuresMax')
    this.#progressEvery = checkRange(
      options.progressEvery ?? PROGRESS_EVERY,
      1,
      Number.MAX_SAFE_INTEGER,
      'progressEvery',
    )
  }

  async take(items: Iterable<LooseItem>): Promise<void> {
    if (this.#isOver()) return
    for (const item of items) {
      this.#send(item)
      const room = this.#makeRoom()
      if (room !== undefined) await room
      if (this.#isOver()) return
    }
  }

  async takeAsync(items: AsyncIterable<LooseItem>): Promise<void> {
    if (this.#isOver()) return
    for await (const item of items) {
      this.#send(item)
      const room = this.#makeRoom()
      if (room !== undefined) await room
      if (this.#isOver()) return
    }
  }

  /** Resolves when nothing is under way (invariant 3). */
  async settled(): Promise<void> {
    while (this.#underWay > 0) await this.#settledTo(0)
    this.#options.onProgress?.(this.#progress())
  }

  finish(): SignalManyResult {
    const [first] = this.#failures
    if (first !== undefined && this.#options.onError !== 'collect') throw toError(first, this.#progress())
    this.#options.signal?.throwIfAborted()
    return { ...this.#progress(), failures: this.#failures }
  }

  get #underWay(): number {
    return this.#taken - this.#accepted - this.#failed
  }

  #isOver(): boolean {
    return this.#options.signal?.aborted === true || (this.#failed > 0 && this.#options.onError !== 'collect')
  }

  #send(item: LooseItem): void {
    const index = this.#taken
    this.#taken += 1
    const failed = (error: unknown): void => this.#settle(index, toFailure(item, index, error))
    try {
      const target = this.#session.targets.of(item.workflow, item.id)
      const { name, payload, inputId: id, traceparent, tracestate } = item
      validate(payloadSchema(target, 'signal', name), payload, `signal ${name} of ${item.workflow.name}`)
      const stored = (): void => this.#settle(index, undefined)
      this.#post({ target, kind: 'signal', name, payload, id, traceparent, tracestate }, stored, failed)
    } catch (error) {
      failed(error)
    }
  }

  #post(input: OutgoingInput, stored: () => void, failed: (error: unknown) => void): void {
    const session = this.#session
    if (session.intercept === undefined) return session.post(input, stored, failed)
    session.intercept(callOf(input), (call) => session.send(inputOf(input, call)).seq).then(stored, failed)
  }

  #settle(index: number, failure: SignalFailure | undefined): void {
    if (failure === undefined) this.#accepted += 1
    else {
      this.#failed += 1
      if (this.#failures.length < this.#failuresMax) this.#failures.push(failure)
    }
    this.#ahead.add(index)
    while (this.#ahead.delete(this.#settledThrough)) this.#settledThrough += 1
    if ((this.#accepted + this.#failed) % this.#progressEvery === 0) this.#options.onProgress?.(this.#progress())
    if (this.#underWay > this.#wakeAt) return
    const room = this.#room
    this.#room = undefined
    room?.()
  }

  /** Undefined when the next item may be sent at once (invariant 2). */
  #makeRoom(): Promise<void> | undefined {
    if (this.#isFull()) return this.#waitForRoom()
    return this.#session.ready()
  }

  async #waitForRoom(): Promise<void> {
    // A quarter at a time: refilling after every acknowledgement would send each message in a packet of its own.
    while (this.#isFull()) await this.#settledTo(Math.min(this.#underWay - 1, Math.floor(this.#inFlightMax * 0.75)))
    await this.#session.ready()
  }

  /** The span from the first item that has not settled bounds what is remembered of those behind it. */
  #isFull(): boolean {
    return this.#underWay >= this.#inFlightMax || this.#taken - this.#settledThrough >= IN_FLIGHT_MAX
  }

  /** Resolves when at most so many are under way. */
  #settledTo(underWay: number): Promise<void> {
    this.#wakeAt = underWay
    return new Promise((resolve) => {
      this.#room = resolve
    })
  }

  #progress(): SignalManyProgress {
    return { accepted: this.#accepted, failed: this.#failed, settledThrough: this.#settledThrough }
  }
}

function toFailure(item: LooseItem, index: number, error: unknown): SignalFailure {
  return { index, workflow: item.workflow.name, id: item.id, name: item.name, inputId: item.inputId, error }
}

function toError(failure: SignalFailure, progress: SignalManyProgress): CarillonError {
  const { error, ...where } = failure
  const { index, workflow, id, name } = where
  const code = codeOf(error)
  const known: ErrorCode = code !== undefined && code in ERROR_CODES ? (code as ErrorCode) : 'NOT_ACKNOWLEDGED'
  const item = `item ${index}, signal ${quote(name)} to ${formatTarget({ type: workflow, id })}`
  const reason = error instanceof Error ? error.message : String(error)
  const message = `${item}, failed: ${reason}. Of the items before and after it ${progress.accepted} were accepted`
  return new CarillonError(known, message, { cause: error, details: { ...where, ...progress } })
}

function checkRange(value: number, min: number, max: number, what: string): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value
  throw new CarillonError('CONFIG_INVALID', `${what} is ${value}: give a whole number from ${min} to ${max}`)
}
