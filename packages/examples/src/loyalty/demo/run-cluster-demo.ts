/** The cluster's demo, once everything runs: replay, faults, compare. */
import { relative } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

import type { Carillon } from '@carillon/client'
import type { NodeGroup } from '@carillon/node'

import { computeExpected } from '../expected.ts'
import { readFeed } from '../feed.ts'
import { replay, type ReplayResult } from '../producer.ts'
import { AckGaps } from './ack-gaps.ts'
import { ClusterFaults, type FaultKind } from './cluster-faults.ts'
import { compareWithFeed, sayWhetherEqual } from './compare-with-feed.ts'
import type { OwnerView } from './owner-view.ts'
import { bar, type Progress } from './progress.ts'
import { table } from './report.ts'

/** Each fault comes when so much of the feed has been taken, and the one before it is over. */
const FAULTS: readonly (readonly [kind: FaultKind, at: number])[] = [
  ['killed', 0.1],
  ['frozen', 0.35],
  ['drained', 0.7],
]
const SAMPLE_EVERY = 3
const LOOK_EVERY_MS = 20

export interface ClusterDemoOptions {
  readonly carillon: Carillon
  readonly nodes: NodeGroup
  readonly owners: OwnerView
  readonly progress: Progress
  readonly feedPath: string
  readonly feedText: string
  readonly partnerPath: string
  readonly linesPerSecond: number
  readonly frozenMs: number
  readonly signal: AbortSignal
}

/** Gives whether all was as it must be. */
export async function runClusterDemo(options: ClusterDemoOptions): Promise<boolean> {
  const { carillon, nodes, progress, feedPath, partnerPath } = options
  const expected = computeExpected(options.feedText)
  const { lines, repeats, customers } = expected
  progress.say(
    `feed         ${relative(process.cwd(), feedPath)}: ${lines} lines, ${repeats} of them repeats, ${customers.size} customers\n`,
  )
  const signal = AbortSignal.any([options.signal, nodes.failure])
  // What waits for an answer ends with the connection.
  signal.addEventListener('abort', () => void carillon.close().catch(() => undefined), { once: true })
  const gaps = new AckGaps('before the first fault')
  const beganMs = performance.now()
  const say = (text: string): void =>
    progress.say(`${((performance.now() - beganMs) / 1000).toFixed(1).padStart(5)} s  ${text}`)
  const faults = new ClusterFaults({ ...options, gaps, say, signal })
  try {
    const replayed = await replayWithFaults({ ...options, signal }, { lines, faults, gaps })
    const comparison = await compareWithFeed(carillon, { expected, replayed, partnerPath, progress, signal })
    progress.say(formatFaults(faults, gaps))
    return sayWhetherEqual(comparison, progress)
  } catch (error) {
    nodes.failure.throwIfAborted()
    throw error
  }
}

interface Replay {
  readonly lines: number
  readonly faults: ClusterFaults
  readonly gaps: AckGaps
}

async function replayWithFaults(options: ClusterDemoOptions, { lines, faults, gaps }: Replay): Promise<ReplayResult> {
  const { carillon, nodes, progress, feedPath, linesPerSecond } = options
  const failed = new AbortController()
  const signal = AbortSignal.any([options.signal, failed.signal])
  const now = { taken: 0, accepted: 0, hasEnded: false }
  const strikeAll = async (): Promise<void> => {
    for (const [kind, at] of FAULTS) {
      while (now.taken < at * lines && !now.hasEnded) await delay(LOOK_EVERY_MS, undefined, { signal })
      if (now.hasEnded)
        throw new Error('the feed ended before the last fault: take a longer one, or fewer lines a second')
      await faults.strike(kind)
    }
  }
  progress.show(() => {
    const conditions = nodes.conditions.map(({ name, condition }) => `${name} ${condition}`)
    return `${bar(now.accepted / lines)} ${now.accepted}/${lines} lines accepted; ${conditions.join(', ')}`
  })
  const striking = strikeAll().catch((error: unknown) => failed.abort(error))
  try {
    const replayed = await replay(carillon, readFeed(feedPath), {
      linesPerSecond,
      sampleEvery: SAMPLE_EVERY,
      progressEvery: 1,
      signal,
      onProgress: (progress) => {
        now.taken = progress.lines
        if (progress.accepted > now.accepted) gaps.acknowledged(performance.now())
        now.accepted = progress.accepted
      },
      onApplied: (sample) => faults.applied(sample),
    })
    now.hasEnded = true
    await striking
    failed.signal.throwIfAborted()
    return replayed
  } catch (error) {
    // Whichever failed first is the reason.
    failed.abort(error)
    await striking
    throw failed.signal.reason
  } finally {
    progress.hide()
  }
}

function formatFaults(faults: ClusterFaults, gaps: AckGaps): string {
  const ms = (value: number): string => `${value.toFixed(0)} ms`
  const rows = faults.results.map(({ kind, name, partitions, toNextAppliedMs, toNewOwnersMs, longestWaitMs }) => {
    return [kind, name, partitions, ms(toNextAppliedMs), ms(toNewOwnersMs), ms(longestWaitMs)]
  })
  const accepted = gaps.list().map(({ part, acknowledged, longestMs }) => [part, acknowledged, ms(longestMs)])
  return [
    ...table(rows, ['fault', 'node', 'partitions', 'next applied', 'new owners', 'longest until applied']),
    '',
    ...table(accepted, ['meanwhile', 'acknowledged', 'longest gap']),
    '',
    '  next applied: from the fault until the producer knows that a signal, sent after it to a customer of that node, has been applied',
    '  longest gap: between two acknowledgements of the servers; no signal failed, or the demo would have ended',
    '',
  ].join('\n')
}
