/** What every `OrderedStore` does, as tests. Imports vitest, so it is not part of the package's `testing` entry: import it by its path. */
import {
  asyncProperty,
  array,
  assert,
  constantFrom,
  integer,
  oneof,
  option,
  record,
  string,
  tuple,
  uint8Array,
} from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { type OrderedStore, type Row, STORE_KEY_BYTES_MAX, type Table, TABLES, type Write } from '../ports/index.ts'

/** One store under test, in a place of its own. */
export interface StoreUnderTest {
  readonly store: OrderedStore
  /** Closes the store and opens its place again. */
  reopen(): Promise<OrderedStore>
  /** Closes what is open and removes the place. */
  dispose(): Promise<void>
}

/** Runs the contract of the port against the stores that `open` makes. */
export function orderedStoreConformance(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`${name} as an ordered store`, () => {
    let place: StoreUnderTest
    let store: OrderedStore

    beforeEach(async () => {
      place = await open()
      store = place.store
    })

    afterEach(() => place.dispose())

    describe('get and commit', () => {
      it('gives undefined for a key that was never written', () => {
        expect(store.get('record', 'absent')).toBeUndefined()
      })

      it.each([0, 1, 300, 5000, 1_000_000])('gives back a value of %d bytes as a plain Uint8Array', async (length) => {
        const value = bytesOf(length)
        await store.commit([{ table: 'record', key: 'k', value }])
        const read = store.get('record', 'k')
        expect(read?.constructor).toBe(Uint8Array)
        expect(same(read, value)).toBe(true)
      })

      it('keeps tables apart', async () => {
        await store.commit(TABLES.map((table) => ({ table, key: 'k', value: text(table) })))
        for (const table of TABLES) expect(store.get(table, 'k')).toEqual(text(table))
      })

      it('removes rows, also ones that are absent', async () => {
        await store.commit([put('a', '1'), put('b', '2')])
        await store.commit([remove('a'), remove('absent')])
        expect(keysOf(store)).toEqual(['b'])
      })

      it('applies the writes of a batch in order: the last one to a key counts', async () => {
        await store.commit([put('a', '1'), put('a', '2'), put('b', '1'), remove('b'), remove('c'), put('c', '3')])
        expect(rowsOf(store)).toEqual([
          ['a', '2'],
          ['c', '3'],
        ])
      })

      it('makes batches visible in the order of the calls', async () => {
        const commits = Array.from({ length: 50 }, (_, i) => store.commit([put('a', String(i)), put(`k${i}`, 'x')]))
        let settled = 0
        const order: number[] = []
        await Promise.all(
          commits.map(async (commit, i) => {
            await commit
            order.push(i)
            settled += 1
            expect(Number(asText(store.get('record', 'a')))).toBeGreaterThanOrEqual(i)
          }),
        )
        expect(settled).toBe(50)
        expect(order).toEqual(order.toSorted((a, b) => a - b))
        expect(asText(store.get('record', 'a'))).toBe('49')
      })

      it('takes an empty batch', async () => {
        await store.commit([])
        expect(keysOf(store)).toEqual([])
      })

      it('takes a batch of ten thousand rows', async () => {
        await store.commit(Array.from({ length: 10_000 }, (_, i) => put(`k${String(i).padStart(5, '0')}`, String(i))))
        expect(keysOf(store)).toHaveLength(10_000)
        expect(asText(store.get('record', 'k09999'))).toBe('9999')
      })

      it('keeps no buffer that it was given and gives none out twice', async () => {
        const value = Buffer.from('before')
        const done = store.commit([{ table: 'record', key: 'k', value }])
        value.fill('x')
        await done
        store.get('record', 'k')?.fill(0)
        for (const row of store.range('record', { from: '', to: '~' })) row.value.fill(0)
        expect(asText(store.get('record', 'k'))).toBe('before')
      })

      it.each([
        ['an empty key', ''],
        ['a space', 'a b'],
        ['a control character', 'a\nb'],
        ['a letter outside ASCII', 'å'],
        ['a key over the limit', 'k'.repeat(STORE_KEY_BYTES_MAX + 1)],
      ])('refuses a batch with %s, all of it', async (_, key) => {
        await expect(store.commit([put('a', '1'), put(key, '2'), put('b', '3')])).rejects.toThrow(TypeError)
        expect(keysOf(store)).toEqual([])
        expect(() => store.get('record', key)).toThrow(TypeError)
      })
    })

    describe('range', () => {
      it('orders keys by their bytes, prefixes first, for every character that a key can have', async () => {
        const characters = Array.from({ length: 0x7e - 0x20 }, (_, i) => String.fromCharCode(0x21 + i))
        const keys = ['m', ...characters.flatMap((c) => [`m${c}`, `m${c}!`, `m${c}${c}~`])]
        await store.commit(keys.toReversed().map((key) => put(key, key)))
        expect(keysOf(store)).toEqual(byBytes(keys))
      })

      it('orders keys of the greatest length that differ at their end', async () => {
        const long = 'k'.repeat(STORE_KEY_BYTES_MAX - 1)
        const keys = ['-', '=', 'A', 'Z', '_', 'a', '9', '.'].map((end) => long + end)
        await store.commit([...keys, long, `${long.slice(1)}l`].map((key) => put(key, key.slice(-1))))
        expect(keysOf(store)).toEqual(byBytes([...keys, long, `${long.slice(1)}l`]))
        for (const key of keys) expect(asText(store.get('record', key))).toBe(key.slice(-1))
      })

      it('includes the start and excludes the end', async () => {
        await store.commit(['a', 'b', 'b.1', 'c', 'd'].map((key) => put(key, key)))
        expect(keysOf(store, 'b', 'd')).toEqual(['b', 'b.1', 'c'])
        expect(keysOf(store, 'aa', 'bz')).toEqual(['b', 'b.1'])
        expect(keysOf(store, '', 'b')).toEqual(['a'])
        expect(keysOf(store, 'b\0', '~')).toEqual(['b.1', 'c', 'd'])
        expect(keysOf(store, 'b', 'b')).toEqual([])
        expect(keysOf(store, 'd', 'b')).toEqual([])
        expect(keysOf(store, 'e', '~')).toEqual([])
      })

      it.each([0, 1, 31, 32, 33, 159, 160, 161, 700, 2000, 5000])(
        'gives at most %d rows when told so',
        async (limit) => {
          const keys = Array.from({ length: 2000 }, (_, i) => `k${String(i).padStart(4, '0')}`)
          await store.commit(keys.map((key) => put(key, key)))
          expect(keysOf(store, 'k', 'l', limit)).toEqual(keys.slice(0, limit))
        },
      )

      it('may be left early, and be read twice at once', async () => {
        await store.commit(Array.from({ length: 300 }, (_, i) => put(`k${100 + i}`, 'x')))
        for (const row of store.range('record', { from: '', to: '~' })) if (row.key === 'k150') break
        const pairs: string[] = []
        for (const outer of store.range('record', { from: '', to: '~', limit: 2 })) {
          for (const inner of store.range('record', { from: 'k102', to: '~', limit: 2 }))
            pairs.push(outer.key + inner.key)
        }
        expect(pairs).toEqual(['k100k102', 'k100k103', 'k101k102', 'k101k103'])
      })

      it('goes on behind the last row it gave when rows come and go meanwhile', async () => {
        const keys = Array.from({ length: 1000 }, (_, i) => `k${1000 + i}`)
        await store.commit(keys.map((key) => put(key, key)))
        const seen: string[] = []
        for (const row of store.range('record', { from: '', to: '~' })) {
          seen.push(row.key)
          if (row.key === 'k1900')
            await store.commit([remove('k1900'), remove('k1950'), put('k1000a', 'x'), put('k2500', 'x')])
        }
        expect(seen).toEqual(seen.toSorted())
        expect(new Set(seen).size).toBe(seen.length)
        expect(seen.filter((key) => key !== 'k1950' && key !== 'k2500')).toEqual(keys.filter((key) => key !== 'k1950'))
      })
    })

    describe('view', () => {
      it('shows every batch that has resolved, and none that is committed later, however much that is', async () => {
        await store.commit(Array.from({ length: 2000 }, (_, i) => put(`k${String(i).padStart(4, '0')}`, 'old')))
        await store.commit([put('a', 'old'), remove('k0007')])
        const view = store.view()
        const seen: string[] = []
        for (const { key, value } of view.range('record', { from: 'k', to: 'l' })) {
          if (seen.length % 400 === 0)
            await store.commit([
              put('a', `new ${key}`),
              put(`k${key}`, 'new'),
              remove(`k${String(1999 - seen.length).padStart(4, '0')}`),
              ...Array.from({ length: 300 }, (_, i) => put(`k${String(i * 5).padStart(4, '0')}`, 'new')),
            ])
          seen.push(`${key} ${asText(value)}`)
        }
        expect(seen).toHaveLength(1999)
        expect(seen.every((row) => row.endsWith(' old'))).toBe(true)
        expect(asText(view.get('record', 'a'))).toBe('old')
        expect(asText(store.get('record', 'a'))).toContain('new')
        const later = store.view()
        expect(asText(later.get('record', 'a'))).toContain('new')
        view.close()
        view.close()
        later.close()
        await store.commit([put('a', 'last')])
        expect(asText(store.get('record', 'a'))).toBe('last')
      })

      it('ends with the store', async () => {
        await store.commit([put('a', '1')])
        const view = store.view()
        const second = store.view()
        view.close()
        expect(asText(second.get('record', 'a'))).toBe('1')
        await store.close()
        expect(asText((await place.reopen()).get('record', 'a'))).toBe('1')
      })
    })

    describe('closing', () => {
      it('finds everything again after reopening', async () => {
        await store.commit([put('a', '1'), { table: 'timer', key: 't', value: text('2') }])
        await store.commit([put('a', '3')])
        const again = await place.reopen()
        expect(asText(again.get('record', 'a'))).toBe('3')
        expect(asText(again.get('timer', 't'))).toBe('2')
      })

      it('waits for the commits under way', async () => {
        const commits = Array.from({ length: 20 }, (_, i) => store.commit([put(`k${10 + i}`, 'x')]))
        await Promise.all([store.close(), ...commits])
        expect(keysOf(await place.reopen())).toHaveLength(20)
      })

      it('flushes, also with nothing to flush', async () => {
        await store.flushed()
        const commit = store.commit([put('a', '1')])
        await store.flushed()
        expect(asText(store.get('record', 'a'))).toBe('1')
        await commit
      })

      it('refuses every call after close, which may be called again', async () => {
        await store.commit([put('a', '1')])
        await Promise.all([store.close(), store.close()])
        await store.close()
        const closing: unknown = expect.objectContaining({ code: 'CLOSING' })
        expect(() => store.get('record', 'a')).toThrow(closing)
        expect(() => keysOf(store)).toThrow(closing)
        await expect(store.commit([put('b', '1')])).rejects.toThrow(closing)
        await expect(store.commit([])).rejects.toThrow(closing)
        await expect(store.flushed()).rejects.toThrow(closing)
      })
    })

    it('equals a sorted map after any batches', async () => {
      const writes = array(array(anyWrite, { maxLength: 30 }), { maxLength: 8 })
      const ranges = array(tuple(anyKey, anyKey, option(integer({ min: 1, max: 40 }), { nil: undefined })), {
        maxLength: 5,
      })
      await assert(
        asyncProperty(writes, ranges, async (batches, asked) => {
          const model = await emptied(store)
          await Promise.all(batches.map((batch) => store.commit(batch)))
          for (const { table, key, value } of batches.flat()) {
            if (value === undefined) model.get(table)?.delete(key)
            else model.get(table)?.set(key, value)
          }
          for (const [table, rows] of model) {
            const all = byBytes([...rows.keys()])
            expect([...store.range(table, { from: '', to: '~' })].map(plain)).toEqual(
              all.map((key) => [key, hex(rows.get(key))]),
            )
            for (const key of all) expect(hex(store.get(table, key))).toBe(hex(rows.get(key)))
            for (const [from, to, limit] of asked) {
              const expected = all.filter((key) => from <= key && key < to).slice(0, limit)
              expect(
                [...store.range(table, limit === undefined ? { from, to } : { from, to, limit })].map((row) => row.key),
              ).toEqual(expected)
            }
          }
        }),
        { numRuns: 60 },
      )
    })
  })
}

