/** The mark of a restore that has not ended: the rows of the partition are no state of the fold. */
import { restoringKey } from '../core/index.ts'
import { CarillonError } from '../errors.ts'
import type { StoreReader } from '../ports/index.ts'
import type { Partition } from '../protocol/index.ts'

/** @throws SNAPSHOT_DAMAGED */
export function checkRestored(store: StoreReader, partition: Partition): void {
  if (store.get('meta', restoringKey(partition)) === undefined) return
  throw new CarillonError(
    'SNAPSHOT_DAMAGED',
    `partition ${partition} was being restored from its remote snapshot when the process ended: start the node with access to the snapshot stream, or set the data folder aside`,
  )
}
