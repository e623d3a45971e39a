/** A message of the journal as JetStream delivers it. What the server says about it stands in its reply subject. */
import type { LogMessage } from '@carillon/runtime/ports'
import type { Msg } from '@nats-io/transport-node'

import { headerBlock, headerIn } from './raw-headers.ts'

/**
 * `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<nanoseconds>.<pending>`, from the deliveries
 * on.
 */
export interface DeliveryInfo {
  seq: number
  consumerSeq: number
  timeMs: number
  /** Messages behind this one that match the consumer's filters. */
  pending: number
}

/** Digits of the nanoseconds that are below a millisecond. A nanosecond count has more digits than a double. */
const DIGITS_BELOW_MS = 6
const DOT = 0x2e
const ZERO = 0x30

export class JetStreamMessage implements LogMessage {
  readonly subject: string
  readonly seq: number
  readonly timeMs: number
  readonly payload: Uint8Array
  readonly #msg: Msg
  #block: string | undefined

  constructor(msg: Msg, info: DeliveryInfo) {
    this.#msg = msg
    this.subject = msg.subject
    this.seq = info.seq
    this.timeMs = info.timeMs
    this.payload = msg.data
  }

  header(name: string): string | undefined {
    this.#block ??= headerBlock(this.#msg, this.payload)
    return headerIn(this.#block, name)
  }
}

/**
 * Reads a reply subject into `info`; false when it is none of a JetStream delivery.
 *
 * @param tail where the deliveries begin, as `deliveryTail` gives it: the same for all messages of a consumer.
 */
export function parseDelivery(reply: string, tail: number, info: DeliveryInfo): boolean {
  const seqAt = reply.indexOf('.', tail) + 1
  const consumerSeqAt = reply.indexOf('.', seqAt) + 1
  const timeAt = reply.indexOf('.', consumerSeqAt) + 1
  const timeEnd = reply.indexOf('.', timeAt)
  if (seqAt === 0 || consumerSeqAt === 0 || timeAt === 0 || timeEnd < 0) return false
  info.seq = digits(reply, seqAt, consumerSeqAt - 1)
  info.consumerSeq = digits(reply, consumerSeqAt, timeAt - 1)
  info.timeMs = digits(reply, timeAt, timeEnd - DIGITS_BELOW_MS)
  info.pending = digits(reply, timeEnd + 1, reply.length)
  return true
}

/**
 * Where the deliveries begin in the reply subjects of a consumer, or -1. In front of the stream a server may put its
 * domain and account.
 */
export function deliveryTail(reply: string, stream: string, consumer: string): number {
  if (!reply.startsWith('$JS.ACK.')) return -1
  const names = `.${stream}.${consumer}.`
  const at = reply.indexOf(names)
  return at < 0 ? -1 : at + names.length
}

/** The number up to `end` or the next dot. */
function digits(text: string, start: number, end: number): number {
  let value = 0
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i)
    if (code === DOT) break
    value = value * 10 + code - ZERO
  }
  return value
}
