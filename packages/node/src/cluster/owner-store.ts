/** Where the ownership records stand, as a port. */
import type { OwnerRecord, Partition } from '@carillon/runtime/protocol'

/** A record as it is stored; `revision` 0 and no record: the key has never been written. */
export interface StoredOwner {
  readonly partition: Partition
  readonly record: OwnerRecord | undefined
  readonly revision: number
}

export interface OwnerStore {
  /** All of them. They may come from a replica that is behind. Rejects when there is no answer. */
  readAll(): Promise<readonly StoredOwner[]>
  /** One, from the leader: nothing newer is there. Rejects when there is no answer. */
  read(partition: Partition): Promise<StoredOwner>
  /**
   * Writes the record if the stored one has still this revision (0: if there is none). Gives the new revision, or undefined when somebody was faster.
   * Rejects when there is no answer: then it may be written, now or later.
   */
  compareAndSet(partition: Partition, record: OwnerRecord, revision: number): Promise<number | undefined>
}
