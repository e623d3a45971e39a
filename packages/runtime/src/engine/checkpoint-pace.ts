/** How fast checkpoints are made: turns, replies and commits come first. */
import type { Clock } from '../ports/index.ts'

export interface CheckpointPace {
  /** Time from the end of one round over the partitions to the begin of the next. Longer: less is written, more is folded again by a node without data. */
  readonly everyMs: number
  /** Bytes a second that go into the snapshot stream, at most. */
  readonly bytesPerS: number
  /** Messages a second, at most: an idle partition costs one a round. */
  readonly messagesPerS: number
  /** Rows are read for at most this long before the host may do its I/O, */
  readonly sliceMs: number
  /** and then not for this long. */
  readonly restMs: number
  /** A removed part is needed no more once everything behind it is on the servers' disks: JetStream flushes every two minutes unless told otherwise. */
  readonly settleMs: number
}

export const CHECKPOINT_PACE: CheckpointPace = {
  everyMs: 30_000,
  bytesPerS: 16 * 1024 * 1024,
  messagesPerS: 200,
  sliceMs: 2,
  restMs: 6,
  settleMs: 150_000,
}

/** Looking at the clock costs as much as reading some rows. */
const ROWS_PER_LOOK = 8

/** Paces one round. */
export class Pacer {
  readonly #pace: CheckpointPace
  readonly #clock: Clock
  #rows = 0
  #sliceEndMs = 0

  constructor(pace: CheckpointPace, clock: Clock) {
    this.#pace = pace
    this.#clock = clock
    this.#begin()
  }

  /** To be called for each row; a promise where it is time to rest. */
  row(): Promise<void> | undefined {
    if (++this.#rows % ROWS_PER_LOOK !== 0 || performance.now() < this.#sliceEndMs) return undefined
    return this.#rest(this.#pace.restMs)
  }

  /** To be called when a message has been sent, which took some time. */
  sent(bytes: number, tookMs: number): Promise<void> {
    const { bytesPerS, messagesPerS } = this.#pace
    return this.#rest(Math.max(bytes / bytesPerS, 1 / messagesPerS) * 1000 - tookMs)
  }

  async #rest(ms: number): Promise<void> {
    if (ms > 0) await new Promise<void>((resolve) => void this.#clock.after(ms, resolve))
    else await this.#clock.yield()
    this.#begin()
  }

  #begin(): void {
    this.#sliceEndMs = performance.now() + this.#pace.sliceMs
  }
}
