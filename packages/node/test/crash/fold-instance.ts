/**
 * One instance of the checker's fold: its inputs in the order of the journal, handlers one at a time, a main function beside them.
 *
 * Written from the documented semantics, sharing nothing with the code under test.
 */
import type { FoldInput } from '../../../proof/src/reference/fold-input.ts'
import {
  Bug,
  type Host,
  LedgerModel,
  type Program,
  Rejected,
  StepsModel,
  StuckModel,
  type Wait,
} from './fold-programs.ts'

export type FoldOutcome = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly code: string }

/** What the fold of all instances collects. */
export interface FoldRecord {
  dead(key: string, effect: string, input: FoldInput, code: string): void
  call(callId: string, input: object): void
  readonly counts: FoldCounts
}

export interface FoldCounts {
  applied: number
  duplicates: number
  results: number
  resultsIgnored: number
  fired: number
  firedEarly: number
  firedInVain: number
  cancelled: number
  queued: number
  closes: number
  parked: number
  forgotten: number
}

interface Job {
  readonly input: FoldInput
  readonly begin: () => Program
}

interface Sleeping {
  readonly dueMs: number
  readonly program: Program
  readonly isTimeout: boolean
}

type Model = LedgerModel | StepsModel | StuckModel

/** Ids are kept in blocks of 64, in the order in which their inputs ended; a block is forgotten when so many newer ids have ended. */
const KNOWN_MAX = 2000
const BLOCK = 64

export class FoldInstance implements Host {
  readonly key: string
  readonly #type: string
  readonly #record: FoldRecord
  model: Model | undefined
  phase: 'absent' | 'running' | 'closed' = 'absent'
  seq = 0
  now = 0
  lives = 0
  /** The input it stands at, and those behind it. */
  readonly parked: number[] = []
  /** Every outcome of every id; more than one where an id was forgotten and came again. */
  readonly outcomes = new Map<string, FoldOutcome[]>()
  /** Ids whose inputs wait, and those that have ended and are remembered, in that order. */
  readonly #waiting = new Set<string>()
  readonly #endedIds: string[] = []
  #forgotten = 0
  readonly #known = new Set<string>()
  readonly #calls = new Map<string, Program>()
  readonly #sleeps = new Map<string, Sleeping>()
  #tick: { readonly effect: string; readonly dueMs: number } | undefined
  #job: { readonly job: Job; readonly program: Program } | undefined
  #queue: Job[] = []
  #main: Program | undefined
  #condition: { readonly effect: string; readonly test: () => boolean; readonly program: Program } | undefined
  #receiver: Program | undefined
  #mailbox: FoldInput[] = []
  #closing: { readonly outcome: FoldOutcome; readonly seq: number } | undefined
  #result: FoldOutcome | undefined
  #isOpening = false
  #handedOver: { readonly receiver: Program; readonly input: FoldInput } | undefined
  #index = 0

  constructor(key: string, type: string, record: FoldRecord) {
    this.key = key
    this.#type = type
    this.#record = record
  }

  /** Nothing is to come any more that nobody sends. */
  get isSettled(): boolean {
    return this.#calls.size === 0 && this.#sleeps.size === 0 && this.#tick === undefined
  }

  get openCalls(): number {
    return this.#calls.size
  }

  get openTimers(): number {
    return this.#sleeps.size + (this.#tick === undefined ? 0 : 1)
  }

  get knownIds(): number {
    return this.#waiting.size + this.#known.size
  }

  get mailbox(): number {
    return this.#mailbox.length
  }

  get queued(): number {
    return this.parked.length > 0 ? this.parked.length : this.#queue.length
  }

  get result(): FoldOutcome | undefined {
    return this.#result
  }

