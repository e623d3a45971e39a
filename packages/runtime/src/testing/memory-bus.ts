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
  /** By subject, and in it by queue; those without one are each alone in theirs. */
  readonly #handlers = new Map<string, Map<unknown, Set<Handle>>>()
  readonly #listeners = new Map<string, Set<(payload: Uint8Array) => void>>()
  #asked = 0

  publish(subject: string, payload: Uint8Array): void {
    this.published.push({ subject, payload })
    for (const hear of this.#listeners.get(subject) ?? []) queueMicrotask(() => hear(payload))
  }

  listen(subject: string, hear: (payload: Uint8Array) => void): () => void {
    const own = (payload: Uint8Array): void => hear(payload)
    const all = this.#listeners.get(subject) ?? new Set()
    this.#listeners.set(subject, all.add(own))
    return () => void all.delete(own)
  }

  serve(subject: string, handle: Handle, { queue }: { readonly queue?: string } = {}): () => Promise<void> {
    const running = new Set<Promise<unknown>>()
    const tracked: Handle = (payload) => {
      const answer = handle(payload)
      const ended: Promise<unknown> = answer.catch(() => undefined).finally(() => running.delete(ended))
      running.add(ended)
      return answer
    }
    const queues = this.#handlers.get(subject) ?? new Map<unknown, Set<Handle>>()
    const members = queues.get(queue ?? tracked) ?? new Set()
    this.#handlers.set(subject, queues.set(queue ?? tracked, members.add(tracked)))
    return async () => {
      members.delete(tracked)
      await Promise.all(running)
    }
  }

  /** Asks one of every queue, and gives the first answer. Rejects at once when nobody serves, as a server without responders does. */
  request(subject: string, payload: Uint8Array): Promise<Uint8Array> {
    this.#asked += 1
    const asked = [...(this.#handlers.get(subject)?.values() ?? [])].flatMap((members) => {
      const all = [...members]
      return all.slice(this.#asked % Math.max(1, all.length)).slice(0, 1)
    })
    if (asked.length === 0) return Promise.reject(new Error(`nobody serves ${subject}`))
    return Promise.race(asked.map((handle) => handle(payload)))
  }
}
