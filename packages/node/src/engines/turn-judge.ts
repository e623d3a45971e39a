/**
 * When code that has begun counts as never coming back.
 *
 * Not by the clock on the wall: a machine that is starved, a process that was stopped, or a long pause of the whole process must not suspend an innocent
 * instance. What counts is the time that the thread has computed. A turn that computes nothing and does not end (it blocks) is judged by time as well, but
 * for a much longer one, without the time that the thread waited for a processor and without the time for which the judge itself was late.
 *
 * Owns: since when the same code has been seen, and what that time was made of.
 */

export interface Sight {
  /** A steady clock, milliseconds. */
  readonly nowMs: number
  /** What the thread has computed so far; undefined where the system does not tell. */
  readonly times: ThreadTimes | undefined
  /** Whether anything runs. */
  readonly isRunning: boolean
  /** Another number: other code. */
  readonly count: number
}

export interface ThreadTimes {
  /** On a processor, milliseconds. */
  readonly cpuMs: number
  /** Ready, and waiting for one. */
  readonly queuedMs: number
}

export interface JudgeLimits {
  /** Of computing. */
  readonly cpuMsMax: number
  /** Of time in which the thread neither computes nor waits for a processor. */
  readonly blockedMsMax: number
  /** Where the system does not tell what a thread computes. */
  readonly wallMsMax: number
  /** Between two looks, when all is well. */
  readonly lookEveryMs: number
}

interface Since {
  readonly count: number
  readonly nowMs: number
  readonly times: ThreadTimes | undefined
  /** The judge was late for so long. */
  lateMs: number
}

export class TurnJudge {
  #since: Since | undefined
  #lastLookMs: number | undefined

  /** For how long the same code has been seen, computing; undefined while nothing has been seen twice. */
  ranMs(sight: Sight): number | undefined {
    const since = this.#since
    if (since === undefined || since.count !== sight.count || !sight.isRunning) return undefined
    return computed(since, sight) ?? sight.nowMs - since.nowMs - since.lateMs
  }

  /** True when what runs has passed a limit. */
  look(sight: Sight, limits: JudgeLimits): boolean {
    const { nowMs, times, isRunning, count } = sight
    const lateMs = Math.max(0, nowMs - (this.#lastLookMs ?? nowMs) - limits.lookEveryMs)
    this.#lastLookMs = nowMs
    const since = this.#since
    if (since === undefined || since.count !== count || !isRunning) {
      this.#since = isRunning ? { count, nowMs, times, lateMs: 0 } : undefined
      return false
    }
    since.lateMs += lateMs
    const wallMs = nowMs - since.nowMs - since.lateMs
    const cpuMs = computed(since, sight)
    if (cpuMs === undefined) return wallMs >= limits.wallMsMax
    return cpuMs >= limits.cpuMsMax || wallMs - cpuMs - queued(since, sight) >= limits.blockedMsMax
  }
}

function computed(since: Since, { times }: Sight): number | undefined {
  return since.times === undefined || times === undefined ? undefined : times.cpuMs - since.times.cpuMs
}

function queued(since: Since, { times }: Sight): number {
  return since.times === undefined || times === undefined ? 0 : times.queuedMs - since.times.queuedMs
}
