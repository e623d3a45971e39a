/**
 * The inbox on which outcomes arrive: one subscription per connection, one token per waiting sender.
 *
 * Owns: the subscription, who waits. Does not own: how long they wait, and what they do when nothing comes (core NATS may lose a reply).
 */
import { CarillonError } from '@carillon/runtime'
import { decodeMessage, type Outcome, type PayloadCodecs, type ReplyPayload } from '@carillon/runtime/protocol'
import { createInbox, type Msg, type NatsConnection, type Subscription } from '@nats-io/transport-node'

import { WAITING_MAX } from './limits.ts'

/** A reply that is waited for. */
export interface AwaitedReply {
  /** For the header `Carillon-Reply`. */
  readonly subject: string
  /** Rejects with CLOSING when the inbox closes. */
  readonly reply: Promise<ReplyPayload>
  /** Stops waiting. Every awaited reply is to be forgotten, whether it came or not. */
  forget(): void
}

interface Waiting {
  readonly resolve: (reply: ReplyPayload) => void
  readonly reject: (error: unknown) => void
}

const BASE = 36

export class ReplyInbox {
  readonly #prefix: string
  readonly #subscription: Subscription
  readonly #codecs: PayloadCodecs | undefined
  readonly #waiting = new Map<string, Waiting>()
  #lastToken = 0

  constructor(nc: NatsConnection, inboxPrefix?: string, codecs?: PayloadCodecs) {
    this.#codecs = codecs
    this.#prefix = `${createInbox(inboxPrefix)}.`
    this.#subscription = nc.subscribe(`${this.#prefix}*`, { callback: (error, msg) => this.#onReply(error, msg) })
  }

  /** @throws LIMIT_REACHED when too many senders wait already. */
  expect(): AwaitedReply {
    if (this.#waiting.size >= WAITING_MAX) {
      throw new CarillonError(
        'LIMIT_REACHED',
        `${WAITING_MAX} outcomes are waited for on this connection: send fewer at once`,
      )
    }
    this.#lastToken += 1
    const token = this.#lastToken.toString(BASE)
    const reply = new Promise<ReplyPayload>((resolve, reject) => this.#waiting.set(token, { resolve, reject }))
    // Whoever waits looks at it when it wants to; until then a rejection is nobody's fault.
    reply.catch(() => undefined)
    return { subject: this.#prefix + token, reply, forget: () => void this.#waiting.delete(token) }
  }

  /** Everyone who waits is told CLOSING. */
  close(): void {
    const error = new CarillonError(
      'CLOSING',
      'the client was closed before the outcome came: ask again with the same id',
    )
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
    if (!this.#subscription.isClosed()) this.#subscription.unsubscribe()
  }

  #onReply(error: Error | null, msg: Msg): void {
    // Without the permission to subscribe no reply comes, and the outcome is asked for instead.
    if (error !== null) return
    const token = msg.subject.slice(this.#prefix.length)
    const reply = parseReply(msg, this.#codecs)
    if (reply !== undefined) this.#waiting.get(token)?.resolve(reply)
  }
}

/** Parses a reply; undefined when it is none: anyone may publish to an inbox. */
function parseReply({ data, subject }: Msg, codecs: PayloadCodecs | undefined): ReplyPayload | undefined {
  try {
    const value = decodeMessage(codecs, data, subject)
    if (typeof value !== 'object' || value === null || !('seq' in value) || !('outcome' in value)) return undefined
    const { seq, outcome } = value
    if (typeof seq !== 'number' || !isOutcome(outcome)) return undefined
    return { seq, duplicate: 'duplicate' in value && value.duplicate === true, outcome }
  } catch {
    return undefined
  }
}

/** Whether a decoded value says how something ended. */
export function isOutcome(value: unknown): value is Outcome {
  if (typeof value !== 'object' || value === null || !('ok' in value)) return false
  if (value.ok === true) return true
  return value.ok === false && 'error' in value && isErrorData(value.error)
}

/** Whether a decoded value is an error as plain data. */
export function isErrorData(value: unknown): value is { readonly code: string; readonly message: string } {
  return (
    typeof value === 'object' &&
    value !== null &&
    'code' in value &&
    'message' in value &&
    typeof value.code === 'string' &&
    typeof value.message === 'string'
  )
}
