/** A reader of the journal in memory. */
import { CarillonError } from '../errors.ts'
import type { LogMessage, LogReader, ReadOptions } from '../ports/index.ts'
import type { Partition, Subjects } from '../protocol/index.ts'
import type { Schedule } from './memory-log.ts'

/** What a reader sees of its log. */
export interface ReadableLog {
  readonly identity: string
  readonly firstSeq: number
  readonly lastSeq: number
  at(seq: number): LogMessage | undefined
  release(reader: MemoryLogReader): void
}

export interface MemoryLogReaderOptions extends ReadOptions {
  readonly subjects: Subjects
  readonly schedule: Schedule
  readonly deliveryDelay: () => number
}

const BATCH_MAX = 1024

export class MemoryLogReader implements LogReader {
  readonly #log: ReadableLog
  readonly #options: MemoryLogReaderOptions
  readonly #identity: string
  #own: ReadonlySet<Partition>
  #nextSeq: number
  /** Told to have been read. */
  #toldSeq: number
  /** The log lost messages that this reader had taken. */
  #isAhead = false
  #isPlanned = false
  #isOver = false
  #delivering: Promise<void> | undefined

  constructor(log: ReadableLog, options: MemoryLogReaderOptions) {
    this.#log = log
    this.#options = options
    this.#identity = log.identity
    this.#own = new Set(options.partitions)
    this.#nextSeq = options.fromSeq
    this.#toldSeq = options.fromSeq - 1
    this.wake()
  }

  setPartitions(partitions: readonly Partition[]): number {
    this.#own = new Set(partitions)
    return this.#nextSeq - 1
  }

  /** Looks for messages, later. */
  wake(): void {
    if (this.#isPlanned || this.#isOver || this.#delivering !== undefined) return
    this.#isPlanned = true
    this.#wait(this.#options.deliveryDelay())
  }

  onTruncated(lastSeq: number): void {
    if (this.#nextSeq > lastSeq + 1) this.#isAhead = true
  }

  /** Not to be awaited inside `onMessages`: it waits for that. */
  async close(): Promise<void> {
    this.#end()
    await this.#delivering
  }

  #wait(rounds: number): void {
    this.#options.schedule(() => {
      if (rounds > 0) return this.#wait(rounds - 1)
      this.#isPlanned = false
      this.#look()
    })
  }

  #look(): void {
    if (this.#isOver) return
    const failure = this.#failure()
    if (failure !== undefined) return this.#fail(failure)
    const batch = this.#takeBatch()
    if (this.#nextSeq - 1 > this.#toldSeq) this.#delivering = this.#deliver(batch)
  }

  async #deliver(batch: readonly LogMessage[]): Promise<void> {
    try {
      this.#toldSeq = this.#nextSeq - 1
      await this.#options.onMessages(batch, this.#toldSeq)
    } catch (error) {
      this.#fail(error)
    }
    this.#delivering = undefined
    this.wake()
  }

  #takeBatch(): readonly LogMessage[] {
    const batch: LogMessage[] = []
    for (
      let message = this.#log.at(this.#nextSeq);
      message !== undefined && batch.length < BATCH_MAX;
      message = this.#log.at(this.#nextSeq)
    ) {
      this.#nextSeq += 1
      if (this.#own.has(this.#options.subjects.partitionOfSubject(message.subject))) batch.push(message)
    }
    return batch
  }

  #failure(): CarillonError | undefined {
    const { identity, firstSeq, lastSeq } = this.#log
    if (identity !== this.#identity)
      return new CarillonError('JOURNAL_REPLACED', `the journal is ${identity}, and ${this.#identity} was read`)
    if (firstSeq > this.#nextSeq)
      return new CarillonError(
        'JOURNAL_BEHIND',
        `the journal begins at ${firstSeq}, and ${this.#nextSeq} is the next to be read`,
      )
    if (this.#isAhead || lastSeq < this.#nextSeq - 1) {
      return new CarillonError(
        'JOURNAL_BEHIND',
        `the journal ends at ${lastSeq}, and ${this.#nextSeq - 1} was read already`,
      )
    }
    return undefined
  }

  #fail(error: unknown): void {
    if (this.#isOver) return
    this.#end()
    this.#options.onFailed(error)
  }

  #end(): void {
    this.#isOver = true
    this.#log.release(this)
  }
}
