/**
 * One partition: the fold of its journal over its instances.
 *
 * Owns: which instances are in memory, the applied position, and what the next commit holds.
 * Does not own: reading the journal, the pace of commits, running activities and timers (they are told through `PartitionSink`).
 *
 * Invariants
 * 1. States, position, pending effects, timers and known ids change in one batch (`collect`).
 * 2. Inputs are applied in rising sequence, each once; what is not above the position is skipped.
 * 3. While muted, effects are only recorded; `unmute` gives every one that is pending then.
 */
import type { ActivityCall } from '../activity/index.ts'
import type { Implementation } from '../contract/implement.ts'
import {
  answerTo,
  applyInput,
  dueKey,
  dueRange,
  type Effect,
  effectKey,
  effectRange,
  type EffectId,
  instanceOfDueKey,
  isEffectId,
  type ParsedInput,
  type Pause,
  payloadOf,
  positionKey,
  refusedChild,
  replyTo,
  seqOfEffectKey,
  type Suspension,
  timerKey,
  type TurnResult,
  withActivePatches,
} from '../core/index.ts'
import { CarillonError, type ErrorData } from '../errors.ts'
import type { OrderedStore, Write } from '../ports/index.ts'
import {
  decodeValue,
  encodeValue,
  type Input,
  type InstanceKey,
  isSampled,
  NO_BYTES,
  type Partition as PartitionNumber,
  parseKey,
  type PayloadCodecs,
  type Token,
  typeTokenOf,
} from '../protocol/index.ts'
import { type DeadLetter, decodePending, encodePending, type OutgoingSend } from './pending-effect.ts'
import { PartitionPatches } from './partition-patches.ts'
import { checkRestored } from './restore-mark.ts'
import { Resident } from './resident.ts'
import { Standings } from './standings.ts'
import { StatusCounts } from './status-counts.ts'
import { hostNowMs } from './turn-tracing.ts'
import type { PartitionWatch } from './turn-watch.ts'

const AT_ONCE_MAX = 500
/** Rows that are looked at at a time. */
const DUE_PAGE = 100
/** Pending effects that are looked at to find the first send or dead letter, and that are forgotten at a time. */
const DONE_ROWS = 100
const FORGET_ROWS = 1000
const LATE_EFFECTS_MAX = 10_000
/** Replies of the last inputs of a partition that is muted. */
const UNSAID_REPLIES_MAX = 256
/** Whoever waits longer for a reply asks for the outcome. */
const REPLY_MS_MAX = 5000

/** Where a partition's effects go once it is not muted. Calls come in the order of the effects. */
export interface PartitionSink {
  activity(partition: PartitionNumber, call: ActivityCall): void
  activityDone(partition: PartitionNumber, key: InstanceKey, id: EffectId): void
  timer(partition: PartitionNumber, key: InstanceKey, id: EffectId, dueMs: number): void
  timerDone(partition: PartitionNumber, key: InstanceKey, id: EffectId): void
  dead(partition: PartitionNumber, letter: DeadLetter): void
  send(partition: PartitionNumber, send: OutgoingSend): void
  reply(effect: Effect & { readonly kind: 'reply' }): void
  log(key: InstanceKey, effect: Effect & { readonly kind: 'log' }): void
  closed(key: InstanceKey): void
  suspended(key: InstanceKey, seq: number, error: ErrorData): void
  count(what: 'applied' | 'duplicate' | 'ignored' | 'dead' | 'suspended'): void
  /** Told right behind the turns of some inputs (`isSampled`); undefined where nobody wants to hear. */
  readonly sampled?: ((partition: PartitionNumber, resident: Resident, seq: number) => void) | undefined
  /** Told of each turn when it is over, before its effects; undefined where nobody wants to hear. */
  readonly applied?: ((key: InstanceKey, input: Input, result: TurnResult, startMs: number) => void) | undefined
}

