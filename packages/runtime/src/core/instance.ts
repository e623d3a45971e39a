/**
 * One workflow instance in memory: its data, and the coroutines of its code that wait.
 *
 * Owns: the order in which handlers start, what "waiting" means, and when an instance is quiescent.
 * Does not own: what each kind of input does (step-*.ts), storage, or the effects' fate.
 *
 * Invariants
 * 1. Handlers (of signals, updates and timers) run one at a time, in the order of their inputs; those of concurrent signals start at once.
 * 2. A quiescent instance is described by its data alone. Any other one is rebuilt by applying its inputs again to its last quiescent data.
 * 3. A turn that went wrong leaves `poison`: the instance must then be thrown away and rebuilt without that turn.
 */
import type { Implementation } from '../contract/implement.ts'
import { validate } from '../contract/schema.ts'
import { CarillonError, codeOf, type ErrorCode, type ErrorData } from '../errors.ts'
import { type Input, type InstanceKey, type Outcome, parseKey } from '../protocol/index.ts'
import { answerTo } from './calls.ts'
import { copyResult } from './copy-result.ts'
import type { Effect, EffectId } from './effect.ts'
import { InstanceContext } from './instance-context.ts'
import { emptyData, INSTANCE_LIMITS, type InstanceData } from './instance-data.ts'
import { toPlainError } from './plain-error.ts'
import type { Base } from './renewal.ts'
import { replyTo } from './reply.ts'
import type { Turn } from './turn.ts'
import { Scope } from './scope.ts'
import type { Culprit } from './standing.ts'
import { Waits } from './waits.ts'
import type { LiveChild } from './children.ts'
import type { OpenTask } from './tasks.ts'

/** A handler call that is to run in the instance's one slot. */
export interface Job {
  readonly input: Input
  readonly run: () => unknown
  /** True where throwing UpdateRejected is an answer, and not a bug. */
  readonly isUpdate?: boolean
  /** The signal that it handles, where a mailbox policy counts those; and that as an input of its own, where it came with a start. */
  readonly signal?: string
  readonly asSignal?: () => Input
}

/** How a life ends: for good, or in another one. */
export type Ending =
  | { readonly kind: 'close'; readonly outcome: Outcome }
  | { readonly kind: 'renew'; readonly input: unknown; readonly state: unknown }

interface Closing {
  readonly ending: Ending
  /** Handlers of inputs up to here still run first; later inputs are behind the close. */
  readonly behindSeq: number
}

export class Instance {
  readonly key: InstanceKey
  readonly type: string
  readonly id: string
  readonly implementation: Implementation
  readonly context: InstanceContext
  data: InstanceData
  waits = new Waits()
  /** Children whose handle the code that runs now may hold. */
  liveChildren = new Map<EffectId, LiveChild>()
  /** Tasks that the code that runs now has opened. */
  tasks = new Map<EffectId, OpenTask>()
  /** Set while a turn of this instance runs. */
  turn: Turn | undefined
  poison: { readonly error: unknown; readonly culprit: Culprit | undefined } | undefined
  /** A handler that throws ends with its error, in this turn (Mark.lenient). */
  isLenient = false
  /** Timers that fire run no handler, in this turn (Mark.dead). */
  isSilent = false
  /** True once user code has been started or woken whose microtasks have not run yet. */
  unsettled = false
  closing: Closing | undefined
  /** As of the last time it continued as new, until that is saved. */
  base: Base | undefined
  #slot: Job | undefined
  /** Handlers of concurrent signals that are in progress. */
  readonly #beside = new Set<Job>()
  #queue: Job[] = []
  #mainRuns = false
  /** With which input it began. */
  #mainSeq = 0
  /** The scope of `run`, while it runs. */
  mainScope: Scope | undefined
  /** The turn in which it last continued as new, and the one before that. */
  renewedSeq = 0
  renewedBefore = 0
  /** Whether this life was asked to cancel. */
  isCancelled = false
  /** Senders of repeats that wait for the outcome of the first input with their id. */
  #repeats = new Map<string, Input[]>()

  constructor(
    key: InstanceKey,
    implementation: Implementation,
    data: InstanceData = emptyData(implementation.knownIdsMax),
  ) {
    const { type, id } = parseKey(key)
    this.key = key
    this.type = type
    this.id = id
    this.implementation = implementation
    this.data = data
    this.context = new InstanceContext(this)
  }

