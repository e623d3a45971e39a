/** What sees turns from outside, to trace them. It takes no part in them. */
import type { ErrorData } from '../errors.ts'
import type { InputKind } from '../protocol/index.ts'

/** A turn, by what names it for ever. */
export interface TurnName {
  /** The journal that the sequence is of: it changes when the cluster's journal is made anew. */
  readonly journal: string
  /** `<type token>.<id token>` of the instance. */
  readonly key: string
  /** The sequence of its input. */
  readonly seq: number
  /** The trace context of its input: `<traceparent>`, or `<traceparent> <tracestate>`; undefined for none. */
  readonly trace: string | undefined
}

/** A turn that is over. */
export interface AppliedTurn extends TurnName {
  readonly type: string
  readonly id: string
  readonly kind: InputKind
  /** Empty for `start` and `cancel`. */
  readonly name: string
  readonly inputId: string | undefined
  /** When it ran, milliseconds since the epoch by the clock of the host, with fractions. */
  readonly startMs: number
  readonly endMs: number
  readonly outcome: 'applied' | 'duplicate' | 'dead' | 'suspended'
  /** Why, where the input is a dead letter or has suspended the instance. */
  readonly error: ErrorData | undefined
}

export interface TurnTracer {
  /** Told of each input that is applied while effects go out, once, before they do. Not while the journal is folded again. It does not throw. */
  applied(turn: AppliedTurn): void
  /**
   * The trace context that the activities and the sends of a turn carry on. It depends on the turn's name alone, so what is emitted after a crash
   * belongs to the same trace.
   */
  contextOf(turn: TurnName): string | undefined
}
