/**
 * What the placement of partitions does to large clusters: balance, and what moves when nodes join, leave, or are lost. Computed, not measured: no
 * server, no node.
 */
import { type Member, type Placement, placePartitions } from '@carillon/node/placement'

interface Case {
  readonly nodes: number
  readonly partitions: number
}

const CASES: readonly Case[] = [
  { nodes: 3, partitions: 64 },
  { nodes: 8, partitions: 64 },
  { nodes: 16, partitions: 1024 },
  { nodes: 100, partitions: 4096 },
  { nodes: 1000, partitions: 16_384 },
]
const STANDBYS = 1
/** Nodes that are taken out one after the other, each from the whole cluster, for the mean. */
const TRIALS = 10

const rows = CASES.map(simulate)
const header = [
  'nodes',
  'partitions',
  'fair part',
  'fewest to most owned',
  'moves when a node is lost (its own)',
  'of its own to a standby',
  'moves when a node joins (it gets)',
  'time to place',
]
const table = [header, header.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`)
process.stdout.write(`${table.join('\n')}\n`)

function simulate({ nodes, partitions }: Case): readonly string[] {
  const members = Array.from({ length: nodes }, (_, i): Member => ({ name: `node-${i}`, weight: 1 }))
  const place = (live: readonly Member[]): readonly Placement[] =>
    placePartitions({ partitions, members: live, standbys: STANDBYS })
  const beganMs = performance.now()
  const whole = place(members)
  const tookMs = performance.now() - beganMs
  const owned = members.map(({ name }) => whole.filter(({ owner }) => owner === name).length)
  const trials = Array.from({ length: Math.min(TRIALS, nodes) }, (_, i) => Math.floor((i * nodes) / TRIALS) % nodes)
  const losses = trials.map((lost) => {
    const after = place(members.filter((_, i) => i !== lost))
    const own = whole.flatMap(({ owner }, p) => (owner === `node-${lost}` ? [p] : []))
    const toStandby = own.filter((p) => whole[p]?.standbys.includes(after[p]?.owner ?? '') ?? false)
    return { moves: moves(whole, after), own: own.length, toStandby: toStandby.length }
  })
  const joins = trials.map((trial) => {
    const after = place([...members, { name: `new-${trial}`, weight: 1 }])
    return { moves: moves(whole, after), got: after.filter(({ owner }) => owner === `new-${trial}`).length }
  })
  const own = mean(losses.map((loss) => loss.own))
  return [
    String(nodes),
    String(partitions),
    (partitions / nodes).toFixed(1),
    `${Math.min(...owned)} to ${Math.max(...owned)}`,
    `${mean(losses.map((loss) => loss.moves)).toFixed(1)} (${own.toFixed(1)})`,
    `${((mean(losses.map((loss) => loss.toStandby)) / own) * 100).toFixed(0)} %`,
    `${mean(joins.map((join) => join.moves)).toFixed(1)} (${mean(joins.map((join) => join.got)).toFixed(1)})`,
    `${tookMs.toFixed(0)} ms`,
  ]
}

function moves(a: readonly Placement[], b: readonly Placement[]): number {
  return a.filter(({ owner }, p) => owner !== b[p]?.owner).length
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
