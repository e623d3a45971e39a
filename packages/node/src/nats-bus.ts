/** Messages that are not durable, on core NATS. */
import type { Bus } from '@carillon/runtime/ports'
import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node'

/** A server that does not answer within this holds up no node that stops. */
const DRAIN_MS_MAX = 1000

export class NatsBus implements Bus {
  readonly #nc: NatsConnection

  constructor(nc: NatsConnection) {
    this.#nc = nc
  }

  publish(subject: string, payload: Uint8Array): void {
    // Replies are hints: while the connection is down their receivers ask again by themselves.
    if (!this.#nc.isClosed()) this.#nc.publish(subject, payload)
  }

  serve(
    subject: string,
    handle: (payload: Uint8Array) => Promise<Uint8Array>,
    { queue }: { readonly queue?: string } = {},
  ): () => Promise<void> {
    const running = new Set<Promise<void>>()
    const answer = async (message: Msg): Promise<void> => {
      const response = await handle(message.data)
      if (!this.#nc.isClosed()) message.respond(response)
    }
    const track = (task: Promise<void>): void => {
      const tracked = task.finally(() => running.delete(tracked))
      running.add(tracked)
    }
    const subscription = this.#nc.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error, message) => {
        if (error === null && message.reply !== undefined) track(answer(message))
      },
    })
    return async () => {
      await this.#drain(subscription)
      await Promise.all(running)
    }
  }

  listen(subject: string, hear: (payload: Uint8Array) => void): () => void {
    const subscription = this.#nc.subscribe(subject, {
      callback: (error, message) => {
        if (error === null) hear(message.data)
      },
    })
    return () => {
      if (!this.#nc.isClosed() && !subscription.isClosed()) subscription.unsubscribe()
    }
  }

  /** Who asked before the server knew that nobody listens any more would else wait for an answer that never comes. */
  async #drain(subscription: Subscription): Promise<void> {
    if (this.#nc.isClosed() || subscription.isClosed()) return
    const late = new Promise<void>((resolve) => void setTimeout(resolve, DRAIN_MS_MAX).unref())
    await Promise.race([subscription.drain().catch(() => undefined), late])
    if (!subscription.isClosed()) subscription.unsubscribe()
  }
}
