/** Messages that are not durable, as a port: core NATS in production, memory in tests. */
export interface Bus {
  /** Sends to a subject; lost if nobody listens. Never throws for a connection that is down. */
  publish(subject: string, payload: Uint8Array): void
  /**
   * Answers requests on a subject until the returned function is called; it resolves when no handler runs any more. Requests that were on their way then
   * are still answered. With a `queue`, each request goes to one of those who serve the subject with the same one.
   */
  serve(
    subject: string,
    handle: (payload: Uint8Array) => Promise<Uint8Array>,
    options?: { readonly queue?: string },
  ): () => Promise<void>
  /** Hears what is published on a subject, until the returned function is called. */
  listen(subject: string, hear: (payload: Uint8Array) => void): () => void
}
