/** What workflow code sees of its instance; core/instance-context.ts makes it. */
import type { Attributes } from './attributes.ts'
import type { Children } from './children.ts'
import type { Contract, ContractShape, ActivityOptions } from './contract.ts'
import type { Duration } from './duration.ts'
import type { Moment, Timeout } from './moment.ts'
import type { WorkflowSender } from './outgoing.ts'
import type { Saga } from './saga.ts'
import type { InputOf, OutputOf, Schema } from './schema.ts'
import type { TimerControl } from './timers.ts'
import type { WaitTimer } from './wait-timer.ts'
import type { Task, TaskOptions } from './tasks.ts'

type Part<Shape extends ContractShape, Key extends keyof ContractShape> = NonNullable<Shape[Key]>
type Names<T> = Extract<keyof T, string>

/** The arguments a caller passes for a schema: none when `undefined` or `void` is accepted. */
export type Args<S> = S extends Schema
  ? [undefined] extends [InputOf<S>]
    ? [input?: InputOf<S>]
    : [InputOf<S>] extends [void]
      ? [input?: undefined]
      : [input: InputOf<S>]
  : []

export type SignalNames<Shape extends ContractShape> = Names<Part<Shape, 'signals'>>
export type UpdateNames<Shape extends ContractShape> = Names<Part<Shape, 'updates'>>
export type QueryNames<Shape extends ContractShape> = Names<Part<Shape, 'queries'>>
export type ActivityNames<Shape extends ContractShape> = Names<Part<Shape, 'activities'>>
export type TaskNames<Shape extends ContractShape> = Names<Part<Shape, 'tasks'>>

export type SignalSchema<Shape extends ContractShape, Name> = Name extends keyof Part<Shape, 'signals'>
  ? Part<Shape, 'signals'>[Name]
  : never
export type UpdateOf<Shape extends ContractShape, Name> = Name extends keyof Part<Shape, 'updates'>
  ? Part<Shape, 'updates'>[Name]
  : never
export type QueryOf<Shape extends ContractShape, Name> = Name extends keyof Part<Shape, 'queries'>
  ? Part<Shape, 'queries'>[Name]
  : never
export type ActivityOf<Shape extends ContractShape, Name> = Name extends keyof Part<Shape, 'activities'>
  ? Part<Shape, 'activities'>[Name]
  : never

export type TaskOf<Shape extends ContractShape, Name> = Name extends keyof Part<Shape, 'tasks'>
  ? Part<Shape, 'tasks'>[Name]
  : never

/** The schema under `input` or `output` of an update, query or activity; undefined when it has none. */
export type FieldOf<T, Field extends 'input' | 'output'> = T extends { readonly [K in Field]: infer S } ? S : undefined

type Result<Shape extends ContractShape> = Shape extends { readonly result: infer S } ? InputOf<S> : unknown

type RequiredArgs<S> = Args<S> extends [] ? [input?: undefined] : Args<S>

const continuedAsNew = Symbol.for('carillon.continuedAsNew')

/** What `ctx.continueAsNew` gives, for `run` to return. */
export interface ContinuedAsNew {
  readonly [continuedAsNew]: true
}

export const CONTINUED_AS_NEW: ContinuedAsNew = Object.freeze({ [continuedAsNew]: true as const })

/** One signal as `receive` gives it. */
export type Received<Shape extends ContractShape, Name extends SignalNames<Shape> = SignalNames<Shape>> = {
  [N in Name]: { readonly name: N; readonly payload: OutputOf<SignalSchema<Shape, N>> }
}[Name]

/** Calls of activities: durable, retried, each at least once, its result applied once. */
export type ActivityCalls<Shape extends ContractShape> = {
  readonly [Name in ActivityNames<Shape>]: {
    (
      ...args: [...Args<FieldOf<ActivityOf<Shape, Name>, 'input'>>, options?: ActivityOptions]
    ): Promise<OutputOf<FieldOf<ActivityOf<Shape, Name>, 'output'>>>
  }
}

/** Log lines of an instance. They are silent while inputs are folded again. */
export interface InstanceLog {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
  error(message: string, fields?: Readonly<Record<string, unknown>>): void
}

