/** The journal as a port: JetStream in production, memory in tests. */
import type { Partition } from '../protocol/index.ts'

/** One stored message, as the journal gives it. */
export interface LogMessage {
  readonly subject: string
  /** Stream sequence, from 1, rising. */
  readonly seq: number
  /** The server's time of storing, milliseconds since the epoch. */
  readonly timeMs: number
  readonly payload: Uint8Array
  /** The first value of a header, or undefined. */
  header(name: string): string | undefined
}

/** What the stream is and holds at this moment. */
export interface LogBounds {
  /** Changes when the stream is deleted and made anew: a position in another stream means nothing (law: a journal that went backwards). */
  readonly identity: string
  /** The lowest sequence still stored; lastSeq + 1 when the stream is empty. */
  readonly firstSeq: number
  /** The highest sequence ever given; 0 when none was. */
  readonly lastSeq: number
}

export interface ReadOptions {
  readonly partitions: readonly Partition[]
  /** The first sequence to deliver, from 1. */
  readonly fromSeq: number
  /**
   * Takes messages in rising sequence, each at least once over a reader's life and without gaps; after a reconnect the reader resumes at
   * the first it has not delivered. The reader awaits the promise before it delivers more: that is the back-pressure.
   *
   * @param throughSeq everything up to here has been delivered or is of other partitions. It rises also where there is nothing to deliver: then
   * `messages` is empty, at least once in 100 ms.
   */
  readonly onMessages: (messages: readonly LogMessage[], throughSeq: number) => Promise<void>
  /** Called once if the reader cannot go on: the journal was trimmed, recreated or lost. The reader is closed by then. */
  readonly onFailed: (error: unknown) => void
}

export interface LogReader {
  /**
   * Changes whose messages are delivered, from those on that have not been looked at.
   *
   * @returns the last sequence that has been looked at: messages of added partitions are delivered from behind it, those of removed ones may still come
   * up to there.
   */
  setPartitions(partitions: readonly Partition[]): number
  /** Stops; resolves when no `onMessages` is running any more. */
  close(): Promise<void>
}

export interface AppendOptions {
  readonly headers: Readonly<Record<string, string>>
  readonly payload: Uint8Array
}

/** Ordering: appends through one InputLog to one subject are stored in the order of the calls. */
export interface InputLog {
  bounds(): Promise<LogBounds>
  /** Starts to read. The reader owns its subscription until `close`. */
  read(options: ReadOptions): LogReader
  /**
   * Stores one message durably and gives its sequence. Retries under the hood: after a lost ack the message may be stored twice, so receivers
   * dedupe by the id in its headers.
   *
   * @throws NOT_ACKNOWLEDGED when no ack came within the retry budget.
   */
  append(subject: string, options: AppendOptions): Promise<number>
}
