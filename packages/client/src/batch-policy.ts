/**
 * Whether what is queued on one key should leave as an atomic batch, or message by message.
 *
 * A batch costs the server a staging store of its own: about 2 ms, and 8 µs a message, against 8 µs for a message by itself (measured on
 * nats-server 2.15.1, one replica). So batches of 10 carry 5 k/s where single messages of many keys carry 100 k/s; but one key alone, one
 * message per round trip, carries 10 k/s where batches of 1000 carry 100 k/s.
 */

/** Below this a batch is never worth its staging. */
const COUNT_MIN = 16
/** From here on a batch costs the server at most half as much again as its messages alone, and a deep queue must get on. */
const COUNT_ALWAYS = 256
const BATCH_MS = 2
const MESSAGE_MS = 0.008
/** Weight of a new sample of the latency. */
const WEIGHT = 1 / 16
const LATENCY_START_MS = 0.2

export class BatchPolicy {
  #latencyMs = LATENCY_START_MS

  /** Learns how long a single message took from its sending to its acknowledgement. */
  observe(latencyMs: number): void {
    this.#latencyMs += (latencyMs - this.#latencyMs) * WEIGHT
  }

  /**
   * Compares rates: a batch of `count` against what `keys` single messages in flight carry at the present latency (Little's law).
   *
   * @param count messages queued on the key, at most those of a batch.
   * @param keys keys that have something in flight or to send.
   */
  prefersBatch(count: number, keys: number): boolean {
    if (count < COUNT_MIN) return false
    if (count >= COUNT_ALWAYS) return true
    const batchRate = count / (BATCH_MS + count * MESSAGE_MS)
    return batchRate > keys / this.#latencyMs
  }
}
