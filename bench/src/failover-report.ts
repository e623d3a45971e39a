/** The figures of a failover bench: a table, and whether they are as good as they must be. */
import { type LeaderRound, NODE_FAULTS, type NodeFault, type NodeRound } from './failover-rounds.ts'
import { median, quantile } from './quantiles.ts'

export interface FailoverFigures {
  readonly version: string
  readonly partitions: number
  readonly rounds: readonly NodeRound[]
  readonly leaderRounds: readonly LeaderRound[]
  /** Signals that failed: there must be none. */
  readonly failures: readonly string[]
}

interface Target {
  readonly of: 'toApplied' | 'longestWait'
  readonly q: number
  readonly belowMs: number
}

/** Of a drained node, the signal that is applied next may be one that it applies itself: so what counts is how long any of them had to wait. */
const TARGETS: Readonly<Record<NodeFault, readonly Target[]>> = {
  killed: [
    { of: 'toApplied', q: 0.5, belowMs: 500 },
    { of: 'toApplied', q: 0.99, belowMs: 2000 },
  ],
  frozen: [{ of: 'toApplied', q: 0.99, belowMs: 4000 }],
  drained: [{ of: 'longestWait', q: 0.99, belowMs: 500 }],
}
const SAID = { toApplied: 'from the fault to applied', longestWait: 'from sent to applied' } as const
const ACCEPTED_AGAIN_BELOW_MS = 10_000
/** Of the gap without a fault. Both vary with what else the machine does. */
const GAP_RATIO_MAX = 2
/** Gaps below this are normal latency, whatever their ratio. */
const GAP_NORMAL_MS = 100

/** What is not as it must be. */
export function judge({ rounds, leaderRounds, failures }: FailoverFigures): readonly string[] {
  const problems = failures.length === 0 ? [] : [`${failures.length} signals failed, the first with: ${failures[0]}`]
  for (const kind of NODE_FAULTS) {
    const own = rounds.filter((round) => round.kind === kind)
    if (own.length === 0) continue
    for (const { of, q, belowMs } of TARGETS[kind]) {
      const ms = quantile(
        own.flatMap((round) => round[of]),
        q,
      )
      if (!(ms < belowMs))
        problems.push(`${kind}, ${SAID[of]}: p${q * 100} is ${format(ms)}, and must be below ${format(belowMs)}`)
    }
    problems.push(...judgeGaps(kind, own))
  }
  for (const { server, toAccepted, ownersChanged } of leaderRounds) {
    if (!(toAccepted < ACCEPTED_AGAIN_BELOW_MS))
      problems.push(`${server} killed: accepted again after ${format(toAccepted)}`)
    if (ownersChanged > 0) problems.push(`${server} killed: ${ownersChanged} partitions changed their owner`)
  }
  return problems
}

function judgeGaps(kind: NodeFault, rounds: readonly NodeRound[]): readonly string[] {
  return [0.5, 0.99].flatMap((q) => {
    const before = quantile(
      rounds.map(({ gapBefore }) => gapBefore),
      q,
    )
    const after = quantile(
      rounds.map(({ gapAfter }) => gapAfter),
      q,
    )
    const isNormal = after < GAP_NORMAL_MS || after < before * GAP_RATIO_MAX
    return isNormal
      ? []
      : [
          `${kind}: the longest gap between acknowledgements, p${q * 100}, is ${format(after)}; without a fault ${format(before)}`,
        ]
  })
}

export function printFailover({ version, partitions, rounds, leaderRounds }: FailoverFigures): void {
  console.log(
    `\nnats-server ${version}, three servers, R3; three nodes, ${partitions} partitions; all on this machine\n`,
  )
  const kinds = NODE_FAULTS.map((kind) => ({ kind, own: rounds.filter((round) => round.kind === kind) }))
  const measured = kinds.filter(({ own }) => own.length > 0)
  const cells = NODE_ROWS.map(([what, cell]) => [what].concat(measured.map(({ own }) => cell(own))))
  if (measured.length > 0) printRows(cells, ['a node is', ...measured.map(({ kind }) => kind)])
  if (leaderRounds.length > 0) printRows([leaderRow(leaderRounds)], LEADER_HEAD)
}

type Rounds = readonly NodeRound[]

const NODE_ROWS: readonly (readonly [string, (rounds: Rounds) => string])[] = [
  ['rounds; instances that were affected', (rounds) => `${rounds.length}; ${all(rounds, 'toApplied').length}`],
  ['from the fault to the next applied signal: p50, p99, longest', (rounds) => three(all(rounds, 'toApplied'))],
  ['of that, until another node owned the partition: p50, p99, longest', (rounds) => three(all(rounds, 'toOwner'))],
  ['longest that a signal waited to be applied: p50, p99, longest', (rounds) => three(all(rounds, 'longestWait'))],
  ['without a fault: p50, p99, longest', (rounds) => three(all(rounds, 'appliedBefore'))],
  ['longest gap between acknowledgements: p50, longest', (rounds) => two(rounds.map(({ gapAfter }) => gapAfter))],
  ['without a fault: p50, longest', (rounds) => two(rounds.map(({ gapBefore }) => gapBefore))],
  ['ratio of the two p50', (rounds) => gapRatio(rounds).toFixed(2)],
  ['from sent to acknowledged: p50, p99, longest', (rounds) => three(all(rounds, 'acceptAfter'))],
  ['without a fault: p50, p99, longest', (rounds) => three(all(rounds, 'acceptBefore'))],
]

type Samples = 'toApplied' | 'toOwner' | 'longestWait' | 'appliedBefore' | 'acceptAfter' | 'acceptBefore'

function all(rounds: Rounds, name: Samples): readonly number[] {
  return rounds.flatMap((round) => round[name])
}

function gapRatio(rounds: Rounds): number {
  return median(rounds.map(({ gapAfter }) => gapAfter)) / median(rounds.map(({ gapBefore }) => gapBefore))
}

function three(values: readonly number[]): string {
  return [0.5, 0.99, 1].map((q) => format(quantile(values, q))).join(', ')
}

function two(values: readonly number[]): string {
  return [0.5, 1].map((q) => format(quantile(values, q))).join(', ')
}

const LEADER_HEAD = ['NATS leader killed', 'accepted again: p50', 'max', 'applied again: p50', 'max', 'owners changed']

function leaderRow(rounds: readonly LeaderRound[]): readonly string[] {
  const accepted = rounds.map(({ toAccepted }) => toAccepted)
  const applied = rounds.flatMap(({ toApplied }) => toApplied)
  return [
    `${rounds.length} rounds`,
    format(quantile(accepted, 0.5)),
    format(quantile(accepted, 1)),
    format(quantile(applied, 0.5)),
    format(quantile(applied, 1)),
    String(rounds.reduce((sum, { ownersChanged }) => sum + ownersChanged, 0)),
  ]
}

/** As Markdown, so that it can go where it is quoted. */
function printRows(rows: readonly (readonly string[])[], head: readonly string[]): void {
  const rule = head.map((_, i) => (i === 0 ? '---' : '---:'))
  for (const row of [head, rule, ...rows]) console.log(`| ${row.join(' | ')} |`)
  console.log('')
}

export function format(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${ms.toFixed(0)} ms`
}
