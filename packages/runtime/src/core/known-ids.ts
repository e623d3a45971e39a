/**
 * The input ids that an instance remembers, with the outcome of each: the real dedupe (a repeat is answered with the original outcome).
 *
 * Owns: the window of the last `max` ids, and which of its blocks must be saved.
 * Does not own: the storage.
 *
 * Ids are kept in blocks of 64. The block being filled travels with the instance's record. A full block whose inputs have all ended is frozen:
 * it stays as the bytes that are stored, found again by fingerprints, so that a remembered id costs about its own length.
 *
 * Invariants
 * 1. An id is in the window from the turn that first met it until `max` newer ids have come (rounded up to a block).
 * 2. Saving costs in proportion to what changed: a block is written when it is full, and again only when an outcome in it changes.
 * 3. A fingerprint only says where to look: ids are compared whole.
 */
import { decodeValue, encodeValue, type Outcome } from '../protocol/index.ts'
import { FingerprintIndex } from './fingerprint-index.ts'

export const BLOCK_IDS = 64

/** What is remembered of one id. `undefined` outcome: the input waits still. */
export interface KnownId {
  readonly id: string
  readonly seq: number
  readonly outcome: Outcome | undefined
}

/** A block as it is saved: id, seq and outcome in turn. Plain success is `true`, no outcome yet is `null`. */
type Flat = (string | number | true | null | Outcome)[]

/** The part that travels with the record. */
export interface KnownHead {
  /** Number of the oldest block that is kept, and of the block being filled. */
  readonly first: number
  readonly next: number
  readonly head: Flat
}

/** Blocks to write, as bytes, and to remove. */
export interface BlockChanges {
  readonly write: readonly (readonly [block: number, bytes: Uint8Array])[]
  readonly remove: readonly number[]
}

interface OpenId {
  readonly id: string
  readonly seq: number
  readonly block: number
  outcome: Outcome | undefined
}

interface OpenBlock {
  readonly entries: OpenId[]
  /** Entries without an outcome. */
  waiting: number
}

const PLAIN_SUCCESS: Outcome = Object.freeze({ ok: true })

export class KnownIds {
  readonly #max: number
  readonly #openById = new Map<string, OpenId>()
  readonly #open = new Map<number, OpenBlock>()
  readonly #frozen = new Map<number, Uint8Array>()
  readonly #index = new FingerprintIndex(BLOCK_IDS)
  readonly #dirty = new Set<number>()
  #first = 0
  #next = 0
  /** Blocks that fell out of the window and may still be stored. */
  #dropped: number[] = []

  constructor(max: number) {
    this.#max = max
  }

  static restore(max: number, saved: KnownHead, loadBlock: (block: number) => Uint8Array): KnownIds {
    const known = new KnownIds(max)
    known.#first = saved.first
    known.#next = saved.next
    for (let block = saved.first; block < saved.next; block++) {
      const bytes = loadBlock(block)
      known.#openBlock(block, decodeValue(bytes) as Flat)
      known.#freezeIfDone(block, bytes)
    }
    if (saved.head.length > 0) known.#openBlock(saved.next, saved.head)
    return known
  }

  get size(): number {
    return (this.#next - this.#first) * BLOCK_IDS + (this.#open.get(this.#next)?.entries.length ?? 0)
  }

  /** Estimated bytes in memory. */
  get weight(): number {
    const open = 160 * this.#openById.size
    return open + 40 * BLOCK_IDS * this.#frozen.size
  }

  get(id: string): KnownId | undefined {
    const open = this.#openById.get(id)
    if (open !== undefined || this.#frozen.size === 0) return open
    for (const [block, place] of this.#index.find(id)) {
      const bytes = this.#frozen.get(block)
      const entry = bytes === undefined ? undefined : parseEntry(decodeValue(bytes) as Flat, place, block)
      if (entry?.id === id) return entry
    }
    return undefined
  }

  /** Remembers a new id. It must not be known. */
  add(id: string, seq: number): void {
    const block = this.#next
    let open = this.#open.get(block)
    if (open === undefined) this.#open.set(block, (open = { entries: [], waiting: 0 }))
    const entry: OpenId = { id, seq, block, outcome: undefined }
    open.entries.push(entry)
    open.waiting += 1
    this.#openById.set(id, entry)
    if (open.entries.length < BLOCK_IDS) return
    this.#dirty.add(block)
    this.#next += 1
    this.#evict()
  }

  settle(id: string, outcome: Outcome): void {
    const entry = this.#openById.get(id)
    if (entry === undefined) return
    const open = this.#open.get(entry.block)
    if (entry.outcome === undefined && open !== undefined) open.waiting -= 1
    entry.outcome = outcome.ok && outcome.value === undefined ? PLAIN_SUCCESS : outcome
    if (entry.block === this.#next) return
    this.#dirty.add(entry.block)
    this.#freezeIfDone(entry.block, undefined)
  }

  saveHead(): KnownHead {
    return { first: this.#first, next: this.#next, head: flatten(this.#open.get(this.#next)?.entries ?? []) }
  }

  /** The blocks to write and to remove since the last call. */
  takeChanges(): BlockChanges {
    const write = [...this.#dirty].map((block) => [block, this.#bytesOf(block)] as const)
    const remove = this.#dropped
    this.#dirty.clear()
    this.#dropped = []
    return { write, remove }
  }

  /** All ids in order, for digests. */
  flat(): Flat {
    const blocks: Flat[] = []
    for (let block = this.#first; block < this.#next; block++) blocks.push(decodeValue(this.#bytesOf(block)) as Flat)
    return [...blocks, this.saveHead().head].flat()
  }

  #bytesOf(block: number): Uint8Array {
    return this.#frozen.get(block) ?? encodeValue(flatten(this.#open.get(block)?.entries ?? []))
  }

  #freezeIfDone(block: number, bytes: Uint8Array | undefined): void {
    const open = this.#open.get(block)
    if (open === undefined || open.waiting > 0) return
    this.#frozen.set(block, bytes ?? encodeValue(flatten(open.entries)))
    this.#open.delete(block)
    for (const { id } of open.entries) this.#openById.delete(id)
    this.#index.add(block, open.entries.map(({ id }) => id))
  }

  #evict(): void {
    while ((this.#next - this.#first - 1) * BLOCK_IDS >= this.#max) {
      const block = this.#first++
      for (const { id } of this.#open.get(block)?.entries ?? []) this.#openById.delete(id)
      this.#open.delete(block)
      this.#frozen.delete(block)
      this.#index.dropBefore(this.#first)
      this.#dirty.delete(block)
      this.#dropped.push(block)
    }
  }

  #openBlock(block: number, flat: Flat): void {
    const entries = Array.from({ length: flat.length / 3 }, (_, place) => parseEntry(flat, place, block))
    this.#open.set(block, { entries, waiting: entries.filter(({ outcome }) => outcome === undefined).length })
    for (const entry of entries) this.#openById.set(entry.id, entry)
  }
}

function parseEntry(flat: Flat, place: number, block: number): OpenId {
  const outcome = flat[place * 3 + 2]
  return {
    id: flat[place * 3] as string,
    seq: flat[place * 3 + 1] as number,
    block,
    outcome: outcome === true ? PLAIN_SUCCESS : outcome === null ? undefined : (outcome as Outcome),
  }
}

function flatten(entries: readonly OpenId[]): Flat {
  const flat: Flat = []
  for (const { id, seq, outcome } of entries) flat.push(id, seq, outcome === undefined ? null : outcome === PLAIN_SUCCESS ? true : outcome)
  return flat
}
