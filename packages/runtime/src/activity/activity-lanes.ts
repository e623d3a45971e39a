/**
 * Which call may start next: each activity has a lane of its own, with its own limits.
 *
 * Owns: which items wait, run or rest in each lane.
 * Does not own: what an item is, nor how it runs.
 *
 * Invariants
 * 1. A lane at its limit, paused, or empty holds back no other lane: free places go round the lanes that may start something.
 * 2. Within a lane, items start in the order in which they came; one that has rested comes behind those that wait.
 * 3. What waits is bounded: a lane may hold as much as all lanes leave free, so one that is stuck never takes the room of the others, and each may
 *    always hold one.
 */
import type { ParsedLimits } from '../contract/activity-limits.ts'
import type { Clock } from '../ports/index.ts'

/** One activity's calls in this process. Only `ActivityLanes` looks inside. */
export class Lane<T> {
  readonly limits: ParsedLimits
  readonly waiting = new Set<T>()
  running = 0
  resting = 0
  isPaused = false
  /** When the last attempts began, a ring: `oldest` is overwritten next. */
  readonly begun: Float64Array
  oldest = 0

  constructor(limits: ParsedLimits) {
    this.limits = limits
    this.begun = new Float64Array(limits.rate?.limit ?? 0).fill(-Infinity)
  }
}

export interface ActivityLanesOptions<T> {
  readonly clock: Clock
  readonly runningMax: number
  readonly waitingMax: number
  /** Starts an item, which is counted as running until `ended`. */
  readonly start: (lane: Lane<T>, item: T) => void
}

export class ActivityLanes<T> {
  readonly #options: ActivityLanesOptions<T>
  /** Lanes that may start something, the next one first. */
  readonly #ready = new Set<Lane<T>>()
  /** Lanes that their rate keeps waiting: how to cancel the alarm of each. */
  readonly #alarms = new Map<Lane<T>, () => void>()
  #running = 0
  #held = 0
  #closed = false

  constructor(options: ActivityLanesOptions<T>) {
    this.#options = options
  }

  /** Lets the item start, now or when it may. False when there is no room: ask again later. */
  offer(lane: Lane<T>, item: T): boolean {
    if (this.#closed || !this.#hasRoom(lane)) return false
    this.#wait(lane, item)
    return true
  }

  /** An item that runs has ended. */
  ended(lane: Lane<T>): void {
    lane.running -= 1
    this.#running -= 1
    this.#wake(lane)
  }

  /** An item that runs has ended for now; it is in memory until `rested` or `gone`. */
  rests(lane: Lane<T>): void {
    lane.resting += 1
    this.#held += 1
    this.ended(lane)
  }

  /** An item that rests may start again. */
  rested(lane: Lane<T>, item: T): void {
    this.gone(lane)
    this.#wait(lane, item)
  }

  /** An item that rests is not wanted any more. */
  gone(lane: Lane<T>): void {
    lane.resting -= 1
    this.#held -= 1
  }

  /** An item that waits is not wanted any more. */
  remove(lane: Lane<T>, item: T): void {
    if (lane.waiting.delete(item)) this.#held -= 1
  }

  /** Starts nothing more in this lane until `resume`; what runs goes on. */
  pause(lane: Lane<T>): void {
    lane.isPaused = true
  }

  resume(lane: Lane<T>): void {
    lane.isPaused = false
    this.#wake(lane)
  }

  /** Starts nothing more. */
  close(): void {
    this.#closed = true
    this.#ready.clear()
    for (const cancel of this.#alarms.values()) cancel()
    this.#alarms.clear()
  }

  /** Invariant 3. */
  #hasRoom({ waiting, resting }: Lane<T>): boolean {
    return waiting.size + resting < Math.max(1, this.#options.waitingMax - this.#held)
  }

  #wait(lane: Lane<T>, item: T): void {
    lane.waiting.add(item)
    this.#held += 1
    this.#wake(lane)
  }

  #wake(lane: Lane<T>): void {
    if (this.#mayStart(lane)) this.#ready.add(lane)
    this.#pump()
  }

  #pump(): void {
    while (!this.#closed && this.#running < this.#options.runningMax) {
      const [lane] = this.#ready
      if (lane === undefined) return
      this.#ready.delete(lane)
      const [item] = lane.waiting
      // The lane may have been paused since, or its limit reached.
      if (item === undefined || !this.#mayStart(lane)) continue
      lane.waiting.delete(item)
      this.#held -= 1
      lane.running += 1
      this.#running += 1
      this.#count(lane)
      this.#options.start(lane, item)
      if (this.#mayStart(lane)) this.#ready.add(lane)
    }
  }

  #mayStart(lane: Lane<T>): boolean {
    if (this.#closed || lane.isPaused || lane.waiting.size === 0 || lane.running >= lane.limits.concurrency)
      return false
    const waitMs = this.#rateWaitMs(lane)
    if (waitMs <= 0) return true
    if (!this.#alarms.has(lane))
      this.#alarms.set(
        lane,
        this.#options.clock.after(waitMs, () => this.#alarm(lane)),
      )
    return false
  }

  #alarm(lane: Lane<T>): void {
    this.#alarms.delete(lane)
    this.#wake(lane)
  }

  #rateWaitMs({ limits: { rate }, begun, oldest }: Lane<T>): number {
    if (rate === undefined) return 0
    const nowMs = this.#options.clock.nowMs()
    const first = begun[oldest] ?? -Infinity
    if (first <= nowMs) return first + rate.perMs - nowMs
    // The clock was set back: as if all had begun now.
    begun.fill(nowMs)
    return rate.perMs
  }

  #count(lane: Lane<T>): void {
    if (lane.begun.length === 0) return
    lane.begun[lane.oldest] = this.#options.clock.nowMs()
    lane.oldest = (lane.oldest + 1) % lane.begun.length
  }
}
