/** Messages that are not durable, in memory: the twin of core NATS. */
import type { Bus } from '../ports/index.ts'

type Handle = (payload: Uint8Array) => Promise<Uint8Array>

export interface Published {
  readonly subject: string
  readonly payload: Uint8Array
}

export class MemoryBus implements Bus {
  /** Everything that was published, in order. */
  readonly published: Published[] = []
  readonly #handlers = new Map<string, Handle>()

  publish(subject: string, payload: Uint8Array): void {
    this.published.push({ subject, payload })
  }

  serve(subject: string, handle: Handle): () => Promise<void> {
    const running = new Set<Promise<unknown>>()
    const tracked: Handle = (payload) => {
      const answer = handle(payload)
      const ended: Promise<unknown> = answer.catch(() => undefined).finally(() => running.delete(ended))
      running.add(ended)
      return answer
    }
    this.#handlers.set(subject, tracked)
    return async () => {
      if (this.#handlers.get(subject) === tracked) this.#handlers.delete(subject)
      await Promise.all(running)
    }
  }

  /** Asks whoever serves the subject. Rejects at once when nobody does, as a server without responders does. */
  request(subject: string, payload: Uint8Array): Promise<Uint8Array> {
    const handle = this.#handlers.get(subject)
    return handle === undefined ? Promise.reject(new Error(`nobody serves ${subject}`)) : handle(payload)
  }
}
