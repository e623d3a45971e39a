/**
 * What was sent and is not acknowledged: sends it, matches answers to it, and sends it again when none comes.
 *
 * Owns: the inbox, the reply tokens, the retries and their clock.
 * Does not own: which message goes when, and how many may be in flight.
 *
 * Invariants
 * 1. Every flight ends in exactly one of `onAcked`, `onFailed`, `onUnbatched`.
 * 2. An acknowledgement of any attempt settles the flight; a refusal counts only when it answers the latest.
 * 3. Nothing is given to the connection while it is down: it would be sent later, behind its own retry.
 */
import { CarillonError } from '@carillon/runtime'
import { quote } from '@carillon/runtime/protocol'
import {
  type Msg,
  type NatsConnection,
  PermissionViolationError,
  type Status,
  type Subscription,
} from '@nats-io/transport-node'

import { type StatusWatch, watchStatus } from './connection-status.ts'
import { inboxOf } from './inbox.ts'
import { parsePubAck, type PublishAck, type PublishRefusal } from './pub-ack.ts'
import { batchHeaderText, EncodedHeaders, hasHeaders, type HeaderText } from './publish-headers.ts'
import type { Entry, Flight } from './publish-lane.ts'

export interface FlightEvents {
  onAcked(flight: Flight, ack: PublishAck): void
  onFailed(flight: Flight, error: CarillonError): void
  /** Its messages are to be sent one by one: refused as a batch. `never` when the stream takes no batches at all. */
  onUnbatched(flight: Flight, never: boolean): void
  /** The connection is back. */
  onUp(): void
  /** Now and then while anything is open: the owner looks for what waited too long unsent. */
  onTick(nowMs: number): void
  /** Nothing will ever be sent again. */
  onLost(reason: string): void
}

export interface FlightOptions {
  readonly ackTimeoutMs: number
  readonly retryBudgetMs: number
}

/** The time-out doubles with each attempt up to this. */
const ACK_TIMEOUT_MAX_MS = 2000
/** Waiting behind "no responders" and the like: doubles from the first to the second. */
const BACKOFF_MS = 50
const BACKOFF_MAX_MS = 1000
/** How often retries and time-outs are looked for. */
const TICK_MS = 25
const NO_RESPONDERS = 503
const BASE = 36

export class PublishFlights {
  readonly #nc: NatsConnection
  readonly #options: FlightOptions
  readonly #events: FlightEvents
  readonly #inbox: string
  readonly #subscription: Subscription
  readonly #status: StatusWatch
  /** Flights by the token of each of their attempts, in the order of sending. */
  readonly #byToken = new Map<number, Flight>()
  readonly #headers = new EncodedHeaders()
  #lastToken = 0
  #isDown = false
  #timer: NodeJS.Timeout | undefined

  constructor(nc: NatsConnection, options: FlightOptions, events: FlightEvents) {
    this.#nc = nc
    this.#options = options
    this.#events = events
    this.#inbox = `${inboxOf(nc)}.`
    this.#subscription = nc.subscribe(`${this.#inbox}*`, { callback: (error, msg) => this.#onAnswer(error, msg) })
    this.#isDown = nc.info === undefined
    this.#status = watchStatus(nc, (status) => this.#onStatus(status))
  }

  /** True while the connection is down: launch nothing. */
  get isDown(): boolean {
    return this.#isDown
  }

  launch(flight: Flight): void {
    this.#transmit(flight, performance.now())
  }

