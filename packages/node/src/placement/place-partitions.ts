/**
 * Which node owns which partition, and which nodes stand by for it: a consistent hash over the live members.
 *
 * Owns: the ring and the caps. Does not own: who is alive, nor how a partition gets from one node to another.
 *
 * Invariants
 * 1. The result depends on the set of members and the number of partitions alone: every node computes the same.
 * 2. No node owns more than its fair part plus one, and none carries more copies (owned or stood by for) than its fair part of all plus one per
 *    copy.
 * 3. A partition has as many different nodes as it asks for, or all there are.
 *
 * Source: consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, 2016), with the bound counted in partitions.
 */
import { createHash } from 'node:crypto'
import ConsistentHash from 'consistent-hash'

export interface Member {
  readonly name: string
  /** Its part relative to others'; above 0. */
  readonly weight: number
}

export interface Placement {
  readonly owner: string
  /** The nodes that apply the partition muted; the first takes over first. */
  readonly standbys: readonly string[]
}

export interface PlacementOptions {
  readonly partitions: number
  readonly members: readonly Member[]
  /** Standbys a partition, at most; fewer where there are too few nodes. */
  readonly standbys: number
}

/** The library scales a 24 bit hash by 32: positions beyond 2^29 would never be met. */
const RANGE = 2 ** 29 - 3
/** Points on the ring for a member of weight 1: enough that the caps seldom have to move anything. */
const POINTS = 160

/** Places every partition. `result[p]` is the placement of partition p. @throws RangeError when there is no member. */
export function placePartitions({ partitions, members, standbys }: PlacementOptions): readonly Placement[] {
  if (members.length === 0) throw new RangeError('no live member: there is nobody to place partitions on')
  const ring = ringOf(members)
  const copies = Math.min(1 + standbys, members.length)
  const owned = new Loads(members, partitions, 1)
  const carried = new Loads(members, partitions, copies)
  const names = Array.from({ length: partitions }, (_, partition) => nameOf(partition))
  // All owners first: who owns a partition must not depend on how many standbys are asked for.
  const owners = names.map((name) => owned.take(walk(ring, name, members.length), []))
  for (const owner of owners) carried.add(owner)
  return names.map((name, partition) => {
    const chosen = [owners[partition] as string]
    while (chosen.length < copies) chosen.push(carried.take(walk(ring, name, members.length), chosen))
    const [owner = '', ...rest] = chosen
    return { owner, standbys: rest }
  })
}

/** What every member carries, against what it may. */
class Loads {
  readonly #room = new Map<string, number>()

  constructor(members: readonly Member[], partitions: number, copies: number) {
    const weight = members.reduce((sum, member) => sum + member.weight, 0)
    for (const member of members)
      this.#room.set(member.name, Math.floor((partitions * copies * member.weight) / weight) + copies)
  }

  add(name: string): void {
    this.#room.set(name, (this.#room.get(name) ?? 0) - 1)
  }

  /** The first of the walk that has room and is not taken; where all that are left are full, the one with the most room. */
  take(nodes: Iterable<string>, taken: readonly string[]): string {
    let best: string | undefined
    for (const name of nodes) {
      if (taken.includes(name)) continue
      const room = this.#room.get(name) ?? 0
      if (room > 0) {
        best = name
        break
      }
      if (best === undefined || room > (this.#room.get(best) ?? 0)) best = name
    }
    if (best === undefined) throw new RangeError('there are fewer members than copies')
    this.add(best)
    return best
  }
}

function ringOf(members: readonly Member[]): ConsistentHash {
  const ring = new ConsistentHash({ range: RANGE })
  const lightest = Math.min(...members.map(({ weight }) => weight))
  // The library lets the later of two equal points win, and draws points at random where none are given.
  for (const { name, weight } of [...members].sort((a, b) => (a.name < b.name ? -1 : 1)))
    ring.add(name, 0, pointsOf(name, Math.round((POINTS * weight) / lightest)))
  return ring
}

/** Members behind a name on the ring, nearest first. Most callers need the first few only. */
function* walk(ring: ConsistentHash, name: string, members: number): Iterable<string> {
  let given = 0
  for (let count = Math.min(4, members); given < members; count = Math.min(count * 8, members)) {
    const nodes = ring.get(name, count) ?? []
    yield* nodes.slice(given)
    given = count
  }
}

function pointsOf(name: string, count: number): number[] {
  return Array.from({ length: count }, (_, index) => digest(`${name}/${index}`).readUInt32BE(0) % RANGE)
}

/** The library's own hash of short, similar names clusters; of a digest it does not. */
function nameOf(partition: number): string {
  return digest(`partition/${partition}`).toString('hex').slice(0, 16)
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
