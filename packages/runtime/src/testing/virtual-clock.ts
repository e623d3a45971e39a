/** A clock that stands still until it is told to go: the twin of the host's, for tests and simulations. */
import type { Clock } from '../ports/index.ts'

interface Alarm {
  readonly atMs: number
  readonly order: number
  readonly callback: () => void
}

/** Taken at load: while workflow code runs, the host's timers are refused. */
const { setImmediate: hostSetImmediate } = globalThis

export class VirtualClock implements Clock {
  #nowMs: number
  #order = 0
  readonly #alarms = new Set<Alarm>()

  constructor(startMs = 1_700_000_000_000) {
    this.#nowMs = startMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  after(delayMs: number, callback: () => void): () => void {
    this.#order += 1
    const alarm: Alarm = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order, callback }
    this.#alarms.add(alarm)
    return () => void this.#alarms.delete(alarm)
  }

  yield(): Promise<void> {
    return new Promise((resolve) => void hostSetImmediate(resolve))
  }

  /** When the next alarm is due; undefined when none is set. */
  get nextMs(): number | undefined {
    return this.#next()?.atMs
  }

  /** Moves on by so many milliseconds, and calls back what falls due, in order; each callback's consequences run before the next. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms
    for (let alarm = this.#next(); alarm !== undefined && alarm.atMs <= endMs; alarm = this.#next()) {
      this.#alarms.delete(alarm)
      this.#nowMs = alarm.atMs
      alarm.callback()
      await this.yield()
    }
    this.#nowMs = endMs
    await this.yield()
  }

  /** Sets the time without calling anything back, as an operator or NTP does. */
  jump(nowMs: number): void {
    this.#nowMs = nowMs
  }

  #next(): Alarm | undefined {
    let first: Alarm | undefined
    for (const alarm of this.#alarms) {
      if (first === undefined || alarm.atMs < first.atMs || (alarm.atMs === first.atMs && alarm.order < first.order))
        first = alarm
    }
    return first
  }
}