  /** Starts the clock; it stops by itself once nothing is open and the owner has stopped asking. */
  startClock(): void {
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS)
  }

  stopClock(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Fails everything in flight. */
  failAll(reason: string): void {
    for (const flight of new Set(this.#byToken.values())) this.#fail(flight, reason)
  }

  close(): void {
    this.stopClock()
    this.#status.stop()
    if (!this.#nc.isClosed()) this.#subscription.unsubscribe()
  }

  /** Sends a flight, for the first time or again. A batch gets a new id each time: the old one may be half there. */
  #transmit(flight: Flight, nowMs: number): void {
    const token = ++this.#lastToken
    const { ackTimeoutMs } = this.#options
    const timeoutMs = Math.min(ackTimeoutMs * 2 ** flight.tokens.length, Math.max(ACK_TIMEOUT_MAX_MS, ackTimeoutMs))
    flight.token = token
    flight.tokens.push(token)
    flight.sentAtMs = nowMs
    flight.retryAtMs = nowMs + timeoutMs
    this.#byToken.set(token, flight)
    const reply = this.#inbox + token.toString(BASE)
    try {
      if (flight.count === 1) this.#send(flight.first, flight.first.headers, reply)
      else this.#sendBatch(flight, reply)
    } catch (error) {
      this.#fail(flight, `the connection refused it: ${String(error)}`)
    }
  }

  #sendBatch(flight: Flight, reply: string): void {
    const batchId = reply.slice(reply.indexOf('.') + 1)
    let entry: Entry | undefined = flight.first
    for (let sequence = 1; entry !== undefined; sequence++, entry = entry.next) {
      const isLast = sequence === flight.count
      this.#send(entry, batchHeaderText(entry.headers, batchId, sequence, isLast), isLast ? reply : '')
    }
  }

  #send(entry: Entry, headers: HeaderText, reply: string): void {
    if (hasHeaders(headers))
      this.#nc.publish(entry.subject, entry.payload, { reply, headers: this.#headers.with(headers) })
    else this.#nc.publish(entry.subject, entry.payload, { reply })
  }

  #onAnswer(error: Error | null, msg: Msg): void {
    if (error !== null) {
      this.#events.onLost(`the server refuses the inbox for acknowledgements: ${error.message}`)
      return
    }
    const token = Number.parseInt(msg.subject.slice(this.#inbox.length), BASE)
    const flight = this.#byToken.get(token)
    if (flight === undefined) return
    const { data } = msg
    const isLatest = token === flight.token
    if (data.length === 0) {
      if (isLatest)
        this.#backOff(
          flight,
          msg.headers?.code === NO_RESPONDERS ? 'no responders' : `status ${msg.headers?.status ?? 'unknown'}`,
        )
      return
    }
    const answer = parsePubAck(data)
    if (answer.ok) {
      this.#land(flight)
      this.#events.onAcked(flight, answer.ack)
    } else if (isLatest) this.#onRefusal(flight, answer.refusal)
  }

  #onRefusal(flight: Flight, { kind, errCode, description }: PublishRefusal): void {
    const reason = `JetStream error ${errCode}: ${description}`
    if (kind === 'retry' || kind === 'full') {
      this.#backOff(flight, reason)
    } else if (flight.count > 1) {
      this.#land(flight)
      this.#events.onUnbatched(flight, kind === 'no-batches')
    } else {
      this.#land(flight)
      const code = kind === 'too-large' ? 'PAYLOAD_TOO_LARGE' : 'SERVER_REFUSED'
      const message = `the message for ${quote(flight.first.subject)} was not stored. ${reason}`
      this.#events.onFailed(flight, new CarillonError(code, message, { details: { errCode, description } }))
    }
  }

  #backOff(flight: Flight, reason: string): void {
    flight.lastReason = reason
    const backoffMs = Math.min(BACKOFF_MS * 2 ** (flight.tokens.length - 1), BACKOFF_MAX_MS)
    flight.retryAtMs = performance.now() + backoffMs
  }

  #onStatus(status: Status): void {
    if (status.type === 'disconnect') this.#isDown = true
    else if (status.type === 'reconnect') this.#onReconnect()
    else if (status.type === 'close') this.#events.onLost('the connection is closed')
    else if (status.type === 'error' && status.error instanceof PermissionViolationError)
      this.#onForbidden(status.error)
  }

  /** What was in flight may be lost with the old connection: all of it again, in the order of sending. */
  #onReconnect(): void {
    this.#isDown = false
    const nowMs = performance.now()
    for (const flight of new Set(this.#byToken.values())) this.#transmit(flight, nowMs)
    this.#events.onUp()
  }

  /** The server answers a forbidden publish with an error line only, which names the subject. */
  #onForbidden(error: PermissionViolationError): void {
    if (error.operation !== 'publish') return
    for (const flight of new Set(this.#byToken.values())) {
      if (!hasSubject(flight, error.subject)) continue
      this.#land(flight)
      this.#events.onFailed(
        flight,
        new CarillonError('SERVER_REFUSED', `publishing on ${quote(error.subject)} is not permitted to this user`, {
          cause: error,
        }),
      )
    }
  }

  #tick(): void {
    const nowMs = performance.now()
    for (const [token, flight] of this.#byToken) {
      if (token !== flight.token || (flight.retryAtMs > nowMs && flight.first.expiresAtMs > nowMs)) continue
      if (flight.first.expiresAtMs <= nowMs)
        this.#fail(flight, `${flight.lastReason} within ${this.#options.retryBudgetMs} ms`)
      else if (!this.#isDown) this.#transmit(flight, nowMs)
    }
    this.#events.onTick(nowMs)
  }

  #fail(flight: Flight, reason: string): void {
    this.#land(flight)
    this.#events.onFailed(flight, notAcknowledged(flight.first.subject, reason))
  }

  #land(flight: Flight): void {
    for (const token of flight.tokens) this.#byToken.delete(token)
  }
}

function notAcknowledged(subject: string, reason: string): CarillonError {
  const message = `the message for ${quote(subject)} was not acknowledged (${reason}): it may have been stored; send it again with the same id`
  return new CarillonError('NOT_ACKNOWLEDGED', message)
}

function hasSubject(flight: Flight, subject: string): boolean {
  for (let entry: Entry | undefined = flight.first; entry !== undefined; entry = entry.next) {
    if (entry.subject === subject) return true
  }
  return false
}
