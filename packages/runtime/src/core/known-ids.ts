/**
 * The input ids that an instance remembers, with the outcome of each: the real dedupe (a repeat is answered with the original outcome).
 *
 * Owns: the window of the last `max` ids that have ended, the ids that wait for their end, and which blocks must be saved.
 * Does not own: the storage.
 *
 * An id is encoded once, when its input ends, into the block being filled; that block travels with the instance's record. A full block (64 ids)
 * is stored on its own and never changes again. In memory the blocks stay as those bytes, found by fingerprints.
 *
 * Invariants
 * 1. An id is known from the turn that first met it until `max` newer ids have ended (rounded up to a block).
 * 2. Saving costs in proportion to what is new.
 * 3. A fingerprint only says where to look: ids are compared whole.
 */
import type { Outcome } from '../protocol/index.ts'
import { FingerprintIndex, fingerprintOf } from './fingerprint-index.ts'
import { BLOCK_IDS, entryAt, type KnownId, KnownIdWriter, listEntries } from './known-id-block.ts'

/** The part that travels with the record. */
export interface KnownHead {
  /** Number of the oldest block that is kept, and of the block being filled. */
  readonly first: number
  readonly next: number
  /** The block being filled. */
  readonly head: Uint8Array
  /** Ids without an outcome yet, in order, with the sequences of their inputs. */
  readonly waiting: readonly (readonly [id: string, seq: number])[]
}

/** Blocks to write, and to remove. */
export interface BlockChanges {
  readonly write: readonly (readonly [block: number, bytes: Uint8Array])[]
  readonly remove: readonly number[]
}

const OPEN_BYTES = 160
const INDEX_BYTES = 12

export class KnownIds {
  readonly #max: number
  readonly #waiting = new Map<string, number>()
  /** The id added last, if it waits: nearly always it is settled before the next one comes, and never needs the map. */
  #newest: string | undefined
  #newestSeq = 0
  readonly #blocks = new Map<number, Uint8Array>()
  readonly #index = new FingerprintIndex()
  #head = new KnownIdWriter()
  #first = 0
  #next = 0
  #bytes = 0
  /** Full blocks that are not stored, and stored ones that fell out of the window. */
  #unsaved: number[] = []
  #dropped: number[] = []
  /** An id is looked up, then added, then settled: its fingerprint is computed once. */
  #lastId = ''
  #lastFingerprint = 0

  constructor(max: number) {
    this.#max = max
  }

  static restore(max: number, saved: KnownHead, loadBlock: (block: number) => Uint8Array): KnownIds {
    const known = new KnownIds(max)
    known.#first = saved.first
    known.#next = saved.next
    for (let block = saved.first; block < saved.next; block++) known.#restoreBlock(block, loadBlock(block))
    known.#head = KnownIdWriter.from(saved.head)
    known.#indexBlock(saved.next, saved.head)
    for (const [id, seq] of saved.waiting) known.#waiting.set(id, seq)
    return known
  }

  get size(): number {
    return (
      (this.#next - this.#first) * BLOCK_IDS +
      this.#head.count +
      this.#waiting.size +
      (this.#newest === undefined ? 0 : 1)
    )
  }

  /** Estimated bytes in memory. */
  get weight(): number {
    return this.#waiting.size * OPEN_BYTES + this.#bytes + this.#head.length + this.size * INDEX_BYTES
  }

  /** What is remembered of an id. Its outcome is undefined while its input waits. */
  get(id: string): KnownId | undefined {
    const seq = id === this.#newest ? this.#newestSeq : this.#waiting.size === 0 ? undefined : this.#waiting.get(id)
    if (seq !== undefined) return { id, seq, outcome: undefined }
    for (const place of this.#index.find(this.#fingerprint(id))) {
      const block = Math.floor(place / BLOCK_IDS)
      const bytes = block === this.#next ? this.#head.bytes() : this.#blocks.get(block)
      const entry = bytes === undefined ? undefined : entryAt(bytes, place % BLOCK_IDS)
      if (entry?.id === id) return entry
    }
    return undefined
  }

  /** Remembers a new id. It must not be known. */
  add(id: string, seq: number): void {
    this.#keepNewest()
    this.#newest = id
    this.#newestSeq = seq
  }

  /** The input of an id has ended. Later calls for the same id change nothing. */
  settle(id: string, outcome: Outcome): void {
    const seq = this.#takeWaiting(id)
    if (seq === undefined) return
    this.#index.add(this.#fingerprint(id), this.#next * BLOCK_IDS + this.#head.count)
    this.#head.write({ id, seq, outcome })
    if (this.#head.count === BLOCK_IDS) this.#fullBlock()
  }

  saveHead(): KnownHead {
    this.#keepNewest()
    return { first: this.#first, next: this.#next, head: this.#head.bytes(), waiting: [...this.#waiting] }
  }

  /** The blocks to write and to remove since the last call. */
  takeChanges(): BlockChanges {
    const write = this.#unsaved.map((block) => [block, this.#blocks.get(block) as Uint8Array] as const)
    const remove = this.#dropped
    this.#unsaved = []
    this.#dropped = []
    return { write, remove }
  }

  /** Everything, in a canonical form: for digests. */
  canonical(): unknown {
    return [[...this.#blocks.keys()].toSorted((a, b) => a - b).map((block) => this.#blocks.get(block)), this.saveHead()]
  }

  #takeWaiting(id: string): number | undefined {
    if (id === this.#newest) {
      this.#newest = undefined
      return this.#newestSeq
    }
    const seq = this.#waiting.get(id)
    this.#waiting.delete(id)
    return seq
  }

  #keepNewest(): void {
    if (this.#newest !== undefined) this.#waiting.set(this.#newest, this.#newestSeq)
    this.#newest = undefined
  }

  #fullBlock(): void {
    const bytes = new Uint8Array(this.#head.bytes())
    this.#blocks.set(this.#next, bytes)
    this.#bytes += bytes.length
    this.#unsaved.push(this.#next)
    this.#head = new KnownIdWriter()
    this.#next += 1
    while ((this.#next - this.#first - 1) * BLOCK_IDS >= this.#max) this.#evict(this.#first++)
    this.#index.dropBefore(this.#first * BLOCK_IDS)
  }

  #evict(block: number): void {
    this.#bytes -= this.#blocks.get(block)?.length ?? 0
    this.#blocks.delete(block)
    if (this.#unsaved.includes(block)) this.#unsaved = this.#unsaved.filter((other) => other !== block)
    else this.#dropped.push(block)
  }

  #restoreBlock(block: number, bytes: Uint8Array): void {
    this.#blocks.set(block, bytes)
    this.#bytes += bytes.length
    this.#indexBlock(block, bytes)
  }

  #indexBlock(block: number, bytes: Uint8Array): void {
    let place = block * BLOCK_IDS
    for (const { id } of listEntries(bytes)) this.#index.add(fingerprintOf(id), place++)
  }

  #fingerprint(id: string): number {
    if (id !== this.#lastId) {
      this.#lastId = id
      this.#lastFingerprint = fingerprintOf(id)
    }
    return this.#lastFingerprint
  }
}
