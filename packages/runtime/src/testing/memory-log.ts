/**
 * The journal in memory: the twin of the one on JetStream, for tests and simulations.
 *
 * Owns: the messages, the readers, the appends under way.
 * Does not own: time and turns of the event loop, which come as options, so that a simulation is the same every time.
 *
 * Invariants
 * 1. Appends to one instance are stored in the order of the calls; a repeat after a lost acknowledgement stands before
 *    the next of them.
 * 2. A reader gets every own message once, in rising sequence, and never two arrays at a time; it fails rather than
 *    skip a lost one.
 */
import { CarillonError } from '../errors.ts'
import type { AppendOptions, InputLog, LogBounds, LogMessage, LogReader, ReadOptions } from '../ports/index.ts'
import { quote, type Subjects } from '../protocol/index.ts'
import { MemoryLogReader } from './memory-log-reader.ts'

/** Runs a task later, never at once. Tasks given earlier run earlier, unless a simulation wants otherwise. */
export type Schedule = (task: () => void) => void

/**
 * What goes wrong with one append.
 * - `stored-twice`: the acknowledgement was lost, and the message sent again.
 * - `stored-unacknowledged`: stored, but the sender gives up waiting: NOT_ACKNOWLEDGED.
 * - `not-stored`: lost on the way, and the sender gives up.
 */
export type AppendFault = 'stored-twice' | 'stored-unacknowledged' | 'not-stored'

export interface MemoryLogOptions {
  readonly subjects: Subjects
  readonly clock: { nowMs(): number }
  /** Default: the host's `setImmediate`. */
  readonly schedule?: Schedule
  /** Asked for every append; undefined lets it pass. */
  readonly onAppend?: (subject: string) => AppendFault | undefined
  /** Asked for every array that is to be delivered: it waits for so many more runs of the scheduler. */
  readonly deliveryDelay?: () => number
}

interface Append {
  readonly subject: string
  readonly options: AppendOptions
  readonly resolve: (seq: number) => void
  readonly reject: (error: unknown) => void
}

/** `<ns>.log.<p>.<type>.<id>`: the tokens of a subject that say whose it is. */
const INSTANCE_TOKENS = 5
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f]/
/** Taken at load: while workflow code runs, the host's timers are refused. */
const { setImmediate: hostSetImmediate } = globalThis

export class MemoryLog implements InputLog {
  readonly #options: MemoryLogOptions
  readonly #schedule: Schedule
  readonly #readers = new Set<MemoryLogReader>()
  readonly #appends = new Map<string, Append[]>()
  #messages: LogMessage[] = []
  #firstSeq = 1
  #lastSeq = 0
  #incarnation = 1

  constructor(options: MemoryLogOptions) {
    this.#options = options
    this.#schedule = options.schedule ?? ((task) => void hostSetImmediate(task))
  }

  get identity(): string {
    return `memory-${this.#incarnation}`
  }

  get firstSeq(): number {
    return this.#firstSeq
  }

  get lastSeq(): number {
    return this.#lastSeq
  }

  /** Everything that is stored, in order: for checkers. */
  get messages(): readonly LogMessage[] {
    return this.#messages
  }

