/**
 * Fires timers: when one is due, an input goes into the journal.
 *
 * Owns: when to look next, and which firings are on their way.
 * Does not own: the timers, which are rows of the store; however many there are, they take no memory.
 *
 * Invariants
 * 1. A firing is on its way at most once at a time in this process. One that comes twice after a crash is ignored by its instance.
 */
import { callId } from '../activity/index.ts'
import { parseTimerKey, timerRange, type TimerRow } from '../core/index.ts'
import type { Clock, Logger, OrderedStore } from '../ports/index.ts'
import { decodeValue, type Partition } from '../protocol/index.ts'

/** The latest moment that a key can hold. */
const FAR_FUTURE_MS = 2 ** 47
/** How soon a firing that came before its time by the journal's clock, or failed, is tried again. */
const RETRY_MS = 20

export interface TimerServiceOptions {
  readonly store: OrderedStore
  readonly clock: Clock
  readonly logger: Logger
  readonly inFlightMax: number
  /** Stores a timer input. */
  readonly fire: (partition: Partition, row: TimerRow, name: string) => Promise<void>
}

interface Watch {
  /** No timer that the store shows is due before this. */
  nextMs: number
  readonly inFlight: Set<string>
}

export class TimerService {
  readonly #options: TimerServiceOptions
  readonly #watches = new Map<Partition, Watch>()
  readonly #tasks = new Set<Promise<void>>()
  #cancel: (() => void) | undefined
  #wakeMs = Infinity
  #closed = false

  constructor(options: TimerServiceOptions) {
    this.#options = options
  }

  /** Begins to fire the timers of a partition. */
  watch(partition: Partition): void {
    this.#watches.set(partition, { nextMs: 0, inFlight: new Set() })
    this.#plan()
  }

  unwatch(partition: Partition): void {
    this.#watches.delete(partition)
  }

  /** The store shows a timer that it did not show before. */
  noticed(partition: Partition, dueMs: number): void {
    const watch = this.#watches.get(partition)
    if (watch === undefined || watch.nextMs <= dueMs) return
    watch.nextMs = dueMs
    this.#plan()
  }

  /** The store does not show the timer any more, or it has to be fired again. */
  letGo(partition: Partition, id: string): void {
    const watch = this.#watches.get(partition)
    if (watch === undefined || !watch.inFlight.delete(id)) return
    this.noticed(partition, this.#options.clock.nowMs() + RETRY_MS)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancel?.()
    this.#watches.clear()
    await Promise.all(this.#tasks)
  }

  #plan(): void {
    if (this.#closed) return
    const nextMs = Math.min(Infinity, ...[...this.#watches.values()].map((watch) => watch.nextMs))
    if (nextMs >= this.#wakeMs) return
    this.#cancel?.()
    this.#wakeMs = nextMs
    this.#cancel = this.#options.clock.after(nextMs - this.#options.clock.nowMs(), () => {
      this.#wakeMs = Infinity
      for (const [partition, watch] of this.#watches) this.#look(partition, watch)
      this.#plan()
    })
  }

  #look(partition: Partition, watch: Watch): void {
    const { store, clock, inFlightMax } = this.#options
    const nowMs = clock.nowMs()
    if (watch.nextMs > nowMs) return
    watch.nextMs = FAR_FUTURE_MS
    // One more than can be on their way, so that the row behind them says when to look again.
    for (const { key, value } of store.range('timer', timerRange(partition, FAR_FUTURE_MS, inFlightMax + 1))) {
      const row = parseTimerKey(key)
      const id = callId(row.key, row.effect)
      if (watch.inFlight.has(id)) continue
      if (row.dueMs > nowMs || watch.inFlight.size >= inFlightMax) {
        // With all places taken, `letGo` brings the next look.
        watch.nextMs = row.dueMs > nowMs ? row.dueMs : nowMs + RETRY_MS
        return
      }
      watch.inFlight.add(id)
      this.#send(partition, row, id, decodeValue(value) as string)
    }
  }

  #send(partition: Partition, row: TimerRow, id: string, name: string): void {
    const task = this.#options
      .fire(partition, row, name)
      .catch((error: unknown) => {
        this.#options.logger.warn(
          { timer: name, instance: row.key, err: error },
          'a timer could not be fired: trying again',
        )
        this.letGo(partition, id)
      })
      .finally(() => this.#tasks.delete(task))
    this.#tasks.add(task)
  }
}
