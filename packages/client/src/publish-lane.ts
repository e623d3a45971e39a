/** The queue of one ordering key, and what of it is on its way to the server. */
import type { LatencyMark } from './batch-policy.ts'
import type { HeaderText } from './publish-headers.ts'
import type { PublishAck } from './pub-ack.ts'

/** One message that waits for its acknowledgement. */
export interface Entry {
  readonly subject: string
  readonly headers: HeaderText
  readonly payload: Uint8Array
  /** Size on the wire, roughly. */
  readonly bytes: number
  readonly expiresAtMs: number
  readonly resolve: (ack: PublishAck) => void
  readonly reject: (error: unknown) => void
  next: Entry | undefined
}

/** One message or one atomic batch that was sent and is not acknowledged. */
export interface Flight {
  readonly lane: Lane
  readonly first: Entry
  readonly count: number
  readonly bytes: number
  /** The reply token of the latest attempt: only its refusals count. */
  token: number
  /** Every attempt's token: a late acknowledgement of any of them settles the flight. */
  readonly tokens: number[]
  /** When the latest attempt was sent. */
  sentAtMs: number
  /** When to send again unless an answer comes before. */
  retryAtMs: number
  /** Why the last attempt did not do. */
  lastReason: string
  readonly mark: LatencyMark
}

/** Messages of one key in the order of the calls; at most one flight at a time. */
export class Lane {
  readonly key: string
  flight: Flight | undefined
  /** Waits in the publisher's list of lanes that have something to send. */
  isReady = false
  /** So many messages at the head go one by one: the server refused them as a batch. */
  singles = 0
  #first: Entry | undefined
  #last: Entry | undefined
  #length = 0

  constructor(key: string) {
    this.key = key
  }

  get length(): number {
    return this.#length
  }

  get first(): Entry | undefined {
    return this.#first
  }

  push(entry: Entry): void {
    if (this.#last === undefined) this.#first = entry
    else this.#last.next = entry
    this.#last = entry
    this.#length += 1
  }

  /**
   * Takes messages off the head: at most `countMax`, and more than one only while they are within `bytesMax` together.
   */
  take(countMax: number, bytesMax: number): { readonly first: Entry; readonly count: number; readonly bytes: number } {
    const first = this.#first
    if (first === undefined) throw new Error('a lane with nothing to send is not asked for it')
    let last = first
    let count = 1
    let { bytes } = first
    while (count < countMax && last.next !== undefined && bytes + last.next.bytes <= bytesMax) {
      last = last.next
      count += 1
      bytes += last.bytes
    }
    this.#first = last.next
    if (this.#first === undefined) this.#last = undefined
    last.next = undefined
    this.#length -= count
    return { first, count, bytes }
  }

  /** Puts what was taken back at the head, in its order. */
  putBack(first: Entry, count: number): void {
    let last = first
    while (last.next !== undefined) last = last.next
    last.next = this.#first
    if (this.#last === undefined) this.#last = last
    this.#first = first
    this.#length += count
  }
}
