/**
 * Publishes to JetStream with many messages in flight, in order per key.
 *
 * Owns: the queues, the bounds, the flights.
 * Does not own: the connection; what a message means.
 *
 * Invariants
 * 1. Per key at most one flight, a single message or one atomic batch, is unacknowledged. So the first stored copies
 *    of a key's messages stand in the order of the calls, whatever is lost, refused or stored twice on the way.
 * 2. Every `publish` settles within the retry budget. One that is not acknowledged takes those queued behind it on its
 *    key with it: were they stored, sending the first again would put it behind them.
 * 3. No Nats-Msg-Id is added. The server forgets it after its window, drops the same id on another subject of the
 *    stream, and refuses a whole batch for one id that it knows. Receivers drop repeats by the id that the message
 *    carries.
 */
import { CarillonError } from '@carillon/runtime'
import { quote } from '@carillon/runtime/protocol'
import type { NatsConnection } from '@nats-io/transport-node'

import { BatchPolicy } from './batch-policy.ts'
import type { PublishAck } from './pub-ack.ts'
import { PendingBounds } from './publish-bounds.ts'
import { PublishFlights } from './publish-flights.ts'
import { headerText } from './publish-headers.ts'
import { type Entry, type Flight, Lane } from './publish-lane.ts'

export interface PublishRequest {
  readonly subject: string
  /** Messages of one key are stored in the order of the calls. All messages of a key go to one stream. */
  readonly key: string
  readonly headers?: Readonly<Record<string, string>>
  readonly payload: Uint8Array
}

export interface PipelinedPublisherOptions {
  /** Unacknowledged messages at most. Default 2048. */
  readonly inFlightMax?: number
  /** Their bytes at most. Default 16 MiB. */
  readonly inFlightBytesMax?: number
  /** Messages that wait, sent or not, at most; beyond it `publish` rejects. Default 65,536. */
  readonly pendingMax?: number
  /** Their bytes. Default 128 MiB. */
  readonly pendingBytesMax?: number
  /**
   * How long an acknowledgement may take before the message is sent again. Default 500 ms; doubles with each attempt,
   * up to 2 s.
   */
  readonly ackTimeoutMs?: number
  /**
   * How long a message is tried, from its `publish` on. Default 30 s: an election takes up to 9 s, and one may follow
   * another.
   */
  readonly retryBudgetMs?: number
  /** Whether messages queued on one key may leave together as an atomic batch, where that is faster. Default true. */
  readonly batches?: boolean
  /** Ends the publisher at once: whatever waits rejects. */
  readonly signal?: AbortSignal
}

const IN_FLIGHT_MAX = 2048
const IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024
const PENDING_MAX = 65_536
const PENDING_BYTES_MAX = 128 * 1024 * 1024
const ACK_TIMEOUT_MS = 500
const RETRY_BUDGET_MS = 30_000
/** Bytes of one batch: the server stages a batch before it stores it. */
const BATCH_BYTES_MAX = 1024 * 1024
/**
 * Headers of a batch, protocol line, characters of more than one byte: what a message may cost beside the lengths that
 * are added up.
 */
const OVERHEAD_BYTES = 512
/** How often queues that cannot move are looked at for what waited too long. */
const EXPIRY_CHECK_MS = 250

export class PipelinedPublisher {
  readonly #nc: NatsConnection
  readonly #flights: PublishFlights
  readonly #pending: PendingBounds
  readonly #inFlightMax: number
  readonly #inFlightBytesMax: number
  readonly #retryBudgetMs: number
  readonly #signal: AbortSignal | undefined
  readonly #lanes = new Map<string, Lane>()
  #ready: Lane[] = []
  readonly #policy: BatchPolicy
  #flightsOpen = 0
  #inFlight = 0
  #inFlightBytes = 0
  #isFlushing = false
  #nextExpiryCheckMs = 0
  #closed: Promise<void> | undefined

