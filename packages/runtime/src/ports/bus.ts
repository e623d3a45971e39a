/** Messages that are not durable, as a port: core NATS in production, memory in tests. */
export interface Bus {
  /** Sends to a subject; lost if nobody listens. Never throws for a connection that is down. */
  publish(subject: string, payload: Uint8Array): void
  /** Answers requests on a subject until the returned function is called; it resolves when no handler runs any more. */
  serve(subject: string, handle: (payload: Uint8Array) => Promise<Uint8Array>): () => Promise<void>
}