export interface PartitionOptions {
  readonly number: PartitionNumber
  readonly store: OrderedStore
  readonly implementations: ReadonlyMap<string, Implementation>
  readonly sink: PartitionSink
  /** Undefined where this process has none. */
  readonly codecs?: PayloadCodecs | undefined
  /** Inputs that wait and that a command lets go on in its own turn; default 500. More go on in slices. */
  readonly atOnceMax?: number
  /** Undefined where nobody watches the turns. */
  readonly watch?: PartitionWatch | undefined
}

export class Partition {
  readonly number: PartitionNumber
  readonly watch: PartitionWatch | undefined
  /** As of the last batch that was collected. */
  readonly counts: StatusCounts
  readonly #patches: PartitionPatches
  readonly #store: OrderedStore
  readonly #implementations: ReadonlyMap<string, Implementation>
  readonly #sink: PartitionSink
  readonly #codecs: PayloadCodecs | undefined
  readonly #residents = new Map<InstanceKey, Resident>()
  readonly #dirty = new Set<Resident>()
  #collected: Resident[] = []
  #pendingWrites = new Map<string, Write>()
  #position: number
  #savedPosition: number
  /** The position that the store shows. */
  #committedPosition: number
  /** Of what was pending when it was here, it is not known which input brought it. */
  #openedSeq: number
  #effectsDoneSeq = 0
  /** The store may show other effects than when they were looked at. */
  #areEffectsNew = true
  /** While muted: sends and dead letters of earlier inputs than the one that brought them, with its sequence. */
  readonly #lateEffects = new Map<string, number>()
  /** How far the rows of effects have been looked through for those that are done. */
  #forgottenKey: string | undefined
  /** While muted: the replies of the last inputs. */
  #unsaidReplies: { readonly reply: Effect & { readonly kind: 'reply' }; readonly atMs: number }[] = []
  #muted = true
  #weight = 0
  readonly #standings: Standings
  /** Types that are paused; undefined where none is. */
  #heldTypes: ReadonlySet<string> | undefined
  /** Instances that wait for the host alone, as far as they are known. */
  readonly #due = new Set<InstanceKey>()
  /** How far the store has been looked through for others; undefined when there are none. */
  #dueScan: { readonly after: InstanceKey | undefined } | undefined = { after: undefined }

