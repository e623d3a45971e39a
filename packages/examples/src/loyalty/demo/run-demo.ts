/** The demo itself, once everything runs: replay, crash, compare. */
import { relative } from 'node:path'

import type { Carillon } from '@carillon/client'

import { computeExpected } from '../expected.ts'
import { readFeed } from '../feed.ts'
import { replay, type ReplayResult } from '../producer.ts'
import { compareWithFeed, sayWhetherEqual } from './compare-with-feed.ts'
import type { CrashingNode } from './crashing-node.ts'
import { bar, type Progress } from './progress.ts'

/** The node is killed when so much of the feed has been taken. */
const KILL_AT = 0.45
const SAMPLE_EVERY = 10

export interface DemoOptions {
  readonly carillon: Carillon
  readonly node: CrashingNode
  readonly progress: Progress
  readonly feedPath: string
  readonly feedText: string
  readonly partnerPath: string
  readonly linesPerSecond: number
  readonly signal: AbortSignal
}

/** Gives whether all was as it must be. */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  const { carillon, node, progress, feedPath, partnerPath } = options
  const expected = computeExpected(options.feedText)
  const { lines, repeats, customers } = expected
  progress.say(
    `feed         ${relative(process.cwd(), feedPath)}: ${lines} lines, ${repeats} of them repeats, ${customers.size} customers\n`,
  )
  const signal = AbortSignal.any([options.signal, node.failure])
  // What waits for an answer ends with the connection.
  signal.addEventListener('abort', () => void carillon.close().catch(() => undefined), { once: true })
  try {
    const replayed = await replayWithCrash(options, lines, signal)
    const { killToAppliedMs } = node
    if (killToAppliedMs === undefined) {
      throw new Error('the feed ended before the node was killed and back: take a longer one, or fewer lines a second')
    }
    const comparison = await compareWithFeed(carillon, { expected, replayed, partnerPath, progress, signal })
    progress.say(`from the kill to the next applied signal: ${killToAppliedMs.toFixed(0)} ms`)
    progress.say(
      '  (from SIGKILL until the producer knows that a signal, sent after that process had ended, has been applied)',
    )
    return sayWhetherEqual(comparison, progress)
  } catch (error) {
    node.failure.throwIfAborted()
    throw error
  }
}

async function replayWithCrash(options: DemoOptions, lines: number, signal: AbortSignal): Promise<ReplayResult> {
  const { carillon, node, progress, feedPath, linesPerSecond } = options
  let accepted = 0
  let latencyMs = 0
  const crash = async (): Promise<void> => {
    const before = { pid: node.process.pid, accepted }
    progress.say(`line ${accepted}: node ${before.pid} is killed with SIGKILL and started again; the producer goes on`)
    await node.crash()
    if (node.failure.aborted) return
    const { pid, readyMs } = node.process
    progress.say(
      `line ${accepted}: node ${pid} is ready, ${readyMs.toFixed(0)} ms after its start; ${accepted - before.accepted} lines were accepted meanwhile`,
    )
  }
  let crashed: Promise<void> | undefined
  progress.show(() => {
    const applied = `applied in ${latencyMs.toFixed(1)} ms`
    return `${bar(accepted / lines)} ${accepted}/${lines} lines accepted, ${node.condition}${node.condition.includes('down') ? '' : `, ${applied}`}`
  })
  try {
    return await replay(carillon, readFeed(feedPath), {
      linesPerSecond,
      sampleEvery: SAMPLE_EVERY,
      signal,
      onProgress: (now) => {
        accepted = now.accepted
        if (now.lines >= KILL_AT * lines) crashed ??= crash()
      },
      onApplied: ({ sentMs, appliedMs }) => {
        latencyMs = appliedMs - sentMs
        node.applied(sentMs, appliedMs)
      },
    })
  } finally {
    await crashed
    progress.hide()
  }
}
