/** Compares the index and the counts of a store with a look at every record. */
import { deepStrictEqual } from 'node:assert'

import { decodeSummary, indexKeys, instanceOfRecordKey, recordRange, statusCode, type Summary } from '../core/index.ts'
import { StatusCounts } from '../engine/status-counts.ts'
import type { OrderedStore } from '../ports/index.ts'
import { INSTANCE_STATUSES, type InstanceKey, type Partition, typeTokenOf } from '../protocol/index.ts'

/** Throws when they differ. Gives the summaries of the partition's instances. */
export function checkIndex(store: OrderedStore, partition: Partition): ReadonlyMap<InstanceKey, Summary> {
  const summaries = new Map(
    [...store.range('record', recordRange(partition, undefined, undefined))].map(({ key, value }) => [
      instanceOfRecordKey(key),
      decodeSummary(value),
    ]),
  )
  const { from, to } = recordRange(partition, undefined, undefined)
  const rows = [...store.range('index', { from, to })].map(({ key, value }) => `${key} ${value.join()}`)
  const expected = [...summaries].flatMap(([key, summary]) =>
    indexKeys(partition, key, summary).map((row) => `${row} ${statusCode(summary.status)}`),
  )
  deepStrictEqual(rows.toSorted(), expected.toSorted())
  const counts = new StatusCounts(store, partition)
  for (const type of new Set([...counts.types, ...[...summaries.keys()].map(typeTokenOf)]))
    for (const status of INSTANCE_STATUSES) {
      const counted = [...summaries].filter(([key, other]) => typeTokenOf(key) === type && other.status === status)
      deepStrictEqual(counts.of(type, status), counted.length)
    }
  return summaries
}
