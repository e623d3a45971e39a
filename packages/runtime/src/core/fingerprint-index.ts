/**
 * Where an id may stand: open addressing over 32-bit fingerprints, in segments of 1024 places that are dropped whole.
 *
 * It takes about 12 bytes an id, holds no references, and a look costs one probe a segment. Its seed is this process's own, so nobody can
 * choose ids that collide; nothing that is saved depends on it.
 */
import { randomInt } from 'node:crypto'

import { fnv1a32 } from '../protocol/index.ts'

const SEGMENT_PLACES = 1024
const SLOTS_AT_FIRST = 16
const NOWHERE: readonly number[] = []
const SEED = randomInt(2 ** 32)

interface Segment {
  readonly firstPlace: number
  /** 0 is an empty slot. */
  fingerprints: Uint32Array
  /** Place within the segment. */
  places: Uint16Array
  used: number
}

/** The fingerprint of an id: never 0. */
export function fingerprintOf(id: string): number {
  return fnv1a32(id, SEED) || 1
}

export class FingerprintIndex {
  /** Rising; places are added behind the last. */
  readonly #segments: Segment[] = []

  /** Adds a place. Places come in rising order. */
  add(fingerprint: number, place: number): void {
    const firstPlace = place - (place % SEGMENT_PLACES)
    let segment = this.#segments.at(-1)
    if (segment?.firstPlace !== firstPlace) {
      segment = {
        firstPlace,
        fingerprints: new Uint32Array(SLOTS_AT_FIRST),
        places: new Uint16Array(SLOTS_AT_FIRST),
        used: 0,
      }
      this.#segments.push(segment)
    }
    if ((segment.used + 1) * 2 > segment.fingerprints.length) grow(segment)
    insert(segment, fingerprint, place - firstPlace)
    segment.used += 1
  }

  /** The places whose id has this fingerprint, the newest segment first. Most finds are right; each must be compared. */
  find(fingerprint: number): readonly number[] {
    let found: number[] | undefined
    for (let i = this.#segments.length - 1; i >= 0; i--) {
      const { fingerprints, places, firstPlace } = this.#segments[i] as Segment
      const mask = fingerprints.length - 1
      for (let slot = fingerprint & mask; fingerprints[slot] !== 0; slot = (slot + 1) & mask) {
        if (fingerprints[slot] === fingerprint) (found ??= []).push(firstPlace + (places[slot] as number))
      }
    }
    return found ?? NOWHERE
  }

  /** Lets go of segments that hold only places before this one. */
  dropBefore(place: number): void {
    while (this.#segments[0] !== undefined && this.#segments[0].firstPlace + SEGMENT_PLACES <= place)
      this.#segments.shift()
  }
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
  for (const [slot, fingerprint] of fingerprints.entries())
    if (fingerprint !== 0) insert(segment, fingerprint, places[slot] as number)
}
