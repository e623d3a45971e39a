/** A timer that code waits for, and may move while it waits. Types only; core/wait-timer.ts makes it. */
import type { Duration } from './duration.ts'
import type { Moment } from './moment.ts'

/** Awaiting it gives true when it fires, false when it was cancelled. It lives as long as the code that made it. */
export interface WaitTimer extends PromiseLike<boolean> {
  /** When it fires, milliseconds since the epoch; undefined once it has fired or was cancelled. */
  readonly dueMs: number | undefined
  /** Sets it anew, to so long after now, whether it is set, has fired or was cancelled. Who waits for it goes on waiting. */
  reset(duration: Duration): void
  /** As `reset`, to a moment. One in the past fires at once. */
  resetAt(moment: Moment): void
  cancel(): void
}
