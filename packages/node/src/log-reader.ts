/**
 * Reads the log stream, across everything that can happen to servers, connections and consumers.
 *
 * Owns: the buffer between the server and `onMessages`, the position, one pull session after another.
 * Does not own: positions that survive the process; the connection.
 *
 * Invariants
 * 1. `onMessages` gets every own message once, in rising sequence, and never runs twice at a time.
 * 2. The buffer is bounded in messages and bytes: what would not fit is not asked for.
 * 3. Before each session the stream must be the same one, hold the next sequence, and still hold the last message as
 *    it was read. Where sequences are missing, nothing behind them is delivered before the stream has said that it was
 *    not trimmed past them. Else the reader fails: it never goes on over lost inputs.
 */
import { CarillonError, codeOf } from '@carillon/runtime'
import type { LogMessage, LogReader, ReadOptions } from '@carillon/runtime/ports'
import type { Partition, Subjects } from '@carillon/runtime/protocol'
import { type StatusWatch, watchStatus } from '@carillon/client'
import type { Msg, NatsConnection } from '@nats-io/transport-node'

import { type DeliveryInfo, JetStreamMessage } from './jetstream-message.ts'
import { PULL_BYTES_MAX, PullSession } from './pull-session.ts'
import { checkStart, readBounds, readTimeOf } from './stream-state.ts'

export interface LogReaderOptions extends ReadOptions {
  readonly stream: string
  readonly subjects: Subjects
  /**
   * The identity that the stream must have; called with the one that was found. @throws JOURNAL_REPLACED when it is
   * another.
   */
  readonly checkIdentity: (identity: string) => void
  /** Receives a line when a session is lost and another begins. */
  readonly log?: ((line: string) => void) | undefined
}

const BATCH_MAX = 1024
const PULL_MESSAGES = 1024
const PULLS_MAX = 3
const BUFFER_MESSAGES_MAX = 4096
const BUFFER_BYTES_MAX = 32 * 1024 * 1024
/** What a buffered message costs beside its payload. */
const MESSAGE_OVERHEAD_BYTES = 512
/** However much there is of other partitions: so often is told how far it was read. */
const PROGRESS_EVERY_MS = 50
const BACKOFF_MS = 50
const BACKOFF_MAX_MS = 400
/** A cluster that is starting may say for a moment that there is no stream. */
const MISSING_MAX = 5

export class JetStreamLogReader implements LogReader {
  readonly #nc: NatsConnection
  readonly #options: LogReaderOptions
  readonly #status: StatusWatch
  /** By number of partition: 1 where its messages are delivered. */
  readonly #own: Uint8Array
  readonly #running: Promise<void>
  #session: PullSession | undefined
  #buffer: JetStreamMessage[] = []
  #bufferBytes = 0
  /** Everything up to here was received, own or not. */
  #throughSeq: number
  /** What was told of that. */
  #toldSeq: number
  #progressTimer: NodeJS.Timeout | undefined
  /** The last message that was received, own or not; 0 when none was. */
  readonly #last = { seq: 0, timeMs: 0 }
  #delivering: Promise<void> | undefined
  #isOver = false
  #isDown = false
  /** The lowest sequence that is missing and not accounted for. */
  #holeFrom: number | undefined
  #missing = 0
  #sessions = 0
  readonly #wakers = new Set<() => void>()
  #endSession = (_reason: string): void => undefined

