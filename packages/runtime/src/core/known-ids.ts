/**
 * The input ids that an instance remembers, with the outcome of each: the real dedupe (a repeat is answered with the original outcome).
 *
 * Owns: the window of the last `max` ids, and which of its blocks must be saved.
 * Does not own: the storage.
 *
 * Invariants
 * 1. An id is in the window from the turn that first met it until `max` newer ids have come (rounded up to a block).
 * 2. Saving costs in proportion to what changed: ids are kept in blocks of 64; a full block is written once, and again only if an outcome in it
 *    changes; the block that is being filled travels with the instance's record.
 */
import type { Outcome } from '../protocol/index.ts'

export const BLOCK_IDS = 64

/** What is remembered of one id. `undefined` outcome: the input waits still. */
export interface KnownId {
  readonly id: string
  readonly seq: number
  readonly block: number
  outcome: Outcome | undefined
}

/** A block as it is saved: id, seq and outcome in turn. Plain success is `true`. */
type Flat = (string | number | true | null | Outcome)[]

/** The part that travels with the record. */
export interface KnownHead {
  /** Number of the oldest block that is kept, and of the block being filled. */
  readonly first: number
  readonly next: number
  readonly head: Flat
}

const PLAIN_SUCCESS: Outcome = Object.freeze({ ok: true })

export class KnownIds {
  readonly #byId = new Map<string, KnownId>()
  readonly #blocks = new Map<number, KnownId[]>()
  readonly #dirty = new Set<number>()
  readonly #max: number
  #first = 0
  #next = 0
  /** Blocks that fell out of the window and may still be stored. */
  #dropped: number[] = []

  constructor(max: number) {
    this.#max = max
  }

  static restore(max: number, saved: KnownHead, loadBlock: (block: number) => unknown): KnownIds {
    const known = new KnownIds(max)
    known.#first = saved.first
    known.#next = saved.next
    for (let block = saved.first; block < saved.next; block++) known.#put(block, loadBlock(block) as Flat)
    known.#put(saved.next, saved.head)
    return known
  }

  get size(): number {
    return this.#byId.size
  }

  get(id: string): KnownId | undefined {
    return this.#byId.get(id)
  }

  /** Remembers a new id. It must not be known. */
  add(id: string, seq: number): KnownId {
    const entry: KnownId = { id, seq, block: this.#next, outcome: undefined }
    let block = this.#blocks.get(this.#next)
    if (block === undefined) this.#blocks.set(this.#next, (block = []))
    block.push(entry)
    this.#byId.set(id, entry)
    if (block.length === BLOCK_IDS) {
      this.#dirty.add(this.#next++)
      this.#evict()
    }
    return entry
  }

  settle(id: string, outcome: Outcome): void {
    const entry = this.#byId.get(id)
    if (entry === undefined) return
    entry.outcome = outcome.ok && outcome.value === undefined ? PLAIN_SUCCESS : outcome
    if (entry.block < this.#next) this.#dirty.add(entry.block)
  }

  saveHead(): KnownHead {
    return { first: this.#first, next: this.#next, head: flatten(this.#blocks.get(this.#next) ?? []) }
  }

  /** The blocks to write (and to remove) since the last call. */
  takeChanges(): { readonly write: readonly (readonly [block: number, value: Flat])[]; readonly remove: readonly number[] } {
    const write = [...this.#dirty].map((block) => [block, flatten(this.#blocks.get(block) ?? [])] as const)
    const remove = this.#dropped
    this.#dirty.clear()
    this.#dropped = []
    return { write, remove }
  }

  /** All ids in order, for digests. */
  flat(): Flat {
    return [...this.#blocks.keys()].toSorted((a, b) => a - b).flatMap((block) => flatten(this.#blocks.get(block) ?? []))
  }

  #evict(): void {
    while ((this.#next - this.#first - 1) * BLOCK_IDS >= this.#max) {
      for (const entry of this.#blocks.get(this.#first) ?? []) this.#byId.delete(entry.id)
      this.#blocks.delete(this.#first)
      this.#dirty.delete(this.#first)
      this.#dropped.push(this.#first++)
    }
  }

  #put(block: number, flat: Flat): void {
    const entries: KnownId[] = []
    for (let i = 0; i < flat.length; i += 3) {
      const outcome = flat[i + 2]
      const entry: KnownId = {
        id: flat[i] as string,
        seq: flat[i + 1] as number,
        block,
        outcome: outcome === true ? PLAIN_SUCCESS : outcome === null ? undefined : (outcome as Outcome),
      }
      entries.push(entry)
      this.#byId.set(entry.id, entry)
    }
    this.#blocks.set(block, entries)
  }
}

function flatten(block: readonly KnownId[]): Flat {
  const flat: Flat = []
  for (const { id, seq, outcome } of block) flat.push(id, seq, outcome === undefined ? null : outcome === PLAIN_SUCCESS ? true : outcome)
  return flat
}
