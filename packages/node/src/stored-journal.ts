/** The log stream, for whoever trims it. */
import { CarillonError } from '@carillon/runtime'
import type { JournalState, StoredJournal } from '@carillon/runtime/ports'
import type { Subjects } from '@carillon/runtime/protocol'
import type { NatsConnection } from '@nats-io/transport-node'

import { toServerError } from './server-check.ts'

const REQUEST_MS = 2000
/** A purge answers when it is done, which may take seconds where there are many subjects. */
const PURGE_MS = 30_000
const ATTEMPTS = 5

interface Answer {
  readonly error?: { readonly err_code?: number; readonly description?: string }
  readonly created?: string
  readonly state?: {
    readonly messages: number
    readonly bytes: number
    readonly first_seq: number
    readonly last_seq: number
  }
  readonly message?: { readonly time: string }
}

const NO_MESSAGE = 10037

export class JetStreamStoredJournal implements StoredJournal {
  readonly #nc: NatsConnection
  readonly #stream: string

  constructor(nc: NatsConnection, subjects: Subjects) {
    this.#nc = nc
    this.#stream = subjects.logStream
  }

  async state(): Promise<JournalState> {
    const { created, state } = await this.#ask('INFO', undefined, REQUEST_MS)
    if (created === undefined || state === undefined)
      throw new CarillonError('JETSTREAM_UNAVAILABLE', `the stream ${this.#stream} gave no state`)
    const { messages, bytes, first_seq: first, last_seq: lastSeq } = state
    return { identity: created, messages, bytes, firstSeq: messages === 0 ? lastSeq + 1 : first, lastSeq }
  }

  async timeFrom(seq: number): Promise<number | undefined> {
    const { message } = await this.#ask('MSG.GET', { seq, next_by_subj: '>' }, REQUEST_MS)
    return message === undefined ? undefined : Date.parse(message.time)
  }

  async trim(firstSeq: number): Promise<void> {
    await this.#ask('PURGE', { seq: firstSeq }, PURGE_MS)
  }

  async #ask(what: string, body: object | undefined, timeoutMs: number): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await this.#nc.request(
          `$JS.API.STREAM.${what}.${this.#stream}`,
          body === undefined ? undefined : JSON.stringify(body),
          { timeout: timeoutMs },
        )
        const parsed = answer.json<Answer>()
        if (parsed.error === undefined || parsed.error.err_code === NO_MESSAGE) return parsed
        throw new CarillonError(
          'JETSTREAM_UNAVAILABLE',
          `the stream ${this.#stream} refused ${what}: ${String(parsed.error.description)}`,
        )
      } catch (error) {
        if (error instanceof CarillonError) throw error
        if (attempt === ATTEMPTS || this.#nc.isClosed())
          throw toServerError(error, `asking the stream ${this.#stream} for ${what}`)
      }
    }
  }
}
