/** What the guard of an engine's process is given, and what it says to the parent, in lines of JSON. */
import type { JudgeLimits } from './turn-judge.ts'
import type { Shown } from './turn-board.ts'

export interface GuardLimits extends Omit<JudgeLimits, 'cpuMsMax'> {
  /** Of computing, for one turn. */
  readonly turnMsMax: number
}

export const GUARD_LIMITS: GuardLimits = {
  // A hundred times what a slow turn takes; with a process ready to go on, neighbours wait for less than a second.
  turnMsMax: 500,
  blockedMsMax: 10_000,
  // Without the thread's own time, a busy machine must not be taken for a loop.
  wallMsMax: 10_000,
  lookEveryMs: 50,
}

/** The event loop must come round within so many limits of a turn, computed by whomever: an activity, a module that is loaded. */
export const STALL_FACTOR = 20

/** A standby gives turns more time than the owner: what an owner has applied, its standby should not be suspended at. */
export const STANDBY_FACTOR = 4

export interface GuardData {
  readonly memory: SharedArrayBuffer
  /** Where it writes. */
  readonly fd: number
  /** Whose end is the end of this process. */
  readonly parentPid: number
  readonly limits: GuardLimits
}

/**
 * - `running`: this has run for a while, or begins, where every turn is told; the process may be ended by it.
 * - `clear`: that is over.
 * - `endless`: this does not come back; the process is ended now.
 * - `stalled`: the event loop does not come round, in no turn; the process is ended now.
 */
export type GuardWord =
  | { readonly kind: 'running'; readonly shown: Shown }
  | { readonly kind: 'clear' }
  | { readonly kind: 'endless'; readonly shown: Shown; readonly ranMs: number }
  | { readonly kind: 'stalled'; readonly ranMs: number }

/** The last word in what has been read; undefined when there is none. */
export function lastWord(lines: string): GuardWord | undefined {
  for (const line of lines.trimEnd().split('\n').reverse()) {
    try {
      return JSON.parse(line) as GuardWord
    } catch {
      // Cut off by the end of the process.
    }
  }
  return undefined
}
