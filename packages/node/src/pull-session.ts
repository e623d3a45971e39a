/**
 * One life of the reader's JetStream consumer: made, pulled from, lost.
 *
 * Owns: the ephemeral consumer, one inbox, the pulls that are under way, the watchdog.
 * Does not own: what happens to messages; making the next session when this one is lost.
 *
 * The consumer has no filter. A filter makes nats-server search where it would walk: with 1000 subjects in the stream
 * it delivers 300 k/s without a filter, 40 k/s with one that matches everything, and 5 k/s with 32 filters. Dropping a
 * message here costs 2 µs.
 *
 * Invariants
 * 1. Messages come in rising sequence without a gap: the consumer's own count is checked, and a jump ends the session
 *    before the message.
 * 2. A session ends once, by `close` or by one `onLost`, and says nothing afterwards.
 * 3. While pulls are under way the server says something at least every `HEARTBEAT_MS`; silence ends the session.
 */
import { inboxOf } from '@carillon/client'
import { CarillonError } from '@carillon/runtime'
import { type Msg, nanos, type NatsConnection, nuid, type Subscription } from '@nats-io/transport-node'

import { type DeliveryInfo, deliveryTail, parseDelivery } from './jetstream-message.ts'
import { headerBlock, headerIn, statusOf } from './raw-headers.ts'

export interface PullSessionOptions {
  readonly stream: string
  readonly fromSeq: number
  /** `info` is read at once: the next message overwrites it. */
  onMessage(msg: Msg, info: DeliveryInfo): void
  /** Everything up to this sequence has been delivered or is not in the stream. */
  onThrough(seq: number): void
  /** A pull ended, or the bounds of the pulls moved: there may be room for another. */
  onRoom(): void
  onLost(reason: string): void
}

interface Pull {
  readonly id: number
  remaining: number
  readonly expiresAtMs: number
}

/** Half a second finds a dead server soon; the election behind it takes far longer. */
const HEARTBEAT_MS = 500
/** Silence so long, seen twice in a row, is a lost consumer: two heartbeats and time for a busy machine. */
const SILENCE_MS = 1500
const WATCH_MS = 250
const PULL_EXPIRES_MS = 20_000
/**
 * A consumer that nobody pulls from, because the reader stands still or is gone, is dropped by the server after this.
 */
const INACTIVE_MS = 60_000
const REQUEST_TIMEOUT_MS = 1000
/** Bytes of one pull. Above the largest message, else the server would refuse it for ever. */
export const PULL_BYTES_MAX = 4 * 1024 * 1024

const HEARTBEAT = 100
const NO_MESSAGES = 404
const TIMED_OUT = 408
const CONFLICT = 409
/** Of the conflicts, these end one pull; all others end the consumer. */
const PULL_ENDS = ['message size exceeds maxbytes', 'batch completed', 'exceeded maxwaiting']

export class PullSession {
  readonly #nc: NatsConnection
  readonly #options: PullSessionOptions
  readonly #consumer = `carillon-${nuid.next()}`
  readonly #inbox: string
  readonly #subscription: Subscription
  readonly #watchdog: NodeJS.Timeout
  readonly #info: DeliveryInfo = { seq: 0, consumerSeq: 0, timeMs: 0, pending: 0 }
  #pulls: Pull[] = []
  #lastPull = 0
  #lastConsumerSeq = 0
  #tail = -1
  #heardAtMs = performance.now()
  #isSilent = false
  #isOver = false

  private constructor(nc: NatsConnection, options: PullSessionOptions) {
    this.#nc = nc
    this.#options = options
    this.#inbox = `${inboxOf(nc)}.`
    this.#subscription = nc.subscribe(`${this.#inbox}*`, { callback: (error, msg) => this.#onMsg(error, msg) })
    this.#watchdog = setInterval(() => this.#watch(), WATCH_MS)
  }

  /** Makes the consumer. Rejects when the server does not. */
  static async open(nc: NatsConnection, options: PullSessionOptions): Promise<PullSession> {
    const session = new PullSession(nc, options)
    try {
      await session.#create()
      return session
    } catch (error) {
      session.close()
      throw error
    }
  }

