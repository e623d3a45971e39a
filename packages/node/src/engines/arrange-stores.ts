/**
 * Brings partitions to the stores in which their engines look for them, after the number of engines has changed.
 *
 * Invariants
 * 1. At any moment one store holds all rows of a partition, and its position with them: copied rows get the position last, once they are on the disk, and
 *    the rows that were copied lose theirs first. Rows without a position are what a crash left behind, and are removed.
 * 2. Doing it again changes nothing, also for another number of engines.
 */
import { positionKey } from '@carillon/runtime/core'
import { type OrderedStore, type Row, type Table, TABLES, type Write } from '@carillon/runtime/ports'
import type { Partition } from '@carillon/runtime/protocol'

import { engineOf } from './engine-folders.ts'

const ROWS_AT_ONCE = 1000
/** Above every key. */
const ABOVE = '\u007f'

export interface Arrangement {
  readonly engines: number
  readonly partitions: number
}

/** The number of partitions that were moved. The stores are those of all folders, the ones of engines that are no more behind the others. */
export async function arrangeStores(
  stores: readonly OrderedStore[],
  { engines, partitions }: Arrangement,
): Promise<number> {
  let moved = 0
  for (let number = 0; number < partitions; number++) {
    const partition = number as Partition
    const home = stores[engineOf(partition, engines)]
    if (home === undefined) throw new RangeError(`there is no store for partition ${number}`)
    const source = has(home, partition) ? home : stores.find((store) => has(store, partition))
    if (source !== undefined && source !== home) {
      await remove(home, partition)
      await copy(source, home, partition)
      moved += 1
    }
    for (const store of stores) if (store !== home || source === undefined) await remove(store, partition)
  }
  return moved
}

function has(store: OrderedStore, partition: Partition): boolean {
  return store.get('meta', positionKey(partition)) !== undefined
}

async function copy(from: OrderedStore, to: OrderedStore, partition: Partition): Promise<void> {
  const position = positionKey(partition)
  let writes: Write[] = []
  for (const { table, key, value } of rowsOf(from, partition)) {
    if (table === 'meta' && key === position) continue
    writes.push({ table, key, value })
    if (writes.length < ROWS_AT_ONCE) continue
    await to.commit(writes)
    writes = []
  }
  await to.commit(writes)
  await to.flushed()
  const value = from.get('meta', position)
  if (value === undefined) throw new RangeError(`partition ${partition} has lost its position`)
  await to.commit([{ table: 'meta', key: position, value }])
  await to.flushed()
}

async function remove(store: OrderedStore, partition: Partition): Promise<void> {
  if (has(store, partition)) {
    await store.commit([{ table: 'meta', key: positionKey(partition), value: undefined }])
    await store.flushed()
  }
  for (;;) {
    const writes: Write[] = []
    for (const { table, key } of rowsOf(store, partition)) {
      writes.push({ table, key, value: undefined })
      if (writes.length === ROWS_AT_ONCE) break
    }
    if (writes.length === 0) return
    await store.commit(writes)
  }
}

/** Rows begin with the partition; in `meta` the kind of the row stands before it. `0` follows `/` in ASCII. */
function* rowsOf(store: OrderedStore, partition: Partition): Generator<Row & { readonly table: Table }> {
  const [, part = ''] = positionKey(partition).split('/')
  for (const table of TABLES) {
    const prefixes = table === 'meta' ? kindsOf(store).map((kind) => `${kind}/${part}`) : [part]
    for (const prefix of prefixes)
      for (const row of store.range(table, { from: prefix, to: `${prefix}0` })) yield { table, ...row }
  }
}

/** The kinds of rows in `meta` that have something behind them. */
function kindsOf(store: OrderedStore): readonly string[] {
  const kinds: string[] = []
  for (let from = ''; ;) {
    const [row] = store.range('meta', { from, to: ABOVE, limit: 1 })
    if (row === undefined) return kinds
    const slash = row.key.indexOf('/')
    if (slash > 0) kinds.push(row.key.slice(0, slash))
    from = slash > 0 ? `${row.key.slice(0, slash)}0` : `${row.key}\0`
  }
}