  /** No user code waits inside: the data alone describes it (invariant 2). */
  get isQuiescent(): boolean {
    return (
      this.#slot === undefined &&
      this.#beside.size === 0 &&
      this.#queue.length === 0 &&
      !this.#mainRuns &&
      this.closing === undefined &&
      this.data.renewal === undefined &&
      this.tasks.size === 0 &&
      this.waits.size === 0
    )
  }

  /** The input with which the oldest handler or `run` in it began that is not over; undefined when there is none. */
  get waitingSince(): number | undefined {
    const jobs = [...(this.#slot === undefined ? [] : [this.#slot]), ...this.#beside, ...this.#queue]
    const seqs = [...jobs.map(({ input }) => input.seq), ...(this.#mainRuns ? [this.#mainSeq] : [])]
    return seqs.length === 0 ? undefined : Math.min(...seqs)
  }

  get queued(): number {
    return this.#queue.length
  }

  /** The running turn. @throws OUTSIDE_TURN when workflow code kept `ctx` and uses it later. */
  requireTurn(): Turn {
    if (this.turn === undefined) {
      throw new CarillonError(
        'OUTSIDE_TURN',
        `ctx of ${this.type}/${this.id} was used outside of a turn: await only what ctx gives, and do not keep ctx`,
      )
    }
    return this.turn
  }

  /** The `ctx` of a handler that takes its turn. Where the type has patches each one has its own, which knows when it began. */
  contextOf({ seq }: Input): InstanceContext {
    if (this.implementation.patches === undefined) return this.context
    return new InstanceContext(this, undefined, undefined, seq)
  }

  emit(effect: Effect): void {
    this.requireTurn().effects.push(effect)
  }

  /** Runs the job now, or behind those that came before it (invariant 1). */
  enqueue(job: Job): void {
    this.#queue.push(job)
    this.#pump()
  }

  /** Runs the job now, whatever else is in progress; if it came behind a close that was asked for, or too many are, it takes its turn. */
  startBeside(job: Job): void {
    if (
      this.isBehindClose(job.input.seq) ||
      this.poison !== undefined ||
      this.#beside.size >= INSTANCE_LIMITS.concurrent
    )
      return this.enqueue(job)
    this.#beside.add(job)
    const beganSeq = this.requireTurn().seq
    this.#call(job.run, (result) => {
      // It was abandoned.
      if (!this.#beside.delete(job)) return
      this.#jobEnded(job, result, beganSeq)
      this.#pump()
    })
  }

  /** Jobs of a kind and name: how many are in progress, and those that wait, in order. */
  jobsOf(kind: Input['kind'], name: string): { readonly begun: number; readonly waiting: readonly Job[] } {
    const isOf = ({ input }: Job): boolean => input.kind === kind && input.name === name
    const begun = this.#slot === undefined ? [...this.#beside] : [this.#slot, ...this.#beside]
    return { begun: begun.filter(isOf).length, waiting: this.#queue.filter(isOf) }
  }

  /** Puts a job in the place of one that waits. */
  replaceWaiting(waiting: Job, by: Job): void {
    this.#queue = this.#queue.map((job) => (job === waiting ? by : job))
  }

  /** Whether an input comes behind a close that was asked for, and so is not of this life. */
  isBehindClose(seq: number): boolean {
    return this.closing !== undefined && seq > this.closing.behindSeq
  }

  /** Jobs of one signal that wait on the same side of a close that was asked for as `seq` does, in their order. */
  waitingJobs(signal: string, seq: number): readonly Job[] {
    const isBehind = this.isBehindClose(seq)
    return this.#queue.filter((job) => job.signal === signal && this.isBehindClose(job.input.seq) === isBehind)
  }

  /** Takes a job out of the queue. Its input has to be ended. */
  dropWaiting(job: Job): void {
    this.#queue.splice(this.#queue.indexOf(job), 1)
  }

  startMain(input: unknown): void {
    const { main } = this.implementation
    if (main === undefined) return
    this.#mainRuns = true
    // Whatever belongs to an earlier life of the instance is told apart by the waits it was born with.
    const life = this.waits
    this.mainScope = new Scope()
    this.#mainSeq = this.requireTurn().seq
    const context = new InstanceContext(this, undefined, this.mainScope, this.#mainSeq)
    this.#call(
      () => main(context, input),
      (result) => {
        if (life !== this.waits) return
        this.#mainRuns = false
        this.mainScope = undefined
        this.#mainEnded(result)
      },
    )
  }

  /** Asks for the close of the instance behind the input that is being handled. The first one counts. */
  requestClose(outcome: Outcome, behindSeq = this.#currentSeq()): void {
    this.closing ??= { ending: { kind: 'close', outcome: copyResult(outcome) }, behindSeq }
  }

  /** Asks for a new life in place of this one, at the moment a close would take. The first one counts. */
  requestRenewal(ending: Ending & { readonly kind: 'renew' }, behindSeq = this.#currentSeq()): void {
    this.closing ??= { ending, behindSeq }
    // What has been woken goes as far as it can first (renewal.ts, invariant 1).
    this.unsettled = true
  }

  /** If a close was asked for and nothing in front of it is left, forgets all coroutines and gives the inputs behind it. */
  takeClosable(): { readonly ending: Ending; readonly behind: readonly Input[] } | undefined {
    if (this.closing === undefined || this.#slot !== undefined || this.#beside.size > 0 || this.#mayStartNext())
      return undefined
    const { ending } = this.closing
    if (ending.kind === 'renew' && this.unsettled) return undefined
    const behind = this.#queue.map(({ input }) => input)
    this.closing = undefined
    this.#queue = []
    this.#forgetCode()
    return { ending, behind }
  }

  /**
   * Asks for the close of the instance now, whatever runs or waits in it. Gives the inputs whose handlers had begun, and those whose handlers will
   * not begin. What is behind a close that was asked for earlier stays behind it, and in front of `behind`.
   */
  abandon(
    outcome: Outcome,
    behind: readonly Input[] = [],
  ): { readonly begun: readonly Input[]; readonly waiting: readonly Input[] } {
    const behindSeq = this.closing?.behindSeq ?? this.requireTurn().seq
    const jobs = this.#slot === undefined ? [...this.#beside] : [this.#slot, ...this.#beside]
    const waiting = this.#queue.filter(({ input }) => input.seq <= behindSeq).map(({ input }) => input)
    const later = behind.map((input): Job => ({ input, run: () => undefined }))
    this.#queue = [...this.#queue.filter(({ input }) => input.seq > behindSeq), ...later]
    this.#slot = undefined
    this.#beside.clear()
    this.#forgetCode()
    // Nothing of the queue is in front of this close.
    this.closing = { ending: { kind: 'close', outcome: copyResult(outcome) }, behindSeq: 0 }
    return { begun: jobs.map(({ input }) => input), waiting }
  }

  /** Records how an input ended, and tells whoever waits for it. */
  finish(input: Input, outcome: Outcome): void {
    if (input.id !== undefined) this.data.known.settle(input.id, outcome)
    this.#reply(input, outcome, false)
    if (input.id === undefined) return
    for (const repeat of this.#repeats.get(input.id) ?? []) this.#reply(repeat, outcome, true)
    this.#repeats.delete(input.id)
  }

  /** Answers a repeat with the outcome of the first input of its id, now or when there is one. */
  answerRepeat(repeat: Input, outcome: Outcome | undefined): void {
    this.emit({ kind: 'duplicate', input: repeat })
    if (repeat.reply === undefined || repeat.id === undefined) return
    if (outcome !== undefined) return this.#reply(repeat, outcome, true)
    this.#repeats.set(repeat.id, [...(this.#repeats.get(repeat.id) ?? []), repeat])
  }

  deadLetter(input: Input, reason: ErrorData): void {
    this.emit({ kind: 'dead', id: this.requireTurn().nextEffectId(), input, reason })
    this.finish(input, { ok: false, error: reason })
  }

  /** Lets go of a wait: its effect is done. */
  settleWait(id: EffectId, outcome: Outcome, failure: ErrorCode = 'ACTIVITY_FAILED'): boolean {
    this.unsettled = true
    return this.waits.settle(id, ({ resolve, reject }) =>
      outcome.ok
        ? resolve(outcome.value)
        : reject(new CarillonError(failure, outcome.error.message, { details: outcome.error })),
    )
  }

  /** `culprit`: the input whose handler threw. */
  poisonWith(error: unknown, culprit?: Culprit): void {
    this.poison ??= { error, culprit }
  }

  /** After everything has settled: a coroutine that waits for nothing that the journal could bring would wait for ever. */
  checkForLostCoroutine(): void {
    const job = this.#slot ?? [...this.#beside][0]
    if (this.waits.size > 0 || (job === undefined && !this.#mainRuns)) return
    const where = job === undefined ? 'run' : `the handler of ${job.input.kind} ${job.input.name}`
    this.poisonWith(
      new CarillonError(
        'LOST_COROUTINE',
        `${where} awaits something that is not from ctx: nothing in the journal can bring it back, so do that in an activity`,
      ),
    )
  }

  #forgetCode(): void {
    this.#mainRuns = false
    this.mainScope = undefined
    this.isCancelled = false
    this.waits = new Waits()
    this.liveChildren = new Map()
    this.tasks = new Map()
  }

  #currentSeq(): number {
    return this.#slot?.input.seq ?? this.requireTurn().seq
  }

  #pump(): void {
    while (this.#slot === undefined && this.#mayStartNext()) {
      const job = this.#queue.shift()
      if (job === undefined) return
      this.#slot = job
      const beganSeq = this.requireTurn().seq
      this.#call(job.run, (result) => {
        // It was abandoned.
        if (this.#slot !== job) return
        this.#slot = undefined
        this.#jobEnded(job, result, beganSeq)
        this.#pump()
      })
    }
  }

  #mayStartNext(): boolean {
    const next = this.#queue[0]
    if (next === undefined || this.poison !== undefined) return false
    return this.closing === undefined || next.input.seq <= this.closing.behindSeq
  }

  #jobEnded(job: Job, result: Settled, beganSeq: number): void {
    if (result.ok) return this.finish(job.input, { ok: true, value: result.value })
    const { error } = result
    if (codeOf(error) === 'UPDATE_REJECTED' && job.isUpdate === true)
      return this.finish(job.input, { ok: false, error: toPlainError(error, 'UPDATE_REJECTED') })
    if (codeOf(error) === 'INPUT_REJECTED' && job.input.kind !== 'timer')
      return this.deadLetter(job.input, toPlainError(error, 'INPUT_REJECTED'))
    if (codeOf(error) !== 'WORKFLOW_FAILED') {
      const culprit = this.#culpritOf(job, beganSeq)
      if (!this.isLenient || culprit.isNew) return this.poisonWith(error, culprit)
      return this.deadLetter(job.input, toPlainError(error, 'HANDLER_FAILED'))
    }
    const outcome: Outcome = { ok: false, error: toPlainError(error, 'WORKFLOW_FAILED') }
    this.requestClose(outcome, job.input.seq)
    this.finish(job.input, outcome)
  }

  /** An input in front of the last renewal is not in the tail any more: it cannot be left out. */
  #culpritOf({ input: { seq } }: Job, beganSeq: number): Culprit {
    const turn = this.requireTurn()
    const renewedSeq = turn.renewals > 0 ? this.renewedBefore : this.renewedSeq
    // Without it, others that came meanwhile would not have given way to it: they have been told so.
    const isAlone = seq === turn.seq || this.implementation.mailbox === undefined
    return { seq, isNew: beganSeq === turn.seq && seq > renewedSeq && isAlone }
  }

  #mainEnded(result: Settled): void {
    const { seq } = this.requireTurn()
    if (result.ok && this.closing !== undefined) return
    if (result.ok)
      return this.requestClose(
        {
          ok: true,
          value: validate(this.implementation.contract.shape.result, result.value, `the result of ${this.type}`),
        },
        seq,
      )
    const code = codeOf(result.error)
    const isCancel = code === 'CANCELLED' && this.isCancelled
    if (code !== 'WORKFLOW_FAILED' && !isCancel) return this.poisonWith(result.error)
    this.requestClose({ ok: false, error: toPlainError(result.error, 'WORKFLOW_FAILED') }, seq)
  }

