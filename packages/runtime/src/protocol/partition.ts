/** Instance to partition: FNV-1a 32 over the encoded type and id tokens, without separator, as nats-server's `{{partition(P,1,2)}}` does. */
import type { Token } from './ids.ts'

declare const partition: unique symbol
/** The number of a partition, from 0 to the cluster's partition count less one. */
export type Partition = number & { readonly [partition]: true }

/** The partition of an instance. Tokens are ASCII, so their char codes are their bytes. */
export function partitionOf(type: Token, id: Token, partitions: number): Partition {
  return (fnv1a32(id, fnv1a32(type)) % partitions) as Partition
}

/** FNV-1a, 32 bits (Fowler, Noll, Vo). Source: RFC 9923. */
export function fnv1a32(ascii: string, start = 0x811c9dc5): number {
  let hash = start
  for (let i = 0; i < ascii.length; i++) hash = Math.imul(hash ^ ascii.charCodeAt(i), 0x01000193)
  return hash >>> 0
}
