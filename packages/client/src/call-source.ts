/**
 * The calls of one activity, pulled from the work queue while there is room for them.
 *
 * Owns: the pull that is under way.
 * Does not own: the calls that it has handed over, nor how much room there is.
 *
 * Invariants
 * 1. It never asks for more than there is room for at that moment.
 * 2. A server or consumer that is gone is asked again, and made anew where it can be, until `close`.
 */
import type { Clock, Logger } from '@carillon/runtime/ports'
import type { Subjects } from '@carillon/runtime/protocol'
import type { Consumer, ConsumerMessages, JetStreamClient, JetStreamManager, JsMsg } from '@nats-io/jetstream'

import { ensureConsumer, type QueuedActivity } from './queue-consumer.ts'

/** How long one request for calls stays with the server. */
const PULL_MS = 10_000
/** A pull that ends sooner and empty did not wait: the server or the consumer is not there. */
const TOO_SOON_MS = 500
const BACKOFF_MS = 500
const BACKOFF_MAX_MS = 5000

export interface CallSourceOptions {
  readonly activity: QueuedActivity
  readonly client: JetStreamClient
  readonly manager: JetStreamManager
  readonly subjects: Subjects
  readonly clock: Clock
  readonly logger: Logger
  /** How many calls may come now. */
  readonly room: () => number
  readonly onCall: (message: JsMsg) => void
}

export class CallSource {
  readonly #options: CallSourceOptions
  readonly #running: Promise<void>
  #messages: ConsumerMessages | undefined
  #wake: () => void = () => {}
  #closed = false

  constructor(options: CallSourceOptions) {
    this.#options = options
    this.#running = this.#run()
  }

  /** There may be room, where there was none. */
  poke(): void {
    this.#wake()
  }

  /** Asks for nothing more; resolves when nothing comes any more. */
  async close(): Promise<void> {
    this.#closed = true
    this.#messages?.stop()
    this.#wake()
    await this.#running
  }

  async #run(): Promise<void> {
    const { room, clock, logger, activity } = this.#options
    let consumer: Consumer | undefined
    let failures = 0
    while (!this.#closed) {
      const count = room()
      if (count === 0) {
        await this.#pause()
        continue
      }
      const sinceMs = clock.nowMs()
      let received = 0
      try {
        consumer ??= await this.#consumer()
        received = await this.#pull(consumer, count)
        if (received > 0 || clock.nowMs() - sinceMs >= TOO_SOON_MS || this.#closed) failures = 0
        else throw new Error('the pull ended at once')
      } catch (error) {
        if (this.#closed) return
        consumer = undefined
        failures += 1
        logger.warn({ ...activity, err: error }, 'calls cannot be pulled from the work queue: trying again')
        await this.#pause(Math.min(BACKOFF_MS * 2 ** (failures - 1), BACKOFF_MAX_MS))
      }
    }
  }

  async #consumer(): Promise<Consumer> {
    const { manager, subjects, activity, client } = this.#options
    const { name } = await ensureConsumer(manager, subjects, activity)
    return client.consumers.get(subjects.callStream, name)
  }

  async #pull(consumer: Consumer, count: number): Promise<number> {
    const messages = await consumer.fetch({ max_messages: count, expires: PULL_MS, bind: true })
    this.#messages = messages
    let received = 0
    try {
      if (this.#closed) messages.stop()
      for await (const message of messages) {
        received += 1
        this.#options.onCall(message)
      }
    } finally {
      this.#messages = undefined
    }
    return received
  }

  /** Until it is poked; at most so long, where given. */
  #pause(ms?: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = ms === undefined ? undefined : this.#options.clock.after(ms, () => this.#wake())
      this.#wake = () => {
        cancel?.()
        this.#wake = () => {}
        resolve()
      }
    })
  }
}
