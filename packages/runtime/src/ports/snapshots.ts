/** Remote snapshots as a port: for each partition one head, which is replaced by compare-and-set, and parts, which never change. */
import type { Partition } from '../protocol/index.ts'

export interface StoredHead {
  readonly bytes: Uint8Array
  /** Rises with each replacement; what `replaceHead` compares. */
  readonly revision: number
}

/**
 * Everything is durable when its promise resolves, to the degree that the journal is. Calls are tried again under the hood; repeating one that went
 * through changes nothing.
 *
 * @throws NOT_ACKNOWLEDGED from every call when nobody answered within the retry budget.
 */
export interface Snapshots {
  /** The head as of now: everything that was acknowledged before the call is seen. Undefined when there is none. */
  head(partition: Partition): Promise<StoredHead | undefined>
  /**
   * Replaces the head whose revision is `expected`, 0 for none. Gives the new revision, or undefined when another head stands there: nothing has changed
   * then.
   */
  replaceHead(partition: Partition, bytes: Uint8Array, expected: number): Promise<number | undefined>
  /** Stores one part of a segment, whose name is nobody else's. Gives its place: those stored later have a higher one. */
  putPart(partition: Partition, segment: string, index: number, bytes: Uint8Array): Promise<number>
  /**
   * The parts of a segment, in order.
   *
   * @throws SNAPSHOT_DAMAGED when one is missing.
   */
  parts(partition: Partition, segment: string, count: number): AsyncIterable<Uint8Array>
  /** Removes all parts of the partition that were stored before a place. */
  removeBefore(partition: Partition, place: number): Promise<void>
  /** Removes the parts of one segment. */
  remove(partition: Partition, segment: string): Promise<void>
}

/** Bytes of a part at most: nats-server takes messages of 1 MiB by default. */
export const PART_BYTES_MAX = 256 * 1024

/** Letters, digits and `-`: a segment's name is a token of a subject. */
const SEGMENT = /^[A-Za-z0-9-]{1,64}$/

/** Returns the name. Another one is a bug of the caller. */
export function checkSegment(segment: string): string {
  if (SEGMENT.test(segment)) return segment
  throw new TypeError(`the segment ${JSON.stringify(segment)} is not 1 to 64 letters, digits and dashes`)
}
