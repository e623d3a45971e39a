/**
 * The ownership records as this node has read them.
 *
 * Invariants
 * 1. The record of a partition is the one of the highest revision that was read: replicas that are behind change nothing.
 * 2. The known epoch of a partition never goes down.
 */
import type { Partition } from '@carillon/runtime/protocol'

import type { OwnerEntry } from './decide.ts'
import type { StoredOwner } from './owner-store.ts'

export class OwnerTable {
  readonly #entries = new Map<Partition, OwnerEntry>()
  /** Epochs that beats told of, and that no record shows yet. */
  readonly #heardEpochs = new Map<Partition, number>()

  get entries(): ReadonlyMap<Partition, OwnerEntry> {
    return this.#entries
  }

  epochOf(partition: Partition): number {
    return this.#entries.get(partition)?.epoch ?? 0
  }

  /** True when it is news. `isFromLeader`: there is nothing newer, so an entry that is gone is gone. */
  set({ partition, record, revision }: StoredOwner, isFromLeader: boolean): boolean {
    const known = this.#entries.get(partition)
    const isGone = isFromLeader && revision === 0 && known !== undefined && known.revision > 0
    if (known !== undefined && revision <= known.revision && !isGone) return false
    const epoch = Math.max(known?.epoch ?? 0, record?.epoch ?? 0, this.#heardEpochs.get(partition) ?? 0)
    this.#entries.set(partition, { partition, record, revision, epoch })
    return true
  }

  /** Somebody says that a partition has this epoch. True when no record that was read shows so much. */
  heard(partition: Partition, epoch: number): boolean {
    const entry = this.#entries.get(partition)
    if (epoch <= (entry?.record?.epoch ?? 0)) return false
    this.#heardEpochs.set(partition, Math.max(epoch, this.#heardEpochs.get(partition) ?? 0))
    if (entry !== undefined) this.#entries.set(partition, { ...entry, epoch: Math.max(entry.epoch, epoch) })
    return true
  }
}
