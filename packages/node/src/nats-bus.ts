/** Messages that are not durable, on core NATS. */
import type { Bus } from '@carillon/runtime/ports'
import type { Msg, NatsConnection } from '@nats-io/transport-node'

export class NatsBus implements Bus {
  readonly #nc: NatsConnection

  constructor(nc: NatsConnection) {
    this.#nc = nc
  }

  publish(subject: string, payload: Uint8Array): void {
    // Replies are hints: while the connection is down their receivers ask again by themselves.
    if (!this.#nc.isClosed()) this.#nc.publish(subject, payload)
  }

  serve(subject: string, handle: (payload: Uint8Array) => Promise<Uint8Array>): () => Promise<void> {
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
      callback: (error, message) => {
        if (error === null && message.reply !== undefined) track(answer(message))
      },
    })
    return async () => {
      subscription.unsubscribe()
      await Promise.all(running)
    }
  }
}
