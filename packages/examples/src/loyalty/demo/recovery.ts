/**
 * What a fault of a node does to the customers that it served.
 *
 * Only signals count that were sent after the fault, to customers in partitions that the node owned at that moment.
 */
import type { Sample } from '../producer.ts'

export interface RecoveryOptions {
  /** By `performance.now()`: no answer of the node is taken for one of its successor, so for a kill it is the end of the process. */
  readonly countsFromMs: number
  readonly faultMs: number
  readonly isAffected: (customer: string) => boolean
}

export class Recovery {
  /** Resolves with the time from the fault until the next applied signal, milliseconds. */
  readonly recovered: Promise<number>
  readonly #options: RecoveryOptions
  #resolve: (ms: number) => void = () => undefined
  #longestWaitMs = 0

  constructor(options: RecoveryOptions) {
    this.#options = options
    this.recovered = new Promise((resolve) => (this.#resolve = resolve))
  }

  /** The longest that such a signal took from its sending until it was known to be applied. */
  get longestWaitMs(): number {
    return this.#longestWaitMs
  }

  applied({ customer, sentMs, appliedMs }: Sample): void {
    const { countsFromMs, faultMs, isAffected } = this.#options
    if (sentMs < countsFromMs || !isAffected(customer)) return
    this.#longestWaitMs = Math.max(this.#longestWaitMs, appliedMs - sentMs)
    this.#resolve(appliedMs - faultMs)
  }
}
