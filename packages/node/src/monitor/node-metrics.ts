/**
 * What a node tells about itself, in Prometheus' text format.
 *
 * Everything is read when it is asked for: between two scrapes nothing is measured for it. No name of an instance, a type or a signal becomes a
 * label: what comes from outside must not decide how many series there are.
 */
import type { CheckpointStatus } from '@carillon/runtime/engine'
import { collectDefaultMetrics, Counter, Gauge, type Metric, Registry } from 'prom-client'

import type { CarillonNode } from '../node.ts'
import type { NodePhase } from './node-phase.ts'

export const METRICS_CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE

export interface MetricsSource {
  readonly phase: NodePhase
  /** Undefined while it opens. */
  readonly node: CarillonNode | undefined
  /** Undefined while they start. */
  readonly engines?: { readonly memoryBytes: number; readonly restarts: number } | undefined
}

/** A scrape must not hang where JetStream does. */
const JOURNAL_MS_MAX = 1000

/** Counters of the engine, with what they count. */
const COUNTERS = {
  applied: ['inputs_applied_total', 'Inputs applied'],
  duplicate: ['inputs_duplicate_total', 'Inputs whose id was known'],
  ignored: ['inputs_ignored_total', 'Results and timers that nobody waited for any more'],
  dead: ['inputs_dead_total', 'Inputs that became dead letters'],
  suspended: ['suspensions_total', 'Times that an instance was suspended'],
  digestsCompared: ['digests_compared_total', 'States that were compared with those of the owners'],
  digestsDiffering: ['digests_differing_total', 'States that differed from those of the owners'],
  commits: ['commits_total', 'Transactions of the store'],
  commitMs: ['commit_seconds_total', 'Time that they took'],
  turnMs: ['turn_seconds_total', 'Time spent on applying inputs'],
} as const

/** Counters of the cluster's part in it. */
const CLUSTER_COUNTERS = {
  taken: ['partitions_taken_total', 'Partitions taken because they had no owner, or it was dead'],
  given: ['partitions_given_total', 'Partitions given to another node'],
  received: ['partitions_received_total', 'Partitions received from another node'],
  lost: ['partitions_lost_total', 'Partitions lost to another node that took this one for dead'],
  changes: ['ownership_changes_total', 'Changes of the ownership of any partition that this node has seen'],
} as const

const PHASES: readonly NodePhase[] = ['opening', 'catching-up', 'live', 'draining']

/** The registry of one node. `read` is asked at every scrape. */
export function createNodeMetrics(read: () => MetricsSource): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]
  for (const [field, [name, help]] of Object.entries(COUNTERS) as [keyof typeof COUNTERS, readonly [string, string]][])
    registry.registerMetric(
      new Counter({
        name: `carillon_${name}`,
        help,
        registers: [],
        collect() {
          const value = read().node?.counts[field]
          this.reset()
          if (value !== undefined) this.inc(field.endsWith('Ms') ? value / 1000 : value)
        },
      }),
    )
  const gauge = (name: string, help: string, value: (node: CarillonNode) => number): Gauge =>
    new Gauge({
      name: `carillon_${name}`,
      help,
      registers,
      collect() {
        const { node } = read()
        if (node === undefined) this.remove()
        else this.set(value(node))
      },
    })
  gauge('resident_instances', 'Instances in memory', (node) => node.residents)
  gauge('resident_bytes', 'Memory that they take, estimated', (node) => node.load.residentBytes)
  gauge('applied_seq', 'The place in the journal up to which inputs are applied', (node) => node.load.position)
  gauge(
    'input_lag_seconds',
    'How long after it was stored the last input was applied',
    (node) => node.load.lagMs / 1000,
  )
  for (const metric of checkpointMetrics(read)) registry.registerMetric(metric)
  for (const [field, [name, help]] of Object.entries(CLUSTER_COUNTERS) as [
    keyof typeof CLUSTER_COUNTERS,
    readonly [string, string],
  ][])
    registry.registerMetric(
      new Counter({
        name: `carillon_${name}`,
        help,
        registers: [],
        collect() {
          const value = read().node?.cluster.counts[field]
          this.reset()
          if (value !== undefined) this.inc(value)
        },
      }),
    )
  gauge('peers', 'Other nodes that are live', (node) => node.cluster.peers)
  gauge(
    'standby_lag_seqs',
    'Places of the journal that the standby which is furthest behind its owner is behind it',
    (node) => node.cluster.standbyLag,
  )
  registry.registerMetric(partitions(read))
  registry.registerMetric(
    new Gauge({
      name: 'carillon_engine_memory_bytes',
      help: 'Memory of the processes of the engines',
      registers: [],
      collect() {
        const { engines } = read()
        if (engines !== undefined) this.set(engines.memoryBytes)
      },
    }),
  )
  registry.registerMetric(
    new Counter({
      name: 'carillon_engine_restarts_total',
      help: 'Times that another process took the place of an engine that had ended, or was ended for a turn that did not come back',
      registers: [],
      collect() {
        this.reset()
        this.inc(read().engines?.restarts ?? 0)
      },
    }),
  )
  registry.registerMetric(journalLag(read))
  registry.registerMetric(phase(read))
  return registry
}

