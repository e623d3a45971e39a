/**
 * The producer: reads a feed and signals, in the feed's order.
 *
 * Every input carries the order's id, so a line that the feed repeats changes nothing. Run it again after a crash from any earlier line.
 */
import { setTimeout as delay } from 'node:timers/promises'

import type { Carillon, SignalItem, WorkflowHandle } from '@carillon/client'
import { hasCode } from '@carillon/runtime'

import { Loyalty } from './contract.ts'
import type { FeedEvent } from './feed.ts'

type LoyaltySignal = SignalItem<typeof Loyalty> & { readonly workflow: typeof Loyalty }
type Order = Exclude<FeedEvent, { readonly type: 'redeem' }>

export interface ReplayOptions {
  /** Lines a second, as a live feed would come; as fast as they are accepted when absent. */
  readonly linesPerSecond?: number
  /** Every so many signals, one waits until it is applied and is told to `onApplied`. */
  readonly sampleEvery?: number
  /** Told how many lines have been taken from the feed and how many of them are durable, now and then. */
  readonly onProgress?: (progress: { readonly lines: number; readonly accepted: number }) => void
  /** `onProgress` is told each time that so many more are durable. Default 50. */
  readonly progressEvery?: number
  /** Told of each sampled signal: whom it was for, and when it was sent and applied, by `performance.now()`. */
  readonly onApplied?: (sample: Sample) => void
  readonly signal?: AbortSignal
}

export interface Sample {
  readonly customer: string
  readonly sentMs: number
  readonly appliedMs: number
}

/** What came of one redemption: the points that are left, or a refusal. */
export interface Redemption {
  readonly orderId: string
  readonly left: number | 'refused'
}

export interface ReplayResult {
  /** Lines of the feed; every one is durable. */
  readonly lines: number
  /** One for each line that redeems, repeats included, in no particular order. */
  readonly redemptions: readonly Redemption[]
  /** No input of the feed has a higher sequence. */
  readonly throughSeq: number
}

const PROGRESS_EVERY = 50
/** Answers that are waited for at once: while no node runs, they pile up. */
const WAITING_MAX = 2_000

/** Rejects when an input is not accepted; the lines in front of it are. */
export async function replay(
  carillon: Carillon,
  feed: AsyncIterable<FeedEvent> | Iterable<FeedEvent>,
  options: ReplayOptions = {},
): Promise<ReplayResult> {
  const run = new Replay(carillon, options)
  return run.run(feed)
}

class Replay {
  readonly #carillon: Carillon
  readonly #options: ReplayOptions
  readonly #stop = new AbortController()
  readonly #waiting = new Set<Promise<void>>()
  readonly #redemptions: Redemption[] = []
  #lines = 0
  #accepted = 0
  #answered = 0
  #lastOrder: Order | undefined
  #throughSeq = 0

  constructor(carillon: Carillon, options: ReplayOptions) {
    this.#carillon = carillon
    this.#options = options
  }

  async run(feed: AsyncIterable<FeedEvent> | Iterable<FeedEvent>): Promise<ReplayResult> {
    const { signal } = this.#options
    const either = signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal])
    try {
      await this.#carillon.signalMany(this.#signals(feed, either), {
        progressEvery: this.#options.progressEvery ?? PROGRESS_EVERY,
        onProgress: ({ accepted }) => {
          this.#accepted = accepted
          this.#tell()
        },
        signal: either,
      })
    } catch (error) {
      this.#stop.signal.throwIfAborted()
      throw error
    } finally {
      await Promise.allSettled(this.#waiting)
    }
    this.#stop.signal.throwIfAborted()
    await this.#repeatLastOrder()
    return { lines: this.#lines, redemptions: this.#redemptions, throughSeq: this.#throughSeq }
  }

  /** Gives what goes through `signalMany`, and sends by itself what is to be answered. Both keep the order of each customer's lines. */
  async *#signals(
    feed: AsyncIterable<FeedEvent> | Iterable<FeedEvent>,
    signal: AbortSignal,
  ): AsyncGenerator<LoyaltySignal> {
    const { linesPerSecond, sampleEvery } = this.#options
    const startMs = performance.now()
    for await (const event of feed) {
      if (linesPerSecond !== undefined) await until(startMs + (1000 * this.#lines) / linesPerSecond, signal)
      this.#lines += 1
      if (event.type === 'redeem') this.#wait(this.#redeem(event))
      else {
        this.#lastOrder = event
        if (sampleEvery !== undefined && this.#lines % sampleEvery === 0) this.#wait(this.#sample(event))
        else yield toSignal(event)
      }
      while (this.#waiting.size >= WAITING_MAX) await Promise.race(this.#waiting)
    }
  }

  async #redeem({ customer, orderId, points }: FeedEvent & { readonly type: 'redeem' }): Promise<void> {
    const handle = this.#carillon.workflow(Loyalty, customer)
    const left = await handle.update('redeem', { orderId, points }, { id: orderId }).then(
      (answer) => answer.left,
      (error: unknown) => {
        if (hasCode(error, 'UPDATE_REJECTED')) return 'refused' as const
        throw error
      },
    )
    this.#saw(handle)
    this.#redemptions.push({ orderId, left })
  }

  async #sample({ type, customer, orderId, amountCents }: Order): Promise<void> {
    const sentMs = performance.now()
    const handle = this.#carillon.workflow(Loyalty, customer)
    await handle.signal(type, { orderId, amountCents }, { id: orderId, wait: 'applied' })
    this.#options.onApplied?.({ customer, sentMs, appliedMs: performance.now() })
    this.#saw(handle)
  }

  /** All of the feed is durable by now, so the sequence of one more input is behind it; and a repeat changes nothing. */
  async #repeatLastOrder(): Promise<void> {
    if (this.#lastOrder === undefined) return
    const { type, customer, orderId, amountCents } = this.#lastOrder
    const handle = this.#carillon.workflow(Loyalty, customer)
    await handle.signal(type, { orderId, amountCents }, { id: orderId })
    this.#saw(handle)
  }

  /** Waits for an answer beside the feed. A failure ends the replay. */
  #wait(answer: Promise<void>): void {
    const settled = answer
      .then(() => {
        this.#answered += 1
        this.#tell()
      })
      .catch((error: unknown) => this.#stop.abort(error))
      .finally(() => this.#waiting.delete(settled))
    this.#waiting.add(settled)
  }

  #saw({ lastSeq }: WorkflowHandle<typeof Loyalty.shape>): void {
    this.#throughSeq = Math.max(this.#throughSeq, lastSeq)
  }

  #tell(): void {
    this.#options.onProgress?.({ lines: this.#lines, accepted: this.#accepted + this.#answered })
  }
}

function toSignal({ type, customer, orderId, amountCents }: Order): LoyaltySignal {
  return { workflow: Loyalty, id: customer, name: type, payload: { orderId, amountCents }, inputId: orderId }
}

async function until(momentMs: number, signal: AbortSignal): Promise<void> {
  const leftMs = momentMs - performance.now()
  if (leftMs > 1) await delay(leftMs, undefined, { signal })
}
