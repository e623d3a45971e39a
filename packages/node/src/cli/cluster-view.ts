/** A cluster as lines of text: a pure function, so that what people see can be tested. */
import type { ClusterSnapshot, NodeView, PartitionView } from './cluster-snapshot.ts'
import { oneLine } from './output.ts'
import { type Column, formatTable } from './table.ts'

export interface ViewSize {
  readonly columns: number
  /** Infinity where nothing is cut. */
  readonly rows: number
}

export interface ViewOptions extends ViewSize {
  /** A line for each partition instead of one for those that are alike. */
  readonly all?: boolean
}

const NAME_CHARS_MAX = 32
const BUILD_CHARS_MAX = 16

/** The whole view. Lines that do not fit into the height are left out, and the last one says so. */
export function formatCluster(snapshot: ClusterSnapshot, { columns, rows, all = false }: ViewOptions): string[] {
  const alarms = alarmsOf(snapshot)
  const lines = [
    formatSummary(snapshot),
    ...alarms,
    '',
    ...(snapshot.nodes.length === 0 ? ['no node has been heard'] : formatTable(NODE_COLUMNS, snapshot.nodes)),
    '',
    ...(all ? formatTable(PARTITION_COLUMNS, snapshot.partitions) : formatGroups(snapshot.partitions)),
  ].map((line) => cutTo(line, columns))
  if (lines.length <= rows) return lines
  const left = lines.length - rows + 1
  return [...lines.slice(0, Math.max(0, rows - 1)), cutTo(`… ${left} more lines`, columns)]
}

/** Lines that somebody should read; none while all is well. */
export function alarmsOf({ summary, nodes, partitions }: ClusterSnapshot): string[] {
  const not = (state: PartitionView['state']): number[] =>
    partitions.filter((one) => one.state === state).map(({ partition }) => partition)
  const alarms: string[] = []
  const unowned = not('unowned')
  const silent = not('silent')
  if (unowned.length > 0) alarms.push(`! partitions without an owner: ${formatRanges(unowned)}`)
  if (silent.length > 0) alarms.push(`! partitions whose owner is silent: ${formatRanges(silent)}`)
  if (summary.exposed > 0)
    alarms.push(`! ${summary.exposed} partitions have fewer than ${summary.standbys} standbys that have caught up`)
  for (const { node, digests } of nodes)
    if (digests.differing > 0)
      alarms.push(
        `! ${node} has found ${digests.differing} states that differ from their owner’s: see its log, then carillon cluster verify`,
      )
  return alarms.map(oneLine)
}

/** `0-3, 7, 9-10` */
export function formatRanges(numbers: readonly number[]): string {
  const ranges: [number, number][] = []
  for (const number of numbers) {
    const last = ranges.at(-1)
    if (last !== undefined && last[1] === number - 1) last[1] = number
    else ranges.push([number, number])
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(', ')
}

function formatSummary({ namespace, time, lastSeq, summary }: ClusterSnapshot): string {
  const { nodes, partitions, served, misplaced, lag, acceptedPerSecond } = summary
  return [
    oneLine(namespace),
    `${nodes} ${nodes === 1 ? 'node' : 'nodes'}`,
    `${served} of ${partitions} partitions served${misplaced === 0 ? '' : `, ${misplaced} not at their ideal owner`}`,
    `journal ${lastSeq ?? '?'}`,
    `lag ${lag ?? '?'}`,
    `${acceptedPerSecond ?? '?'}/s accepted`,
    time.slice(11, 19),
  ].join('  ')
}

const NODE_COLUMNS: readonly Column<NodeView>[] = [
  { title: 'NODE', cell: ({ node }) => node, max: NAME_CHARS_MAX },
  { title: 'STATE', cell: ({ state, silentMs }) => (state === 'silent' ? `silent ${seconds(silentMs)}` : state) },
  { title: 'OWNS', cell: ({ owns, promoting }) => (promoting === 0 ? owns : `${owns}+${promoting}`) },
  { title: 'STANDBY', cell: ({ standsBy, catchingUp }) => (catchingUp === 0 ? standsBy : `${standsBy}+${catchingUp}`) },
  { title: 'LAG', cell: ({ lag }) => lag ?? '' },
  { title: 'APPLIED/S', cell: ({ appliedPerSecond }) => appliedPerSecond ?? '' },
  { title: 'UP', cell: ({ since, state }) => (state === 'left' ? '' : since.slice(0, 19)) },
  { title: 'BUILD', cell: ({ build }) => build, max: BUILD_CHARS_MAX },
  { title: 'SERVER', cell: ({ server }) => server, max: NAME_CHARS_MAX },
]

const PARTITION_COLUMNS: readonly Column<PartitionView>[] = [
  { title: 'PARTITION', cell: ({ partition }) => partition },
  { title: 'STATE', cell: ({ state }) => state },
  { title: 'OWNER', cell: ({ owner }) => owner ?? '', max: NAME_CHARS_MAX },
  { title: 'EPOCH', cell: ({ epoch }) => epoch },
  { title: 'LAG', cell: ({ lag }) => lag ?? '' },
  { title: 'REPLICAS', cell: (view) => replicasOf(view) },
]

interface Group {
  readonly state: string
  readonly owner: string
  readonly replicas: string
  readonly partitions: number[]
  lag: number | null
}

/** Partitions with the same owner and the same replicas in one line: 64 lines say less than 3. */
function formatGroups(partitions: readonly PartitionView[]): string[] {
  const groups = new Map<string, Group>()
  for (const view of partitions) {
    const { state, owner, partition, lag } = view
    const replicas = view.replicas.map(({ node, role }) => (role === 'standby' ? node : `${node} (${role})`)).join(', ')
    const key = JSON.stringify([state, owner, replicas])
    const group = groups.get(key) ?? { state, owner: owner ?? '', replicas, partitions: [], lag: null }
    group.partitions.push(partition)
    group.lag = lag === null ? group.lag : Math.max(group.lag ?? 0, lag)
    groups.set(key, group)
  }
  return formatTable(GROUP_COLUMNS, [...groups.values()])
}

const GROUP_COLUMNS: readonly Column<Group>[] = [
  { title: 'OWNER', cell: ({ owner }) => owner, max: NAME_CHARS_MAX },
  { title: 'STATE', cell: ({ state }) => state },
  { title: 'COUNT', cell: ({ partitions }) => partitions.length },
  { title: 'LAG', cell: ({ lag }) => lag ?? '' },
  { title: 'STANDBYS', cell: ({ replicas }) => replicas },
  { title: 'PARTITIONS', cell: ({ partitions }) => formatRanges(partitions) },
]

function replicasOf({ replicas }: PartitionView): string {
  return replicas
    .map(({ node, role, behind }) => `${node}${role === 'standby' ? '' : ` ${role}`}${behind ? ` -${behind}` : ''}`)
    .join(', ')
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

function cutTo(line: string, columns: number): string {
  return line.length > columns ? `${line.slice(0, Math.max(0, columns - 1))}…` : line
}