  apply(input: FoldInput): void {
    if (this.parked.length > 0) return this.#park(input)
    const { seq, now, phase, lives, model } = this
    this.seq = input.seq
    this.now = Math.max(this.now, input.timeMs)
    this.#index = 0
    try {
      this.#receive(input)
      this.#settle()
    } catch (error) {
      if (!(error instanceof Bug)) throw error
      // The turn did not happen.
      Object.assign(this, { seq, now, phase, lives, model })
      if (input.id !== undefined) this.#waiting.delete(input.id)
      this.#park(input)
    }
  }

  setTick(delayMs: number): void {
    if (this.#tick !== undefined) this.#record.counts.cancelled += 1
    this.#tick = { effect: this.#nextEffect(), dueMs: this.now + delayMs }
  }

  cancelTick(): void {
    if (this.#tick === undefined) return
    this.#record.counts.cancelled += 1
    this.#tick = undefined
  }

  #park(input: FoldInput): void {
    this.#record.counts.parked += 1
    this.parked.push(input.seq)
  }

  #receive(input: FoldInput): void {
    if (input.kind === 'activity') return this.#onResult(input)
    if (input.kind === 'timer') return this.#onTimer(input)
    if (input.id !== undefined) {
      if (this.#waiting.has(input.id) || this.#known.has(input.id)) return void (this.#record.counts.duplicates += 1)
      this.#waiting.add(input.id)
    }
    this.#dispatch(input)
  }

  /** An id has its outcome; later ones change nothing. */
  #end(id: string | undefined, outcome: FoldOutcome): void {
    if (id === undefined || !this.#waiting.delete(id)) return
    this.outcomes.set(id, [...(this.outcomes.get(id) ?? []), outcome])
    this.#known.add(id)
    this.#endedIds.push(id)
    if (this.#endedIds.length % BLOCK !== 0) return
    while (this.#endedIds.length - this.#forgotten - BLOCK >= KNOWN_MAX) {
      for (const old of this.#endedIds.slice(this.#forgotten, this.#forgotten + BLOCK)) this.#known.delete(old)
      this.#forgotten += BLOCK
      this.#record.counts.forgotten += BLOCK
    }
  }

  #dispatch(input: FoldInput): void {
    if (input.kind === 'start') return this.#onStart(input)
    if (input.kind === 'signal') return this.#onSignal(input, input.name)
    if (input.kind === 'update') return this.#onUpdate(input)
    this.#bury(input, 'UNKNOWN_NAME')
  }

  #onStart(input: FoldInput): void {
    const payload = fields(input) as {
      input?: { limit?: unknown }
      ifRunning?: string
      signal?: { name: string; payload: unknown }
    }
    if (this.phase === 'running') {
      if (payload.ifRunning !== 'use') return this.#finish(input, { ok: false, code: 'ALREADY_STARTED' })
    } else if (this.#type === 'steps' && !Number.isInteger(payload.input?.limit))
      return this.#bury(input, 'INVALID_PAYLOAD')
    else this.#begin(payload.input?.limit as number)
    if (payload.signal === undefined) return this.#finish(input, { ok: true, value: undefined })
    this.#onSignal({ ...input, payload: { ok: true, value: payload.signal.payload } }, payload.signal.name, input)
  }

  #begin(limit: number): void {
    this.phase = 'running'
    this.lives += 1
    this.model =
      this.#type === 'ledger' ? new LedgerModel() : this.#type === 'steps' ? new StepsModel() : new StuckModel()
    if (!(this.model instanceof StepsModel)) return
    this.#main = this.model.main(this, limit)
    this.#advance(this.#main, undefined)
  }

  /** `carrier`: the input that it came with. */
  #onSignal(input: FoldInput, name: string, carrier = input): void {
    if (!input.payload.ok) return this.#bury(input, 'INVALID_PAYLOAD')
    const names = { ledger: ['put'], steps: ['item', 'credit'], stuck: ['put', 'bug'] }[this.#type] ?? []
    if (!names.includes(name)) return this.#bury(input, 'UNKNOWN_NAME')
    const { op } = fields(input)
    if (typeof op !== 'string') return this.#bury(input, 'INVALID_PAYLOAD')
    if (!this.#ensureRunning(input)) return
    const { model } = this
    if (model instanceof LedgerModel) return this.#enqueue({ input, begin: () => model.put(this, op) })
    if (model instanceof StuckModel) {
      if (name === 'bug') throw new Bug()
      return this.#enqueue({ input, begin: () => model.put(op) })
    }
    if (name === 'credit' && model !== undefined) return this.#enqueue({ input, begin: () => model.onCredit(this, op) })
    // Behind a close that was asked for, it is of the next life.
    if (this.#closing !== undefined && input.seq > this.#closing.seq)
      return this.#enqueue({ input: carrier, begin: neverBegins })
    if (this.#receiver === undefined) return void this.#mailbox.push(input)
    const receiver = this.#receiver
    this.#receiver = undefined
    // What comes behind a close comes in one turn: run goes on once all of it is there.
    if (this.#isOpening) this.#handedOver = { receiver, input }
    else this.#handOver(receiver, input)
  }

  #onUpdate(input: FoldInput): void {
    if (this.#type !== 'ledger' || input.name !== 'take') return this.#bury(input, 'UNKNOWN_NAME')
    if (!input.payload.ok) return this.#bury(input, 'INVALID_PAYLOAD')
    const { op, amount } = fields(input)
    if (typeof op !== 'string' || !Number.isInteger(amount)) return this.#bury(input, 'INVALID_PAYLOAD')
    if (!this.#ensureRunning(input)) return
    const model = this.model as LedgerModel
    this.#enqueue({ input, begin: () => model.take(this, op, amount as number) })
  }

  #ensureRunning(input: FoldInput): boolean {
    if (this.phase === 'running') return true
    if (this.#type === 'steps') {
      this.#bury(input, this.phase === 'closed' ? 'CLOSED' : 'NOT_FOUND')
      return false
    }
    this.#begin(0)
    return true
  }

  #onResult(input: FoldInput): void {
    const { effect, outcome } = fields(input) as { effect: string; outcome: { ok: boolean; value?: unknown } }
    const program = this.#calls.get(effect)
    if (program === undefined) return void (this.#record.counts.resultsIgnored += 1)
    this.#record.counts.results += 1
    this.#calls.delete(effect)
    this.#advance(program, outcome.ok ? outcome.value : 'failed')
  }

  #onTimer(input: FoldInput): void {
    const { effect } = fields(input) as { effect: string }
    const { counts } = this.#record
    const sleeping = this.#sleeps.get(effect)
    const dueMs = this.#tick?.effect === effect ? this.#tick.dueMs : sleeping?.dueMs
    if (dueMs === undefined) return void (counts.firedInVain += 1)
    if (this.now < dueMs) return void (counts.firedEarly += 1)
    counts.fired += 1
    if (sleeping === undefined) {
      const model = this.model as LedgerModel
      this.#tick = undefined
      return this.#enqueue({ input, begin: () => model.tick(this) })
    }
    this.#sleeps.delete(effect)
    if (sleeping.isTimeout) this.#condition = undefined
    this.#advance(sleeping.program, sleeping.isTimeout ? false : undefined)
  }

  #enqueue(job: Job): void {
    this.#queue.push(job)
    if (this.#job !== undefined) this.#record.counts.queued += 1
    this.#pump()
  }

  #pump(): void {
    while (this.#job === undefined) {
      const next = this.#queue[0]
      if (next === undefined || (this.#closing !== undefined && next.input.seq > this.#closing.seq)) return
      this.#queue.shift()
      const program = next.begin()
      this.#job = { job: next, program }
      this.#advance(program, undefined)
    }
  }

  /** Runs a program until it waits for something that is not there yet, or ends. */
  #advance(program: Program, value: unknown): void {
    let step: IteratorResult<Wait, unknown>
    try {
      step = program.next(value)
      while (step.done !== true) {
        const ready = this.#wait(program, step.value)
        if (ready === undefined) return
        step = program.next(ready.value)
      }
    } catch (error) {
      if (!(error instanceof Rejected)) throw error
      return this.#ended(program, { ok: false, code: 'UPDATE_REJECTED' })
    }
    this.#ended(program, { ok: true, value: step.value })
  }

  #ended(program: Program, outcome: FoldOutcome): void {
    if (program === this.#main) {
      this.#main = undefined
      this.#closing ??= { outcome, seq: this.seq }
      return
    }
    const ended = this.#job
    this.#job = undefined
    if (ended !== undefined) this.#finish(ended.job.input, outcome)
    this.#pump()
  }

  /** Undefined when it has to wait. */
  #wait(program: Program, wait: Wait): { readonly value: unknown } | undefined {
    switch (wait.kind) {
      case 'call': {
        const effect = this.#nextEffect()
        this.#calls.set(effect, program)
        this.#record.call(`${this.key}/${effect}`, wait.input)
        return undefined
      }
      case 'sleep':
        this.#sleeps.set(this.#nextEffect(), { dueMs: this.now + wait.ms, program, isTimeout: false })
        return undefined
      case 'condition': {
        if (wait.test()) return { value: true }
        const effect = this.#nextEffect()
        this.#sleeps.set(effect, { dueMs: this.now + wait.ms, program, isTimeout: true })
        this.#condition = { effect, test: wait.test, program }
        return undefined
      }
      case 'receive': {
        const next = this.#mailbox.shift()
        if (next === undefined) this.#receiver = program
        return next === undefined ? undefined : { value: this.#take(next) }
      }
    }
  }

  #handOver(receiver: Program, input: FoldInput): void {
    this.#advance(receiver, this.#take(input))
  }

  #take(input: FoldInput): unknown {
    this.#finish(input, { ok: true, value: undefined })
    return fields(input)['op']
  }

  /** Conditions that have come true, and the close, until neither has more to do. */
  #settle(): void {
    for (;;) {
      if (this.#condition?.test() === true) {
        const { effect, program } = this.#condition
        this.#condition = undefined
        this.#sleeps.delete(effect)
        this.#record.counts.cancelled += 1
        this.#advance(program, true)
      } else if (
        this.#closing !== undefined &&
        this.#job === undefined &&
        (this.#queue[0]?.input.seq ?? Infinity) > this.#closing.seq
      )
        this.#close(this.#closing.outcome)
      else return
    }
  }

  #close(outcome: FoldOutcome): void {
    this.#record.counts.closes += 1
    this.#closing = undefined
    this.#result = outcome
    this.phase = 'closed'
    const [unread, behind] = [this.#mailbox, this.#queue]
    this.#mailbox = []
    this.#queue = []
    for (const input of unread) this.#bury(input, 'UNRECEIVED')
    this.#isOpening = true
    for (const { input } of behind) this.#dispatch(input)
    this.#isOpening = false
    const handedOver = this.#handedOver
    this.#handedOver = undefined
    if (handedOver !== undefined) this.#handOver(handedOver.receiver, handedOver.input)
  }

  #finish(input: FoldInput, outcome: FoldOutcome): void {
    this.#record.counts.applied += 1
    this.#end(input.id, outcome)
  }

  #bury(input: FoldInput, code: string): void {
    this.#record.dead(this.key, this.#nextEffect(), input, code)
    this.#end(input.id, { ok: false, code })
  }

  #nextEffect(): string {
    return `${this.seq}.${this.#index++}`
  }
}

function neverBegins(): never {
  throw new Error('an input behind a close began in front of it')
}

function fields({ payload }: FoldInput): Readonly<Record<string, unknown>> {
  return payload.ok && typeof payload.value === 'object' && payload.value !== null
    ? (payload.value as Record<string, unknown>)
    : {}
}
