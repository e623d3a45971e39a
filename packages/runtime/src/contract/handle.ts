/** What a handle on an instance takes and gives, be it a client's or a test world's. */
import type { InputKind } from '../protocol/index.ts'
import type { Args, FieldOf, SignalNames, SignalSchema, UpdateNames, UpdateOf } from './context.ts'
import type { ContractShape } from './contract.ts'
import type { Duration } from './duration.ts'
import type { InputOf, OutputOf } from './schema.ts'

/** How one input is sent. */
export interface SendOptions {
  /** The idempotency key: the instance applies one input of an id, and answers repeats with its outcome. Made up when absent. */
  readonly id?: string | undefined
  /** `accepted` (the default) resolves when the input is durable, `applied` when its handler is done, or rejects with its error. */
  readonly wait?: 'accepted' | 'applied' | undefined
  /** How long `applied` waits; default 30,000. */
  readonly timeoutMs?: number | undefined
  /** W3C trace context, handed on to the workflow, what it sends, and its activities. */
  readonly traceparent?: string | undefined
  /** Goes with `traceparent`. */
  readonly tracestate?: string | undefined
}

/** What a start does to what is there. */
export interface StartRules {
  /**
   * When the instance runs already: `fail` (the default of `start`) tells a sender that waits ALREADY_STARTED, `use` goes on with it, `terminate`
   * ends it as failed and starts anew, in the same step.
   */
  readonly ifRunning?: 'fail' | 'use' | 'terminate' | undefined
  /** When it has run and closed: `restart` begins a new life, `fail` tells a sender that waits CLOSED. Default: as its type says, or `restart`. */
  readonly ifClosed?: 'restart' | 'fail' | undefined
  /** How long a new life waits before it does anything; inputs wait behind it, in order. */
  readonly startDelay?: Duration | undefined
}

export interface StartOptions extends SendOptions, StartRules {}

export interface UpdateOptions {
  readonly id?: string | undefined
  readonly timeoutMs?: number | undefined
  readonly traceparent?: string | undefined
  readonly tracestate?: string | undefined
}

/**
 * Which node answers a read: the `owner` of the partition, or `any` that has a copy of it, its hot standbys included. Both see what the reader asks for,
 * and never less than it has seen before; a standby that has not come so far hands over to the owner.
 */
export type ReadFrom = 'owner' | 'any'

export interface ReadOptions {
  /** Which node may answer; default as `connect` was told: `owner`. `result` is for the owner always. */
  readonly from?: ReadFrom | undefined
  /** The read sees the journal at least up to this sequence. It always sees what this handle has sent. */
  readonly minSeq?: number | undefined
  /**
   * `session` (the default): the read sees what this handle has sent. `linearizable`: it sees every input of the instance that was acknowledged
   * before the call, whoever sent it; that costs one more request, to the stream's leader.
   */
  readonly consistency?: 'session' | 'linearizable' | undefined
  /** Default 15,000. */
  readonly timeoutMs?: number | undefined
}

export interface DescribeOptions extends ReadOptions {
  /** The whole state with it, if it has at most 512 KiB. Default false. */
  readonly state?: boolean | undefined
}

/** A durable input. */
export interface Accepted {
  /** Its place in the journal. */
  readonly seq: number
  /** Its idempotency key: send it again with this one when in doubt. */
  readonly id: string
  /** True when the instance is known to have had an input with this id before. Only an instance knows, so it takes `wait: 'applied'` to tell. */
  readonly duplicate: boolean
  /** The place of the later signal that stands for this one, by the type's `mailbox`; known with `wait: 'applied'` only. */
  readonly supersededBy?: number
}

/** The payload as an argument: at its place, but optional where the schema takes `undefined`. */
export type PayloadArgs<S> = Args<S> extends [] ? [payload?: undefined] : Args<S>
export type StartArgs<Shape extends ContractShape> = Shape extends { readonly input: infer S }
  ? PayloadArgs<S>
  : [input?: undefined]
export type ResultOf<Shape extends ContractShape> = Shape extends { readonly result: infer S } ? OutputOf<S> : unknown

/** What an update's caller gets. */
export type UpdateResult<Shape extends ContractShape, Name> = OutputOf<FieldOf<UpdateOf<Shape, Name>, 'output'>>

/** One signal by name with its payload; optional where the schema takes `undefined`. */
export type NamedSignal<Shape extends ContractShape> = {
  [Name in SignalNames<Shape>]: undefined extends InputOf<SignalSchema<Shape, Name>>
    ? { readonly name: Name; readonly payload?: InputOf<SignalSchema<Shape, Name>> }
    : [InputOf<SignalSchema<Shape, Name>>] extends [void]
      ? { readonly name: Name; readonly payload?: undefined }
      : { readonly name: Name; readonly payload: InputOf<SignalSchema<Shape, Name>> }
}[SignalNames<Shape>]

/** One update by name with its input; optional where the schema takes `undefined`. */
export type NamedUpdate<Shape extends ContractShape, Name extends UpdateNames<Shape>> =
  PayloadArgs<FieldOf<UpdateOf<Shape, Name>, 'input'>> extends [input: infer Input]
    ? { readonly name: Name; readonly input: Input }
    : { readonly name: Name; readonly input?: PayloadArgs<FieldOf<UpdateOf<Shape, Name>, 'input'>>[0] }

/** What `updateWithStart` sends as one input; `input` is optional where the schema takes `undefined`. */
export type UpdateWithStart<Shape extends ContractShape, Name extends UpdateNames<Shape>> = {
  readonly update: NamedUpdate<Shape, Name>
} & (StartArgs<Shape> extends [input: infer Input]
  ? { readonly input: Input }
  : { readonly input?: StartArgs<Shape>[0] })

/** What `signalWithStart` sends as one input; `input` is optional where the schema takes `undefined`. */
export type SignalWithStart<Shape extends ContractShape> = {
  readonly signal: NamedSignal<Shape>
} & (StartArgs<Shape> extends [input: infer Input]
  ? { readonly input: Input }
  : { readonly input?: StartArgs<Shape>[0] })

/** A payload as far as it can be read. */
export interface ReadPayload {
  /** Undefined when it cannot be decoded: see `unreadable`. */
  readonly payload: unknown
  /** Present when the payload cannot be decoded: why. */
  readonly unreadable?: string
}

export interface HistoryOptions {
  /** The first sequence of interest; default 1. */
  readonly from?: number | undefined
  /** Entries at most; default all. */
  readonly limit?: number | undefined
  /** Take what is left where the journal has been trimmed, and inputs behind `from` may be gone; default: an error. */
  readonly partial?: boolean | undefined
}

/** One input as it stands in the journal. It may be a repeat, or one that was refused: the journal holds what was sent. */
export interface HistoryEntry extends ReadPayload {
  readonly seq: number
  /** When the server stored it. */
  readonly time: Date
  readonly kind: InputKind
  /** Empty for `start`. */
  readonly name: string
  /** The sender's idempotency key, if it gave one. */
  readonly id: string | undefined
}

/** An update that is accepted: it is in the journal, and its outcome is asked for when it is wanted. */
export interface StartedUpdate<Value> {
  /** Its input id: the same update sent again with it, by whomever, has the same outcome. */
  readonly id: string
  /** Its place in the journal. */
  readonly seq: number
  /**
   * Waits until its handler is done, and gives what that returned.
   *
   * @param options.timeoutMs default one hour.
   * @throws UPDATE_REJECTED when its validator refused. @throws TIMEOUT or NO_NODE when the outcome is not known in time. @throws the handler's error.
   */
  result(options?: { readonly timeoutMs?: number | undefined }): Promise<Value>
}
