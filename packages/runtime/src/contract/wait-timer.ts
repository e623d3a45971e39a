/** A timer that code waits for, and may move while it waits. Types only; core/wait-timer.ts makes it. */
import type { Duration } from './duration.ts'
import type { Moment } from './moment.ts'

/** Awaiting it gives true when it has fired, false when it was cancelled. Then it is over: make another one. */
export interface WaitTimer extends Promise<boolean> {
  /** When it fires, milliseconds since the epoch; undefined once it is over. */
  readonly dueMs: number | undefined
  /** Sets it to so long after now; who waits for it goes on waiting. False when it is over, and nothing is set. */
  reset(duration: Duration): boolean
  /** As `reset`, to a moment. One in the past fires at once. */
  resetAt(moment: Moment): boolean
  /** Does nothing when it is over. */
  cancel(): void
}
