/**
 * Carries signals from the public door into the journal, where the server cannot do so itself (door mode `relay`).
 *
 * Owns: one queue subscription, shared with the other nodes; one publisher.
 * Does not own: the connection.
 *
 * Invariants
 * 1. The sender's reply subject hears the journal's answer, in the form of a PubAck, and never before the signal is
 *    durable.
 * 2. Of the sender's headers only those that an input knows go on: nothing that JetStream would act upon, but the
 *    message id of plain producers.
 * 3. Nothing is published on a subject of JetStream, of the server or of this namespace because a sender named it as
 *    its reply.
 */
import { PipelinedPublisher, type PipelinedPublisherOptions } from '@carillon/client'
import { codeOf } from '@carillon/runtime'
import { HEADERS, type Subjects, type Token } from '@carillon/runtime/protocol'
import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node'

import { headerBlock, headerIn } from './raw-headers.ts'

export interface DoorRelayOptions {
  readonly publisher?: PipelinedPublisherOptions
  /** Receives a line when the relay itself is refused. */
  readonly log?: (line: string) => void
}

const PASSED = [
  HEADERS.id,
  HEADERS.encoding,
  HEADERS.reply,
  HEADERS.version,
  HEADERS.trace,
  HEADERS.traceState,
  HEADERS.natsId,
]
/** JetStream's codes: insufficient resources, and a bad request. */
const BUSY = { code: 503, err_code: 10023 }
const BAD_REQUEST = { code: 400, err_code: 10003 }

export class DoorRelay {
  readonly #nc: NatsConnection
  readonly #subjects: Subjects
  readonly #publisher: PipelinedPublisher
  readonly #subscription: Subscription
  readonly #log: (line: string) => void
  readonly #running = new Set<Promise<void>>()

  constructor(nc: NatsConnection, subjects: Subjects, options: DoorRelayOptions = {}) {
    this.#nc = nc
    this.#subjects = subjects
    this.#log = options.log ?? (() => undefined)
    this.#publisher = new PipelinedPublisher(nc, options.publisher)
    // The namespace is 32 characters of [A-Za-z0-9_-] at most: safe in a queue name.
    const queue = `${subjects.namespace}-door`
    this.#subscription = nc.subscribe(subjects.doorAll, {
      queue,
      callback: (refusal, msg) => this.#onMsg(refusal, msg),
    })
  }

  /** Takes no more signals, and resolves when those under way have been answered. */
  async close(): Promise<void> {
    if (!this.#nc.isClosed() && !this.#subscription.isClosed()) await this.#subscription.drain()
    await this.#publisher.close()
    await Promise.all(this.#running)
  }

  #onMsg(refusal: Error | null, msg: Msg): void {
    if (refusal !== null) return this.#log(`the door ${this.#subjects.doorAll} cannot be relayed: ${refusal.message}`)
    const relaying: Promise<void> = this.#relay(msg).finally(() => this.#running.delete(relaying))
    this.#running.add(relaying)
  }

  async #relay(msg: Msg): Promise<void> {
    const [, , type, id, name] = msg.subject.split('.') as Token[]
    if (type === undefined || id === undefined || name === undefined) return
    const stream = this.#subjects.logStream
    try {
      const subject = this.#subjects.log(type, id, 'signal', name)
      const { seq, duplicate } = await this.#publisher.publish({
        subject,
        key: `${type}.${id}`,
        headers: passedHeaders(msg),
        payload: msg.data,
      })
      this.#answer(msg, duplicate ? { stream, seq, duplicate } : { stream, seq })
    } catch (error) {
      const kind =
        codeOf(error) === 'NOT_ACKNOWLEDGED' || codeOf(error) === 'LIMIT_REACHED' || codeOf(error) === 'CLOSING'
          ? BUSY
          : BAD_REQUEST
      this.#answer(msg, {
        error: { ...kind, description: error instanceof Error ? error.message : String(error) },
        stream,
        seq: 0,
      })
    }
  }

  #answer(msg: Msg, answer: object): void {
    const { reply } = msg
    if (reply === undefined || reply === '' || this.#nc.isClosed()) return
    if (reply.startsWith('$') || reply.startsWith(`${this.#subjects.namespace}.`)) return
    this.#nc.publish(reply, JSON.stringify(answer))
  }
}

function passedHeaders(msg: Msg): Record<string, string> {
  const passed: Record<string, string> = {}
  const block = headerBlock(msg, msg.data)
  if (block === '') return passed
  for (const name of PASSED) {
    const value = headerIn(block, name)
    if (value !== undefined && value !== '') passed[name] = value
  }
  return passed
}
