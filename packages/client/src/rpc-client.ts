/**
 * Requests to the nodes of a partition, repeated until one answers: while its owner changes, nobody does, or one that is about to go.
 *
 * Where any node may answer, the owner is asked as soon as one does not: one that is behind, stops, or hangs, costs time and no error.
 */
import { CarillonError, fromErrorData, hasCode, type ReadFrom } from '@carillon/runtime'
import {
  decodeMessage,
  type Partition,
  type PayloadCodecs,
  type RpcRequest,
  sealMessage,
  type Subjects,
} from '@carillon/runtime/protocol'
import { errors, type NatsConnection } from '@nats-io/transport-node'

import { type Deadline, pause, within } from './deadline.ts'
import { encodePayload } from './input-sender.ts'
import { isErrorData } from './reply-inbox.ts'

/**
 * How one attempt went. `nobody`: no node serves the partition at this moment. `silent`: no answer, or one that only time can change. `moved`: the node
 * that answered serves it no more.
 */
export type Attempt =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'nobody' }
  | { readonly kind: 'silent' | 'moved'; readonly reason: string }

/** How long a node may take to answer, on top of what it was asked to wait, before the next attempt, in milliseconds. */
const ANSWER_MS = 2_500
/** A read that has no answer by then is asked a second time, without giving up the first: the node that has it may be gone. */
const SECOND_ASK_MS = 500
/** The last attempt gets at least this, even beyond the deadline: cut shorter, it could not tell a silent node from none. */
const ATTEMPT_MS_MIN = 100
/** How long a node that is not the owner may take to come to what was asked for: the owner is there already. */
const ANY_HOLD_MS = 500
/** So long only the owner is asked when another one hung: the servers hand requests to it until they notice. */
const REST_MS = 5_000
const BACKOFF_MS = 20
const BACKOFF_MAX_MS = 250
/** The next owner is about to serve. */
const MOVED_MS_MAX = 80

export interface CallOptions {
  readonly partition: Partition
  /** What the request is for, in error messages. */
  readonly what: string
  readonly deadline: Deadline
  /** How long the node may hold one request. */
  readonly holdMs: number
  readonly request: (waitMs: number) => RpcRequest
  /** Default `owner`. */
  readonly from?: ReadFrom | undefined
  /** Asking twice is cheap, and nobody holds it for long. */
  readonly isRead?: boolean
  /** Told what the answer is as of, where that is known. */
  readonly saw?: ((seq: number) => void) | undefined
}

export interface AttemptOptions {
  readonly from?: ReadFrom
  readonly saw?: CallOptions['saw']
}

export class RpcClient {
  readonly #nc: NatsConnection
  readonly #subjects: Subjects
  readonly #closing: AbortSignal
  readonly #codecs: PayloadCodecs | undefined
  /** Partitions of which some node hangs or is behind, and until when only the owner is asked. */
  readonly #restsUntilMs = new Map<Partition, number>()

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
    let from = this.#isResting(partition) ? 'owner' : (options.from ?? 'owner')
    for (let attempt = 0; !deadline.hasPassed; attempt++) {
      last = await this.#ask(options, from)
      if (last.kind === 'value') return last.value
      if (from === 'any' && last.kind === 'silent') this.#rest(partition)
      // Not a moment is lost where another one is to be asked.
      if (from === 'any') attempt = -1
      else
        await pause(
          Math.min(backOffMs(attempt), last.kind === 'moved' ? MOVED_MS_MAX : Infinity, deadline.leftMs),
          this.#closing,
        )
      from = 'owner'
    }
    const inTime = `within ${deadline.timeoutMs} ms`
    if (last.kind === 'nobody')
      throw new CarillonError(
        'NO_NODE',
        `no node served partition ${partition} for ${what} ${inTime}: check that nodes run in this namespace`,
      )
    throw new CarillonError('TIMEOUT', `${what} had no answer ${inTime} (${last.reason}): ask again`)
  }

  /** Asks once. @throws CLOSING when the client is closed, and what the node answers unless asking again may help. */
  async attempt(
    partition: Partition,
    request: RpcRequest,
    timeoutMs: number,
    what: string,
    { from = 'owner', saw }: AttemptOptions = {},
  ): Promise<Attempt> {
    this.#throwIfClosing()
    const subject = from === 'any' ? this.#subjects.rpcAny(partition) : this.#subjects.rpc(partition)
    try {
      const msg = await this.#nc.request(subject, this.#seal(request, what), {
        timeout: Math.ceil(Math.max(timeoutMs, ATTEMPT_MS_MIN)),
      })
      return parseResponse(decodeMessage(this.#codecs, msg.data, 'answer'), saw)
    } catch (error) {
      this.#throwIfClosing()
      if (from === 'any' && isOneSided(error)) return { kind: 'moved', reason: (error as CarillonError).message }
      return toAttempt(error)
    }
  }

  /** One attempt; a read that hangs is asked once more, of the owner, and the first answer counts. */
  async #ask(
    { holdMs, request, partition, what, deadline, saw, isRead }: CallOptions,
    from: ReadFrom,
  ): Promise<Attempt> {
    const ask = (whom: ReadFrom): Promise<Attempt> => {
      const waitMs = Math.ceil(Math.min(whom === 'any' ? Math.min(holdMs, ANY_HOLD_MS) : holdMs, deadline.leftMs))
      const timeoutMs = Math.min(waitMs + ANSWER_MS, deadline.leftMs)
      const asked = this.attempt(partition, request(waitMs), timeoutMs, what, { from: whom, saw })
      // Of two, one may come to nothing behind the other's answer.
      asked.catch(() => undefined)
      return asked
    }
    const first = ask(from)
    if (isRead !== true) return first
    const early = await within(first, Math.min(SECOND_ASK_MS, deadline.leftMs))
    if (early !== undefined) return early
    if (from === 'any') this.#rest(partition)
    return Promise.race([first, ask('owner')])
  }

  #isResting(partition: Partition): boolean {
    const untilMs = this.#restsUntilMs.get(partition)
    if (untilMs === undefined) return false
    if (untilMs > performance.now()) return true
    this.#restsUntilMs.delete(partition)
    return false
  }

  #rest(partition: Partition): void {
    this.#restsUntilMs.set(partition, performance.now() + REST_MS)
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

/** What one node may say and the owner would not: it runs another build, or has too much to do. */
function isOneSided(error: unknown): boolean {
  return ONE_SIDED.some((code) => hasCode(error, code))
}

const ONE_SIDED = ['UNKNOWN_TYPE', 'UNKNOWN_NAME', 'UNKNOWN_CODEC', 'SUSPENDED', 'LIMIT_REACHED'] as const

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

function parseResponse(response: unknown, saw: CallOptions['saw']): Attempt {
  if (typeof response === 'object' && response !== null && 'ok' in response) {
    if ('seq' in response && typeof response.seq === 'number') saw?.(response.seq)
    if (response.ok === true) return { kind: 'value', value: 'value' in response ? response.value : undefined }
    if ('error' in response && isErrorData(response.error)) {
      const error = fromErrorData(response.error)
      if (error.disposition === 'retry' || error.disposition === 'reroute')
        return { kind: error.disposition === 'retry' ? 'silent' : 'moved', reason: `${error.code}: ${error.message}` }
      throw error
    }
  }
  throw new CarillonError(
    'CLUSTER_MISMATCH',
    'a node answered in a form that this release does not know: use the release that the nodes run',
  )
}
