/** Reads the journal as it is stored: for tools that fold it again. `carillon.journal` is one. */
import type { LogMessage } from '@carillon/runtime/ports'
import type { InstanceKey, Partition, Subjects } from '@carillon/runtime/protocol'
import { encodeToken } from '@carillon/runtime/protocol'
import type { StoredMsg } from '@nats-io/jetstream'

import type { Session } from './session.ts'
import { readStored } from './stored-messages.ts'
import { formatTarget } from './target.ts'

/** What is left of the journal at this moment. */
export interface JournalBounds {
  /** The lowest sequence that is stored; above 1 when the journal has been trimmed. */
  readonly firstSeq: number
  readonly lastSeq: number
  /** When the first message was stored; undefined where there is none. */
  readonly firstTime: Date | undefined
  /** Messages that somebody has deleted from its middle. */
  readonly deleted: number
}

const BATCH = 256

export class Journal {
  readonly #session: Session

  /** Made by `Carillon`. */
  constructor(session: Session) {
    this.#session = session
  }

  get subjects(): Subjects {
    return this.#session.subjects
  }

  /** Rejects when the stream gives no answer. */
  async bounds(): Promise<JournalBounds> {
    const { logStream } = this.subjects
    const { state } = await this.#session.track(async () =>
      (await this.#session.jetStream()).streams.info(logStream, { deleted_details: false }),
    )
    const isEmpty = state.messages === 0
    return {
      firstSeq: isEmpty ? state.last_seq + 1 : state.first_seq,
      lastSeq: state.last_seq,
      firstTime: isEmpty ? undefined : new Date(state.first_ts),
      deleted: state.num_deleted ?? 0,
    }
  }

  /**
   * The inputs of one instance, byte for byte, in order, up to the journal's end at the time of the call.
   *
   * @param patches what `patchesOf` gave: each comes in its place, because the fold of the instance depends on it.
   * @throws INVALID_ID. @throws TIMEOUT when the server gives no answer.
   */
  async *inputsOf(type: string, id: string, patches: readonly LogMessage[] = []): AsyncIterableIterator<LogMessage> {
    const { typeToken, idToken } = this.#session.targets.of(type, id)
    const filter = this.subjects.logOfInstance(typeToken, idToken)
    let next = 0
    for await (const message of this.#read(filter, `the journal of ${formatTarget({ type, id })}`)) {
      for (let patch = patches[next]; patch !== undefined && patch.seq < message.seq; patch = patches[++next])
        yield patch
      yield message
    }
  }

  /** What made patches of a type active in a partition, in order. @throws TIMEOUT when the server gives no answer. */
  async patchesOf(type: string, partition: Partition): Promise<readonly LogMessage[]> {
    const filter = this.subjects.logOfType(partition, encodeToken(type, 'workflow type'))
    const messages: LogMessage[] = []
    for await (const message of this.#read(filter, `the patches of ${type}`))
      if (this.subjects.parsePatch(message.subject) !== undefined) messages.push(message)
    return messages
  }

  /** The instances of one type and partition of which the journal holds inputs, in the order of their keys. Rejects when there is no answer. */
  async instancesOf(type: string, partition: Partition): Promise<readonly InstanceKey[]> {
    const { logStream } = this.subjects
    const filter = `${this.subjects.logOfPartition(partition).slice(0, -1)}${encodeToken(type, 'workflow type')}.>`
    const { state } = await this.#session.track(async () =>
      (await this.#session.jetStream()).streams.info(logStream, { subjects_filter: filter }),
    )
    const keys = Object.keys(state.subjects ?? {}).map((subject) => this.subjects.parseLog(subject)?.key)
    return [...new Set(keys.filter((key) => key !== undefined))].sort()
  }

  async *#read(filter: string, what: string): AsyncIterableIterator<LogMessage> {
    const range = { stream: this.subjects.logStream, filter, from: 1, limit: undefined, batch: BATCH, what }
    for await (const message of readStored(this.#session, range)) yield new StoredInput(message)
  }
}

class StoredInput implements LogMessage {
  readonly subject: string
  readonly seq: number
  readonly timeMs: number
  readonly payload: Uint8Array
  readonly #message: StoredMsg

  constructor(message: StoredMsg) {
    this.subject = message.subject
    this.seq = message.seq
    this.timeMs = message.time.getTime()
    this.payload = message.data
    this.#message = message
  }

  header(name: string): string | undefined {
    const { header } = this.#message
    return header.has(name) ? header.get(name).trim() : undefined
  }
}