  constructor(nc: NatsConnection, options: PipelinedPublisherOptions = {}) {
    this.#nc = nc
    this.#inFlightMax = options.inFlightMax ?? IN_FLIGHT_MAX
    this.#inFlightBytesMax = options.inFlightBytesMax ?? IN_FLIGHT_BYTES_MAX
    this.#retryBudgetMs = options.retryBudgetMs ?? RETRY_BUDGET_MS
    this.#policy = new BatchPolicy(options.batches ?? true)
    this.#pending = new PendingBounds({
      messagesMax: options.pendingMax ?? PENDING_MAX,
      bytesMax: options.pendingBytesMax ?? PENDING_BYTES_MAX,
    })
    const flightOptions = { ackTimeoutMs: options.ackTimeoutMs ?? ACK_TIMEOUT_MS, retryBudgetMs: this.#retryBudgetMs }
    this.#flights = new PublishFlights(nc, flightOptions, {
      onAcked: (flight, ack) => this.#onAcked(flight, ack),
      onFailed: (flight, error) => this.#onFailed(flight, error),
      onUnbatched: (flight, never) => this.#onUnbatched(flight, never),
      onUp: () => this.#flush(),
      onTick: (nowMs) => this.#onTick(nowMs),
      onLost: (reason) => this.#failEverything(reason),
    })
    this.#signal = options.signal
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true })
    if (this.#signal?.aborted === true) this.#onAbort()
  }

  /** Messages that wait for their acknowledgement, sent or not. */
  get pending(): number {
    return this.#pending.messages
  }

  /**
   * Stores one message and resolves with its sequence, once the server says that it is durable.
   *
   * Idempotence is the receiver's: after a lost acknowledgement the message is sent again with the same bytes and may
   * be stored twice.
   *
   * @throws NOT_ACKNOWLEDGED when no acknowledgement came within the retry budget: it may have been stored; send it
   * again with the same id.
   * @throws LIMIT_REACHED when too much waits already: await `ready()` between calls.
   * @throws PAYLOAD_TOO_LARGE, INVALID_ID (of a header), SERVER_REFUSED, CLOSING: nothing was stored.
   */
  async publish(request: PublishRequest): Promise<PublishAck> {
    const { promise, resolve, reject } = createDeferred<PublishAck>()
    this.post(request, resolve, reject)
    return promise
  }

  /** As `publish`, without a promise for each message: exactly one of the two is called, later, unless the call itself throws. */
  post(request: PublishRequest, onAcked: (ack: PublishAck) => void, onFailed: (error: unknown) => void): void {
    this.#enqueue(request, onAcked, onFailed)
  }

  /**
   * Undefined while there is room for more, else a promise of room: a sender of many awaits it and never meets
   * LIMIT_REACHED.
   */
  ready(): Promise<void> | undefined {
    return this.#pending.ready()
  }

  /** Takes nothing more, waits until what is pending is settled, and lets go of the connection. Safe to call again. */
  close(): Promise<void> {
    this.#closed ??= this.#finish()
    return this.#closed
  }

  async #finish(): Promise<void> {
    await this.#pending.idle()
    this.#flights.close()
    this.#signal?.removeEventListener('abort', this.#onAbort)
  }

  #enqueue(request: PublishRequest, resolve: (ack: PublishAck) => void, reject: (error: unknown) => void): void {
    const { subject, payload } = request
    if (this.#closed !== undefined || this.#nc.isClosed()) {
      throw new CarillonError('CLOSING', `the publisher is closed: the message for ${quote(subject)} was not sent`)
    }
    const headers = headerText(request.headers)
    const size = headers.length + payload.length
    const bytes = size + subject.length + OVERHEAD_BYTES
    this.#checkRoom(subject, size, bytes)
    this.#pending.add(bytes)
    const expiresAtMs = performance.now() + this.#retryBudgetMs
    const lane = this.#laneOf(request.key)
    lane.push({ subject, headers, payload, bytes, expiresAtMs, resolve, reject, next: undefined })
    this.#flights.startClock()
    this.#makeReady(lane)
  }

  #checkRoom(subject: string, size: number, bytes: number): void {
    const sizeMax = this.#nc.info?.max_payload ?? Number.POSITIVE_INFINITY
    if (size + OVERHEAD_BYTES > sizeMax) {
      throw new CarillonError(
        'PAYLOAD_TOO_LARGE',
        `the message for ${quote(subject)} has ${size} bytes with its headers; the server takes ${sizeMax}`,
      )
    }
    if (!this.#pending.fits(bytes)) {
      const { messages, bytes: waiting } = this.#pending
      throw new CarillonError(
        'LIMIT_REACHED',
        `${messages} messages of ${waiting} bytes wait to be acknowledged: await ready() before sending more`,
      )
    }
  }

  #laneOf(key: string): Lane {
    let lane = this.#lanes.get(key)
    if (lane === undefined) {
      lane = new Lane(key)
      this.#lanes.set(key, lane)
    }
    return lane
  }

  #makeReady(lane: Lane): void {
    if (lane.isReady || lane.flight !== undefined) return
    lane.isReady = true
    this.#ready.push(lane)
    this.#flushSoon()
  }

  /** In a microtask: what is published in one go leaves together. */
  #flushSoon(): void {
    if (this.#isFlushing) return
    this.#isFlushing = true
    queueMicrotask(() => {
      this.#isFlushing = false
      this.#flush()
    })
  }

  #flush(): void {
    const ready = this.#ready
    let done = 0
    for (; done < ready.length && !this.#flights.isDown && this.#hasRoom(); done++) {
      const lane = ready[done]
      if (lane === undefined) continue
      lane.isReady = false
      if (lane.length > 0) this.#launch(lane, ready.length - done)
      else this.#lanes.delete(lane.key)
    }
    this.#ready = done === ready.length ? [] : ready.slice(done)
  }

  #hasRoom(): boolean {
    return this.#inFlight < this.#inFlightMax && this.#inFlightBytes < this.#inFlightBytesMax
  }

  /** @param waiting lanes that are ready, this one included. */
  #launch(lane: Lane, waiting: number): void {
    const taken = lane.take(this.#sizeOf(lane, waiting), BATCH_BYTES_MAX)
    if (lane.singles > 0) lane.singles -= 1
    this.#flightsOpen += 1
    this.#inFlight += taken.count
    this.#inFlightBytes += taken.bytes
    const mark = this.#policy.onLaunched(taken.count)
    lane.flight = { lane, ...taken, mark, token: 0, tokens: [], sentAtMs: 0, retryAtMs: 0, lastReason: 'no answer' }
    this.#flights.launch(lane.flight)
  }

  #sizeOf(lane: Lane, waiting: number): number {
    const room = Math.min(lane.length, this.#inFlightMax - this.#inFlight)
    return lane.singles > 0 ? 1 : this.#policy.sizeOf(room, this.#flightsOpen + waiting, performance.now())
  }

  #onAcked(flight: Flight, { seq, duplicate }: PublishAck): void {
    this.#land(flight)
    if (flight.count === 1 && flight.tokens.length === 1) {
      const nowMs = performance.now()
      this.#policy.observe(flight.mark, nowMs - flight.sentAtMs, nowMs)
    }
    // The server gives the sequence of a batch's last message; the others stand right before it.
    let own = seq - flight.count + 1
    for (let entry: Entry | undefined = flight.first; entry !== undefined; entry = entry.next)
      entry.resolve({ seq: own++, duplicate })
    this.#pending.remove(flight.count, flight.bytes)
    this.#goOn(flight.lane)
  }

  #onFailed(flight: Flight, error: CarillonError): void {
    this.#land(flight)
    this.#reject(flight.first, flight.count, flight.bytes, error)
    if (error.code === 'NOT_ACKNOWLEDGED')
      this.#failQueue(flight.lane, 'an earlier message to the same instance was not acknowledged')
    this.#goOn(flight.lane)
  }

  #onUnbatched(flight: Flight, never: boolean): void {
    if (never) this.#policy.disable()
    this.#land(flight)
    flight.lane.putBack(flight.first, flight.count)
    flight.lane.singles = flight.count
    this.#goOn(flight.lane)
  }

  #land(flight: Flight): void {
    flight.lane.flight = undefined
    this.#flightsOpen -= 1
    this.#inFlight -= flight.count
    this.#inFlightBytes -= flight.bytes
    this.#policy.onLanded(flight.count)
  }

  #goOn(lane: Lane): void {
    if (lane.length > 0) this.#makeReady(lane)
    else if (!lane.isReady) this.#lanes.delete(lane.key)
    if (this.#ready.length > 0) this.#flushSoon()
    if (this.#pending.messages === 0) this.#flights.stopClock()
  }

  #reject(first: Entry, count: number, bytes: number, error: CarillonError): void {
    for (let entry: Entry | undefined = first; entry !== undefined; entry = entry.next) entry.reject(error)
    this.#pending.remove(count, bytes)
  }

  /** Rejects what a lane holds unsent. */
  #failQueue(lane: Lane, reason: string): void {
    if (lane.length === 0) return
    const { first, count, bytes } = lane.take(lane.length, Number.POSITIVE_INFINITY)
    const message = `the message for ${quote(first.subject)} was not sent (${reason}): send it again with the same id`
    this.#reject(first, count, bytes, new CarillonError('NOT_ACKNOWLEDGED', message))
  }

  #onTick(nowMs: number): void {
    if (nowMs < this.#nextExpiryCheckMs) return
    this.#nextExpiryCheckMs = nowMs + EXPIRY_CHECK_MS
    for (const lane of this.#lanes.values()) {
      if (lane.first === undefined || lane.first.expiresAtMs > nowMs) continue
      this.#failQueue(lane, `it could not be sent within ${this.#retryBudgetMs} ms`)
      if (lane.flight === undefined) this.#goOn(lane)
    }
  }

  #failEverything(reason: string): void {
    this.#flights.failAll(reason)
    for (const lane of this.#lanes.values()) {
      this.#failQueue(lane, reason)
      if (lane.flight === undefined) this.#goOn(lane)
    }
    this.#closed ??= this.#finish()
  }

  readonly #onAbort = (): void => this.#failEverything('the publisher was aborted')
}

function createDeferred<T>(): {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (error: unknown) => void
} {
  let resolve: (value: T) => void = () => undefined
  let reject: (error: unknown) => void = () => undefined
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  return { promise, resolve, reject }
}
