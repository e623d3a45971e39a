/**
 * Lets a world go on: what can happen at this moment first, then time, from one alarm to the next.
 *
 * Owns: who waits, and the one loop that serves them.
 *
 * Invariants
 * 1. Time passes only while somebody waits, nothing is left to be done at this moment, and no activity runs.
 * 2. A skip goes before calls that wait for an answer; calls never pass time beyond their own time-outs.
 */
import type { VirtualClock } from './virtual-clock.ts'

/** Rounds of the host's event loop without any change: nothing is left to be done then. The longest silent way, from an append to its turn, takes 5. */
const QUIET_ROUNDS = 10
/** Rounds that one moment may take before it is called endless: about a second of the host. */
const MOMENT_ROUNDS_MAX = 200_000

export interface DriveOptions {
  readonly clock: VirtualClock
  /** Something that changes whenever the world does. */
  readonly fingerprint: () => string
  /** Sees to what has to be done besides waiting, an engine to be opened; false when nothing was. */
  readonly tend: () => Promise<boolean>
  /** Whether an activity runs that time waits for. */
  readonly isBusy: () => boolean
}

interface Waiter {
  /** True when it has been served. Told whether an activity runs. */
  readonly poll: (isBusy: boolean) => boolean
  /** Time may pass up to here for it; undefined when it waits for this moment to be over. */
  readonly untilMs: number | undefined
  readonly isSkip: boolean
  /** Called when `untilMs` has come; true when it is served by that. */
  readonly onTime: () => void
  readonly reject: (error: unknown) => void
}

export class WorldDrive {
  readonly #options: DriveOptions
  #waiters: Waiter[] = []
  #running = false

  constructor(options: DriveOptions) {
    this.#options = options
  }

  /** Resolves when nothing is left to be done at this moment, besides activities that run. */
  quiet(): Promise<void> {
    return this.#rest(false)
  }

  /** As `quiet`, and no activity runs. */
  settled(): Promise<void> {
    return this.#rest(true)
  }

  /** Lets time pass up to a moment, whatever happens meanwhile. */
  skipTo(untilMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#add({ poll: () => false, untilMs, isSkip: true, onTime: resolve, reject })
    })
  }

  /** Lets the world go on until `poll` gives a value; rejects with `late()` when it does not by then. */
  wait<T>(poll: () => T | undefined, untilMs: number, late: () => Error): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#add({
        poll: () => {
          const value = poll()
          if (value !== undefined) resolve(value)
          return value !== undefined
        },
        untilMs,
        isSkip: false,
        onTime: () => reject(late()),
        reject,
      })
    })
  }

  #rest(waitsForActivities: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const poll = (isBusy: boolean): boolean => {
        if (isBusy && waitsForActivities) return false
        resolve()
        return true
      }
      this.#add({ poll, untilMs: undefined, isSkip: false, onTime: () => {}, reject })
    })
  }

  #add(waiter: Waiter): void {
    this.#waiters.push(waiter)
    if (this.#running) return
    this.#running = true
    this.#run().catch(() => {})
  }

  async #run(): Promise<void> {
    try {
      while (this.#waiters.length > 0) {
        await this.#settle()
        const isBusy = this.#options.isBusy()
        if (!this.#serve(isBusy) && !isBusy) await this.#pass()
      }
    } catch (error) {
      const waiters = this.#waiters
      this.#waiters = []
      for (const waiter of waiters) waiter.reject(error)
    } finally {
      this.#running = false
    }
  }

  /** Until nothing is left to be done at this moment, new calls of the test included. */
  async #settle(): Promise<void> {
    const { clock, fingerprint, tend } = this.#options
    let last = ''
    let quiet = 0
    for (let rounds = 0; quiet < QUIET_ROUNDS;) {
      if (await tend()) quiet = 0
      // What is due already belongs to this moment.
      if ((clock.nextMs ?? Infinity) <= clock.nowMs()) await clock.advance(0)
      await clock.yield()
      const now = `${fingerprint()} ${this.#waiters.length}`
      quiet = now === last ? quiet + 1 : 0
      if (++rounds > MOMENT_ROUNDS_MAX)
        throw new Error(`the world does not come to rest at ${clock.nowMs()}: something goes on for ever without time`)
      last = now
    }
  }

  /** True when somebody was: whoever it is may do something now. */
  #serve(isBusy: boolean): boolean {
    const nowMs = this.#options.clock.nowMs()
    const before = this.#waiters.length
    this.#waiters = this.#waiters.filter((waiter) => {
      if (waiter.poll(isBusy)) return false
      if (isBusy || waiter.untilMs === undefined || waiter.untilMs > nowMs) return true
      waiter.onTime()
      return false
    })
    return this.#waiters.length < before
  }

  /** To the next alarm, or to where the first waiter's time ends. */
  async #pass(): Promise<void> {
    const { clock } = this.#options
    const skips = this.#waiters.filter(({ isSkip }) => isSkip)
    const ends = (skips.length > 0 ? skips : this.#waiters).map(({ untilMs = Infinity }) => untilMs)
    const toMs = Math.min(clock.nextMs ?? Infinity, ...ends)
    await clock.advance(Math.max(0, toMs - clock.nowMs()))
  }
}
