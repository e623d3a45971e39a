/**
 * The failover bench: three nats-servers with R3, three nodes; nodes are killed, frozen and drained, and the server that leads the journal is killed,
 * round after round, while signals go to the instances that are affected.
 *
 *   npm run bench:failover                               30 rounds of each, and 5 of the leader; about 20 minutes
 *   npm run bench:failover -- --rounds 5 --kinds killed  fewer
 *   npm run bench:failover -- --no-check                 measures only; --json prints all samples as JSON, --keep leaves the nodes' logs
 *
 * Exit code 1 when a figure misses its target (failover-report.ts), a signal failed, or the cluster did not come back.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { openBenchCluster } from './bench-cluster.ts'
import { ClusterWatch } from './cluster-watch.ts'
import { Prober } from './failover-prober.ts'
import { type FailoverFigures, format, judge, printFailover } from './failover-report.ts'
import {
  leaderRound,
  type LeaderRound,
  NODE_FAULTS,
  type NodeFault,
  nodeRound,
  type NodeRound,
  type Stage,
} from './failover-rounds.ts'
import { quantile } from './quantiles.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '30' },
    'leader-rounds': { type: 'string', default: '5' },
    kinds: { type: 'string', default: [...NODE_FAULTS, 'leader'].join() },
    partitions: { type: 'string', default: '64' },
    standbys: { type: 'string', default: '1' },
    /** Between two signals that are to be applied; as many only to be accepted. */
    'every-ms': { type: 'string', default: '4' },
    'stretch-ms': { type: 'string', default: '3000' },
    check: { type: 'boolean', default: true },
    json: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
  },
  allowNegative: true,
})

type Kind = NodeFault | 'leader'

process.exitCode = await main()

async function main(): Promise<number> {
  const kinds = values.kinds.split(',') as Kind[]
  const unknown = kinds.find((kind) => kind !== 'leader' && !NODE_FAULTS.includes(kind))
  if (unknown !== undefined) {
    console.error(`--kinds has ${unknown}: give some of ${[...NODE_FAULTS, 'leader'].join(', ')}`)
    return 2
  }
  const dir = await mkdtemp(join(tmpdir(), 'carillon-failover-'))
  try {
    const figures = await measure(dir, kinds)
    const problems = judge(figures)
    if (values.json) console.log(JSON.stringify({ ...figures, problems }, undefined, 2))
    else printFailover(figures)
    for (const problem of problems) console.error(`not as it must be: ${problem}`)
    return problems.length > 0 && values.check ? 1 : 0
  } finally {
    if (values.keep) console.error(`kept: ${dir}`)
    else await rm(dir, { recursive: true, force: true })
  }
}

async function measure(dir: string, kinds: readonly Kind[]): Promise<FailoverFigures> {
  const partitions = Number(values.partitions)
  const standbys = Number(values.standbys)
  const cluster = await openBenchCluster({
    dir,
    servers: 3,
    nodes: 3,
    partitions,
    env: { CARILLON_STANDBYS: values.standbys },
  })
  const watch = new ClusterWatch(cluster.nc, cluster.subjects)
  const carillon = await cluster.openClient()
  const prober = new Prober(carillon, cluster.subjects, Number(values['every-ms']))
  const stage: Stage = { cluster, watch, prober, standbys, stretchMs: Number(values['stretch-ms']) }
  const rounds: NodeRound[] = []
  const leaderRounds: LeaderRound[] = []
  prober.start()
  try {
    for (const [kind, round] of planOf(kinds)) {
      if (kind === 'leader') leaderRounds.push(tell(await leaderRound(stage)))
      else rounds.push(tell(await nodeRound(stage, kind, round)))
      cluster.nodes.failure.throwIfAborted()
    }
    await prober.stop()
  } finally {
    watch.close()
    await carillon.close()
    await cluster.close()
  }
  return { version: cluster.version, partitions, rounds, leaderRounds, failures: prober.failures }
}

/** The kinds take turns, so that all meet the machine as it is. */
function planOf(kinds: readonly Kind[]): readonly (readonly [Kind, number])[] {
  const rounds = Number(values.rounds)
  const faults = kinds.filter((kind) => kind !== 'leader')
  const plan = Array.from({ length: rounds }, (_, i) => faults.map((kind, j) => [kind, i * faults.length + j] as const))
  const leaders = kinds.includes('leader')
    ? Array.from({ length: Number(values['leader-rounds']) }, (_, i) => ['leader', i] as const)
    : []
  return [...plan.flat(), ...leaders]
}

function tell<Round extends NodeRound | LeaderRound>(round: Round): Round {
  const { kind, toApplied } = round
  const applied = `applied after ${format(quantile(toApplied, 0.5))}, the last of ${toApplied.length} after ${format(quantile(toApplied, 1))}`
  const more =
    round.kind === 'leader'
      ? `accepted after ${format(round.toAccepted)}, ${round.ownersChanged} owners changed`
      : `new owner after ${format(quantile(round.toOwner, 0.5))}, longest wait ${format(quantile(round.longestWait, 1))}, longest gap between acks ${format(round.gapAfter)} (before: ${format(round.gapBefore)})`
  console.error(`${kind} ${round.kind === 'leader' ? round.server : round.node}: ${applied}; ${more}`)
  return round
}