  bounds(): Promise<LogBounds> {
    return Promise.resolve({ identity: this.identity, firstSeq: this.#firstSeq, lastSeq: this.#lastSeq })
  }

  read(options: ReadOptions): LogReader {
    const { subjects, deliveryDelay } = this.#options
    const reader = new MemoryLogReader(this, {
      ...options,
      subjects,
      schedule: this.#schedule,
      deliveryDelay: deliveryDelay ?? (() => 0),
    })
    this.#readers.add(reader)
    return reader
  }

  append(subject: string, options: AppendOptions): Promise<number> {
    return new Promise((resolve, reject) => {
      checkHeaders(options.headers)
      const key = instanceOf(subject)
      const queue = this.#appends.get(key)
      const append = {
        subject,
        options: { headers: { ...options.headers }, payload: options.payload.slice() },
        resolve,
        reject,
      }
      if (queue !== undefined) return void queue.push(append)
      this.#appends.set(key, [append])
      this.#schedule(() => this.#work(key))
    })
  }

  /** Stores a message at once: what a producer elsewhere has sent. */
  store(subject: string, { headers, payload }: AppendOptions): number {
    this.#lastSeq += 1
    this.#messages.push(new MemoryLogMessage(subject, this.#lastSeq, this.#options.clock.nowMs(), payload, headers))
    for (const reader of this.#readers) reader.wake()
    return this.#lastSeq
  }

  /** Removes messages below a sequence, as trimming does. */
  trim(firstSeq: number): void {
    const kept = Math.min(Math.max(firstSeq, this.#firstSeq), this.#lastSeq + 1)
    this.#messages = this.#messages.slice(kept - this.#firstSeq)
    this.#firstSeq = kept
    this.#wakeAll()
  }

  /** Loses messages above a sequence, as a power cut may. */
  truncate(lastSeq: number): void {
    this.#messages.length = Math.max(0, Math.min(this.#messages.length, lastSeq - this.#firstSeq + 1))
    this.#lastSeq = Math.min(this.#lastSeq, lastSeq)
    this.#firstSeq = Math.min(this.#firstSeq, this.#lastSeq + 1)
    for (const reader of this.#readers) reader.onTruncated(this.#lastSeq)
    this.#wakeAll()
  }

  /** Deletes the stream and makes it anew, empty. */
  recreate(): void {
    this.#messages = []
    this.#firstSeq = 1
    this.#lastSeq = 0
    this.#incarnation += 1
    this.#wakeAll()
  }

  /** Forgets a reader that is over. */
  release(reader: MemoryLogReader): void {
    this.#readers.delete(reader)
  }

  /** The message of a sequence. */
  at(seq: number): LogMessage | undefined {
    return this.#messages[seq - this.#firstSeq]
  }

  #wakeAll(): void {
    for (const reader of this.#readers) reader.wake()
  }

  /** Settles the append at the head of an instance's queue, then goes on with the next (invariant 1). */
  #work(key: string): void {
    const [append] = this.#appends.get(key) ?? []
    if (append === undefined) return
    const { subject, options, resolve, reject } = append
    const fault = this.#options.onAppend?.(subject)
    const seq = fault === 'not-stored' ? 0 : this.store(subject, options)
    if (fault === 'stored-twice') {
      return this.#schedule(() => {
        resolve(this.store(subject, options))
        this.#next(key)
      })
    }
    if (fault === undefined) resolve(seq)
    else
      reject(
        new CarillonError(
          'NOT_ACKNOWLEDGED',
          `the message for ${quote(subject)} was not acknowledged (injected): send it again with the same id`,
        ),
      )
    this.#next(key)
  }

  #next(key: string): void {
    const queue = this.#appends.get(key)
    queue?.shift()
    if (queue === undefined || queue.length === 0) this.#appends.delete(key)
    else this.#schedule(() => this.#work(key))
  }
}

class MemoryLogMessage implements LogMessage {
  readonly subject: string
  readonly seq: number
  readonly timeMs: number
  readonly payload: Uint8Array
  readonly #headers: Readonly<Record<string, string>>

  constructor(
    subject: string,
    seq: number,
    timeMs: number,
    payload: Uint8Array,
    headers: Readonly<Record<string, string>>,
  ) {
    this.subject = subject
    this.seq = seq
    this.timeMs = timeMs
    this.payload = payload
    this.#headers = headers
  }

  header(name: string): string | undefined {
    return Object.hasOwn(this.#headers, name) ? this.#headers[name] : undefined
  }
}

function checkHeaders(headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) {
    if (!CONTROL.test(value) && value.trim() === value) continue
    throw new CarillonError(
      'INVALID_ID',
      `the value ${quote(value)} of the header ${name} holds a control character, or begins or ends with white space`,
    )
  }
}

function instanceOf(subject: string): string {
  return subject.split('.', INSTANCE_TOKENS).join('.')
}
