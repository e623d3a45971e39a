/** Waits for partitions to move: after `drain` and `rebalance`, with progress for people. */
import { CarillonError } from '@carillon/runtime'
import { quote } from '@carillon/runtime/protocol'

import { type ClusterSnapshot, snapshotOf } from './cluster-snapshot.ts'
import { formatRanges } from './cluster-view.ts'
import type { ClusterWatch } from './cluster-watch.ts'

const LOOK_EVERY_MS = 200

export interface MoveOptions {
  readonly watch: ClusterWatch
  readonly timeoutMs: number
  /** Told whenever it changes. */
  readonly progress: (text: string) => void
}

/** What is still to be done; empty when nothing is. */
export interface Rest {
  readonly partitions: readonly number[]
  readonly text: string
}

/**
 * Looks until nothing is left.
 *
 * @throws TIMEOUT when something is left in the end.
 */
export async function untilMoved(
  what: string,
  rest: (snapshot: ClusterSnapshot) => Rest,
  { watch, timeoutMs, progress }: MoveOptions,
): Promise<ClusterSnapshot> {
  const endMs = performance.now() + timeoutMs
  let told = ''
  for (;;) {
    const snapshot = snapshotOf(await watch.facts())
    const { partitions, text } = rest(snapshot)
    if (text !== told) progress(text)
    told = text
    if (partitions.length === 0) return snapshot
    if (performance.now() >= endMs)
      throw new CarillonError(
        'TIMEOUT',
        `${what} is not done after ${timeoutMs} ms: ${text}; it goes on: carillon cluster shows how far it is`,
      )
    await new Promise<void>((resolve) => void setTimeout(resolve, LOOK_EVERY_MS))
  }
}

/** What a node that drains still owns, or has given to nobody who serves it yet. */
export function leftOf(node: string, { partitions, nodes }: ClusterSnapshot): Rest {
  const view = nodes.find((one) => one.node === node)
  const left = partitions
    .filter(({ owner, state }) => owner === node || state !== 'served')
    .map(({ partition }) => partition)
  // Its own word as well: the record is ahead of a node that is just handing over.
  const promised = view === undefined || view.state === 'left' ? 0 : view.owns + view.promoting
  const count = Math.max(left.length, promised)
  if (count === 0) return { partitions: [], text: `${quote(node)} owns nothing any more` }
  const whose = left.length > 0 ? `: ${formatRanges(left)}` : ''
  return { partitions: left.length > 0 ? left : [-1], text: `${count} partitions to hand over${whose}` }
}

/** Partitions that are not where they belong, or do not serve yet. */
export function misplacedOf({ partitions }: ClusterSnapshot): Rest {
  const left = partitions
    .filter(({ owner, ideal, state }) => state !== 'served' || owner !== ideal)
    .map(({ partition }) => partition)
  if (left.length === 0) return { partitions: [], text: 'every partition is where it belongs' }
  return { partitions: left, text: `${left.length} partitions to move: ${formatRanges(left)}` }
}
