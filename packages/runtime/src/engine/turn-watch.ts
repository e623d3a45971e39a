/**
 * Workflow code under watch: somebody outside of this thread sees which code runs now, and says which must not run again.
 *
 * Owns: the judgements that have not been carried out yet.
 * Does not own: looking, and judging (the port `TurnBoard` is where they look).
 *
 * Invariants
 * 1. A judged turn is left out once, and may be tried again after that, for a command of an operator; a judged migration until such a command.
 * 2. A judged turn suspends its instance, under every policy: whoever applies the journal elsewhere may judge otherwise, so nothing else may follow from it.
 */
import { applyInput, type Instance, migrateState, type Misfit, takeUp, type TurnResult } from '../core/index.ts'
import { CarillonError, type ErrorCode } from '../errors.ts'
import type { Input, InstanceKey, Partition } from '../protocol/index.ts'

/** Where it stands which code of an author runs. Called for every turn: nothing may be allocated. */
export interface TurnBoard {
  /** The turn of an input begins, live or folded again. */
  turn(partition: Partition, seq: number, isStandby: boolean): void
  /** Code beside the turns begins: a query of an instance, or the migration of its state. */
  beside(kind: BesideKind, partition: Partition, key: InstanceKey, name: string): void
  end(): void
}

export type BesideKind = 'query' | 'migrate'

/** What must not run again, and why. */
export type Judgement = TurnJudgement | BesideJudgement

export interface TurnJudgement {
  readonly kind: 'turn'
  readonly partition: Partition
  readonly seq: number
  readonly code: JudgementCode
  readonly reason: string
}

export interface BesideJudgement {
  readonly kind: BesideKind
  readonly partition: Partition
  readonly key: InstanceKey
  readonly name: string
  readonly code: JudgementCode
  readonly reason: string
}

export type JudgementCode = ErrorCode & ('TURN_ENDLESS' | 'TURN_CRASHED')

/** A query that was judged is refused for so long: those who ask for it ask again by themselves. */
const QUERY_REFUSED_MS = 60_000
/** Judgements that wait to be carried out; older ones are forgotten. Each costs its thread. */
const JUDGEMENTS_MAX = 1000

export interface TurnWatchOptions {
  readonly board: TurnBoard
  readonly judgements: readonly Judgement[]
  /** Told when a turn was left out for its judgement: nothing of that is in the store yet. */
  readonly onCarriedOut?: ((judgement: TurnJudgement) => void) | undefined
}

/** The watch over an engine. */
export class TurnWatch {
  readonly board: TurnBoard
  readonly #nowMs: () => number
  readonly #onCarriedOut: (judgement: TurnJudgement) => void
  readonly #judgements = new Map<string, Judgement>()
  /** Until when queries that were judged are refused. */
  readonly #refusedUntilMs = new Map<string, number>()

  constructor({ board, judgements, onCarriedOut = () => {} }: TurnWatchOptions, nowMs: () => number) {
    this.board = board
    this.#onCarriedOut = onCarriedOut
    this.#nowMs = nowMs
    for (const judgement of judgements.slice(-JUDGEMENTS_MAX)) {
      this.#judgements.set(placeOf(judgement), judgement)
      if (judgement.kind === 'query') this.#refusedUntilMs.set(placeOf(judgement), nowMs() + QUERY_REFUSED_MS)
    }
  }

  of(partition: Partition): PartitionWatch {
    return new PartitionWatch(this, partition)
  }

  /** Whether anything waits to be carried out. */
  get hasJudgements(): boolean {
    return this.#judgements.size > 0
  }

  /** The judgement on this; undefined when it may run. */
  carryOut(what: JudgedPlace): CarillonError | undefined {
    const place = placeOf(what)
    const judgement = this.#judgements.get(place)
    if (judgement === undefined) return undefined
    const error = new CarillonError(judgement.code, judgement.reason)
    if (judgement.kind === 'migrate') return error
    if (judgement.kind === 'query' && this.#nowMs() < (this.#refusedUntilMs.get(place) ?? 0)) return error
    this.#judgements.delete(place)
    if (judgement.kind !== 'turn') return undefined
    this.#onCarriedOut(judgement)
    return error
  }

  /** A command of an operator: the state of an instance may be migrated again. Until then each reading of it would begin that anew. */
  forgive(partition: Partition, key: InstanceKey): void {
    if (this.hasJudgements) this.#judgements.delete(placeOf({ kind: 'migrate', partition, key, name: '' }))
  }
}

/** The watch over the code of one partition. */
export class PartitionWatch {
  readonly #watch: TurnWatch
  readonly #board: TurnBoard
  readonly #partition: Partition
  /** Of a partition that is neither owned nor about to be. */
  isStandby = true

  constructor(watch: TurnWatch, partition: Partition) {
    this.#watch = watch
    this.#board = watch.board
    this.#partition = partition
  }

  /** Applies an input to an instance. Call `end` when the result is there. */
  begin(instance: Instance, input: Input): TurnResult | Promise<TurnResult> {
    const judged = this.judged(input.seq)
    if (judged !== undefined) return { kind: 'poisoned', error: judged, culprit: undefined }
    this.#board.turn(this.#partition, input.seq, this.isStandby)
    return applyInput(instance, input)
  }

  end(): void {
    this.#board.end()
  }

  /** As `begin`, with the end. */
  async run(instance: Instance, input: Input): Promise<TurnResult> {
    const result = await this.begin(instance, input)
    this.#board.end()
    return result
  }

  /** Goes on with an instance in the middle of the turn of its last input. */
  async takeUp(instance: Instance): Promise<TurnResult> {
    const { seq } = instance.data
    const judged = this.judged(seq)
    if (judged !== undefined) return { kind: 'poisoned', error: judged, culprit: undefined }
    this.#board.turn(this.#partition, seq, this.isStandby)
    const result = await takeUp(instance)
    this.#board.end()
    return result
  }

  /** Migrates the state of an instance that has just been read. */
  migrate(instance: Instance): Misfit | undefined {
    const { key } = instance
    const error = this.#judgedBeside('migrate', key, '')
    if (error !== undefined) return { error }
    this.#board.beside('migrate', this.#partition, key, '')
    const misfit = migrateState(instance)
    this.#board.end()
    return misfit
  }

  forgive(key: InstanceKey): void {
    this.#watch.forgive(this.#partition, key)
  }

  /** Runs a query. @throws what it was judged for, for a while. */
  query<T>(key: InstanceKey, name: string, run: () => T): T {
    const error = this.#judgedBeside('query', key, name)
    if (error !== undefined) throw error
    this.#board.beside('query', this.#partition, key, name)
    try {
      return run()
    } finally {
      this.#board.end()
    }
  }

  /** Why the turn of an input must not run now; undefined when it may. */
  judged(seq: number): CarillonError | undefined {
    if (!this.#watch.hasJudgements) return undefined
    return this.#watch.carryOut({ kind: 'turn', partition: this.#partition, seq })
  }

  #judgedBeside(kind: BesideKind, key: InstanceKey, name: string): CarillonError | undefined {
    if (!this.#watch.hasJudgements) return undefined
    return this.#watch.carryOut({ kind, partition: this.#partition, key, name })
  }
}

type JudgedPlace =
  | Pick<TurnJudgement, 'kind' | 'partition' | 'seq'>
  | Pick<BesideJudgement, 'kind' | 'partition' | 'key' | 'name'>

function placeOf(what: JudgedPlace): string {
  return what.kind === 'turn'
    ? `turn/${what.partition}/${what.seq}`
    : `${what.kind}/${what.partition}/${what.key}/${what.name}`
}