const anyKey = oneof(
  string({ unit: constantFrom('a', 'b', '0', '.', '=', '-', '_', 'Z', '}'), minLength: 1, maxLength: 4 }),
  string({ unit: constantFrom('a', 'B', '.'), minLength: 1, maxLength: 2 }).map((end) => 'x'.repeat(1300) + end),
)

const anyWrite = record({
  table: constantFrom<Table>('record', 'timer'),
  key: anyKey,
  value: option(uint8Array({ maxLength: 40 }), { nil: undefined, freq: 3 }),
})

async function emptied(store: OrderedStore): Promise<Map<Table, Map<string, Uint8Array>>> {
  const tables: Table[] = ['record', 'timer']
  const rows = tables.flatMap((table) =>
    [...store.range(table, { from: '', to: '~' })].map(({ key }) => ({ table, key })),
  )
  await store.commit(rows.map(({ table, key }) => ({ table, key, value: undefined })))
  return new Map(tables.map((table) => [table, new Map()]))
}

function put(key: string, value: string): Write {
  return { table: 'record', key, value: text(value) }
}

function remove(key: string): Write {
  return { table: 'record', key, value: undefined }
}

function keysOf(store: OrderedStore, from = '', to = '~', limit?: number): string[] {
  return [...store.range('record', limit === undefined ? { from, to } : { from, to, limit })].map(({ key }) => key)
}

function rowsOf(store: OrderedStore): [string, string | undefined][] {
  return [...store.range('record', { from: '', to: '~' })].map(({ key, value }) => [key, asText(value)])
}

function byBytes(keys: readonly string[]): string[] {
  return keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}

function bytesOf(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 255)
}

function same(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && Buffer.compare(a, b) === 0
}

function plain({ key, value }: Row): [string, string | undefined] {
  return [key, hex(value)]
}

function hex(bytes: Uint8Array | undefined): string | undefined {
  return bytes && Buffer.from(bytes).toString('hex')
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value)
}

function asText(bytes: Uint8Array | undefined): string | undefined {
  return bytes && new TextDecoder().decode(bytes)
}
