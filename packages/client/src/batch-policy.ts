/**
 * Decides whether what is queued on one key leaves as an atomic batch, or message by message.
 *
 * A batch costs the server a staging store of its own: about 2 ms, and 8 µs a message, against 8 µs for a message by
 * itself (nats-server 2.15.1, one replica). So batches of 10 carry 5 k/s where single messages of a hundred keys carry
 * 95 k/s; but one key alone, one message per round trip, carries 10 k/s where batches of 1000 carry 100 k/s.
 */
import { BATCH_MESSAGES_MAX } from '@carillon/runtime/protocol'

/**
 * Batches in flight. The server takes 50 per stream from all its publishers together, and keeps one that was cut off
 * for 10 s.
 */
const BATCHES_MAX = 8
/** Below this a batch is never worth its staging. */
const COUNT_MIN = 16
/**
 * From here on a batch costs the server at most twice its messages alone, and a deep queue must get on beside busy
 * neighbours.
 */
const COUNT_ALWAYS = 256
const BATCH_MS = 2
const MESSAGE_MS = 0.008
/** Single messages of many keys together, per millisecond: what the server stores. */
const SINGLES_MAX = 1 / MESSAGE_MS
const ROUND_TRIP_MIN_MS = 0.2
const WINDOW_MS = 1000
const UNFIT = -1

/** Says whether the time of a single message tells the round trip: opaque to its carrier. */
export type LatencyMark = number

export class BatchPolicy {
  #isEnabled: boolean
  #inFlight = 0
  #launched = 0
  /** The shortest round trip of a window: what one costs without waiting behind others. */
  #roundTripMs = ROUND_TRIP_MIN_MS
  #shortestMs = Number.POSITIVE_INFINITY
  #windowEndsMs = 0

  constructor(isEnabled: boolean) {
    this.#isEnabled = isEnabled
  }

  /** The stream takes no batches: never again. */
  disable(): void {
    this.#isEnabled = false
  }

  /**
   * How many of a key's messages leave together; 1 means no batch.
   *
   * @param queued messages that wait on the key.
   * @param keys keys that have something in flight or to send.
   */
  sizeOf(queued: number, keys: number, nowMs: number): number {
    if (!this.#isEnabled || this.#inFlight >= BATCHES_MAX || queued < COUNT_MIN) return 1
    const count = Math.min(queued, BATCH_MESSAGES_MAX)
    return count >= COUNT_ALWAYS || this.#isFaster(count, keys, nowMs) ? count : 1
  }

  onLaunched(count: number): LatencyMark {
    if (count > 1) {
      this.#inFlight += 1
      this.#launched += 1
    }
    return this.#inFlight > 0 ? UNFIT : this.#launched
  }

  onLanded(count: number): void {
    if (count > 1) this.#inFlight -= 1
  }

  /** Learns from a message that was acknowledged at its first attempt, unless a batch was under way meanwhile. */
  observe(mark: LatencyMark, latencyMs: number, nowMs: number): void {
    if (mark !== this.#launched) return
    this.#shortestMs = Math.min(this.#shortestMs, latencyMs)
    if (nowMs < this.#windowEndsMs) return
    // The first window of all has just begun: programs start slowly, and its latency says little.
    if (this.#windowEndsMs > 0) this.#roundTripMs = Math.max(ROUND_TRIP_MIN_MS, this.#shortestMs)
    this.#beginWindow(nowMs)
  }

  /** Compares rates: a batch, against single messages of all keys with one in flight each. */
  #isFaster(count: number, keys: number, nowMs: number): boolean {
    if (nowMs >= this.#windowEndsMs + WINDOW_MS) this.#doubt(nowMs)
    const batchRate = count / (BATCH_MS + count * MESSAGE_MS)
    return batchRate > Math.min(keys / this.#roundTripMs, SINGLES_MAX)
  }

  /** Batches keep single messages from being seen. A long round trip that nobody confirms is believed less and less. */
  #doubt(nowMs: number): void {
    this.#roundTripMs = Math.max(ROUND_TRIP_MIN_MS, this.#roundTripMs / 2)
    this.#beginWindow(nowMs)
  }

  #beginWindow(nowMs: number): void {
    this.#shortestMs = Number.POSITIVE_INFINITY
    this.#windowEndsMs = nowMs + WINDOW_MS
  }
}
