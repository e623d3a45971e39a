/**
 * Folds one instance again from its inputs, outside of any node: for reading states of the past, and for trying a build before it is deployed.
 *
 * Owns: a partition of its own over a store in memory, in which nothing else lives.
 * Does not own: where the inputs come from, nor what an input does. That is the core's, so suspension, resume, terminate and forgetting are as on a node.
 *
 * Invariants
 * 1. It is the fold of a node that commits after every input, with every effect given and none carried out.
 */
import { withHost } from '../contract/host.ts'
import { type Implementation, withTaskSecret } from '../contract/implement.ts'
import type { Interceptors } from '../contract/interceptors.ts'
import { digestOf, installGuards, parseInput, statusOf, type Suspension } from '../core/index.ts'
import { Partition } from '../engine/partition.ts'
import type { Resident } from '../engine/resident.ts'
import { callId } from '../activity/activity-call.ts'
import { CarillonError, type ErrorData } from '../errors.ts'
import { type LogMessage, systemClock, type Write } from '../ports/index.ts'
import {
  copyValue,
  type Description,
  encodeToken,
  type InputKind,
  type InstanceKey,
  type InstanceStatus,
  type PayloadCodecs,
  type Subjects,
  typeTokenOf,
} from '../protocol/index.ts'
import { MemoryStore } from '../testing/memory-store.ts'
import { type RefoldEffect, type RefoldOutcome, RefoldSink } from './refold-effects.ts'

export interface RefoldOptions {
  readonly subjects: Subjects
  readonly implementation: Implementation
  readonly id: string
  /** What the nodes make the tokens of tasks with: the cluster's id. */
  readonly taskSecret: string
  /** Those of the nodes; undefined for none. */
  readonly codecs?: PayloadCodecs | undefined
  /** Those of the nodes: what they do to workflow code is part of the fold. */
  readonly interceptors?: Interceptors | undefined
}

/** One input, and what the fold made of it. */
export interface RefoldStep {
  readonly seq: number
  readonly timeMs: number
  readonly kind: InputKind
  /** Empty for `start` and `cancel`. */
  readonly name: string
  readonly inputId: string | undefined
  readonly outcome: RefoldOutcome
  /** Why, where the outcome is `dead` or `suspended`. */
  readonly error: ErrorData | undefined
  readonly effects: readonly RefoldEffect[]
}

/** One instance that is being folded. */
export class Refold {
  readonly key: InstanceKey
  readonly #subjects: Subjects
  readonly #store = new MemoryStore()
  readonly #sink = new RefoldSink()
  readonly #partition: Partition
  #resident: Resident | undefined

  constructor({ subjects, implementation, id, taskSecret, codecs, interceptors }: RefoldOptions) {
    installGuards()
    const typeToken = encodeToken(implementation.contract.name, 'workflow type')
    const idToken = encodeToken(id, 'instance id')
    this.key = `${typeToken}.${idToken}`
    this.#subjects = subjects
    this.#partition = new Partition({
      number: subjects.partitionOf(typeToken, idToken),
      store: this.#store,
      implementations: new Map([
        [typeToken, withHost(withTaskSecret(implementation, taskSecret), { codecs, interceptors })],
      ]),
      sink: this.#sink,
      // There is nobody else to be held up.
      atOnceMax: Number.MAX_SAFE_INTEGER,
      codecs,
    })
    this.#partition.unmute()
  }

  /**
   * Applies the next input of the instance; or what makes a patch of its type active, which gives no step.
   *
   * @throws INVALID_ID when the message is neither.
   */
  async apply(message: LogMessage): Promise<RefoldStep | undefined> {
    const parsed = parseInput(this.#subjects, message)
    if (
      parsed.kind === 'patch' &&
      parsed.type === typeTokenOf(this.key) &&
      parsed.partition === this.#partition.number
    ) {
      await this.#partition.apply(message.seq, message.subject, parsed, neverMalformed)
      return undefined
    }
    if (parsed.kind === 'malformed' || parsed.kind === 'patch' || parsed.key !== this.key)
      throw new CarillonError('INVALID_ID', `the message at seq ${message.seq} is not an input of ${this.key}`)
    const { input } = parsed
    // A turn begins when nothing of the host waits (turn.ts, invariant 1).
    await systemClock.yield()
    this.#sink.begin(input.seq)
    await this.#partition.apply(input.seq, message.subject, parsed, () => input)
    await this.#commit()
    this.#resident = await this.#partition.find(this.key)
    this.#sink.end(this.#resident?.instance)
    const { effects, outcome, error } = this.#sink
    const { standing } = this.#resident ?? {}
    const isParked = standing !== undefined && input.seq >= standing.from && outcome === 'applied'
    const { seq, timeMs, kind, name, id: inputId } = input
    return { seq, timeMs, kind, name, inputId, outcome: isParked ? 'parked' : outcome, error, effects }
  }

  get status(): InstanceStatus | 'absent' {
    if (this.suspension !== undefined) return 'suspended'
    if (this.#resident?.standing?.pause !== undefined) return 'paused'
    return this.#resident === undefined ? 'absent' : statusOf(this.#resident.instance.data.phase)
  }

  /** Where the instance stands, if it is suspended. */
  get suspension(): Suspension | undefined {
    return this.#resident?.suspension
  }

  /** The last input that was applied; 0 for an absent instance. */
  get seq(): number {
    return this.#resident?.instance.data.seq ?? 0
  }

  /** The input with which the oldest handler or `run` in it began that is not over; undefined when there is none. */
  get waitingSince(): number | undefined {
    return this.#resident?.instance.waitingSince
  }

  /** A copy of the state; undefined for an absent instance. */
  state(): unknown {
    return copyValue(this.#resident?.instance.data.state)
  }

  /** Activities and timers whose result has not come, in words. */
  waits(): readonly string[] {
    const { data } = this.#resident?.instance ?? {}
    if (data === undefined) return []
    const activities = [...data.activities].map(([effect, name]) => formatActivity(name, callId(this.key, effect)))
    const named = [...data.timers].map(([name, { dueMs }]) => formatTimer(name, dueMs))
    return [...activities, ...named, ...[...data.sleeps.values()].map((dueMs) => formatTimer('sleep', dueMs))]
  }

  /** As `describe` gives it; undefined for an absent instance. */
  digest(): string | undefined {
    return this.#resident === undefined ? undefined : digestOf(this.#resident.instance.data)
  }

  /** What a node does at a commit: it finds states that cannot be kept, and lets go of what is forgotten. */
  async #commit(): Promise<void> {
    const writes: Write[] = []
    await this.#partition.collect(writes)
    await this.#store.commit(writes)
    this.#partition.committed()
  }
}

function neverMalformed(): never {
  throw new TypeError('a message that is not malformed is asked for as if it were')
}

/** As `Refold.waits` says it, of what a cluster describes. */
export function formatWaits({ activities, timers }: Pick<Description, 'activities' | 'timers'>): readonly string[] {
  return [
    ...activities.map(({ name, callId: id }) => formatActivity(name, id)),
    ...timers.map(({ name, dueMs }) => formatTimer(name, dueMs)),
  ]
}

function formatActivity(name: string, id: string): string {
  return `activity ${name} (${id})`
}

function formatTimer(name: string, dueMs: number): string {
  return `timer ${name} at ${new Date(dueMs).toISOString()}`
}
