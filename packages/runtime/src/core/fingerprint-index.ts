/**
 * Where an id may stand among many blocks: open addressing over 32-bit fingerprints, in segments of 16 blocks that are dropped whole.
 *
 * It takes about 12 bytes an id, holds no references, and a look costs one probe a segment. Its seed is this process's own, so nobody can
 * choose ids that collide; nothing that is saved depends on it.
 */
import { randomInt } from 'node:crypto'

import { fnv1a32 } from '../protocol/index.ts'

const BLOCKS_PER_SEGMENT = 16
const SLOTS_AT_FIRST = 256
const SEED = randomInt(2 ** 32)

interface Segment {
  readonly firstBlock: number
  /** 0 is an empty slot. */
  fingerprints: Uint32Array
  /** Place within the segment. */
  places: Uint16Array
  used: number
}

export class FingerprintIndex {
  readonly #blockIds: number
  /** By their first block, rising; the newest last. */
  #segments: Segment[] = []

  constructor(blockIds: number) {
    this.#blockIds = blockIds
  }

  add(block: number, ids: readonly string[]): void {
    const segment = this.#segmentOf(block)
    for (const [place, id] of ids.entries()) {
      if ((segment.used + 1) * 2 > segment.fingerprints.length) grow(segment)
      insert(segment, fingerprintOf(id), (block - segment.firstBlock) * this.#blockIds + place)
      segment.used += 1
    }
  }

  /** Where an id may stand, the newest first. Most finds are right; each must be compared. */
  *find(id: string): Iterable<readonly [block: number, place: number]> {
    const fingerprint = fingerprintOf(id)
    for (let i = this.#segments.length - 1; i >= 0; i--) {
      const { fingerprints, places, firstBlock } = this.#segments[i] as Segment
      const mask = fingerprints.length - 1
      for (let slot = fingerprint & mask; fingerprints[slot] !== 0; slot = (slot + 1) & mask) {
        if (fingerprints[slot] !== fingerprint) continue
        const place = places[slot] as number
        yield [firstBlock + Math.floor(place / this.#blockIds), place % this.#blockIds]
      }
    }
  }

  /** Lets go of segments that hold only blocks before this one. */
  dropBefore(block: number): void {
    while (this.#segments[0] !== undefined && this.#segments[0].firstBlock + BLOCKS_PER_SEGMENT <= block) this.#segments.shift()
  }

  #segmentOf(block: number): Segment {
    const firstBlock = block - (block % BLOCKS_PER_SEGMENT)
    const found = this.#segments.find((segment) => segment.firstBlock === firstBlock)
    if (found !== undefined) return found
    const segment: Segment = { firstBlock, fingerprints: new Uint32Array(SLOTS_AT_FIRST), places: new Uint16Array(SLOTS_AT_FIRST), used: 0 }
    this.#segments.push(segment)
    this.#segments.sort((a, b) => a.firstBlock - b.firstBlock)
    return segment
  }
}

function fingerprintOf(id: string): number {
  return fnv1a32(id, SEED) || 1
}

function insert({ fingerprints, places }: Segment, fingerprint: number, place: number): void {
  const mask = fingerprints.length - 1
  let slot = fingerprint & mask
  while (fingerprints[slot] !== 0) slot = (slot + 1) & mask
  fingerprints[slot] = fingerprint
  places[slot] = place
}

function grow(segment: Segment): void {
  const { fingerprints, places } = segment
  segment.fingerprints = new Uint32Array(fingerprints.length * 2)
  segment.places = new Uint16Array(fingerprints.length * 2)
  for (const [slot, fingerprint] of fingerprints.entries()) if (fingerprint !== 0) insert(segment, fingerprint, places[slot] as number)
}
