/** Timers with a handler: how an implementation declares them, and how its code sets them. */
import type { Context } from './context.ts'
import type { ContractShape } from './contract.ts'
import type { Duration } from './duration.ts'
import type { Moment } from './moment.ts'

/** What a timer's handler is told. */
export interface Firing {
  /** The moment that it is for, by its period, pattern or setting, without jitter; milliseconds since the epoch. `ctx.now()` may be later. */
  readonly dueMs: number
  /** Periods before this one, since the last that was handled, that were not; 1000 means that or more. */
  readonly missed: number
}

/**
 * What becomes of periods that could not be handled in time: no node ran, or the handler was busy.
 *
 * - `once`: they come as one firing, for the last of them, which says how many it stands for.
 * - `skip`: they are not handled, nor is a firing that comes more than a minute late.
 * - `all`: each is handled, in order; of more than 1000 the last ones.
 */
export type CatchUp = 'once' | 'skip' | 'all'

/**
 * What happens to a firing while an earlier one of the same timer is in progress.
 *
 * - `queue`: it takes its turn like any input; while one waits already, `catchUp` says what becomes of both.
 * - `skip`: it is not handled.
 * - `allow`: it starts at once, beside whatever is in progress, like a concurrent signal.
 */
export type Overlap = 'queue' | 'skip' | 'allow'

/** A timer of an implementation. */
export interface TimerSpec<Shape extends ContractShape, State, Timers extends string> {
  /** Set by itself when the instance starts, and again each time it fires, from the moment that it was due. */
  readonly every?: Duration
  /** As `every`, at the moments of a cron pattern: 5 fields, 6 with seconds in front, or a nickname such as `@daily`. Not together with `every`. */
  readonly cron?: string
  /** The time zone of `cron`, such as `Europe/Berlin`; default UTC. */
  readonly timeZone?: string
  /** Default `once`. */
  readonly catchUp?: CatchUp
  /** Default `queue`. */
  readonly overlap?: Overlap
  /**
   * Repeating firings come later by up to this: always the same for one instance, spread evenly over the instances. For many instances that would
   * else fire at one moment. Default 0.
   */
  readonly jitter?: Duration
  readonly run: (ctx: Context<Shape, State, Timers>, firing: Firing) => unknown
}

/** A timer that has a handler in the implementation's `timers`. */
export interface TimerControl {
  /**
   * Sets the timer, replacing one that is set. It fires once, through the journal, `delay` after now. A repeating timer repeats from then on, by its
   * period or pattern.
   */
  set(delay: Duration): void
  /** Sets the timer to a moment. One in the past fires at once. */
  setAt(moment: Moment): void
  /** Cancels it. A timer that is cancelled does not fire any more, whatever is on its way; `repeat`, `every` and `cron` set it again. */
  cancel(): void
  /** Gives this instance's timer a period in place of the one that its type has, and sets it from now. It is kept until this life ends. */
  every(period: Duration): void
  /** As `every`, with a cron pattern; the time zone is UTC unless given. @throws INVALID_CRON */
  cron(pattern: string, options?: { readonly timeZone?: string }): void
  /** Sets it to its next period from now, in place of what `set`, `setAt` or `cancel` made of it. @throws INVALID_DEFINITION without a period. */
  repeat(): void
  /** When it will fire, milliseconds since the epoch; undefined when it is not set. */
  readonly dueMs: number | undefined
}
