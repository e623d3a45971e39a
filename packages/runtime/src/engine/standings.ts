/**
 * What becomes of the inputs of an instance that stands: they wait, commands act on it, and what waits is applied when nothing holds it up any more.
 *
 * Owns: the rules of waiting and going on; which instances are due, that is, wait for the host alone.
 * Does not own: turns and their effects (`StandingHost`), nor how it is saved (resident.ts).
 *
 * Invariants
 * 1. What waits is applied in the order of the journal, each once, and before anything that comes later.
 * 2. Every decision about an input is made from the journal alone, and stands in its tail row (`Mark`): each node, and each rebuild, decides the same.
 * 3. Holding (of a paused type, or of an instance that goes on in slices) decides when inputs are received, and never what they do.
 * 4. An instance that is due has a row in the store that says so: it goes on after a crash, though no input comes.
 */
import {
  canBeDead,
  type Culprit,
  type Effect,
  type EffectId,
  isMeant,
  isDue,
  mayGoOn,
  outcomeOfSeqCommand,
  parsePause,
  parseSeqCommand,
  parseEnding,
  refusedChild,
  replyTo,
  type Standing,
  type Suspension,
  TERMINATE_REASON,
  firedTimerOf,
  type TurnResult,
} from '../core/index.ts'
import { waitBefore } from '../contract/on-error.ts'
import type { ErrorData } from '../errors.ts'
import type { OrderedStore } from '../ports/index.ts'
import { type Input, type InstanceKey, type Mark, type Outcome, parseAsker } from '../protocol/index.ts'
import type { Resident } from './resident.ts'

/** Inputs that are read from the tail at a time. */
const PAGE = 64

/** What a partition does for its standing instances. */
export interface StandingHost {
  readonly store: OrderedStore
  /** Runs the turn of an input that is in the tail. */
  turn(resident: Resident, input: Input): TurnResult | Promise<TurnResult>
  /** Counts the turn, and takes its effects. */
  applied(resident: Resident, input: Input, effects: readonly Effect[]): void
  take(key: InstanceKey, effect: Effect): void
  /** The result of an activity waits: nobody needs to run it again. */
  activityWaits(resident: Resident, input: Input): void
  tellSuspended(key: InstanceKey, suspension: Suspension): void
  isHeld(key: InstanceKey): boolean
  /** The store is to show that the instance is due, or that it is not. */
  noteDue(key: InstanceKey, isDue: boolean): void
}

export class Standings {
  readonly #host: StandingHost
  readonly #atOnceMax: number

  /** `atOnceMax`: inputs that a command lets go on in its own turn; more go on in slices, between those of other instances. */
  constructor(host: StandingHost, atOnceMax: number) {
    this.#host = host
    this.#atOnceMax = atOnceMax
  }

  /** An input of an instance that stands, or whose type is held. It is in the tail already. */
  async receive(resident: Resident, input: Input): Promise<void> {
    if (isDue(resident.standing) || this.#host.isHeld(resident.key)) this.#hold(resident, input)
    else await this.#obey(resident, input)
    this.#note(resident)
  }

  /** The turn of an input has gone wrong. It is in the tail, and nothing of the turn has been kept. */
  async poisoned(resident: Resident, input: Input, error: unknown, culprit: Culprit | undefined): Promise<void> {
    await this.#suspend(resident, input, error, culprit)
    if (resident.suspension === undefined) await this.#drain(resident, this.#atOnceMax)
    else this.#wait(resident, input)
    this.#note(resident)
  }

  /** Applies what waits, as far as nothing holds it up; true when nothing more can be done now. */
  async goOn(resident: Resident, inputsMax: number): Promise<boolean> {
    const isDone = await this.#drain(resident, inputsMax)
    this.#note(resident)
    return isDone
  }

  #note(resident: Resident): void {
    const now = isDue(resident.standing)
    if (now === resident.isDue) return
    resident.isDue = now
    this.#host.noteDue(resident.key, now)
  }

