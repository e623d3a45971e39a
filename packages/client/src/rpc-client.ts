/** Requests to the owner of a partition, repeated until one answers: during a failover nobody does for a while. */
import { CarillonError, fromErrorData } from '@carillon/runtime'
import {
  decodeMessage,
  type Partition,
  type PayloadCodecs,
  type RpcRequest,
  sealMessage,
  type Subjects,
} from '@carillon/runtime/protocol'
import { errors, type NatsConnection } from '@nats-io/transport-node'

import { type Deadline, pause } from './deadline.ts'
import { encodePayload } from './input-sender.ts'
import { isErrorData } from './reply-inbox.ts'

/** How one attempt went. `nobody`: no node serves the partition at this moment. `silent`: no answer, or one that only time can change. */
export type Attempt =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'nobody' }
  | { readonly kind: 'silent'; readonly reason: string }

/** How long a node may take to answer, on top of what it was asked to wait, before the next attempt, in milliseconds. */
const ANSWER_MS = 2_500
/** The last attempt gets at least this, even beyond the deadline: cut shorter, it could not tell a silent node from none. */
const ATTEMPT_MS_MIN = 100
const BACKOFF_MS = 20
const BACKOFF_MAX_MS = 250

export interface CallOptions {
  readonly partition: Partition
  /** What the request is for, in error messages. */
  readonly what: string
  readonly deadline: Deadline
  /** How long the node may hold one request. */
  readonly holdMs: number
  readonly request: (waitMs: number) => RpcRequest
}

export class RpcClient {
  readonly #nc: NatsConnection
  readonly #subjects: Subjects
  readonly #closing: AbortSignal
  readonly #codecs: PayloadCodecs | undefined

  constructor(nc: NatsConnection, subjects: Subjects, closing: AbortSignal, codecs?: PayloadCodecs) {
    this.#nc = nc
    this.#subjects = subjects
    this.#closing = closing
    this.#codecs = codecs
  }

  /**
   * Asks until somebody answers.
   *
   * @throws NO_NODE when no node served the partition until the deadline, TIMEOUT when one did but gave no answer, CLOSING when the client is
   * closed, and whatever the node answers.
   */
  async call(options: CallOptions): Promise<unknown> {
    const { deadline, partition, what } = options
    let last: Attempt = { kind: 'nobody' }
    for (let attempt = 0; !deadline.hasPassed; attempt++) {
      const waitMs = Math.ceil(Math.min(options.holdMs, deadline.leftMs))
      last = await this.attempt(partition, options.request(waitMs), Math.min(waitMs + ANSWER_MS, deadline.leftMs), what)
      if (last.kind === 'value') return last.value
      await pause(Math.min(backOffMs(attempt), deadline.leftMs), this.#closing)
    }
    const within = `within ${deadline.timeoutMs} ms`
    if (last.kind === 'nobody')
      throw new CarillonError(
        'NO_NODE',
        `no node served partition ${partition} for ${what} ${within}: check that nodes run in this namespace`,
      )
    throw new CarillonError('TIMEOUT', `${what} had no answer ${within} (${last.reason}): ask again`)
  }

  /** Asks once. @throws CLOSING when the client is closed, and what the node answers unless asking again may help. */
  async attempt(partition: Partition, request: RpcRequest, timeoutMs: number, what: string): Promise<Attempt> {
    this.#throwIfClosing()
    try {
      const msg = await this.#nc.request(this.#subjects.rpc(partition), this.#seal(request, what), {
        timeout: Math.ceil(Math.max(timeoutMs, ATTEMPT_MS_MIN)),
      })
      return parseResponse(decodeMessage(this.#codecs, msg.data, 'answer'))
    } catch (error) {
      this.#throwIfClosing()
      return toAttempt(error)
    }
  }

  /** What is asked about an instance passes the codecs; lists hold no values of users. */
  #seal(request: RpcRequest, what: string): Uint8Array {
    const plain = encodePayload(request, () => what)
    return this.#codecs === undefined || !('key' in request)
      ? plain
      : sealMessage(this.#codecs, plain, request.key, 'request')
  }

  #throwIfClosing(): void {
    if (this.#closing.aborted) throw new CarillonError('CLOSING', 'the client is closed')
  }
}

/** How long to wait before the next attempt: a little longer each time. */
export function backOffMs(attempt: number): number {
  return Math.min(BACKOFF_MS * 2 ** attempt, BACKOFF_MAX_MS)
}

function toAttempt(error: unknown): Attempt {
  if (error instanceof errors.NoRespondersError || (error instanceof errors.RequestError && error.isNoResponders()))
    return { kind: 'nobody' }
  if (error instanceof errors.TimeoutError)
    return { kind: 'silent', reason: 'the node is silent, or the connection is down' }
  if (error instanceof errors.ClosedConnectionError || error instanceof errors.DrainingConnectionError) {
    throw new CarillonError('SERVER_UNREACHABLE', 'the connection to NATS has ended for good: connect again')
  }
  if (error instanceof CarillonError) throw error
  return { kind: 'silent', reason: error instanceof Error ? error.message : String(error) }
}

function parseResponse(response: unknown): Attempt {
  if (typeof response === 'object' && response !== null && 'ok' in response) {
    if (response.ok === true) return { kind: 'value', value: 'value' in response ? response.value : undefined }
    if ('error' in response && isErrorData(response.error)) {
      const error = fromErrorData(response.error)
      if (error.disposition === 'retry' || error.disposition === 'reroute')
        return { kind: 'silent', reason: `${error.code}: ${error.message}` }
      throw error
    }
  }
  throw new CarillonError(
    'CLUSTER_MISMATCH',
    'a node answered in a form that this release does not know: use the release that the nodes run',
  )
}