  constructor({ number, store, implementations, sink, codecs, atOnceMax = AT_ONCE_MAX, watch }: PartitionOptions) {
    this.number = number
    this.watch = watch
    this.#store = store
    this.#patches = new PartitionPatches(store, number)
    this.#implementations = new Map(
      [...implementations].map(([type, build]) => [type, withActivePatches(build, this.#patches.of(type))]),
    )
    this.#sink = sink
    this.counts = new StatusCounts(store, number)
    this.#codecs = codecs
    this.#position = readPosition(store, number)
    this.#savedPosition = this.#position
    this.#committedPosition = this.#position
    this.#openedSeq = this.#position
    this.#standings = new Standings(
      {
        store,
        turn: (resident, input) => this.#runToEnd(resident, input),
        applied: (resident, input, effects) => this.#applied(resident, input, effects),
        take: (key, effect) => this.#take(key, effect, undefined),
        activityWaits: (resident, input) => this.#activityParked(resident, input),
        tellSuspended: (key, suspension) => this.#tellSuspended(key, suspension),
        isHeld: (key) => this.isHeld(key),
        noteDue: (key, isDue) => this.#noteDue(key, isDue),
      },
      atOnceMax,
    )
  }

  /** The last applied sequence. */
  get position(): number {
    return this.#position
  }

  /** Something besides the position has to be saved. */
  get isDirty(): boolean {
    return this.#dirty.size > 0 || this.#pendingWrites.size > 0
  }

  get residents(): number {
    return this.#residents.size
  }

  /** Estimated bytes of the instances in memory. */
  get residentBytes(): number {
    return this.#weight
  }

  /** Replies of the last moments go out: whoever owned the partition until now may not have given them. */
  unmute(): void {
    this.#muted = false
    if (this.watch !== undefined) this.watch.isStandby = false
    for (const { reply, atMs } of this.#unsaidReplies.splice(0))
      if (hostNowMs() - atMs <= REPLY_MS_MAX) this.#sink.reply(reply)
  }

  /** Effects are only recorded from now on. Between two turns. */
  mute(): void {
    this.#muted = true
    if (this.watch !== undefined) this.watch.isStandby = true
    this.#openedSeq = this.#position
    this.#forgottenKey = undefined
  }

  /** Every send and dead letter of inputs up to here is stored, and none of earlier inputs can come any more but by a command in the journal. */
  get effectsDoneSeq(): number {
    // Rows change with commits only.
    if (!this.#areEffectsNew || this.#heldTypes !== undefined || this.hasDue) return this.#effectsDoneSeq
    this.#areEffectsNew = false
    let done = this.#committedPosition
    let rows = 0
    for (const { key, value } of this.#store.range('effect', effectRange(this.number, undefined, DONE_ROWS))) {
      rows += 1
      if (rows < DONE_ROWS && decodePending(value).kind === 'activity') continue
      done = Math.min(done, seqOfEffectKey(key) - 1)
      break
    }
    this.#effectsDoneSeq = Math.max(this.#effectsDoneSeq, done)
    return this.#effectsDoneSeq
  }

  /** While muted: the owner has stored every send and dead letter of inputs up to here. Those that came by a later input are kept. */
  forgetEffects(throughSeq: number): void {
    if (!this.#muted || throughSeq < this.#openedSeq) return
    for (const [key, seq] of this.#lateEffects) if (seq <= throughSeq) this.#lateEffects.delete(key)
    let last: string | undefined
    let rows = 0
    for (const { key, value } of this.#store.range(
      'effect',
      effectRange(this.number, this.#forgottenKey, FORGET_ROWS),
    )) {
      if (seqOfEffectKey(key) > throughSeq) break
      rows += 1
      last = key
      if (this.#lateEffects.has(key) || decodePending(value).kind === 'activity') continue
      this.#write({ table: 'effect', key, value: undefined })
    }
    this.#forgottenKey = rows === FORGET_ROWS ? last : undefined
  }

  /** Moves the position over sequences that hold nothing for this partition. */
  skipTo(seq: number): void {
    if (seq > this.#position) this.#position = seq
  }

  /** Applies one message of the journal. Synchronous unless user code or a rebuild is not. */
  apply(seq: number, subject: string, parsed: ParsedInput, malformed: () => Input): void | Promise<void> {
    if (seq <= this.#position) return
    this.#position = seq
    if (parsed.kind === 'malformed')
      return this.#bury(undefined, { kind: 'dead', id: `${seq}.0`, input: malformed(), reason: parsed.reason }, subject)
    if (parsed.kind === 'patch') return this.#activate(parsed.type, parsed.patch, seq)
    const { key, input } = parsed
    if (parsed.kind === 'refused') return this.#refuse(key, input, parsed.reason)
    const implementation = this.#implementations.get(typeTokenOf(key))
    if (implementation === undefined) return this.#refuse(key, input, unknownType(key))
    const resident = this.#residents.get(key)
    if (resident !== undefined) {
      resident.isRecent = true
      return this.#receive(resident, input)
    }
    const loaded = this.#load(key, implementation)
    return loaded instanceof Promise
      ? loaded.then((ready) => this.#receive(ready, input))
      : this.#receive(loaded, input)
  }

  /** An instance for reading, or undefined when there is none. @throws UNKNOWN_TYPE */
  async find(key: InstanceKey): Promise<Resident | undefined> {
    const implementation = this.#implementations.get(typeTokenOf(key))
    if (implementation === undefined) {
      const { code, message } = unknownType(key)
      throw new CarillonError(code, message)
    }
    const resident = this.#residents.get(key) ?? (await this.#load(key, implementation))
    if (!resident.isAbsent) return resident
    if (!resident.exists && resident.isClean) this.#drop(resident)
    return undefined
  }

  /** Whether the type of an instance is paused: its inputs wait. */
  isHeld(key: InstanceKey): boolean {
    return this.#heldTypes?.has(typeTokenOf(key)) === true
  }

  /** Types whose instances take no inputs from now on. Instances of the others go on by `goOn`. */
  hold(types: ReadonlySet<string>): void {
    const isReleased = [...(this.#heldTypes ?? [])].some((type) => !types.has(type))
    this.#heldTypes = types.size === 0 ? undefined : types
    if (!isReleased) return
    this.#dueScan = { after: undefined }
    // Those that the store does not show yet are in memory.
    for (const { key, isDue } of this.#residents.values()) if (isDue) this.#due.add(key)
  }

  /** True while instances may wait for the host alone. */
  get hasDue(): boolean {
    return this.#due.size > 0 || this.#dueScan !== undefined
  }

  /** Lets one instance that waits for the host alone go on, for at most so many inputs. */
  async goOn(inputsMax: number): Promise<void> {
    if (this.#due.size === 0) this.#findDue()
    const [key] = this.#due
    if (key === undefined) return
    this.#due.delete(key)
    const implementation = this.#implementations.get(typeTokenOf(key))
    if (implementation === undefined) return
    const resident = this.#residents.get(key) ?? (await this.#load(key, implementation))
    this.#dirty.add(resident)
    // Behind the others: one with much does not hold them up.
    if (!(await this.#standings.goOn(resident, inputsMax))) this.#due.add(key)
  }

  /** Adds to a batch everything that has changed since the last one. Only one batch may be on its way. */
  async collect(writes: Write[]): Promise<void> {
    for (const resident of this.#dirty) {
      this.#weight -= resident.weight
      try {
        resident.collect(this.#store, writes, this.counts)
      } catch (error) {
        await this.#suspendUnsavable(resident, error)
        resident.collect(this.#store, writes, this.counts)
      }
      this.#weight += resident.weight
      this.#collected.push(resident)
    }
    this.#dirty.clear()
    this.counts.collect(writes)
    for (const write of this.#pendingWrites.values()) writes.push(write)
    this.#pendingWrites = new Map()
    if (this.#position === this.#savedPosition) return
    writes.push({ table: 'meta', key: positionKey(this.number), value: encodeValue(this.#position) })
    this.#savedPosition = this.#position
  }

  /** The batch of the last `collect` is in the store. */
  committed(): void {
    for (const resident of this.#collected) {
      resident.committed()
      if (!resident.exists && resident.isClean) this.#drop(resident)
    }
    this.#collected = []
    this.#committedPosition = this.#savedPosition
    this.#areEffectsNew = true
  }

  /** Drops instances from memory until `enough`: in the order they came, but those used since the last look get a second chance. Dirty ones stay. */
  passivate(enough: () => boolean): void {
    let looks = this.#residents.size * 2
    for (const resident of this.#residents.values()) {
      if (enough() || looks-- === 0) return
      if (!resident.isRecent && resident.isClean && !this.#dirty.has(resident)) {
        this.#drop(resident)
        continue
      }
      resident.isRecent = false
      this.#residents.delete(resident.key)
      this.#residents.set(resident.key, resident)
    }
  }

  /** A pending effect is done without an input of its instance saying so: a dead letter, or an input for another, has been stored. */
  effectDone(key: InstanceKey | undefined, id: EffectId): void {
    this.#write({ table: 'effect', key: effectKey(this.number, id, key), value: undefined })
  }

  /** A work queue has the call: it is still pending, but not sent again while that queue is there. */
  callQueued(call: ActivityCall, queue: string): void {
    const key = effectKey(this.number, call.id, call.key)
    const written = this.#pendingWrites.get(`effect/${key}`)
    const value = written === undefined ? this.#store.get('effect', key) : written.value
    if (value !== undefined) this.#write({ table: 'effect', key, value: encodePending({ ...call, queued: queue }) })
  }

  /** While catching up: the journal shows the input that a pending send asks for, so it is not sent again. */
  sendArrived(key: InstanceKey, id: EffectId, target: InstanceKey): void {
    const row = effectKey(this.number, id, key)
    const written = this.#pendingWrites.get(`effect/${row}`)
    const value = written === undefined ? this.#store.get('effect', row) : written.value
    if (value === undefined) return
    const effect = decodePending(value)
    if (effect.kind === 'send' && effect.target === target) this.effectDone(key, id)
  }

  /** Patches that this build declares and the journal has not shown. */
  *missingPatches(): Iterable<{ readonly type: Token; readonly patch: string }> {
    for (const [type, { patches }] of this.#implementations)
      for (const patch of patches ?? []) if (!this.#patches.of(type).has(patch)) yield { type: type as Token, patch }
  }

  /** Patches that the journal has shown and this build does not declare, of types that it runs: `<type>: <patch>`. */
  strangePatches(): readonly string[] {
    const strange = [...this.#implementations].map(([type, { patches, contract }]) =>
      [...this.#patches.of(type).keys()]
        .filter((patch) => patches?.has(patch) !== true)
        .map((patch) => `${contract.name}: ${patch}`),
    )
    return strange.flat()
  }

  #activate(type: Token, patch: string, seq: number): void {
    const write = this.#patches.activate(type, patch, seq)
    if (write === undefined) this.#sink.count('ignored')
    else this.#write(write)
  }

  #load(key: InstanceKey, implementation: Implementation): Resident | Promise<Resident> {
    const keep = (resident: Resident): Resident => {
      if (resident.misfit !== undefined) this.#misfitFound(resident)
      this.#residents.set(key, resident)
      this.#weight += resident.weight
      return resident
    }
    const loaded = Resident.load(this.#store, this.number, key, implementation, this.watch)
    return loaded instanceof Promise ? loaded.then(keep) : keep(loaded)
  }

  /** Its suspension is saved, so that lists show it. */
  #misfitFound(resident: Resident): void {
    this.#dirty.add(resident)
    if (resident.suspension === undefined) return
    this.#sink.count('suspended')
    this.#sink.suspended(resident.key, resident.suspension.seq, resident.suspension.error)
  }

  #drop(resident: Resident): void {
    if (this.#residents.delete(resident.key)) this.#weight -= resident.weight
  }

  #receive(resident: Resident, input: Input): void | Promise<void> {
    this.#dirty.add(resident)
    resident.uncommitted.push(input)
    if (resident.standing !== undefined || (this.#heldTypes !== undefined && this.isHeld(resident.key)))
      return this.#standings.receive(resident, input)
    return this.#turn(resident, input)
  }

  #turn(resident: Resident, input: Input): void | Promise<void> {
    const result = this.#run(resident, input)
    if (result instanceof Promise) return result.then((settled) => this.#endTurn(resident, input, settled))
    return this.#endTurn(resident, input, result)
  }

  /** One turn, told to whoever traces turns; while muted, to nobody. Whoever calls it ends the watch. */
  #run(resident: Resident, input: Input): ReturnType<typeof applyInput> {
    const { applied } = this.#sink
    if (applied === undefined || this.#muted) return this.#begin(resident, input)
    const startMs = hostNowMs()
    const result = this.#begin(resident, input)
    const tell = (settled: TurnResult): TurnResult => {
      applied(resident.key, input, settled, startMs)
      return settled
    }
    return result instanceof Promise ? result.then(tell) : tell(result)
  }

  #begin({ instance }: Resident, input: Input): ReturnType<typeof applyInput> {
    return this.watch === undefined ? applyInput(instance, input) : this.watch.begin(instance, input)
  }

  async #runToEnd(resident: Resident, input: Input): Promise<TurnResult> {
    const result = await this.#run(resident, input)
    this.watch?.end()
    return result
  }

  #endTurn(resident: Resident, input: Input, result: TurnResult): void | Promise<void> {
    this.watch?.end()
    if (result.kind === 'poisoned') return this.#standings.poisoned(resident, input, result.error, result.culprit)
    this.#applied(resident, input, result.effects)
  }

  #applied(resident: Resident, { seq, trace }: Input, effects: readonly Effect[]): void {
    this.#sink.count('applied')
    if (this.#sink.sampled !== undefined && isSampled(seq)) this.#sink.sampled(this.number, resident, seq)
    for (const effect of effects) this.#take(resident.key, effect, trace)
  }

  async #suspendUnsavable(resident: Resident, error: unknown): Promise<void> {
    await resident.rebuild(this.#store, { checkStates: true })
    const { suspension } = resident
    if (suspension === undefined) throw error
    this.#tellSuspended(resident.key, suspension)
  }

  #tellSuspended(key: InstanceKey, { seq, error }: Suspension): void {
    this.#sink.count('suspended')
    this.#sink.suspended(key, seq, error)
  }

  #pause(key: InstanceKey, pause: Pause): void {
    const resident = this.#residents.get(key)
    if (resident === undefined) return
    const heldFrom = resident.standing?.heldFrom
    resident.standing = { from: pause.seq + 1, suspension: undefined, pause, heldFrom }
  }

  #noteDue(key: InstanceKey, isDue: boolean): void {
    this.#write({ table: 'meta', key: dueKey(this.number, key), value: isDue ? NO_BYTES : undefined })
    if (isDue) this.#due.add(key)
    else this.#due.delete(key)
  }

  /** Looks in the store for instances that are due, a page at a time. */
  #findDue(): void {
    if (this.#dueScan === undefined) return
    const rows = [...this.#store.range('meta', dueRange(this.number, this.#dueScan.after, DUE_PAGE))]
    for (const row of rows) {
      const key = instanceOfDueKey(row.key)
      if (!this.isHeld(key) && this.#implementations.has(typeTokenOf(key))) this.#due.add(key)
    }
    const last = rows.at(-1)
    this.#dueScan = last === undefined || rows.length < DUE_PAGE ? undefined : { after: instanceOfDueKey(last.key) }
  }

  #activityParked(resident: Resident, input: Input): void {
    const { key } = resident
    const effect = effectOf(resident, input)
    if (effect === undefined) return
    this.effectDone(key, effect)
    if (!this.#muted) this.#sink.activityDone(this.number, key, effect)
  }

  #refuse(key: InstanceKey, input: Input, reason: ErrorData): void {
    const answer = answerTo(input, { ok: false, error: reason }, () => `${input.seq}.1`)
    const { trace } = input
    if (answer !== undefined) this.#send({ ...answer, key, trace })
    else if (input.reply !== undefined)
      this.#reply(
        replyTo(input.reply, { seq: input.seq, duplicate: false, outcome: { ok: false, error: reason } }, input, key),
      )
    this.#bury(key, { kind: 'dead', id: `${input.seq}.0`, input, reason }, undefined)
    const result = refusedChild(key, input, reason, `${input.seq}.1`, this.#codecs)
    if (result !== undefined) this.#send({ ...result, key, trace })
  }

  #bury(key: InstanceKey | undefined, effect: Effect & { readonly kind: 'dead' }, subject: string | undefined): void {
    const letter: DeadLetter = { kind: 'dead', key, id: effect.id, input: effect.input, subject, reason: effect.reason }
    this.#write({ table: 'effect', key: effectKey(this.number, letter.id, key), value: encodePending(letter) })
    this.#sink.count('dead')
    if (!this.#muted) this.#sink.dead(this.number, letter)
    else this.#noteLate(letter.id, letter.key)
  }

  #send(send: OutgoingSend): void {
    this.#write({ table: 'effect', key: effectKey(this.number, send.id, send.key), value: encodePending(send) })
    if (!this.#muted) this.#sink.send(this.number, send)
    else this.#noteLate(send.id, send.key)
  }

  /** What goes on after its turn has effects with the names of that turn. */
  #noteLate(id: EffectId, key: InstanceKey | undefined): void {
    if (Number.parseInt(id, 10) === this.#position) return
    if (this.#lateEffects.size >= LATE_EFFECTS_MAX) {
      this.#lateEffects.clear()
      this.#openedSeq = this.#position
    }
    this.#lateEffects.set(effectKey(this.number, id, key), this.#position)
  }

  #reply(reply: Effect & { readonly kind: 'reply' }): void {
    if (!this.#muted) return this.#sink.reply(reply)
    this.#unsaidReplies.push({ reply, atMs: hostNowMs() })
    if (this.#unsaidReplies.length > UNSAID_REPLIES_MAX) this.#unsaidReplies.splice(0, UNSAID_REPLIES_MAX / 2)
  }

  #take(key: InstanceKey, effect: Effect, trace: string | undefined): void {
    switch (effect.kind) {
      case 'activity': {
        const call: ActivityCall = {
          kind: 'activity',
          key,
          id: effect.id,
          name: effect.name,
          input: effect.input,
          options: effect.options,
          trace,
        }
        this.#write({ table: 'effect', key: effectKey(this.number, effect.id, key), value: encodePending(call) })
        if (!this.#muted) this.#sink.activity(this.number, call)
        return
      }
      case 'activity-done':
        this.effectDone(key, effect.id)
        if (!this.#muted) this.#sink.activityDone(this.number, key, effect.id)
        return
      case 'timer':
        this.#write({
          table: 'timer',
          key: timerKey(this.number, key, effect.dueMs, effect.id),
          value: encodeValue(effect.name),
        })
        if (!this.#muted) this.#sink.timer(this.number, key, effect.id, effect.dueMs)
        return
      case 'timer-done':
        this.#write({ table: 'timer', key: timerKey(this.number, key, effect.dueMs, effect.id), value: undefined })
        if (!this.#muted) this.#sink.timerDone(this.number, key, effect.id)
        return
      case 'send':
        return this.#send(trace === undefined ? { ...effect, key } : { ...effect, key, trace })
      case 'dead':
        return this.#bury(key, effect, undefined)
      case 'reply':
        return this.#reply(effect)
      case 'log':
        if (!this.#muted) this.#sink.log(key, effect)
        return
      case 'closed':
        return this.#sink.closed(key)
      case 'pause':
        return this.#pause(key, effect.pause)
      case 'duplicate':
      case 'ignored':
        return this.#sink.count(effect.kind)
    }
  }

  /** The last write to a key counts. */
  #write(write: Write): void {
    this.#pendingWrites.set(`${write.table}/${write.key}`, write)
  }
}

function readPosition(store: OrderedStore, partition: PartitionNumber): number {
  checkRestored(store, partition)
  const saved = store.get('meta', positionKey(partition))
  return saved === undefined ? 0 : (decodeValue(saved) as number)
}

function unknownType(key: InstanceKey): ErrorData & { readonly code: 'UNKNOWN_TYPE' } {
  const { type } = parseKey(key)
  return {
    code: 'UNKNOWN_TYPE',
    message: `this node runs no workflow type ${JSON.stringify(type)}: deploy it, then send the input again with its id`,
  }
}

function effectOf(resident: Resident, input: Input): EffectId | undefined {
  try {
    const { effect } = payloadOf(resident, input) as { effect?: unknown }
    return isEffectId(effect) ? effect : undefined
  } catch {
    return undefined
  }
}