  /** Messages that were asked for and have not come. */
  get outstanding(): number {
    let sum = 0
    for (const pull of this.#pulls) sum += pull.remaining
    return sum
  }

  get pulls(): number {
    return this.#pulls.length
  }

  /** Asks for up to `messages` more, behind what was asked for already. */
  pull(messages: number): void {
    if (this.#isOver) return
    const id = ++this.#lastPull
    if (this.#pulls.length === 0) this.#hear()
    this.#pulls.push({ id, remaining: messages, expiresAtMs: performance.now() + PULL_EXPIRES_MS })
    const request = {
      batch: messages,
      max_bytes: PULL_BYTES_MAX,
      expires: nanos(PULL_EXPIRES_MS),
      idle_heartbeat: nanos(HEARTBEAT_MS),
    }
    try {
      this.#nc.publish(`$JS.API.CONSUMER.MSG.NEXT.${this.#options.stream}.${this.#consumer}`, JSON.stringify(request), {
        reply: this.#inbox + id,
      })
    } catch (error) {
      this.#lose(`the connection refused a pull: ${String(error)}`)
    }
  }

  /** Ends the session and lets the server forget the consumer. */
  close(): void {
    if (this.#isOver) return
    this.#isOver = true
    clearInterval(this.#watchdog)
    if (this.#nc.isClosed()) return
    this.#subscription.unsubscribe()
    try {
      this.#nc.publish(`$JS.API.CONSUMER.DELETE.${this.#options.stream}.${this.#consumer}`)
    } catch {
      // A draining connection takes no publishes; the server forgets the consumer by itself.
    }
  }

  async #create(): Promise<void> {
    const { stream, fromSeq } = this.#options
    const config = {
      name: this.#consumer,
      deliver_policy: 'by_start_sequence',
      opt_start_seq: fromSeq,
      ack_policy: 'none',
      replay_policy: 'instant',
      inactive_threshold: nanos(INACTIVE_MS),
      mem_storage: true,
      num_replicas: 1,
    }
    const subject = `$JS.API.CONSUMER.CREATE.${stream}.${this.#consumer}`
    const answer = await this.#nc.request(subject, JSON.stringify({ stream_name: stream, config }), {
      timeout: REQUEST_TIMEOUT_MS,
    })
    const { error } = answer.json<{ readonly error?: { readonly description?: string } }>()
    if (error !== undefined)
      throw new CarillonError('SERVER_REFUSED', `the stream ${stream} gave no consumer: ${String(error.description)}`)
  }

  #onMsg(error: Error | null, msg: Msg): void {
    if (this.#isOver) return
    if (error !== null) return this.#lose(`the inbox is not permitted: ${error.message}`)
    this.#hear()
    if (msg.reply === undefined || msg.reply === '') return this.#onStatus(msg)
    if (this.#tail < 0) this.#tail = deliveryTail(msg.reply, this.#options.stream, this.#consumer)
    const info = this.#info
    if (this.#tail < 0 || !parseDelivery(msg.reply, this.#tail, info)) return
    if (info.consumerSeq !== this.#lastConsumerSeq + 1) {
      return this.#lose(`message ${info.consumerSeq} came behind ${this.#lastConsumerSeq}: some were lost on the way`)
    }
    this.#lastConsumerSeq = info.consumerSeq
    this.#options.onMessage(msg, info)
    this.#countOff()
  }

  /** The server serves pulls in the order in which they came. */
  #countOff(): void {
    const [first] = this.#pulls
    if (first === undefined) return
    first.remaining -= 1
    if (first.remaining > 0) return
    this.#pulls.shift()
    this.#options.onRoom()
  }

  #onStatus(msg: Msg): void {
    const block = headerBlock(msg, msg.data)
    const status = statusOf(block)
    if (status === HEARTBEAT) return this.#onHeartbeat(block)
    const line = block.slice(0, block.indexOf('\r\n')).toLowerCase()
    const endsPull =
      status === NO_MESSAGES ||
      status === TIMED_OUT ||
      (status === CONFLICT && PULL_ENDS.some((text) => line.includes(text)))
    if (!endsPull) return this.#lose(`the server ended the consumer: ${line}`)
    const id = Number(msg.subject.slice(this.#inbox.length))
    this.#pulls = this.#pulls.filter((pull) => pull.id !== id)
    this.#options.onRoom()
  }

  #onHeartbeat(block: string): void {
    const consumerSeq = Number(headerIn(block, 'Nats-Last-Consumer'))
    if (consumerSeq !== this.#lastConsumerSeq) {
      return this.#lose(
        `the server delivered ${consumerSeq} messages and ${this.#lastConsumerSeq} came: some were lost on the way`,
      )
    }
    const seq = Number(headerIn(block, 'Nats-Last-Stream'))
    if (seq > 0) this.#options.onThrough(seq)
  }

  #hear(): void {
    this.#heardAtMs = performance.now()
    this.#isSilent = false
  }

  /** Twice in a row: after a long turn of the event loop timers run before what has arrived is read. */
  #watch(): void {
    const nowMs = performance.now()
    const before = this.#pulls.length
    this.#pulls = this.#pulls.filter((pull) => pull.expiresAtMs + SILENCE_MS > nowMs)
    if (this.#pulls.length < before) this.#options.onRoom()
    if (this.#pulls.length === 0 || nowMs - this.#heardAtMs < SILENCE_MS) this.#isSilent = false
    else if (this.#isSilent) this.#lose(`nothing was heard for ${Math.round(nowMs - this.#heardAtMs)} ms`)
    else this.#isSilent = true
  }

  #lose(reason: string): void {
    if (this.#isOver) return
    this.close()
    this.#options.onLost(reason)
  }
}