/** Of the partitions that the node owns. How many there are is decided when the cluster is created, so they may be labels. */
function checkpointMetrics(read: () => MetricsSource): readonly Metric[] {
  const ofPartition = (name: string, help: string, value: (status: CheckpointStatus) => number): Gauge =>
    new Gauge({
      name: `carillon_${name}`,
      help,
      labelNames: ['partition'],
      registers: [],
      collect() {
        this.reset()
        for (const status of read().node?.checkpoints ?? []) this.set({ partition: status.partition }, value(status))
      },
    })
  const total = (name: string, help: string, value: (node: CarillonNode) => number): Counter =>
    new Counter({
      name: `carillon_${name}`,
      help,
      registers: [],
      collect() {
        const { node } = read()
        this.reset()
        if (node !== undefined) this.inc(value(node))
      },
    })
  return [
    ofPartition(
      'checkpoint_covered_seq',
      'Up to here the journal is covered by the remote snapshot',
      (one) => one.coveredSeq,
    ),
    ofPartition(
      'checkpoint_age_seconds',
      'Since the remote snapshot was made',
      ({ atMs }) => (Date.now() - atMs) / 1000,
    ),
    ofPartition('checkpoint_size_bytes', 'All segments of the remote snapshot', ({ bytes }) => bytes),
    total('checkpoint_bytes_total', 'Bytes of snapshots that were stored', (node) => node.checkpointBytes),
    total('journal_trimmed_total', 'Messages of the journal that were trimmed', (node) => node.trimmed),
  ]
}

function partitions(read: () => MetricsSource): Gauge {
  return new Gauge({
    name: 'carillon_partitions',
    help: 'Partitions that this node hosts, by what it is to them',
    labelNames: ['role'],
    registers: [],
    collect() {
      const roles = Object.entries(read().node?.cluster.roles ?? {})
      if (roles.length === 0) this.reset()
      for (const [role, count] of roles) this.set({ role }, count)
    },
  })
}

function phase(read: () => MetricsSource): Gauge {
  return new Gauge({
    name: 'carillon_phase',
    help: '1 for the phase that the node is in',
    labelNames: ['phase'],
    registers: [],
    collect() {
      for (const name of PHASES) this.set({ phase: name }, name === read().phase ? 1 : 0)
    },
  })
}

function journalLag(read: () => MetricsSource): Gauge {
  return new Gauge({
    name: 'carillon_journal_unapplied',
    help: 'Inputs of the journal that are not applied yet; absent while the journal cannot be asked',
    registers: [],
    async collect() {
      const { node } = read()
      const late = new Promise<undefined>((resolve) => setTimeout(resolve, JOURNAL_MS_MAX, undefined).unref())
      const count = await Promise.race([node?.journalUnapplied().catch(() => undefined), late])
      if (count === undefined) this.remove()
      else this.set(count)
    },
  })
}
