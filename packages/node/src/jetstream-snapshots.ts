/**
 * Remote snapshots on JetStream: a stream of its own that keeps the last message of each subject. A head is one subject, replaced with the server's check of
 * its last sequence; each part of a segment is a subject that is written once.
 *
 * Owns: trying again while the stream has no leader. Does not own: what the bytes mean.
 */
import { CarillonError } from '@carillon/runtime'
import { checkSegment, PART_BYTES_MAX, type Snapshots, type StoredHead } from '@carillon/runtime/ports'
import type { Partition, Subjects } from '@carillon/runtime/protocol'
import { headers, type Msg, type NatsConnection } from '@nats-io/transport-node'

const EXPECTED_SEQ = 'Nats-Expected-Last-Subject-Sequence'
const WRONG_LAST_SEQUENCE = 10071
const NO_MESSAGE = 10037
const NOT_FOUND = 404
/** While a cluster elects, requests get no answer: asking again soon finds the new leader soon. */
const REQUEST_MS = 2000
const AGAIN_MS = 100
/** An election takes up to 9 s, and one may follow another. */
const RETRY_BUDGET_MS = 30_000
/** Parts that are on their way to a reader: 2 MiB. */
const AHEAD = 8

interface Answer {
  readonly error?: { readonly err_code?: number; readonly description?: string }
}

interface PubAck extends Answer {
  readonly seq?: number
}

interface StoredMessage extends Answer {
  readonly message?: { readonly seq: number; readonly data?: string }
}

export interface JetStreamSnapshotsOptions {
  /** Gives up what is under way. */
  readonly signal?: AbortSignal | undefined
}

/** See the port for the contract. The stream is made with the cluster. */
export class JetStreamSnapshots implements Snapshots {
  readonly #nc: NatsConnection
  readonly #subjects: Subjects
  readonly #signal: AbortSignal | undefined

  constructor(nc: NatsConnection, subjects: Subjects, { signal }: JetStreamSnapshotsOptions = {}) {
    this.#nc = nc
    this.#subjects = subjects
    this.#signal = signal
  }

  async head(partition: Partition): Promise<StoredHead | undefined> {
    const stored = await this.#lastOf(this.#subjects.snapshotHead(partition))
    return stored && { bytes: stored.bytes, revision: stored.seq }
  }

  async replaceHead(partition: Partition, bytes: Uint8Array, expected: number): Promise<number | undefined> {
    const subject = this.#subjects.snapshotHead(partition)
    const { seq, error } = await this.#publish(subject, bytes, expected)
    if (error === undefined) return seq
    // An acknowledgement that was lost: it is this very head that stands there.
    const stands = await this.head(partition)
    return stands !== undefined && Buffer.from(stands.bytes).equals(bytes) ? stands.revision : undefined
  }

  async putPart(partition: Partition, segment: string, index: number, bytes: Uint8Array): Promise<number> {
    if (bytes.length > PART_BYTES_MAX) throw new TypeError(`a part of ${bytes.length} bytes is over ${PART_BYTES_MAX}`)
    const { seq } = await this.#publish(this.#subjects.snapshotPart(partition, checkSegment(segment), index), bytes)
    return seq
  }

  async *parts(partition: Partition, segment: string, count: number): AsyncIterable<Uint8Array> {
    const ahead: Promise<Uint8Array>[] = []
    for (let index = 0; index < count; index++) {
      while (ahead.length < AHEAD && index + ahead.length < count) {
        const part = this.#part(partition, checkSegment(segment), index + ahead.length)
        // Whoever leaves early does not hear of it.
        part.catch(() => {})
        ahead.push(part)
      }
      yield (await ahead.shift()) ?? new Uint8Array(0)
    }
  }

  removeBefore(partition: Partition, place: number): Promise<void> {
    return this.#purge({ filter: this.#subjects.snapshotPart(partition), seq: place })
  }