  /** Calls user code; `ended` comes at once when it is synchronous, else within a later settling of this or another turn. */
  #call(run: () => unknown, ended: (result: Settled) => void): void {
    let value: unknown
    try {
      value = run()
    } catch (error) {
      return this.#ended({ ok: false, error }, ended)
    }
    if (!isThenable(value)) return this.#ended({ ok: true, value }, ended)
    this.unsettled = true
    value.then(
      (settled) => this.#ended({ ok: true, value: settled }, ended),
      (error: unknown) => this.#ended({ ok: false, error }, ended),
    )
  }

  #ended(result: Settled, ended: (result: Settled) => void): void {
    if (this.turn === undefined)
      return this.poisonWith(
        new CarillonError(
          'LOST_COROUTINE',
          'workflow code went on outside of a turn: it awaited something that is not from ctx',
        ),
      )
    try {
      ended(result)
    } catch (error) {
      this.poisonWith(error)
    }
  }

  #reply(input: Input, outcome: Outcome, duplicate: boolean): void {
    if (input.reply === undefined) return
    const answer = answerTo(input, outcome, () => this.requireTurn().nextEffectId())
    if (answer !== undefined) return this.emit(answer)
    this.emit(replyTo(input.reply, { seq: input.seq, duplicate, outcome }, input, this.key))
  }
}

type Settled = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly error: unknown }

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
