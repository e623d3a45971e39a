/**
 * The time in which this node judges others.
 *
 * Invariants
 * 1. It never goes back, and never runs faster than the host's monotonic clock.
 * 2. It stands still while this node is late itself (frozen, starved of CPU): silence that nobody listened to is no silence.
 */
import { LATENESS_MS, WAKE_MS } from './cluster-timing.ts'

export class JudgeClock {
  #hostMs: number
  #nowMs = 0

  constructor(hostMs: number) {
    this.#hostMs = hostMs
  }

  get nowMs(): number {
    return this.#nowMs
  }

  /** Called with the host's monotonic time at everything that happens. True when this node has slept since the last time. */
  advance(hostMs: number): boolean {
    const gapMs = Math.max(0, hostMs - this.#hostMs)
    this.#hostMs = Math.max(hostMs, this.#hostMs)
    this.#nowMs += Math.min(gapMs, LATENESS_MS)
    return gapMs >= WAKE_MS
  }
}
