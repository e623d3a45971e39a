/**
 * What a load needs, calculated from measured costs: docs/scale.md shows the steps and where each figure was measured. Nothing runs.
 *
 *   npm run bench:plan                                             the mixes of docs/scale.md
 *   npm run bench:plan -- --instances 1e8 --per-second 0.5         a load of one's own; every cost has an option, too
 */
import { parseArgs } from 'node:util'

/** Costs, each measured on the machine that docs/scale.md names. */
const COSTS = {
  /** Signals a second that one log stream with three replicas takes. */
  'stream-rate': '40000',
  /** CPU microseconds of one signal: at the stream's leader, at each of two followers. */
  'leader-micros': '8',
  'follower-micros': '5',
  /** At the node that owns the instance; a standby does the same once more. */
  'apply-micros': '13',
  /** At every thread that reads the stream, for what is not its own. */
  'foreign-micros': '2',
  /** Of one signal: as a message, on the disk of each server, on the wire with its protocol. */
  'disk-bytes': '240',
  'wire-bytes': '250',
  /** Of one instance on the disk of a node, with its state and known ids. */
  'record-bytes': '275',
} as const

const { values } = parseArgs({
  options: {
    instances: { type: 'string' },
    /** Signals a second to each of them. */
    'per-second': { type: 'string' },
    /** Log streams of a cluster: 1 today. */
    streams: { type: 'string' },
    standbys: { type: 'string', default: '1' },
    /** How long the journal is kept. */
    'history-minutes': { type: 'string', default: '10' },
    ...(Object.fromEntries(
      Object.entries(COSTS).map(([name, value]) => [name, { type: 'string', default: value }]),
    ) as Record<keyof typeof COSTS, { type: 'string'; default: string }>),
  },
})

interface Mix {
  readonly name: string
  readonly instances: number
  readonly perSecond: number
}

const MIXES: readonly Mix[] = [
  { name: '100 M instances, 20 events/s each', instances: 1e8, perSecond: 2e9 },
  { name: '100 M instances, 1 % of them active at 20 events/s', instances: 1e8, perSecond: 2e7 },
  { name: '100 M instances, one event a minute each', instances: 1e8, perSecond: 1e8 / 60 },
  { name: '100 M instances, one event an hour each', instances: 1e8, perSecond: 1e8 / 3600 },
  { name: '1 M instances, one event a minute each', instances: 1e6, perSecond: 1e6 / 60 },
]

const cost = (name: keyof typeof COSTS): number => Number(values[name])
const standbys = Number(values.standbys)
const own = values.instances === undefined || values['per-second'] === undefined ? undefined : toMix()
const streamCounts = values.streams === undefined ? [1, 8] : [Number(values.streams)]
for (const streams of streamCounts) {
  console.log(`\n${streams} log stream${streams === 1 ? '' : 's'} a cluster, ${standbys} standby of each partition\n`)
  printPlans((own === undefined ? MIXES : [own]).map((mix) => planOf(mix, streams)))
}

function toMix(): Mix {
  const [instances, each] = [Number(values.instances), Number(values['per-second'])]
  return { name: `${instances} instances, ${each} events/s each`, instances, perSecond: instances * each }
}

interface Plan {
  readonly mix: Mix
  readonly clusters: number
  readonly serverCores: number
  readonly nodeThreads: number
  readonly foreignShare: number
  readonly journalBytes: number
  readonly serverBytesPerSecond: number
  readonly networkBytesPerSecond: number
  readonly recordBytes: number
}

/** All of it, over all clusters. */
function planOf(mix: Mix, streams: number): Plan {
  const { instances, perSecond } = mix
  // A cluster takes what its streams take; its threads read all of each stream that holds a partition of theirs, which is one where there are several.
  const clusters = Math.max(1, Math.ceil(perSecond / (streams * cost('stream-rate'))))
  const streamRate = perSecond / clusters / streams
  const foreignShare = (streamRate * cost('foreign-micros')) / 1e6
  const applying = (perSecond * (1 + standbys) * cost('apply-micros')) / 1e6
  // A thread has a core for itself, of which it needs so much for what is not its own.
  const nodeThreads = Math.max(clusters * streams * (1 + standbys), applying / (1 - foreignShare))
  const readers = nodeThreads / clusters / streams
  return {
    mix,
    clusters,
    serverCores: (perSecond * (cost('leader-micros') + 2 * cost('follower-micros'))) / 1e6,
    nodeThreads,
    foreignShare,
    journalBytes: perSecond * 60 * Number(values['history-minutes']) * cost('disk-bytes'),
    serverBytesPerSecond: perSecond * cost('disk-bytes'),
    // From the producer, to two followers, and to every thread that reads the stream.
    networkBytesPerSecond: perSecond * (1 + 2 + readers) * cost('wire-bytes'),
    recordBytes: instances * (1 + standbys) * cost('record-bytes'),
  }
}

function printPlans(plans: readonly Plan[]): void {
  const rows: readonly (readonly [string, (plan: Plan) => string])[] = [
    ['', ({ mix }) => mix.name],
    ['---', () => '---:'],
    ['signals/s', ({ mix }) => amount(mix.perSecond)],
    ['NATS clusters of three servers', ({ clusters }) => amount(clusters)],
    ['cores of all servers', ({ serverCores }) => amount(serverCores)],
    ['threads of all nodes, a core each', ({ nodeThreads }) => amount(nodeThreads)],
    ['of each, for what is not its own', ({ foreignShare }) => `${(foreignShare * 100).toFixed(1)} %`],
    ['written by all servers', ({ serverBytesPerSecond }) => `${bytes(3 * serverBytesPerSecond)}/s`],
    [`journal of ${values['history-minutes']} minutes, three copies`, ({ journalBytes }) => bytes(3 * journalBytes)],
    ['network', ({ networkBytesPerSecond }) => `${bytes(networkBytesPerSecond)}/s`],
    ['records of all instances on the nodes', ({ recordBytes }) => bytes(recordBytes)],
  ]
  for (const [what, cell] of rows) console.log(`| ${[what, ...plans.map(cell)].join(' | ')} |`)
}

/** Three digits. */
function amount(value: number): string {
  if (value < 10) return String(Math.ceil(value))
  return Math.ceil(Number(value.toPrecision(3))).toLocaleString('en-US')
}

function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, value)) / 3))
  return `${Number((value / 1000 ** power).toPrecision(3))} ${units[power]}`
}
