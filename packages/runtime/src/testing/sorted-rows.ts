/** One table of the memory store: a hash map beside its sorted keys. */
import { CarillonError } from '../errors.ts'
import type { Range, Table } from '../ports/index.ts'

/** A place in a table: valid as an index as long as the table's keys have not changed since. */
export interface Cursor {
  readonly key: string
  readonly index: number
  readonly version: number
}

/** Inserting moves the keys behind the new one, which is cheap up to some 100,000 rows. */
export class SortedRows {
  readonly damaged = new Set<string>()
  readonly #values = new Map<string, Uint8Array>()
  readonly #keys: string[] = []
  #version = 0

  copy(): SortedRows {
    const copy = new SortedRows()
    for (const key of this.#keys) copy.write(key, this.#values.get(key))
    for (const key of this.damaged) copy.damaged.add(key)
    return copy
  }

  peek(key: string): Uint8Array | undefined {
    return this.#values.get(key)
  }

  read(table: Table, key: string): Uint8Array | undefined {
    if (this.damaged.has(key))
      throw new CarillonError('SNAPSHOT_DAMAGED', `the row ${key} of table ${table} fails its checksum`)
    return this.#values.get(key)?.slice()
  }

  /** Takes the buffer over: it is never written into again. */
  write(key: string, value: Uint8Array | undefined): void {
    this.damaged.delete(key)
    const known = this.#values.has(key)
    if (value !== undefined) this.#values.set(key, value)
    else this.#values.delete(key)
    if (known === (value !== undefined)) return
    this.#version += 1
    const index = this.#indexOf(key)
    if (known) this.#keys.splice(index, 1)
    else this.#keys.splice(index, 0, key)
  }

  /** The row behind the cursor within the range, also when rows came or went in between. */
  next(after: Cursor | undefined, { from, to }: Range): Cursor | undefined {
    const index = this.#nextIndex(after, from)
    const key = this.#keys[index]
    return key === undefined || key >= to ? undefined : { key, index, version: this.#version }
  }

  #nextIndex(after: Cursor | undefined, from: string): number {
    if (after === undefined) return this.#indexOf(from)
    if (after.version === this.#version) return after.index + 1
    const index = this.#indexOf(after.key)
    return this.#keys[index] === after.key ? index + 1 : index
  }

  /** The index of the first key that is not below `key`. */
  #indexOf(key: string): number {
    const last = this.#keys.at(-1)
    if (last === undefined || last < key) return this.#keys.length
    let low = 0
    let high = this.#keys.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#keys[middle] ?? '') < key) low = middle + 1
      else high = middle
    }
    return low
  }
}