  /** Invariant 3. */
  #hold(resident: Resident, input: Input): void {
    const { standing } = resident
    if (standing?.heldFrom === undefined)
      resident.standing = {
        from: standing?.from ?? input.seq,
        suspension: standing?.suspension,
        pause: standing?.pause,
        heldFrom: input.seq,
      }
    this.#keepHost(resident, input)
  }

  /** The input waits for what the journal says. */
  #wait(resident: Resident, input: Input): void {
    if (resident.standing === undefined) return
    this.#keepHost(resident, input)
    const { suspension } = resident.standing
    // An instance that asked waits until this one goes on; so do all others that wait for the end of a pause.
    if (suspension === undefined || input.reply === undefined || parseAsker(input.reply) !== undefined) return
    const message = `accepted as seq ${input.seq}, but the instance is suspended at seq ${suspension.seq}: ${suspension.error.message}`
    this.#reply(resident, input, {
      ok: false,
      error: { code: 'SUSPENDED', message, details: suspension.error },
    })
  }

  /** What the host has done waits now: nobody needs to run the activity, or to fire the timer, again. */
  #keepHost(resident: Resident, input: Input): void {
    if (input.kind === 'activity') return this.#host.activityWaits(resident, input)
    const fired = firedTimerOf(resident.instance, input)
    if (fired === undefined) return
    this.#host.take(resident.key, { kind: 'timer-done', id: fired.effect, dueMs: fired.dueMs })
  }

  async #obey(resident: Resident, input: Input): Promise<void> {
    const { standing } = resident
    if (standing === undefined) return
    const isRepeat = input.id !== undefined && resident.instance.data.known.get(input.id) !== undefined
    if (input.kind === 'timer' && !isRepeat) return this.#retryByTimer(resident, standing, input)
    if (input.kind !== 'admin' || isRepeat || this.#waitsAlready(resident, standing, input))
      return this.#wait(resident, input)
    switch (input.name) {
      case 'resume':
        return this.#resume(resident, standing, input)
      case 'retry':
      case 'skip':
        return this.#trySeq(resident, standing, input, input.name)
      case 'terminate':
        return this.#terminate(resident, standing, input)
      case 'pause':
        return this.#pause(resident, standing, input)
      default:
        return this.#wait(resident, input)
    }
  }

  /** True for a repeat of a command that has taken effect: its id is known only once its place in the order is reached. */
  #waitsAlready(resident: Resident, { from }: Standing, { id, seq }: Input): boolean {
    if (id === undefined) return false
    for (let at = from; at < seq;) {
      const page = resident.waiting(this.#host.store, at, PAGE, seq)
      if (page.some((other) => other.id === id)) return true
      at = (page.at(-1)?.seq ?? seq) + 1
    }
    return false
  }

  /** Everything that waits is applied, in order, with the code as it is now; the command at its place, behind it. */
  async #resume(resident: Resident, standing: Standing, command: Input): Promise<void> {
    this.#lift(resident, standing, undefined)
    await this.#drain(resident, this.#atOnceMax)
    if (resident.suspension !== undefined) this.#wait(resident, command)
  }

  async #trySeq(resident: Resident, standing: Standing, command: Input, name: 'retry' | 'skip'): Promise<void> {
    const payload = parsed(() => parseSeqCommand(resident.instance, command))
    // A malformed one is a dead letter at its place.
    if (payload === undefined) return this.#wait(resident, command)
    const { suspension, pause } = standing
    const isMeant = suspension?.seq === payload.seq
    if (isMeant && name === 'retry') {
      if (this.#lift(resident, standing, pause)) await this.#applyNext(resident)
    }
    const isObeyed = isMeant && (name === 'retry' || (await this.#skip(resident, standing, suspension)))
    this.#decide(resident, command, outcomeOfSeqCommand(name, isObeyed))
    await this.#drain(resident, this.#atOnceMax)
  }

  async #retryByTimer(resident: Resident, standing: Standing, firing: Input): Promise<void> {
    const { suspension, pause } = standing
    const retry = suspension?.retry
    if (retry === undefined || pause !== undefined || firedTimerOf(resident.instance, firing)?.effect !== retry.effect)
      return this.#wait(resident, firing)
    const { effect: id, dueMs, tries } = retry
    // Never early by the journal's clock.
    if (firing.timeMs < dueMs) return this.#host.take(resident.key, { kind: 'timer', id, name: RETRY, dueMs })
    if (!this.#lift(resident, standing, undefined)) return
    await this.#applyNext(resident, { tries, atMs: firing.timeMs })
    await this.#drain(resident, this.#atOnceMax)
  }

  /** The command closes the life in front of the first input that waits; what waits is behind the close. */
  async #terminate(resident: Resident, standing: Standing, command: Input): Promise<void> {
    const payload = parsed(() => parseEnding(resident.instance, command))
    const first = await this.#firstNew(resident)
    if (payload === undefined || first === undefined) return this.#wait(resident, command)
    const { reason = TERMINATE_REASON, parent } = payload
    const { suspension } = standing
    const isMine =
      parent === undefined ||
      isMeant(resident.instance, payload) ||
      // It is suspended at its very start.
      refusedChild(resident.key, first, NO_ERROR, '0.0', resident.implementation.host?.codecs)?.target === parent.key
    if (!isMine) return this.#wait(resident, command)
    if (!this.#lift(resident, resident.standing ?? standing, undefined)) return this.#wait(resident, command)
    if (suspension === undefined || !canBeDead(resident.instance, first))
      this.#mark(resident, first, { terminate: reason })
    else this.#mark(resident, first, { terminate: reason, dead: suspension.error })
    this.#decide(resident, first.seq === command.seq ? withMark(command, { terminate: reason }) : command, { ok: true })
    await this.#drain(resident, this.#atOnceMax)
  }

  /** The first input that waits, behind repeats: those change nothing, not even where a life closes. */
  async #firstNew(resident: Resident): Promise<Input | undefined> {
    for (;;) {
      const { standing } = resident
      const first = standing === undefined ? undefined : resident.waiting(this.#host.store, standing.from, 1)[0]
      if (first?.id === undefined || resident.instance.data.known.get(first.id) === undefined) return first
      await this.#apply(resident, first)
    }
  }

  /** An instance that is suspended is paused besides. */
  #pause(resident: Resident, standing: Standing, command: Input): void {
    const payload = parsed(() => parsePause(resident.instance, command))
    if (payload === undefined) return this.#wait(resident, command)
    const { seq, timeMs } = command
    resident.standing = { ...standing, pause: standing.pause ?? { seq, timeMs, ...payload } }
    this.#decide(resident, command, { ok: true })
  }

  /** Nothing suspends the instance any more; false where its saved state still does not fit the code. */
  #lift(resident: Resident, { from, suspension, heldFrom }: Standing, pause: Standing['pause']): boolean {
    const retry = suspension?.retry
    if (retry !== undefined) this.#host.take(resident.key, { kind: 'timer-done', id: retry.effect, dueMs: retry.dueMs })
    resident.standing = { from, suspension: undefined, pause, heldFrom }
    if (resident.misfit !== undefined) resident.restoreAgain(this.#host.store)
    return resident.suspension === undefined
  }

  /**
   * Leaves out what went wrong: the input whose handler threw, where nothing of that is kept; else the handler ends where it threw. True when the instance
   * got past the input at which it was suspended.
   */
  async #skip(resident: Resident, standing: Standing, suspension: Suspension): Promise<boolean> {
    const { store } = this.#host
    const { seq, error, culprit } = suspension
    const at = resident.find(store, seq)
    const isOwn = culprit?.isNew === true
    const target = isOwn ? resident.find(store, culprit.seq) : at
    const canDie = isOwn || (culprit === undefined && target !== undefined && canBeDead(resident.instance, target))
    // It has been tried: something else than a handler goes wrong, and that cannot be left out.
    if (at === undefined || target === undefined || (!canDie && at.mark?.lenient === true)) return false
    if (!this.#lift(resident, standing, standing.pause)) return false
    this.#mark(resident, target, canDie ? { dead: error } : { lenient: true })
    if (target.seq < seq) {
      const effects = await resident.rebuild(store, { freshSeq: target.seq })
      for (const effect of effects) this.#host.take(resident.key, effect)
      if (resident.suspension !== undefined) return false
    }
    return this.#applyNext(resident)
  }

  /** Applies the first input that waits. False when it went wrong, or there is none. */
  async #applyNext(resident: Resident, retried?: Retried): Promise<boolean> {
    const { standing } = resident
    const input = standing === undefined ? undefined : resident.waiting(this.#host.store, standing.from, 1)[0]
    return input !== undefined && this.#apply(resident, input, retried)
  }

  async #apply(resident: Resident, input: Input, retried?: Retried): Promise<boolean> {
    const result = await this.#host.turn(resident, input)
    if (result.kind === 'poisoned') {
      await this.#suspend(resident, input, result.error, result.culprit, retried)
      return resident.suspension === undefined
    }
    this.#passed(resident, input)
    this.#host.applied(resident, input, result.effects)
    return true
  }

  #passed(resident: Resident, { seq }: Input): void {
    if (resident.standing !== undefined) resident.standing = { ...resident.standing, from: seq + 1 }
  }

  /** The instance is made anew up to the input, and stands in front of it, unless its type's policy gets it past that. */
  async #suspend(
    resident: Resident,
    input: Input,
    error: unknown,
    culprit: Culprit | undefined,
    retried?: Retried,
  ): Promise<void> {
    if (input.mark?.lenient === true && culprit?.isNew !== true) resident.mark(withoutLenience(input))
    resident.suspend(input.seq, error, culprit)
    await resident.rebuild(this.#host.store)
    const { suspension } = resident
    // An input that had been applied goes wrong now: that is the code's fault, and never the input's.
    const isFirst = suspension?.seq === input.seq
    if (isFirst && (await this.#goByPolicy(resident, suspension, input, retried))) return
    if (resident.suspension !== undefined) this.#host.tellSuspended(resident.key, resident.suspension)
  }

  /** True when the instance got past the input (invariant 2). What is not the input's fault suspends under every policy. */
  async #goByPolicy(
    resident: Resident,
    suspension: Suspension,
    input: Input,
    retried: Retried = { tries: 0, atMs: input.timeMs },
  ): Promise<boolean> {
    const { standing } = resident
    const { onError } = resident.implementation
    if (standing === undefined || BEYOND_THE_INPUT.has(suspension.error.code)) return false
    // What was decided about it before has not helped; a handler that began only now is another matter.
    if (input.mark !== undefined && suspension.culprit?.isNew !== true) return false
    const { tries, atMs } = retried
    if (tries < onError.retries) {
      const effect: EffectId = `${input.seq}.${RETRY_PLACE + tries}`
      const dueMs = atMs + waitBefore(onError, tries)
      resident.standing = { ...standing, suspension: { ...suspension, retry: { tries: tries + 1, effect, dueMs } } }
      this.#host.take(resident.key, { kind: 'timer', id: effect, name: RETRY, dueMs })
      return false
    }
    return onError.finally === 'dead-letter' && this.#skip(resident, standing, suspension)
  }

  /** True when nothing more can be done now. */
  async #drain(resident: Resident, inputsMax: number): Promise<boolean> {
    let left = inputsMax
    for (;;) {
      const { standing } = resident
      if (standing === undefined || this.#host.isHeld(resident.key)) return true
      const isReceived = mayGoOn(standing) && standing.from < (standing.heldFrom ?? Infinity)
      // What is held waits until everything in front of it was applied, or waits for what the journal says.
      if (!isReceived && standing.heldFrom === undefined && !mayGoOn(standing)) return true
      if (left <= 0) return false
      const endSeq = isReceived ? (standing.heldFrom ?? Infinity) : Infinity
      const fromSeq = isReceived ? standing.from : (standing.heldFrom ?? standing.from)
      const page = resident.waiting(this.#host.store, fromSeq, Math.min(PAGE, left), endSeq)
      if (page.length === 0) {
        this.#reachedEnd(resident, standing, isReceived)
        continue
      }
      left -= page.length
      await this.#drainPage(resident, page, isReceived)
    }
  }

  /** A command among what is held may have let go on what comes behind it: then the rest of the page is stale. */
  async #drainPage(resident: Resident, page: readonly Input[], isReceived: boolean): Promise<void> {
    for (const input of page) {
      const { standing } = resident
      if (standing === undefined) return
      if (isReceived) {
        if (input.seq < standing.from || !mayGoOn(standing)) return
        await this.#apply(resident, input)
        continue
      }
      if (standing.heldFrom === undefined || input.seq < standing.heldFrom) return
      if (mayGoOn(standing)) {
        if (standing.from < standing.heldFrom) return
        resident.standing = { ...standing, from: input.seq, heldFrom: input.seq + 1 }
        if (!(await this.#apply(resident, input))) this.#wait(resident, input)
      } else {
        resident.standing = { ...standing, heldFrom: input.seq + 1 }
        await this.#obey(resident, input)
      }
    }
  }

  #reachedEnd(resident: Resident, standing: Standing, isReceived: boolean): void {
    const { heldFrom } = standing
    if (!isReceived && mayGoOn(standing)) resident.standing = undefined
    else if (!isReceived) resident.standing = { ...standing, heldFrom: undefined }
    else resident.standing = heldFrom === undefined ? undefined : { ...standing, from: heldFrom }
  }

  /** The command takes effect now; at its place in the order it only leaves its id and its outcome. */
  #decide(resident: Resident, command: Input, outcome: Outcome): void {
    this.#mark(resident, { ...command, reply: undefined }, { outcome })
    this.#reply(resident, command, outcome)
  }

  /** Adds to what was decided about an input. */
  #mark(resident: Resident, input: Input, mark: Mark): void {
    resident.mark(withMark(input, mark))
  }

  #reply({ key }: Resident, input: Input, outcome: Outcome): void {
    const { seq, reply } = input
    if (reply !== undefined) this.#host.take(key, replyTo(reply, { seq, duplicate: false, outcome }, input, key))
  }
}

/** A retry that a timer asked for: how many there have been, and when. */
interface Retried {
  readonly tries: number
  readonly atMs: number
}

/** What another build, or a key, would mend; and what another node may judge otherwise, so that nothing else may follow from it (invariant 2). */
const BEYOND_THE_INPUT: ReadonlySet<string> = new Set([
  'UNKNOWN_VERSION',
  'UNKNOWN_CODEC',
  'TURN_ENDLESS',
  'TURN_CRASHED',
])
const RETRY = 'retry'
/** The index of an input's first retry: no turn has so many effects. */
const RETRY_PLACE = 6_000_000
const NO_ERROR: ErrorData = { code: 'TERMINATED', message: '' }

/** Undefined where the command says nothing that could be obeyed: what becomes of it is decided at its place. */
function parsed<T>(parse: () => T): T | undefined {
  try {
    return parse()
  } catch {
    return undefined
  }
}

function withMark(input: Input, mark: Mark): Input {
  return { ...input, mark: { ...input.mark, ...mark } }
}

function withoutLenience(input: Input): Input {
  const { mark, ...plain } = input
  const { lenient: _, ...rest } = mark ?? {}
  return Object.keys(rest).length === 0 ? plain : { ...plain, mark: rest }
}
