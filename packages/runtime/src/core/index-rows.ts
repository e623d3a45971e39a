/**
 * The rows by which an instance is found without looking at all records: one for each value of its attributes, and one for its status, unless it is
 * running, which most are. Each holds the status, so that a list by attribute and status needs no other row.
 *
 * Invariants
 * 1. The rows of an instance follow from its summary alone, and change in one batch with it.
 */
import type { Write } from '../ports/index.ts'
import type { InstanceKey, Partition } from '../protocol/index.ts'
import { valueKeys } from './index-value.ts'
import { indexKey } from './keys.ts'
import { statusCode, type RecordStatus, type Summary } from './record.ts'

/** Stands where the name of an attribute stands, and is none. */
export const STATUS_ATTRIBUTE = '-status'

/** Whether instances of this status have a row for it. */
export function isStatusIndexed(status: RecordStatus): boolean {
  return status !== 'running' && status !== 'absent'
}

/** Adds what turns the rows of one summary into those of another; undefined where there is no record. */
export function collectIndex(
  partition: Partition,
  key: InstanceKey,
  before: Summary | undefined,
  after: Summary | undefined,
  writes: Write[],
): void {
  if (before?.status === after?.status && before?.attributes === after?.attributes) return
  const old = new Set(indexKeys(partition, key, before))
  const now = indexKeys(partition, key, after)
  const isOld = before?.status === after?.status
  const value = Uint8Array.of(statusCode(after?.status ?? 'absent'))
  for (const row of now) if (!old.delete(row) || !isOld) writes.push({ table: 'index', key: row, value })
  for (const row of old) writes.push({ table: 'index', key: row, value: undefined })
}

/** The keys of an instance's rows. */
export function indexKeys(partition: Partition, key: InstanceKey, summary: Summary | undefined): string[] {
  if (summary === undefined) return []
  const rows = Object.entries(summary.attributes ?? {}).flatMap(([name, value]) =>
    valueKeys(value).map((text) => indexKey(partition, key, name, text)),
  )
  if (isStatusIndexed(summary.status)) rows.push(indexKey(partition, key, STATUS_ATTRIBUTE, summary.status))
  return rows
}
