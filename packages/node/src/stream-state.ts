/** What the log stream is and holds, and whether a position in it still means what it meant. */
import { CarillonError } from '@carillon/runtime'
import type { LogBounds } from '@carillon/runtime/ports'
import type { NatsConnection } from '@nats-io/transport-node'

import { toServerError } from './server-check.ts'

/** While a cluster elects, requests get no answer: asking again soon finds the new leader soon. */
const REQUEST_TIMEOUT_MS = 1000
const STREAM_NOT_FOUND = 10059

interface StreamInfo {
  readonly error?: { readonly err_code?: number; readonly description?: string }
  readonly created?: string
  readonly state?: { readonly messages: number; readonly first_seq: number; readonly last_seq: number }
}

/** Bounds of a stream; undefined when there is no such stream. Rejects when nobody answers. */
export async function readBounds(nc: NatsConnection, stream: string): Promise<LogBounds | undefined> {
  const { error, created, state } = await request<StreamInfo>(nc, `$JS.API.STREAM.INFO.${stream}`, undefined)
  if (error?.err_code === STREAM_NOT_FOUND) return undefined
  if (created === undefined || state === undefined) {
    throw new CarillonError(
      'JETSTREAM_UNAVAILABLE',
      `the stream ${stream} gave no state: ${String(error?.description)}`,
    )
  }
  const isEmpty = state.messages === 0
  return { identity: created, firstSeq: isEmpty ? state.last_seq + 1 : state.first_seq, lastSeq: state.last_seq }
}

/** What tells a stream from one that is made anew under its name. @throws JETSTREAM_UNAVAILABLE when there is no such stream, or nobody answers. */
export async function identityOf(nc: NatsConnection, stream: string): Promise<string> {
  const reason = `asking for the stream ${stream}`
  const bounds = await readBounds(nc, stream).catch((error: unknown) => {
    throw error instanceof CarillonError ? error : toServerError(error, reason)
  })
  if (bounds !== undefined) return bounds.identity
  throw new CarillonError('JETSTREAM_UNAVAILABLE', `the stream ${stream} is gone: start the node again, which makes it`)
}

/** The time of storing of one message, milliseconds since the epoch; undefined when it is not there any more. */
export async function readTimeOf(nc: NatsConnection, stream: string, seq: number): Promise<number | undefined> {
  const answer = await request<{ readonly message?: { readonly time?: string } }>(
    nc,
    `$JS.API.STREAM.MSG.GET.${stream}`,
    { seq },
  )
  const time = answer.message?.time
  return time === undefined ? undefined : Date.parse(time)
}

/**
 * Checks that reading can begin at a sequence with nothing lost before it.
 *
 * @throws JOURNAL_BEHIND when the stream was trimmed past it, or ends before what was read already.
 */
export function checkStart(stream: string, fromSeq: number, { firstSeq, lastSeq }: LogBounds): void {
  if (firstSeq > fromSeq) {
    throw new CarillonError(
      'JOURNAL_BEHIND',
      `the stream ${stream} begins at ${firstSeq}, and ${fromSeq} is the next to be read: what lies between was trimmed`,
    )
  }
  if (lastSeq < fromSeq - 1) {
    throw new CarillonError(
      'JOURNAL_BEHIND',
      `the stream ${stream} ends at ${lastSeq}, and ${fromSeq - 1} was read already: it has lost messages`,
    )
  }
}

async function request<T>(nc: NatsConnection, subject: string, body: object | undefined): Promise<T> {
  const answer = await nc.request(subject, body === undefined ? undefined : JSON.stringify(body), {
    timeout: REQUEST_TIMEOUT_MS,
  })
  return answer.json<T>()
}
