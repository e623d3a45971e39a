/**
 * An instance in memory, with what is needed to save it, to drop it, and to rebuild it.
 *
 * Invariants
 * 1. Store + `committing` + `uncommitted` hold every input of the instance behind its saved data: from them it can be rebuilt at any moment.
 * 2. An instance that stands is in the state before the first input that waits; that input and the later ones are in its tail, in order.
 */
import type { Implementation } from '../contract/implement.ts'
import { CarillonError } from '../errors.ts'
import {
  applyInput,
  type Base,
  type BlockChanges,
  blockKey,
  collectIndex,
  type Culprit,
  dataBytes,
  decodeData,
  decodeInput,
  decodeSummary,
  type Effect,
  encodeData,
  encodeInput,
  encodeRecord,
  Instance,
  INSTANCE_LIMITS,
  isDue,
  type InstanceData,
  instanceRange,
  type KnownHead,
  migrateState,
  type Misfit,
  recordKey,
  statusOf,
  type Standing,
  type Summary,
  type Suspension,
  tailKey,
  takeUp,
  toPlainError,
} from '../core/index.ts'
import type { OrderedStore, Write } from '../ports/index.ts'
import { type Input, type InstanceKey, NO_BYTES, type Partition } from '../protocol/index.ts'
import { StateGauge } from './state-gauge.ts'
import type { StatusCounts } from './status-counts.ts'
import type { PartitionWatch } from './turn-watch.ts'

/** Rough memory of one resident besides its encoded state: objects, maps, context. */
const RESIDENT_BYTES = 2000
const KNOWN_ID_BYTES = 160
/** Nearly all instances have none. Never written to. */
const NO_MARKS = new Map<number, Input>()

export class Resident {
  readonly partition: Partition
  readonly key: InstanceKey
  readonly implementation: Implementation
  instance: Instance
  /** Set while it does not take its inputs as they come. */
  standing: Standing | undefined
  /** The store shows, or the next batch will, that it waits for the host alone. */
  isDue = false
  /** Its state is not of this build's version, and could not be migrated: the instance is suspended, and its data stay as they are. */
  misfit: Misfit | undefined
  /** Applied or parked since the last batch that was collected, and in the batch that is being committed. */
  uncommitted: Input[] = []
  committing: Input[] = []
  /** Used since the last look for idle ones. */
  isRecent = true
  /** Estimate of the memory it takes. */
  weight = RESIDENT_BYTES
  #saved: Summary | undefined
  /** Of the state, while code waits. */
  #gauge: StateGauge | undefined
  /** Of the last rebuild. */
  #foldedTurns = 0
  #isSaving = false
  /** Inputs that were marked since the last batch that was collected, and in the batch that is being committed. */
  #marks: Map<number, Input> = NO_MARKS
  #marksCommitting: ReadonlyMap<number, Input> = NO_MARKS
  #hasTail = false
  /** Set from the batch that removes the instance until that is in the store: inputs up to here are of what was forgotten. */
  #forgottenSeq = 0
  readonly #watch: PartitionWatch | undefined

  private constructor(
    partition: Partition,
    key: InstanceKey,
    implementation: Implementation,
    watch: PartitionWatch | undefined,
  ) {
    this.partition = partition
    this.key = key
    this.implementation = implementation
    this.#watch = watch
    this.instance = new Instance(key, implementation)
  }

