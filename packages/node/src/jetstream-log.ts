/** The journal on JetStream. */
import { PipelinedPublisher, type PipelinedPublisherOptions } from '@carillon/client'
import { CarillonError } from '@carillon/runtime'
import type { AppendOptions, InputLog, LogBounds, ReadOptions } from '@carillon/runtime/ports'
import { HEADERS, type Subjects } from '@carillon/runtime/protocol'
import type { NatsConnection } from '@nats-io/transport-node'

import { JetStreamLogReader } from './log-reader.ts'
import { readBounds } from './stream-state.ts'
import { toServerError } from './server-check.ts'

export interface JetStreamLogOptions {
  readonly publisher?: PipelinedPublisherOptions
  /** Receives a line when a reader had to recover. */
  readonly log?: (line: string) => void
}

/** `<ns>.log.<p>.<type>.<id>`: the tokens of a subject that say whose it is. */
const INSTANCE_TOKENS = 5
const BOUNDS_ATTEMPTS = 5

/**
 * Reads and appends to a cluster's log stream. Dead letters go through `append` too.
 *
 * The stream's identity is remembered from its first sight: when it is another later, reads fail with JOURNAL_REPLACED.
 */
export class JetStreamLog implements InputLog {
  readonly #nc: NatsConnection
  readonly #subjects: Subjects
  readonly #options: JetStreamLogOptions
  readonly #publisher: PipelinedPublisher
  #identity: string | undefined

  constructor(nc: NatsConnection, subjects: Subjects, options: JetStreamLogOptions = {}) {
    this.#nc = nc
    this.#subjects = subjects
    this.#options = options
    this.#publisher = new PipelinedPublisher(nc, options.publisher)
  }

  /**
   * @throws JOURNAL_REPLACED when the stream is gone or another one. @throws JETSTREAM_UNAVAILABLE when nobody
   * answers.
   */
  async bounds(): Promise<LogBounds> {
    const { logStream } = this.#subjects
    for (let attempt = 1; ; attempt++) {
      try {
        const bounds = await readBounds(this.#nc, logStream)
        if (bounds === undefined)
          throw new CarillonError(
            'JOURNAL_REPLACED',
            `the stream ${logStream} is gone: restore it, or start another cluster`,
          )
        this.#checkIdentity(bounds.identity)
        return bounds
      } catch (error) {
        if (error instanceof CarillonError) throw error
        if (attempt === BOUNDS_ATTEMPTS || this.#nc.isClosed())
          throw toServerError(error, `asking for the bounds of ${logStream}`)
      }
    }
  }

  read(options: ReadOptions): JetStreamLogReader {
    return new JetStreamLogReader(this.#nc, {
      ...options,
      stream: this.#subjects.logStream,
      subjects: this.#subjects,
      checkIdentity: (identity) => this.#checkIdentity(identity),
      log: this.#options.log,
    })
  }

  async append(subject: string, { headers, payload }: AppendOptions): Promise<number> {
    const { seq } = await this.#publisher.publish({ subject, key: this.#laneOf(subject, headers), headers, payload })
    return seq
  }

  /** Calls for workers need no order, and must not leave in one batch: the server refuses a batch for one message id that it knows. */
  #laneOf(subject: string, headers: AppendOptions['headers']): string {
    const id = headers[HEADERS.natsId]
    return id !== undefined && this.#subjects.parseCall(subject) !== undefined ? id : instanceOf(subject)
  }

  /** Undefined while `append` has room for more, else a promise of room. */
  ready(): Promise<void> | undefined {
    return this.#publisher.ready()
  }

  /** Waits for the appends under way. Readers are closed by those who opened them. */
  close(): Promise<void> {
    return this.#publisher.close()
  }

  #checkIdentity(identity: string): void {
    this.#identity ??= identity
    if (identity === this.#identity) return
    const message = `the stream ${this.#subjects.logStream} was made anew at ${identity}, it was the one of ${this.#identity}: positions in it mean nothing any more`
    throw new CarillonError('JOURNAL_REPLACED', message)
  }
}

function instanceOf(subject: string): string {
  let at = -1
  for (let token = 0; token < INSTANCE_TOKENS; token++) {
    at = subject.indexOf('.', at + 1)
    if (at < 0) return subject
  }
  return subject.slice(0, at)
}
