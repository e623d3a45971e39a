/**
 * Who applies partitions, as the coordinator sees it: an engine, or several of them in threads.
 *
 * Calls for one partition come one at a time; those for others may run at the same time. Each may reject, and is then made again: what it asks for is a
 * state, not a step.
 */
import type { Partition } from '@carillon/runtime/protocol'

export type HostedRole = 'catching-up' | 'standby' | 'promoting' | 'owner'

export interface HostedPartition {
  readonly partition: Partition
  readonly role: HostedRole
  /** Everything of the journal up to here is applied. */
  readonly appliedSeq: number
  /** Owners: every send and dead letter of inputs up to here is stored: standbys forget theirs up to there. */
  readonly effectsDoneSeq: number
}

export interface PartitionHost {
  hosted(): readonly HostedPartition[]
  /** Applies the partition muted from now on (restores it from a remote snapshot first where the journal no longer reaches back). Resolves when it has caught up. Idempotent. */
  follow(partition: Partition): Promise<void>
  /** A followed partition: applies to the journal's end as of the call, then effects go out and requests are answered. Resolves then. Idempotent. */
  promote(partition: Partition): Promise<void>
  /** Owner to standby: the turn ends, all is committed, nothing more goes out, requests are no longer answered. Resolves then. Idempotent. */
  demote(partition: Partition): Promise<void>
  /** Stops applying it. What is on disk stays, for a later return. */
  drop(partition: Partition): Promise<void>
  /** What the owner said of its effects; standbys forget pending sends and dead letters of inputs up to there. */
  effectsDone(partition: Partition, seq: number): void
}
