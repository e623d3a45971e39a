/**
 * What the handles of one connection share.
 *
 * Owns: the publisher, the reply inbox, the requests; the connection, which it closes last.
 * Invariants
 * 1. Inputs to one instance are published in the order of the calls of `send`, so nothing before it waits.
 * 2. When `close` resolves, every call has settled and nothing of this client runs.
 */
import { setMaxListeners } from 'node:events'

import { CarillonError, type ClientInterceptor, type ReadFrom } from '@carillon/runtime'
import type { PayloadCodecs, ReplyPayload, Subjects } from '@carillon/runtime/protocol'
import { jetstream, type JetStreamClient, type JetStreamManager, jetstreamManager } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'

import { Deadline } from './deadline.ts'
import { apiOptions } from './jetstream-api.ts'
import { formatInput, InputSender, type OutgoingInput, type SentInput } from './input-sender.ts'
import { awaitOutcome } from './outcome.ts'
import { PipelinedPublisher } from './pipelined-publisher.ts'
import { ReplyInbox } from './reply-inbox.ts'
import { RpcClient } from './rpc-client.ts'
import { Targets } from './target.ts'

/** An applied input: how it ended, and its id. */
export interface AppliedInput extends ReplyPayload {
  readonly id: string
}

export class Session {
  readonly subjects: Subjects
  readonly targets: Targets
  readonly rpc: RpcClient
  /** What payloads pass on their way out and in; undefined for none. */
  readonly codecs: PayloadCodecs | undefined
  /** Around every call of a handle; undefined for none. */
  readonly intercept: ClientInterceptor | undefined
  /** Which node answers reads that do not say it themselves. */
  readonly readsFrom: ReadFrom
  /** Where this account finds JetStream's API; undefined for `$JS.API`. */
  readonly jetStreamPrefix: string | undefined
  /** Aborted when the client closes: waits end then. */
  readonly closing: AbortSignal
  readonly #nc: NatsConnection
  readonly #publisher: PipelinedPublisher
  readonly #sender: InputSender
  readonly #replies: ReplyInbox
  readonly #waits = new AbortController()
  readonly #running = new Set<Promise<unknown>>()
  #closed: Promise<void> | undefined

  constructor(
    nc: NatsConnection,
    subjects: Subjects,
    inboxPrefix: string | undefined,
    codecs: PayloadCodecs | undefined,
    intercept: ClientInterceptor | undefined,
    readsFrom: ReadFrom = 'owner',
    jetStreamPrefix?: string,
  ) {
    this.#nc = nc
    this.jetStreamPrefix = jetStreamPrefix
    this.subjects = subjects
    this.codecs = codecs
    this.intercept = intercept
    this.readsFrom = readsFrom
    this.targets = new Targets(subjects)
    this.closing = this.#waits.signal
    // Every call that waits listens to it. How many there may be is bounded where they are made, so more than ten are no leak.
    setMaxListeners(0, this.closing)
    this.#publisher = new PipelinedPublisher(nc)
    this.#sender = new InputSender(subjects, this.#publisher, codecs)
    this.#replies = new ReplyInbox(nc, inboxPrefix, codecs)
    this.rpc = new RpcClient(nc, subjects, this.closing, codecs)
  }

  /** Sends one input (invariant 1). Throws as `InputSender.send`, and CLOSING. */
  send(input: OutgoingInput): SentInput {
    this.#throwIfClosed()
    return this.#sender.send(input)
  }

  /** Sends one input without a promise for it. Throws as `send`. */
  post(input: OutgoingInput, onStored: () => void, onFailed: (error: unknown) => void): void {
    this.#throwIfClosed()
    this.#sender.post(input, onStored, onFailed)
  }

  /** Undefined while there is room for more inputs, else a promise of it. */
  ready(): Promise<void> | undefined {
    return this.#publisher.ready()
  }

  /** Sends one input and waits until it is applied. Throws as `send` and as `awaitOutcome`. */
  async sendAndWait(input: Omit<OutgoingInput, 'reply'>, timeoutMs: number): Promise<AppliedInput> {
    const deadline = new Deadline(timeoutMs)
    const awaited = this.#replies.expect()
    try {
      const { id, seq } = this.send({ ...input, reply: awaited.subject })
      const what = formatInput(input)
      const reply = await this.track(() =>
        awaitOutcome(this.rpc, { target: input.target, what, id, seq, awaited, deadline }),
      )
      return { ...reply, id }
    } finally {
      awaited.forget()
    }
  }

  /** Runs something that `close` waits for. */
  async track<T>(run: () => Promise<T>): Promise<T> {
    this.#throwIfClosed()
    const running = run()
    this.#running.add(running)
    try {
      return await running
    } finally {
      this.#running.delete(running)
    }
  }

  /** For workers, which pull and subscribe; it is closed by `close` alone. */
  get connection(): NatsConnection {
    return this.#nc
  }

  jetStreamClient(): JetStreamClient {
    this.#throwIfClosed()
    return jetstream(this.#nc, apiOptions(this.jetStreamPrefix))
  }

  /** For reads of the journal. */
  jetStream(): Promise<JetStreamManager> {
    this.#throwIfClosed()
    return jetstreamManager(this.#nc, { checkAPI: false, ...apiOptions(this.jetStreamPrefix) })
  }

  /** Waits for what was sent to be acknowledged, ends what waits for outcomes, and closes the connection (invariant 2). Safe to call again. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await this.#publisher.close()
    this.#waits.abort()
    this.#replies.close()
    // Requests on their way end with the connection.
    await this.#nc.close()
    await Promise.allSettled(this.#running)
  }

  #throwIfClosed(): void {
    if (this.#closed !== undefined) throw new CarillonError('CLOSING', 'the client is closed: connect again')
  }
}
