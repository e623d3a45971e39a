/**
 * Interceptors: functions around what a node runs. They come in a list; the first is the outermost. Each is given the call and `next`, which runs the
 * rest with the value that it is passed.
 */
import type { ActivityContext } from './activities.ts'
import type { Context } from './context.ts'
import type { ActivityOptions } from './contract.ts'
import type { TurnTracer } from './turn-tracer.ts'

/** A handler, or `run`, that is about to be called; or a signal that `receive` is about to give. */
export interface HandlerCall {
  readonly kind: 'signal' | 'update' | 'timer' | 'run'
  /** Empty for `run`. */
  readonly name: string
  /** What the contract made of it; of a timer, its firing; of `run`, the input of the instance. */
  readonly payload: unknown
  readonly ctx: Context
}

/** An activity that workflow code calls. */
export interface ActivityRequest {
  readonly name: string
  readonly payload: unknown
  readonly options: ActivityOptions | undefined
  readonly ctx: Context
}

/** An input that workflow code sends: a signal, an update, a start, of a child too. */
export interface SendRequest {
  readonly kind: 'start' | 'signal' | 'update'
  /** Empty for `start`. */
  readonly name: string
  /** As on the wire: for a start it is `{ input, ifRunning, … }`. */
  readonly payload: unknown
  /** Whom it is for. */
  readonly to: { readonly type: string; readonly id: string }
  readonly ctx: Context
}

/**
 * Around workflow code. It runs inside turns, and again whenever they are folded again: it must be as deterministic as that code, keep nothing between
 * calls but in `ctx.state`, and do no I/O.
 */
export interface WorkflowInterceptor {
  /**
   * Around a handler. What it returns or throws is what the handler returned or threw: `InputRejected` refuses the input, `WorkflowFailure` fails the
   * instance. Without a call of `next` the handler does not run, and the input counts as handled.
   */
  handle?(call: HandlerCall, next: (payload: unknown) => unknown): unknown
  /** Around the call of an activity, up to its result. Without a call of `next` no activity is run. */
  activity?(call: ActivityRequest, next: (payload: unknown) => Promise<unknown>): Promise<unknown>
  /** Around a send. It calls `next` once, or throws, which the sending code sees. */
  send?(call: SendRequest, next: (payload: unknown) => void): void
}

/** One attempt of an activity. */
export interface ActivityAttempt {
  readonly name: string
  readonly payload: unknown
  readonly ctx: ActivityContext
}

/** Around each attempt of an activity. It runs outside of turns: I/O, clocks and contexts of the host are welcome. */
export type ActivityInterceptor = (
  call: ActivityAttempt,
  next: (payload: unknown) => Promise<unknown>,
) => Promise<unknown>

const interceptors = Symbol.for('carillon.interceptors')

export interface InterceptorsSpec {
  readonly workflow?: readonly WorkflowInterceptor[] | undefined
  readonly activity?: readonly ActivityInterceptor[] | undefined
  /** What sees turns from outside, to trace them; `openTelemetry` of `@carillon/runtime/otel` makes one. */
  readonly tracer?: TurnTracer | undefined
}

/** The interceptors of a node. `defineInterceptors` is the only maker. */
export interface Interceptors {
  readonly [interceptors]: true
  readonly workflow: readonly WorkflowInterceptor[]
  readonly activity: readonly ActivityInterceptor[]
  readonly tracer: TurnTracer | undefined
}

/** Puts interceptors together, for `openNode` and `TestWorld.open`, or to be exported by a workflow file. */
export function defineInterceptors({ workflow = [], activity = [], tracer }: InterceptorsSpec): Interceptors {
  return Object.freeze({ [interceptors]: true as const, workflow: [...workflow], activity: [...activity], tracer })
}

/** Whether a value holds interceptors, whichever copy of this package made it. */
export function isInterceptors(value: unknown): value is Interceptors {
  return typeof value === 'object' && value !== null && interceptors in value
}

/** Several as one: those that come first are the outer ones, and the first tracer counts. Undefined for none. */
export function joinInterceptors(all: readonly Interceptors[]): Interceptors | undefined {
  if (all.length < 2) return all[0]
  return defineInterceptors({
    workflow: all.flatMap(({ workflow }) => workflow),
    activity: all.flatMap(({ activity }) => activity),
    tracer: all.find(({ tracer }) => tracer !== undefined)?.tracer,
  })
}

/** One call of a handle, of a producer. */
export interface ClientCall {
  readonly kind: 'start' | 'signal' | 'update' | 'cancel' | 'admin' | 'query' | 'describe' | 'result'
  readonly type: string
  readonly id: string
  /** Of a signal, update, query or command; empty for the others. */
  readonly name: string
  /** As on the wire: for a start it is `{ input, ifRunning, … }`. It has passed the contract. */
  readonly payload: unknown
  /** The idempotency key, where the caller gave one. */
  readonly inputId: string | undefined
  /** W3C trace context of an input. */
  readonly traceparent: string | undefined
  readonly tracestate: string | undefined
}

/**
 * Around each call of a handle, from its validated payload to what the caller gets. `next` takes the call with whatever was changed: payload, input id,
 * trace context. What it awaits before `next` lets later calls go first.
 */
export type ClientInterceptor = (call: ClientCall, next: (call: ClientCall) => Promise<unknown>) => Promise<unknown>