  /** Brings an instance back from the store, or makes an absent one. Asynchronous only when its tail must be applied again. */
  static load(
    store: OrderedStore,
    partition: Partition,
    key: InstanceKey,
    implementation: Implementation,
    watch?: PartitionWatch,
  ): Resident | Promise<Resident> {
    const resident = new Resident(partition, key, implementation, watch)
    const saved = store.get('record', recordKey(partition, key))
    if (saved === undefined) return resident
    resident.#saved = decodeSummary(saved)
    resident.standing = resident.#saved.standing
    resident.isDue = isDue(resident.standing)
    resident.weight = RESIDENT_BYTES + saved.length
    resident.#hasTail = [...store.range('tail', { ...instanceRange(partition, key), limit: 1 })].length > 0
    if (!resident.#hasTail) {
      resident.instance = resident.#restore(store, saved)
      if (resident.misfit === undefined && resident.instance.data.renewal === undefined) return resident
    }
    return resident.rebuild(store).then(() => {
      if (resident.#hasTail) resident.#gauge = new StateGauge(resident.#foldedTurns)
      return resident
    })
  }

  /** False when there is nothing to keep: the instance has never been started. */
  get exists(): boolean {
    return this.#saved !== undefined || this.#forgottenSeq > 0 || !this.isAbsent
  }

  /** It was never started, or is forgotten, and nothing waits for it. */
  get isAbsent(): boolean {
    return this.instance.data.phase.kind === 'absent' && this.standing === undefined
  }

  /** Everything is in the store: it may leave memory. */
  get isClean(): boolean {
    return this.uncommitted.length === 0 && !this.#isSaving
  }

  get suspension(): Suspension | undefined {
    return this.standing?.suspension
  }

  /** Inputs from a sequence on that are not in the saved data, in order, with what was decided about them. */
  waiting(store: OrderedStore, fromSeq: number, limit: number, endSeq = Infinity): Input[] {
    const inputs: Input[] = []
    for (const input of this.#inputs(store, fromSeq, endSeq)) {
      if (inputs.length === limit) break
      inputs.push(input)
    }
    return inputs
  }

  /** The input of a sequence, if it is behind the saved data. */
  find(store: OrderedStore, seq: number): Input | undefined {
    return this.waiting(store, seq, 1, seq + 1)[0]
  }

  /** Inputs that wait where the instance stands, counted up to a limit. */
  countWaiting(store: OrderedStore, limit: number): number {
    return this.standing === undefined ? 0 : this.waiting(store, this.standing.from, limit).length
  }

  /** Decides about an input that is in the tail, whether it was applied or not. */
  mark(input: Input): void {
    if (this.#marks === NO_MARKS) this.#marks = new Map()
    this.#marks.set(input.seq, input)
  }

  suspend(seq: number, error: unknown, culprit?: Culprit): void {
    const { pause, heldFrom } = this.standing ?? { pause: undefined, heldFrom: undefined }
    const suspension = {
      seq,
      error: toPlainError(error, 'HANDLER_FAILED'),
      ...(culprit === undefined ? {} : { culprit }),
    }
    this.standing = { from: seq, suspension, pause, heldFrom }
  }

  /**
   * Makes the instance anew from the store and the inputs that are not in it, up to where it stands; effects are not given again, but for those of the
   * turn at `freshSeq`, whose input has just been marked. An input that goes wrong this time suspends the instance in front of it. `checkStates` looks
   * at every turn whether its state could be saved.
   */
  async rebuild(
    store: OrderedStore,
    { checkStates = false, freshSeq }: { readonly checkStates?: boolean; readonly freshSeq?: number } = {},
  ): Promise<readonly Effect[]> {
    for (;;) {
      const covered = this.#coveredInStore(store)
      this.instance = this.#restore(store, store.get('record', recordKey(this.partition, this.key)))
      const { failed, fresh } = await this.#foldAgain(store, checkStates, freshSeq)
      // A batch that was on its way has taken rows away meanwhile, and given a later base.
      if (this.#coveredInStore(store) !== covered) continue
      if (failed === undefined) return fresh
      this.suspend(failed.seq, failed.error)
    }
  }

  /** Reads the saved data again after a suspension for its misfit. Inputs behind them are not applied; it may be suspended again. */
  restoreAgain(store: OrderedStore): void {
    this.#watch?.forgive(this.key)
    this.instance = this.#restore(store, store.get('record', recordKey(this.partition, this.key)))
    if (this.misfit !== undefined) this.#suspendMisfit(this.misfit)
  }

  /**
   * Adds to a batch what saves the instance, and counts its inputs as being committed.
   *
   * @throws INVALID_STATE when its state cannot be kept; nothing was added then.
   */
  collect(store: OrderedStore, writes: Write[], counts: StatusCounts): void {
    if (!this.exists) {
      this.uncommitted = []
      return
    }
    const before = this.#saved
    const { isQuiescent, data, base } = this.instance
    if (isQuiescent && this.isAbsent) this.#collectNothing(store, writes)
    else if (isQuiescent && this.standing === undefined) this.#collectData(store, writes)
    else if (isQuiescent && data.phase.kind !== 'absent' && data.seq > (this.#saved?.coveredSeq ?? 0)) {
      // What it stands at is in the tail; everything before is in its data.
      this.#collectData(store, writes)
      this.#collectTail(store, writes, data.seq)
    } else {
      if (this.suspension === undefined) this.#gaugeState()
      if (base !== undefined) this.#collectBase(base, store, writes)
      this.#collectTail(store, writes, base?.data.seq ?? 0)
    }
    collectIndex(this.partition, this.key, before, this.#saved, writes)
    counts.change(this.key, before?.status, this.#saved?.status)
    this.instance.base = undefined
    this.committing = this.uncommitted
    this.uncommitted = []
    this.#marksCommitting = this.#marks
    this.#marks = NO_MARKS
    this.#isSaving = true
  }

  /** The batch that held `committing` is in the store. */
  committed(): void {
    this.committing = []
    this.#marksCommitting = NO_MARKS
    this.#isSaving = false
    this.#forgottenSeq = 0
  }

  /** The instance is forgotten: nothing of it stays in the store. */
  #collectNothing(store: OrderedStore, writes: Write[]): void {
    writes.push({ table: 'record', key: recordKey(this.partition, this.key), value: undefined })
    for (const table of ['tail', 'ids'] as const)
      for (const { key } of store.range(table, instanceRange(this.partition, this.key)))
        writes.push({ table, key, value: undefined })
    this.#saved = undefined
    this.#hasTail = false
    this.#forgottenSeq = this.instance.data.seq
    this.weight = RESIDENT_BYTES
  }

  #collectData(store: OrderedStore, writes: Write[]): void {
    const { data } = this.instance
    const bytes = encodeChecked(data)
    this.#saved = {
      status: this.#status,
      startedMs: data.phase.kind === 'absent' ? 0 : data.phase.startedMs,
      coveredSeq: data.seq,
      standing: this.standing,
      closedMs: data.phase.kind === 'closed' ? data.phase.timeMs : undefined,
      attributes: data.attributes,
    }
    writes.push({ table: 'record', key: recordKey(this.partition, this.key), value: encodeRecord(this.#saved, bytes) })
    this.#dropTail(store, writes, this.standing === undefined ? undefined : data.seq)
    this.#hasTail = this.standing !== undefined
    if (this.instance.base !== undefined) this.#collectBlocks(this.instance.base.blocks, writes)
    this.#collectBlocks(data.known.takeChanges(), writes)
    this.#gauge = undefined
    this.weight = RESIDENT_BYTES + bytes.length + data.known.weight
  }

  /** The instance continued as new: the record begins there, and the tail holds what came since. */
  #collectBase({ data, known, blocks }: Base, store: OrderedStore, writes: Write[]): void {
    const bytes = encodeChecked(data, known)
    this.#dropTail(store, writes, data.seq)
    this.#collectBlocks(blocks, writes)
    this.#saved = { ...this.#tailSummary(), coveredSeq: data.seq }
    writes.push({ table: 'record', key: recordKey(this.partition, this.key), value: encodeRecord(this.#saved, bytes) })
    this.#gauge = undefined
    this.weight = RESIDENT_BYTES + bytes.length + this.instance.data.known.weight
  }

  /** While code waits its state is not written. @throws INVALID_STATE when it is too large */
  #gaugeState(): void {
    this.#gauge ??= new StateGauge()
    if (!this.#gauge.isDue(this.uncommitted.length)) return
    const before = this.#gauge.bytes
    this.#gauge.look(this.instance.data.state)
    this.weight += this.#gauge.bytes - before
  }

  /** Removes the stored tail up to a sequence, or whole. */
  #dropTail(store: OrderedStore, writes: Write[], untilSeq: number | undefined): void {
    if (!this.#hasTail) return
    const last = untilSeq === undefined ? undefined : tailKey(this.partition, this.key, untilSeq)
    for (const { key } of store.range('tail', instanceRange(this.partition, this.key))) {
      if (last !== undefined && key > last) return
      writes.push({ table: 'tail', key, value: undefined })
    }
  }

  #collectBlocks({ write, remove }: BlockChanges, writes: Write[]): void {
    for (const [block, value] of write)
      writes.push({ table: 'ids', key: blockKey(this.partition, this.key, block), value })
    for (const block of remove)
      writes.push({ table: 'ids', key: blockKey(this.partition, this.key, block), value: undefined })
  }

  #collectTail(store: OrderedStore, writes: Write[], coveredSeq: number): void {
    const behind = this.uncommitted.filter(({ seq }) => seq > coveredSeq)
    for (const input of [...behind, ...[...this.#marks.values()].filter(({ seq }) => seq > coveredSeq)])
      writes.push({ table: 'tail', key: tailKey(this.partition, this.key, input.seq), value: encodeInput(input) })
    this.#hasTail = true
    this.weight += behind.reduce((sum, { payload }) => sum + payload.length + KNOWN_ID_BYTES, 0)
    const summary = this.#tailSummary()
    if (
      this.#saved !== undefined &&
      this.#saved.status === summary.status &&
      this.#saved.standing === summary.standing &&
      this.#saved.attributes === summary.attributes
    )
      return
    const key = recordKey(this.partition, this.key)
    const base =
      this.#saved === undefined ? NO_BYTES : dataBytes(store.get('record', key) ?? encodeRecord(summary, NO_BYTES))
    writes.push({ table: 'record', key, value: encodeRecord(summary, base) })
    this.#saved = summary
  }

  #tailSummary(): Summary {
    const { phase, attributes } = this.instance.data
    return {
      status: this.#status,
      startedMs: phase.kind === 'absent' ? (this.uncommitted[0]?.timeMs ?? 0) : phase.startedMs,
      coveredSeq: this.#saved?.coveredSeq ?? 0,
      standing: this.standing,
      closedMs: phase.kind === 'closed' ? phase.timeMs : undefined,
      attributes,
    }
  }

  get #status(): Summary['status'] {
    if (this.standing?.suspension !== undefined) return 'suspended'
    return this.standing?.pause === undefined ? statusOf(this.instance.data.phase) : 'paused'
  }

  #restore(store: OrderedStore, saved: Uint8Array | undefined): Instance {
    const data = saved === undefined ? NO_BYTES : dataBytes(saved)
    this.misfit = undefined
    if (data.length === 0) return new Instance(this.key, this.implementation)
    const loadBlock = (block: number): Uint8Array =>
      store.get('ids', blockKey(this.partition, this.key, block)) ?? missingBlock(this.key, block)
    const instance = new Instance(
      this.key,
      this.implementation,
      decodeData(data, this.implementation.knownIdsMax, loadBlock),
    )
    this.misfit = this.#watch === undefined ? migrateState(instance) : this.#watch.migrate(instance)
    return instance
  }

  /** In front of everything that the saved data do not hold, a renewal included. */
  #suspendMisfit({ error }: Misfit): void {
    this.suspend(this.instance.data.seq, error)
  }

  async #foldAgain(
    store: OrderedStore,
    checkStates: boolean,
    freshSeq: number | undefined,
  ): Promise<{
    readonly failed: { readonly seq: number; readonly error: unknown } | undefined
    readonly fresh: readonly Effect[]
  }> {
    const { data } = this.instance
    let fresh: readonly Effect[] = []
    if (this.misfit !== undefined) {
      this.#suspendMisfit(this.misfit)
      return { failed: undefined, fresh }
    }
    const endSeq = this.standing?.from ?? Infinity
    if (data.renewal !== undefined && endSeq > data.seq) {
      const result = await (this.#watch?.takeUp(this.instance) ?? takeUp(this.instance))
      if (result.kind === 'poisoned') return { failed: { seq: data.seq, error: result.error }, fresh }
    }
    const gauge = new StateGauge()
    this.#foldedTurns = 0
    let last = 0
    for (const input of this.#inputs(store, 0, endSeq)) {
      this.#foldedTurns += 1
      last = input.seq
      const result = await (this.#watch?.run(this.instance, input) ?? applyInput(this.instance, input))
      if (result.kind === 'poisoned') return { failed: { seq: input.seq, error: result.error }, fresh }
      if (input.seq === freshSeq) fresh = result.effects
      if (!checkStates) continue
      try {
        const { base, data: now, isQuiescent } = this.instance
        if (base !== undefined) encodeChecked(base.data, base.known)
        if (isQuiescent) encodeChecked(now)
        else if (gauge.isDue(1)) gauge.look(now.state)
      } catch (error) {
        return { failed: { seq: input.seq, error }, fresh }
      }
    }
    if (!checkStates || last === 0 || this.instance.isQuiescent) return { failed: undefined, fresh }
    try {
      gauge.look(this.instance.data.state)
    } catch (error) {
      return { failed: { seq: last, error }, fresh }
    }
    return { failed: undefined, fresh }
  }

  /**
   * Inputs behind the saved data, from one sequence up to another: from the store, from the batch on its way (the store may show it already), from
   * memory.
   */
  *#inputs(store: OrderedStore, fromSeq: number, endSeq: number): Generator<Input> {
    let last = Math.max(this.#coveredInStore(store), fromSeq - 1)
    const from = tailKey(this.partition, this.key, last + 1)
    const to =
      endSeq === Infinity ? instanceRange(this.partition, this.key).to : tailKey(this.partition, this.key, endSeq)
    for (const { value } of store.range('tail', { from, to })) {
      const input = decodeInput(value)
      last = input.seq
      yield this.#marked(input)
    }
    for (const input of [...this.committing, ...this.uncommitted]) {
      if (input.seq <= last || input.seq >= endSeq) continue
      last = input.seq
      yield this.#marked(input)
    }
  }

  #marked(input: Input): Input {
    return this.#marks.get(input.seq) ?? this.#marksCommitting.get(input.seq) ?? input
  }

  #coveredInStore(store: OrderedStore): number {
    const saved = store.get('record', recordKey(this.partition, this.key))
    return saved === undefined ? this.#forgottenSeq : decodeSummary(saved).coveredSeq
  }
}

function missingBlock(key: InstanceKey, block: number): never {
  throw new CarillonError(
    'SNAPSHOT_DAMAGED',
    `block ${block} of the known ids of ${key} is missing from the store: set the data folder aside, it is rebuilt from the journal`,
  )
}

/** @throws INVALID_STATE when the data cannot be kept. */
function encodeChecked(data: InstanceData, known?: KnownHead): Uint8Array {
  const bytes = encodeData(data, known)
  if (bytes.length <= INSTANCE_LIMITS.stateBytes) return bytes
  throw new CarillonError(
    'INVALID_STATE',
    `the state has ${bytes.length} bytes, over ${INSTANCE_LIMITS.stateBytes}: keep less in one instance, or more instances`,
  )
}
