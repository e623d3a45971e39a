/**
 * Brings partitions that were added to where the others are, by a reader of its own.
 *
 * Owns: that reader, and who waits for the next one.
 * Does not own: the turns, nor the main reader; it is told how far that one has come.
 *
 * Invariants
 * 1. One reader at a time, for all who wait when it begins: each reads the whole journal from the lowest position on.
 * 2. A partition is attached between two turns, when everything up to where the main reader is, and up to where it did not yet deliver for it, has been
 *    applied: from then on the main reader's messages follow without a gap.
 */
import type { InputLog, LogMessage, LogReader } from '../ports/index.ts'
import type { Hosted } from './hosted.ts'

export interface CatchUpOptions {
  readonly log: InputLog
  /** Runs a task between the turns of others. */
  readonly between: (task: () => Promise<void>) => Promise<void>
  /** Resolves when no partition is on the way to its owner: users wait for those, and for the ones that catch up nobody does. */
  readonly giveWay: () => Promise<unknown>
  /** Applies messages to partitions that catch up, and sees to the commits. False when it ended before all were applied. */
  readonly apply: (messages: readonly LogMessage[]) => Promise<boolean>
  /** How far the main reader's messages have been applied. */
  readonly mainSeq: () => number
  /** From now on the main reader delivers for them as well. Gives the last sequence that it has looked at. */
  readonly extend: () => number
}

interface Waiting {
  readonly hosted: Hosted
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class CatchUp {
  readonly #options: CatchUpOptions
  #waiting: Waiting[] = []
  #group: Waiting[] = []
  #reader: LogReader | undefined
  #isWorking = false
  #isClosed = false
  readonly #closed: Promise<void>
  #reportClosed: () => void = () => {}

  constructor(options: CatchUpOptions) {
    this.#options = options
    this.#closed = new Promise((resolve) => (this.#reportClosed = resolve))
  }

  /** Resolves when the partition is attached; rejects when the journal cannot be read for it. */
  add(hosted: Hosted): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ hosted, resolve, reject })
      if (!this.#isWorking) queueMicrotask(() => void this.#work())
      this.#isWorking = true
    })
  }

  /** Gives up one that is dropped: its `add` resolves. */
  cancel(hosted: Hosted): void {
    const isOther = (one: Waiting): boolean => {
      if (one.hosted !== hosted) return true
      one.resolve()
      return false
    }
    this.#waiting = this.#waiting.filter(isOther)
    this.#group = this.#group.filter(isOther)
  }

  /** Resolves when nothing is read any more. Those that wait are given up. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#reportClosed()
    for (const { resolve } of [...this.#waiting.splice(0), ...this.#group.splice(0)]) resolve()
    await this.#reader?.close()
  }

  async #work(): Promise<void> {
    while (this.#waiting.length > 0 && !this.#isClosed) {
      this.#group = this.#waiting.splice(0)
      for (const { hosted } of this.#group) hosted.isJoined = true
      try {
        await this.#catchUp()
      } catch (error) {
        for (const { reject } of this.#group.splice(0)) reject(error)
      } finally {
        await this.#reader?.close()
        this.#reader = undefined
      }
    }
    this.#isWorking = false
  }

  async #catchUp(): Promise<void> {
    const { log, between, giveWay, apply, mainSeq, extend } = this.#options
    const extendedSeq = extend()
    const attach = (throughSeq: number): boolean => {
      if (throughSeq < Math.max(mainSeq(), extendedSeq)) return this.#group.length === 0
      for (const { hosted, resolve } of this.#group.splice(0)) {
        hosted.role = 'standby'
        resolve()
      }
      return true
    }
    const fromSeq = Math.min(...this.#group.map(({ hosted }) => hosted.partition.position)) + 1
    let isDone = false
    await between(async () => void (isDone = attach(fromSeq - 1)))
    if (isDone || this.#isClosed) return
    await new Promise<void>((resolve, reject) => {
      const onMessages = async (messages: readonly LogMessage[], throughSeq: number): Promise<void> => {
        await Promise.race([giveWay(), this.#closed])
        await between(async () => {
          if (isDone) return
          if (!(await apply(messages))) return
          for (const { hosted } of this.#group) {
            hosted.partition.skipTo(throughSeq)
            hosted.caughtUpSeq = throughSeq
          }
          if (!attach(throughSeq)) return
          isDone = true
          resolve()
        })
      }
      this.#reader = log.read({
        partitions: this.#group.map(({ hosted }) => hosted.number),
        fromSeq,
        onMessages,
        onFailed: reject,
      })
    })
  }
}