  constructor(nc: NatsConnection, options: LogReaderOptions) {
    this.#nc = nc
    this.#options = options
    this.#throughSeq = options.fromSeq - 1
    this.#toldSeq = this.#throughSeq
    this.#own = new Uint8Array(options.subjects.partitions)
    for (const partition of options.partitions) this.#own[partition] = 1
    this.#status = watchStatus(nc, ({ type }) => {
      if (type === 'disconnect') this.#onDown()
      else if (type === 'reconnect') this.#onUp()
      else if (type === 'close')
        this.#fail(
          new CarillonError('SERVER_UNREACHABLE', `the connection was closed under the reader of ${options.stream}`),
        )
    })
    this.#running = this.#run()
  }

  /** Pull sessions begun so far; more than one means that the reader had to recover. */
  get sessions(): number {
    return this.#sessions
  }

  setPartitions(partitions: readonly Partition[]): number {
    this.#own.fill(0)
    for (const partition of partitions) this.#own[partition] = 1
    return this.#throughSeq
  }

  /** Not to be awaited inside `onMessages`: it waits for that. */
  async close(): Promise<void> {
    this.#end()
    await Promise.all([this.#running, this.#delivering])
  }

  /** One session after another, until `close` or a failure. */
  async #run(): Promise<void> {
    let backoffMs = BACKOFF_MS
    while (!this.#isOver) {
      if (this.#isDown) {
        await this.#pause(BACKOFF_MAX_MS)
        continue
      }
      try {
        await this.#verify()
        await this.#readSession()
        backoffMs = BACKOFF_MS
      } catch (error) {
        if (isStop(error)) return this.#fail(error)
        this.#options.log?.(
          `reading ${this.#options.stream}: ${error instanceof Error ? error.message : String(error)}`,
        )
      }
      if (this.#isOver) return
      await this.#pause(backoffMs)
      backoffMs = Math.min(backoffMs * 2, BACKOFF_MAX_MS)
    }
  }

  /** Invariant 3. */
  async #verify(): Promise<void> {
    const { stream, checkIdentity } = this.#options
    const bounds = await readBounds(this.#nc, stream)
    if (bounds === undefined) return this.#onMissing()
    this.#missing = 0
    checkIdentity(bounds.identity)
    checkStart(stream, this.#throughSeq + 1, bounds)
    const last = this.#last
    if (last.seq === 0) return
    const timeMs = await readTimeOf(this.#nc, stream, last.seq)
    if (timeMs !== undefined && timeMs !== last.timeMs) {
      throw new CarillonError(
        'JOURNAL_BEHIND',
        `message ${last.seq} of the stream ${stream} is another one than was read: the stream has lost messages and gone on`,
      )
    }
  }

  #onMissing(): never {
    const { stream } = this.#options
    this.#missing += 1
    if (this.#missing >= MISSING_MAX)
      throw new CarillonError('JOURNAL_REPLACED', `the stream ${stream} is gone: restore it, or start another cluster`)
    throw new CarillonError('JETSTREAM_UNAVAILABLE', `the stream ${stream} is not there`)
  }

  /** Resolves when the session is lost or the reader is over. */
  async #readSession(): Promise<void> {
    const lost = new Promise<string>((resolve) => {
      this.#endSession = resolve
    })
    const session = await PullSession.open(this.#nc, {
      stream: this.#options.stream,
      fromSeq: this.#throughSeq + 1,
      onMessage: (msg, info) => this.#onMessage(msg, info),
      onThrough: (seq) => this.#onThrough(seq),
      onRoom: () => this.#pull(),
      onLost: (reason) => this.#dropSession(reason),
    })
    if (this.#isOver) return session.close()
    this.#session = session
    this.#sessions += 1
    this.#pull()
    const reason = await lost
    if (!this.#isOver)
      this.#options.log?.(`reading ${this.#options.stream} anew from ${this.#throughSeq + 1}: ${reason}`)
  }

  #onDown(): void {
    this.#isDown = true
    this.#dropSession('the connection is down')
  }

  #onUp(): void {
    this.#isDown = false
    this.#wake()
  }

  #dropSession(reason: string): void {
    this.#session?.close()
    this.#session = undefined
    this.#endSession(reason)
  }

  #onMessage(msg: Msg, info: DeliveryInfo): void {
    const { seq } = info
    if (seq <= this.#throughSeq) return
    if (seq !== this.#throughSeq + 1) this.#onHole(this.#throughSeq + 1)
    this.#throughSeq = seq
    this.#last.seq = seq
    this.#last.timeMs = info.timeMs
    if (this.#own[this.#options.subjects.partitionOfSubject(msg.subject)] === 0) return this.#tellProgressSoon()
    const message = new JetStreamMessage(msg, info)
    this.#buffer.push(message)
    this.#bufferBytes += message.payload.length + MESSAGE_OVERHEAD_BYTES
    this.#deliverSoon()
  }

  #onThrough(seq: number): void {
    if (seq <= this.#throughSeq) return
    this.#onHole(this.#throughSeq + 1)
    this.#throughSeq = seq
    this.#deliverSoon()
  }

  /** In a microtask: what arrived in one piece is delivered in one array. */
  #deliverSoon(): void {
    this.#delivering ??= Promise.resolve().then(() => this.#deliver())
  }

  async #deliver(): Promise<void> {
    try {
      await this.#checkHole()
      while ((this.#buffer.length > 0 || this.#toldSeq < this.#throughSeq) && !this.#isOver) {
        const batch = this.#takeBatch()
        this.#toldSeq = this.#buffer.length === 0 ? this.#throughSeq : (batch.at(-1)?.seq ?? this.#toldSeq)
        this.#pull()
        await this.#options.onMessages(batch, this.#toldSeq)
        await this.#checkHole()
      }
    } catch (error) {
      this.#fail(error)
    } finally {
      this.#delivering = undefined
    }
    this.#pull()
  }

  #tellProgressSoon(): void {
    this.#progressTimer ??= setTimeout(() => {
      this.#progressTimer = undefined
      if (!this.#isOver) this.#deliverSoon()
    }, PROGRESS_EVERY_MS)
  }

  #takeBatch(): readonly LogMessage[] {
    if (this.#buffer.length <= BATCH_MAX) {
      const batch = this.#buffer
      this.#buffer = []
      this.#bufferBytes = 0
      return batch
    }
    const batch = this.#buffer.slice(0, BATCH_MAX)
    this.#buffer = this.#buffer.slice(BATCH_MAX)
    for (const { payload } of batch) this.#bufferBytes -= payload.length + MESSAGE_OVERHEAD_BYTES
    return batch
  }

  /** Asks for more while what may come fits (invariant 2). */
  #pull(): void {
    const session = this.#session
    if (session === undefined || this.#isOver) return
    while (
      session.pulls < PULLS_MAX &&
      this.#buffer.length + session.outstanding + PULL_MESSAGES <= BUFFER_MESSAGES_MAX &&
      this.#bufferBytes + (session.pulls + 1) * PULL_BYTES_MAX <= BUFFER_BYTES_MAX
    ) {
      session.pull(PULL_MESSAGES)
    }
  }

  /**
   * Sequences from here on are missing. That is nothing when single messages were deleted, and the end when the stream
   * was trimmed: the server goes on behind the hole without a word. Asked only after the hole was seen, the stream's
   * first sequence tells the two apart.
   */
  #onHole(fromSeq: number): void {
    this.#holeFrom = Math.min(this.#holeFrom ?? fromSeq, fromSeq)
  }

  async #checkHole(): Promise<void> {
    while (this.#holeFrom !== undefined && !this.#isOver) {
      const fromSeq = this.#holeFrom
      try {
        const bounds = await readBounds(this.#nc, this.#options.stream)
        if (bounds !== undefined) checkStart(this.#options.stream, fromSeq, bounds)
        if (this.#holeFrom === fromSeq) this.#holeFrom = undefined
      } catch (error) {
        if (isStop(error)) throw error
        await this.#pause(BACKOFF_MAX_MS)
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer)
        this.#wakers.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, ms)
      this.#wakers.add(wake)
    })
  }

  #wake(): void {
    for (const wake of this.#wakers) wake()
  }

  #fail(error: unknown): void {
    if (this.#isOver) return
    this.#end()
    this.#options.onFailed(error)
  }

  #end(): void {
    this.#isOver = true
    clearTimeout(this.#progressTimer)
    this.#status.stop()
    this.#dropSession('closed')
    this.#buffer = []
    this.#wake()
  }
}

function isStop(error: unknown): boolean {
  const code = codeOf(error)
  return code === 'JOURNAL_BEHIND' || code === 'JOURNAL_REPLACED'
}