  remove(partition: Partition, segment: string): Promise<void> {
    return this.#purge({ filter: this.#subjects.snapshotPart(partition, checkSegment(segment)) })
  }

  async #part(partition: Partition, segment: string, index: number): Promise<Uint8Array> {
    const { snapshotStream } = this.#subjects
    const subject = this.#subjects.snapshotPart(partition, segment, index)
    const direct = await this.#request(`$JS.API.DIRECT.GET.${snapshotStream}.${subject}`, '')
    if (direct.headers?.code !== NOT_FOUND) return direct.data
    // The replica that answered may be behind; the leader is not.
    const stored = await this.#lastOf(subject)
    if (stored !== undefined) return stored.bytes
    throw new CarillonError(
      'SNAPSHOT_DAMAGED',
      `part ${index} of the segment ${segment} of partition ${partition} is gone from the stream ${snapshotStream}`,
    )
  }

  /** By the stream's leader: everything that was acknowledged is seen. */
  async #lastOf(subject: string): Promise<{ readonly bytes: Uint8Array; readonly seq: number } | undefined> {
    const body = JSON.stringify({ last_by_subj: subject })
    const answer = await this.#ask<StoredMessage>(`$JS.API.STREAM.MSG.GET.${this.#subjects.snapshotStream}`, body)
    if (answer.message === undefined) return undefined
    const { seq, data = '' } = answer.message
    return { bytes: new Uint8Array(Buffer.from(data, 'base64')), seq }
  }

  async #publish(
    subject: string,
    bytes: Uint8Array,
    expected?: number,
  ): Promise<{ readonly seq: number; readonly error?: undefined } | { readonly seq: 0; readonly error: object }> {
    const { seq, error } = await this.#ask<PubAck>(subject, bytes, expected)
    if (error !== undefined) return { seq: 0, error }
    return { seq: seq ?? 0 }
  }

  async #purge(body: { readonly filter: string; readonly seq?: number }): Promise<void> {
    await this.#ask(`$JS.API.STREAM.PURGE.${this.#subjects.snapshotStream}`, JSON.stringify(body))
  }

  /** What the server answers; of errors, those that are an answer. Others are tried again. */
  async #ask<T extends Answer>(subject: string, body: string | Uint8Array, expected?: number): Promise<T> {
    const deadlineMs = performance.now() + RETRY_BUDGET_MS
    for (;;) {
      const answer = (await this.#request(subject, body, expected)).json<T>()
      const code = answer.error?.err_code
      if (answer.error === undefined || code === WRONG_LAST_SEQUENCE || code === NO_MESSAGE) return answer
      if (performance.now() > deadlineMs)
        throw notAcknowledged(subject, String(answer.error.description ?? answer.error.err_code))
      await this.#pause(AGAIN_MS)
    }
  }

  async #request(subject: string, body: string | Uint8Array, expected?: number): Promise<Msg> {
    const deadlineMs = performance.now() + RETRY_BUDGET_MS
    for (;;) {
      try {
        const of = expected === undefined ? {} : { headers: headers() }
        of.headers?.set(EXPECTED_SEQ, String(expected))
        return await this.#nc.request(subject, body, { timeout: REQUEST_MS, ...of })
      } catch (error) {
        if (this.#nc.isClosed() || performance.now() > deadlineMs) throw notAcknowledged(subject, messageOf(error))
        await this.#pause(AGAIN_MS)
      }
    }
  }

  async #pause(ms: number): Promise<void> {
    if (this.#signal?.aborted === true) throw new CarillonError('CLOSING', 'the node stops')
    await new Promise((resolve) => setTimeout(resolve, ms))
  }
}

function notAcknowledged(subject: string, reason: string): CarillonError {
  return new CarillonError(
    'NOT_ACKNOWLEDGED',
    `${subject} got no good answer within ${RETRY_BUDGET_MS / 1000} s (${reason}): look at the stream and its leader`,
  )
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