/** The instance that a handler or `run` works on. Usable inside turns only. */
export interface Context<Shape extends ContractShape = ContractShape, State = unknown, Timers extends string = string> {
  readonly type: string
  readonly id: string
  /** Changed in place or replaced; plain data, `Date`, `Map`, `Set`, `bigint` and `Uint8Array`. One object may occur once. */
  state: State
  readonly activities: ActivityCalls<Shape>
  readonly timers: { readonly [Name in Timers]: TimerControl }
  /** What this instance is found by in lists and counts. */
  readonly attributes: Attributes<Shape>
  readonly log: InstanceLog
  /** Another instance, or this one, to send to. @throws INVALID_ID when the id is not valid. */
  workflow<Other extends ContractShape>(contract: Contract<Other>, id: string): WorkflowSender<Other>
  /** Instances that belong to this one. */
  readonly children: Children
  /** The instance that this one is a child of. */
  readonly parent: { readonly type: string; readonly id: string } | undefined
  /**
   * Opens a task for somebody outside, who completes it by its token.
   *
   * @throws INVALID_PAYLOAD, PAYLOAD_TOO_LARGE when its input is none. @throws LIMIT_REACHED when 10,000 are open. @throws CANCELLED when the scope is
   * cancelled.
   */
  task<Name extends TaskNames<Shape>>(
    name: Name,
    ...args: [...Args<FieldOf<TaskOf<Shape, Name>, 'input'>>, options?: TaskOptions]
  ): Task<OutputOf<FieldOf<TaskOf<Shape, Name>, 'output'>>>
  /** The time of this turn's input, milliseconds since the epoch by the server's clock. It never goes backwards. */
  now(): number
  /** A number in [0, 1), the same whenever this turn is computed again. */
  random(): number
  /** A version 4 UUID from `random`. */
  uuid(): string
  /** Waits, durably. */
  sleep(duration: Duration): Promise<void>
  /**
   * Waits, durably, until a moment; not at all when it is past. A function is asked again after every turn of the instance, so the moment may move
   * while it is waited for: `ctx.sleepUntil(() => ctx.state.deadlineMs)`.
   */
  sleepUntil(moment: Moment | (() => Moment)): Promise<void>
  /** A timer to wait for that can be set anew or cancelled meanwhile: `const timer = ctx.timer('1 hour'); timer.reset('2 hours'); await timer`. */
  timer(duration: Duration): WaitTimer
  /**
   * Waits until the predicate is true; it is evaluated after every turn of the instance. Resolves to true, or to false when the time-out came
   * first.
   */
  condition(predicate: () => boolean, timeout?: Timeout): Promise<boolean>
  /** The next signal of these names (of any, without names) that no handler takes, in the journal's order. */
  receive<Name extends SignalNames<Shape> = SignalNames<Shape>>(...names: Name[]): Promise<Received<Shape, Name>>
  /**
   * Guards a change of code that may be waiting. False in what began under an earlier build: a handler whose input, or a `run` whose life or renewal,
   * is in the journal before the patch was; true in all that begins behind it. The same whenever the inputs are folded again.
   *
   * @throws UNKNOWN_NAME unless the implementation lists the patch in `patches`.
   */
  patched(patch: string): boolean
  /** True once this life was asked to cancel (`cancel` of its handle). */
  readonly cancelled: boolean
  /**
   * Runs a part of `run` or of a handler in a scope of its own; use the `ctx` that it is given for what shall belong to it. When the scope is
   * cancelled, every wait in it rejects and what it waited for is let go: activities are aborted. A cancel request cancels the scope of `run`, and so
   * all those within it.
   *
   * @param options.timeout the scope is cancelled after this, with TIMEOUT. @param options.cancellable false: a cancel from outside does not reach
   * into it, for cleaning up. Default true.
   * @throws CANCELLED in a wait, or at once, when the scope is cancelled from outside.
   */
  scope<T>(
    fn: (ctx: Context<Shape, State, Timers>) => Promise<T> | T,
    options?: { readonly timeout?: Timeout; readonly cancellable?: boolean },
  ): Promise<T>
  /** Keeps how to undo what has been done, for when the rest fails or is cancelled. */
  saga(): Saga<Context<Shape, State, Timers>>
  /** Closes the instance with a result, once the handlers in progress are done. */
  complete(
    ...args: unknown extends Result<Shape>
      ? [result?: unknown]
      : undefined extends Result<Shape>
        ? [result?: Result<Shape>]
        : [result: Result<Shape>]
  ): void
  /**
   * Ends this life in a new one with a new base state: the same instance to everybody else. Known ids, mailbox, order and the timers that are set
   * stay; `run` begins anew with the input; what `run` waited for is let go. It happens once the handlers in progress are done; inputs behind it go
   * to the new life in order. Everything before it need not be kept to rebuild the instance. In `run`, return what this gives.
   *
   * @param options.state the new state; default: what the implementation's `state` makes of the input.
   * @throws INVALID_PAYLOAD when the input does not fit its schema. @throws INVALID_STATE when the state cannot be kept.
   */
  continueAsNew(
    ...args: Shape extends { readonly input: infer S }
      ? [...RequiredArgs<S>, options?: { readonly state?: State }]
      : [input?: undefined, options?: { readonly state?: State }]
  ): ContinuedAsNew
  /** Closes the instance as failed, once the handlers in progress are done. */
  fail(error: Error | string): void
}
