import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { positionKey } from '@carillon/runtime/core'
import { type OrderedStore, TABLES } from '@carillon/runtime/ports'
import type { Partition } from '@carillon/runtime/protocol'
import { MemoryDisk, MemoryStore } from '@carillon/runtime/testing'

import { arrangeStores } from './arrange-stores.ts'
import { engineOf } from './engine-folders.ts'

const PARTITIONS = 6
const ENGINES_MAX = 4
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const part = (partition: number): string => partition.toString(16).padStart(4, '0')

/** Rows of a partition in every table, some more than are copied at once. */
async function fill(store: OrderedStore, partition: number): Promise<void> {
  const rows = Array.from({ length: 30 }, (_, i) => `${part(partition)}/box.${i}`)
  await store.commit([
    { table: 'meta', key: positionKey(partition as Partition), value: bytes(`at ${partition}`) },
    { table: 'meta', key: `due/${part(partition)}/box.1`, value: bytes('') },
    { table: 'meta', key: `patch/${part(partition)}/box/p`, value: bytes('7') },
    ...TABLES.filter((table) => table !== 'meta').flatMap((table) =>
      rows.map((key) => ({ table, key, value: bytes(`${table} ${key}`) })),
    ),
  ])
}

function rowsOf(store: OrderedStore): Map<string, string> {
  const all = TABLES.flatMap((table) =>
    [...store.range(table, { from: '', to: '\u007f' })].map(({ key, value }): [string, string] => [
      `${table} ${key}`,
      new TextDecoder().decode(value),
    ]),
  )
  return new Map(all)
}

describe('partitions of stores', () => {
  it('are whole, and where their engines look for them, after any number of changes, ended at any commit', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({ engines: fc.integer({ min: 1, max: ENGINES_MAX }), endsAfter: fc.integer({ min: 0, max: 60 }) }),
          {
            minLength: 1,
            maxLength: 5,
          },
        ),
        fc.integer({ min: 1, max: ENGINES_MAX }),
        async (tries, last) => {
          const disks = Array.from({ length: ENGINES_MAX }, () => new MemoryDisk())
          const open = (): MemoryStore[] => disks.map((disk) => new MemoryStore({ disk }))
          const [first] = open()
          if (first === undefined) throw new Error('there is a store')
          for (let partition = 0; partition < PARTITIONS; partition++) await fill(first, partition)
          await first.commit([{ table: 'meta', key: 'journal', value: bytes('one') }])
          const before = rowsOf(first)
          for (const { engines, endsAfter } of tries) {
            let left = endsAfter
            const stores = open().map((store) => endingAfter(store, () => left-- > 0))
            await arrangeStores(stores, { engines, partitions: PARTITIONS }).catch((error: unknown) => {
              if (!(error instanceof Ended)) throw error
            })
          }
          const stores = open()
          await arrangeStores(stores, { engines: last, partitions: PARTITIONS })
          const after = stores.map(rowsOf)
          for (const [engine, rows] of after.entries())
            for (const key of rows.keys()) {
              const number = /[ /]([0-9a-f]{4})(?:\/|$)/.exec(key)?.[1]
              if (number === undefined) continue
              expect(engineOf(Number.parseInt(number, 16) as Partition, last)).toBe(engine)
            }
          expect(new Map(after.flatMap((rows) => Array.from(rows)))).toEqual(before)
        },
      ),
      { numRuns: 30 },
    )
  })
})

class Ended extends Error {}

/** A store of a process that ends in front of one of its commits. */
function endingAfter(store: MemoryStore, goesOn: () => boolean): OrderedStore {
  return {
    get: (table, key) => store.get(table, key),
    range: (table, range) => store.range(table, range),
    async commit(writes) {
      if (!goesOn()) throw new Ended()
      await store.commit(writes)
    },
    view: () => store.view(),
    flushed: () => store.flushed(),
    close: () => store.close(),
  }
}
