/**
 * One instance of the reference: its inputs in the order of the journal, one handler at a time.
 *
 * Written from the documented semantics, sharing nothing with the runtime. Linear in the inputs.
 */
import type { FoldInput } from './fold-input.ts'
import { Bug, type Fields, type Host, type Model, modelOf, type Program, type Wait } from './programs.ts'

export type FoldOutcome = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly code: string }

/** An input that an instance sends to another one. */
export interface FoldSend {
  readonly target: string
  readonly name: string
  readonly payload: object
}

/** What the fold of all instances collects. */
export interface FoldRecord {
  dead(input: FoldInput, code: string): void
  call(callId: string, activity: string, input: object): void
  callDone(callId: string): void
  send(id: string, send: FoldSend): void
  timerSet(name: string, dueMs: number): void
  timerDone(name: string): void
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
  bugs: number
}

/** What a node says of an instance, in the words of the reference. */
export interface FoldView {
  readonly state: object
  readonly timeMs: number
  readonly queued: number
  readonly knownIds: number
  readonly activities: number
  readonly timers: number
}

interface Job {
  readonly input: FoldInput
  readonly begin: () => Program
}

interface Timer {
  readonly effect: string
  readonly dueMs: number
}

export class FoldInstance implements Host {
  readonly key: string
  readonly index: number
  readonly #record: FoldRecord
  readonly #model: Model
  seq = 0
  now = 0
  readonly outcomes = new Map<string, FoldOutcome>()
  readonly #known = new Set<string>()
  readonly #calls = new Map<string, Program>()
  readonly #sleeps = new Map<string, { readonly dueMs: number; readonly program: Program }>()
  #timer: Timer | undefined
  #job: { readonly input: FoldInput; readonly program: Program } | undefined
  #queue: Job[] = []
  #effects = 0
  #isBegun = false

  constructor(key: string, model: Model, record: FoldRecord) {
    this.key = key
    this.index = Number(/\d+$/.exec(key)?.[0] ?? 0)
    this.#model = model
    this.#record = record
  }

  /** Undefined where the input begins no instance: then it leaves nothing behind. */
  static of(key: string, type: string, record: FoldRecord): FoldInstance | undefined {
    const model = modelOf(type)
    return model === undefined ? undefined : new FoldInstance(key, model, record)
  }

  /** False until an input began it: those that are refused before that leave nothing behind. */
  get isBegun(): boolean {
    return this.#isBegun
  }

  view(): FoldView {
    return {
      state: this.#model.view(),
      timeMs: this.now,
      queued: this.#queue.length,
      knownIds: this.#known.size,
      activities: this.#calls.size,
      timers: this.#sleeps.size + (this.#timer === undefined ? 0 : 1),
    }
  }

  apply(input: FoldInput): void {
    this.seq = input.seq
    this.now = Math.max(this.now, input.timeMs)
    this.#effects = 0
    if (input.kind === 'activity') return this.#onResult(input)
    if (input.kind === 'timer') return this.#onTimer(input)
    if (input.id !== undefined) {
      if (this.#known.has(input.id)) return void (this.#record.counts.duplicates += 1)
    }
    this.#onMessage(input)
  }

  send(target: string, name: string, payload: object): void {
    this.#record.send(`${this.key}/${this.#nextEffect()}`, { target, name, payload })
  }

  setTimer(delayMs: number): void {
    this.cancelTimer()
    this.#timer = { effect: this.#nextEffect(), dueMs: this.now + delayMs }
    this.#record.timerSet(`${this.key}/${this.#timer.effect}`, this.#timer.dueMs)
  }

  cancelTimer(): void {
    if (this.#timer === undefined) return
    this.#record.counts.cancelled += 1
    this.#record.timerDone(`${this.key}/${this.#timer.effect}`)
    this.#timer = undefined
  }

  #onMessage(input: FoldInput): void {
    const { kind, name, payload } = input
    if (kind !== 'signal' && kind !== 'update') return this.#bury(input, 'UNKNOWN_NAME')
    if (!payload.ok) return this.#bury(input, 'INVALID_PAYLOAD')
    const reaction = this.#model.react(this, kind, name, fieldsOf(payload.value))
    if ('refused' in reaction) return this.#bury(input, reaction.refused)
    this.#isBegun = true
    if (input.id !== undefined) this.#known.add(input.id)
    this.#queue.push({ input, begin: reaction.begin })
    if (this.#job !== undefined) this.#record.counts.queued += 1
    this.#pump()
  }

  #onResult(input: FoldInput): void {
    const { effect, outcome } = (input.payload.ok ? input.payload.value : {}) as {
      effect?: string
      outcome?: { ok: boolean; value?: unknown }
    }
    const program = this.#calls.get(effect ?? '')
    if (program === undefined) return void (this.#record.counts.resultsIgnored += 1)
    this.#record.counts.results += 1
    this.#calls.delete(effect ?? '')
    this.#record.callDone(`${this.key}/${effect}`)
    this.#advance(program, outcome?.ok === true ? outcome.value : 'failed')
    this.#pump()
  }

  #onTimer(input: FoldInput): void {
    const { counts } = this.#record
    const { effect = '' } = (input.payload.ok ? input.payload.value : {}) as { effect?: string }
    const sleep = this.#sleeps.get(effect)
    const dueMs = this.#timer?.effect === effect ? this.#timer.dueMs : sleep?.dueMs
    if (dueMs === undefined) return void (counts.firedInVain += 1)
    if (this.now < dueMs) return void (counts.firedEarly += 1)
    counts.fired += 1
    this.#record.timerDone(`${this.key}/${effect}`)
    if (sleep === undefined) {
      this.#timer = undefined
      this.#queue.push({ input, begin: () => this.#model.fire(this) })
    } else {
      this.#sleeps.delete(effect)
      this.#advance(sleep.program, undefined)
    }
    this.#pump()
  }

  /** Begins what waits, one at a time. */
  #pump(): void {
    while (this.#job === undefined) {
      const next = this.#queue.shift()
      if (next === undefined) return
      const program = next.begin()
      this.#job = { input: next.input, program }
      try {
        this.#advance(program, undefined)
      } catch (error) {
        if (!(error instanceof Bug)) throw error
        this.#record.counts.bugs += 1
        this.#job = undefined
        this.#bury(next.input, 'HANDLER_FAILED')
      }
    }
  }

  /** Runs a program until it waits or ends. */
  #advance(program: Program, value: unknown): void {
    const step = program.next(value)
    if (step.done !== true) return this.#wait(program, step.value)
    const input = this.#job?.input
    this.#job = undefined
    if (input === undefined) return
    this.#record.counts.applied += 1
    if (input.id !== undefined) this.outcomes.set(input.id, { ok: true, value: step.value })
  }

  #wait(program: Program, wait: Wait): void {
    const effect = this.#nextEffect()
    if (wait.kind === 'call') {
      this.#calls.set(effect, program)
      return this.#record.call(`${this.key}/${effect}`, wait.activity, wait.input)
    }
    const dueMs = this.now + wait.ms
    this.#sleeps.set(effect, { dueMs, program })
    this.#record.timerSet(`${this.key}/${effect}`, dueMs)
  }

  /** It reached the instance, so its id is remembered. */
  #bury(input: FoldInput, code: string): void {
    this.#record.dead(input, code)
    if (input.id === undefined) return
    this.#known.add(input.id)
    this.outcomes.set(input.id, { ok: false, code })
  }

  #nextEffect(): string {
    return `${this.seq}.${this.#effects++}`
  }
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {}
}
