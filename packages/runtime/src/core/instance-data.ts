/** What an instance is made of, as far as it outlives a turn. */
import type { ParentClosePolicy } from '../contract/children.ts'
import type { Input, InstanceKey, Outcome } from '../protocol/index.ts'
import type { AttributeData } from './attributes.ts'
import type { EffectId } from './effect.ts'
import { KnownIds } from './known-ids.ts'
import type { Renewal } from './renewal.ts'
import type { Repeats } from './repeats.ts'

export type Phase =
  /** There is no such instance (yet). */
  | { readonly kind: 'absent' }
  | { readonly kind: 'running'; readonly startedMs: number }
  | {
      readonly kind: 'closed'
      readonly startedMs: number
      readonly seq: number
      readonly timeMs: number
      readonly outcome: Outcome
    }

export interface SetTimer {
  readonly effect: EffectId
  readonly dueMs: number
}

/** The call that started an instance, and whose result it is. */
export interface ParentLink {
  readonly key: InstanceKey
  readonly effect: EffectId
}

export interface OpenChild {
  readonly key: InstanceKey
  readonly onParentClose: ParentClosePolicy
}

export interface InstanceData {
  phase: Phase
  /** Lives of this id so far. */
  incarnation: number
  /** The last applied input, and the latest time of any. */
  seq: number
  timeMs: number
  state: unknown
  /** The version of the implementation that the state is of. */
  stateVersion: number
  readonly known: KnownIds
  /** Timers with a handler, by name. */
  timers: Map<string, SetTimer>
  /** What few of them have besides. */
  repeats: Repeats | undefined
  /** Timers of sleeps and time-outs. */
  sleeps: Map<EffectId, number>
  /** Activities whose result has not come, with their names. */
  activities: Map<EffectId, string>
  /** Signals that no handler takes, in order, until `receive`. */
  mailbox: Input[]
  /** Updates of others whose answer has not come, with their names. */
  calls: Map<EffectId, string>
  /** Children whose result has not come. */
  children: Map<EffectId, OpenChild>
  parent: ParentLink | undefined
  /** Undefined when none is set. Replaced, never changed in place. */
  attributes: AttributeData | undefined
  /** A life that has to be begun before anything else. Set only between reading a base and taking it up. */
  renewal: Renewal | undefined
}

export function emptyData(knownIdsMax: number): InstanceData {
  return {
    phase: { kind: 'absent' },
    incarnation: 0,
    seq: 0,
    timeMs: 0,
    state: undefined,
    stateVersion: 1,
    known: new KnownIds(knownIdsMax),
    timers: new Map(),
    repeats: undefined,
    sleeps: new Map(),
    activities: new Map(),
    mailbox: [],
    calls: new Map(),
    children: new Map(),
    parent: undefined,
    attributes: undefined,
    renewal: undefined,
  }
}

/** Bounds of one instance. Reaching one in workflow code throws LIMIT_REACHED, which suspends the instance. */
export const INSTANCE_LIMITS = {
  /** Timers and sleeps set at once: each is a row that a failover must carry. */
  timers: 10_000,
  /** Activities without a result at once. */
  activities: 10_000,
  /** Tasks that are open. */
  tasks: 10_000,
  /** Updates of other instances that have not been answered. */
  calls: 10_000,
  /** Children that have not closed. */
  children: 10_000,
  /** Signals that wait for `receive`: more go to the dead letters, where they can be driven again. */
  mailbox: 100_000,
  /** Steps of one saga: each is a function in memory. */
  compensations: 10_000,
  /** Inputs that one turn sends to instances: each is a row until the journal has it. */
  sends: 10_000,
  /** Handlers of concurrent signals in progress at once: more take their turn as others do. */
  concurrent: 1000,
  /** Firings of one timer that wait for their turn: further ones are merged into the last of them. */
  firings: 1000,
  /** Lives that one turn may begin by continuing as new: more would be a loop. */
  renewals: 1000,
  /** Log lines of one turn; more are dropped, and the last one says so. */
  logLines: 1000,
  /** Encoded state in bytes: it is written whole whenever it changed. */
  stateBytes: 8 * 1024 * 1024,
  /** Encoded outcome of one update, in bytes, that is kept to answer repeats. */
  outcomeBytes: 64 * 1024,
} as const
