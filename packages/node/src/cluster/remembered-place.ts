/** `placePartitions`, with the last few results remembered: members change seldom, and every look at the cluster asks. */
import { placePartitions, type Placement } from '../placement/index.ts'
import type { Place } from './decide.ts'

/** Two rings are asked for at a time: of who lives, and of who was there a moment ago. */
const REMEMBERED_MAX = 8

export function rememberedPlace(): Place {
  const results = new Map<string, readonly Placement[]>()
  return (options) => {
    const members = options.members.map(({ name, weight }) => `${weight} ${name}`).toSorted()
    const key = JSON.stringify([options.partitions, options.standbys, members])
    const known = results.get(key)
    if (known !== undefined) return known
    const placed = placePartitions(options)
    const [oldest] = results.keys()
    if (results.size >= REMEMBERED_MAX && oldest !== undefined) results.delete(oldest)
    results.set(key, placed)
    return placed
  }
}
