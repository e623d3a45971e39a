/**
 * Which rows of a store go into a segment: all of a partition, or those of the instances that have changed. Read from a view, they are of one moment.
 *
 * An instance is taken whole or not at all, so that snapshots of one node can go on with those of another: between two inputs their rows may differ,
 * their instances do not.
 */
import {
  allDueRange,
  dueKey,
  instanceRange,
  NO_INSTANCE,
  ownerOfRow,
  partitionRange,
  patchRange,
  recordKey,
} from '../core/index.ts'
import type { Range, StoreReader } from '../ports/index.ts'
import type { InstanceKey, Partition } from '../protocol/index.ts'
import type { ChangedKey } from './change-log.ts'
import type { Frame, SavedTable } from './checkpoint-segment.ts'

/** Undefined: a row was looked at and is not part of it. */
export type Captured = Generator<Frame | undefined, void, undefined>

const TABLES_OF_INSTANCES = ['record', 'tail', 'ids', 'timer', 'effect'] as const
/** Where the instance does not lead the key: all rows are looked at. */
const BY_TIME = ['timer', 'effect'] as const

/** Every row of the partition. */
export function* captureAll(view: StoreReader, partition: Partition): Captured {
  for (const table of TABLES_OF_INSTANCES) yield* rowsOf(view, table, partitionRange(partition))
  yield* rowsOf(view, 'meta', allDueRange(partition))
  yield* rowsOf(view, 'meta', patchRange(partition))
}

/** Every row of the instances that have changed; of those that are gone, that they are. */
export function* captureChanged(view: StoreReader, partition: Partition, keys: ReadonlySet<ChangedKey>): Captured {
  for (const key of [...keys].sort()) {
    yield { kind: 'replaced', key }
    if (key === NO_INSTANCE) yield* rowsOf(view, 'meta', patchRange(partition))
    else yield* instanceOf(view, partition, key)
  }
  for (const table of BY_TIME)
    for (const row of view.range(table, partitionRange(partition))) {
      const owner = ownerOfRow(table, row.key)
      yield owner !== undefined && keys.has(owner.key) ? { kind: 'row', table, row } : undefined
    }
}

function* instanceOf(view: StoreReader, partition: Partition, key: InstanceKey): Captured {
  const own = [
    ['record', recordKey(partition, key)],
    ['meta', dueKey(partition, key)],
  ] as const
  for (const [table, rowKey] of own) {
    const value = view.get(table, rowKey)
    if (value !== undefined) yield { kind: 'row', table, row: { key: rowKey, value } }
  }
  const range = instanceRange(partition, key)
  yield* rowsOf(view, 'tail', range)
  yield* rowsOf(view, 'ids', range)
}

function* rowsOf(view: StoreReader, table: SavedTable, range: Range): Captured {
  for (const row of view.range(table, range)) yield { kind: 'row', table, row }
}
