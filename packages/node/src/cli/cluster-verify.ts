/** `carillon cluster verify`: the digests of all replicas against each other, and against a fold of the journal in this process. */
import { type Carillon, connect } from '@carillon/client'
import { CarillonError, fromErrorData } from '@carillon/runtime'
import {
  decodeValue,
  type DigestPage,
  encodeToken,
  encodeValue,
  parseKey,
  type Partition,
  type RpcResponse,
} from '@carillon/runtime/protocol'
import { errors } from '@nats-io/transport-node'

import { loadWorkflows } from '../load-workflows.ts'
import type { Workflows } from '../node.ts'
import type { ClusterConnection } from './cluster-connection.ts'
import type { ClusterSnapshot } from './cluster-snapshot.ts'
import { type Agreed, compareReplicas, type Comparison, type Replica } from './compare-replicas.ts'
import { type ConnectionFlags, toConnectOptions } from './connection-options.ts'
import { refoldDigest, type Refolded } from './refold-digest.ts'

export interface VerifyFlags extends ConnectionFlags {
  /** How many instances are folded again; Infinity for all. */
  readonly refold?: number
  readonly workflows?: readonly string[]
  readonly partition?: readonly number[]
}

/** What `--json` prints. */
export interface VerifyReport {
  readonly version: 1
  /** Nothing differs, and nothing was left out. */
  readonly ok: boolean
  readonly instances: number
  readonly equal: number
  readonly bySample: number
  readonly moving: number
  readonly incomparable: number
  /** Folded again, with the same digest. */
  readonly refolded: number
  /** Why some could not be, with how many. */
  readonly notRefolded: Readonly<Record<string, number>>
  readonly differingCount: number
  /** The first of them. */
  readonly differing: readonly ReportedDifference[]
  /** Partitions that were compared on one node only: there is no standby that has caught up. */
  readonly alone: readonly number[]
  /** Partitions that could not be looked at, and why. */
  readonly failed: readonly { readonly partition: number; readonly reason: string }[]
}

export interface ReportedDifference {
  readonly type: string
  readonly id: string
  readonly partition: number
  readonly replicas: Comparison['differing'][number]['replicas']
  /** What the fold of the journal gives; absent where the replicas differ among each other. */
  readonly journal?: { readonly seq: number; readonly digest: string }
}

const REPORTED_MAX = 100
/** On top of what a node is asked to wait. */
const ANSWER_MS = 10_000
const TRIES = 3

interface Totals extends Omit<Comparison, 'differing'> {
  differing: number
  readonly reported: ReportedDifference[]
  refolded: number
  readonly notRefolded: Map<string, number>
  readonly alone: number[]
  readonly failed: { readonly partition: number; readonly reason: string }[]
}

/** Looks at all partitions one after another: nodes have other things to do. */
export async function verify(
  connection: ClusterConnection,
  snapshot: ClusterSnapshot,
  flags: VerifyFlags,
  progress: (text: string) => void,
): Promise<VerifyReport> {
  const workflows = flags.refold === undefined ? undefined : await loadWorkflows(flags.workflows ?? [])
  const carillon = workflows && (await connect(await toConnectOptions(flags)))
  const totals: Totals = {
    instances: 0,
    equal: 0,
    bySample: 0,
    differing: 0,
    moving: 0,
    incomparable: 0,
    reported: [],
    refolded: 0,
    notRefolded: new Map(),
    alone: [],
    failed: [],
  }
  try {
    for (const { partition } of snapshot.partitions) {
      if (flags.partition !== undefined && !flags.partition.includes(partition)) continue
      await verifyPartition(connection, snapshot, partition, totals, { flags, carillon, workflows, progress })
    }
  } finally {
    await carillon?.close()
  }
  return toReport(totals)
}

interface Means {
  readonly flags: VerifyFlags
  readonly carillon: Carillon | undefined
  readonly workflows: Workflows | undefined
  readonly progress: (text: string) => void
}

async function verifyPartition(
  connection: ClusterConnection,
  snapshot: ClusterSnapshot,
  partition: number,
  totals: Totals,
  { flags, carillon, workflows, progress }: Means,
): Promise<void> {
  const replicas = replicasOf(connection, snapshot, partition)
  if (replicas.length === 0) return void totals.failed.push({ partition, reason: 'no node serves it' })
  const chosen = new Chosen((flags.refold ?? 0) / (flags.partition?.length ?? snapshot.partitions.length))
  try {
    const compared = await compareReplicas(
      replicas,
      (agreed) => chosen.offer(agreed),
      (instances) => progress(`partition ${partition}: ${totals.instances + instances} instances compared`),
    )
    for (const count of ['instances', 'equal', 'bySample', 'moving', 'incomparable'] as const)
      totals[count] += compared[count]
    for (const { key, replicas: theirs } of compared.differing)
      report(totals, { ...parseKey(key), partition, replicas: theirs })
    if (replicas.length === 1) totals.alone.push(partition)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return void totals.failed.push({ partition, reason })
  }
  if (carillon === undefined || workflows === undefined) return
  for (const agreed of chosen.all) {
    const folded = await refoldDigest(carillon, workflows, agreed, flags)
    take(totals, agreed, folded, partition, replicas)
    progress(`partition ${partition}: ${totals.refolded} instances folded again`)
  }
}

function take(
  totals: Totals,
  { key, row }: Agreed,
  folded: Refolded,
  partition: number,
  replicas: readonly Replica[],
): void {
  if (folded.kind === 'left-out')
    return void totals.notRefolded.set(folded.reason, (totals.notRefolded.get(folded.reason) ?? 0) + 1)
  if (folded.seq === row.seq && folded.digest === row.digest) {
    totals.refolded += 1
    return
  }
  report(totals, {
    ...parseKey(key),
    partition,
    replicas: replicas.map(({ node, build }) => ({ node, build, seq: row.seq, digest: row.digest })),
    journal: { seq: folded.seq, digest: folded.digest },
  })
}

function report(totals: Totals, difference: ReportedDifference): void {
  totals.differing += 1
  if (totals.reported.length < REPORTED_MAX) totals.reported.push(difference)
}

function toReport(totals: Totals): VerifyReport {
  const {
    instances,
    equal,
    bySample,
    moving,
    incomparable,
    refolded,
    notRefolded,
    differing,
    reported,
    alone,
    failed,
  } = totals
  return {
    version: 1,
    ok: differing === 0 && failed.length === 0,
    instances,
    equal,
    bySample,
    moving,
    incomparable,
    refolded,
    notRefolded: Object.fromEntries(notRefolded),
    differingCount: differing,
    differing: reported,
    alone,
    failed,
  }
}

/** The owner first, then those who have caught up. */
function replicasOf(
  connection: ClusterConnection,
  { nodes, partitions }: ClusterSnapshot,
  partition: number,
): Replica[] {
  const view = partitions[partition]
  if (view === undefined) return []
  const owners = view.state === 'served' && view.owner !== null ? [view.owner] : []
  const standbys = view.replicas.filter(({ role }) => role === 'standby').map(({ node }) => node)
  return [...owners, ...standbys].map((node) => ({
    node,
    build: nodes.find((one) => one.node === node)?.build ?? '',
    ask: (request) => ask(connection, node, partition as Partition, request),
  }))
}

async function ask(
  { nc, subjects }: ClusterConnection,
  node: string,
  partition: Partition,
  request: Parameters<Replica['ask']>[0],
): Promise<DigestPage> {
  const subject = subjects.rpcOfNode(encodeToken(node, 'node name'), partition)
  for (let tries = 1; ; tries++) {
    try {
      const { data } = await nc.request(subject, encodeValue(request), { timeout: (request.waitMs ?? 0) + ANSWER_MS })
      const response = decodeValue(data) as RpcResponse
      if (response.ok) return response.value as DigestPage
      const error = fromErrorData(response.error)
      if (error.code !== 'TIMEOUT' || tries === TRIES) throw error
    } catch (error) {
      if (error instanceof errors.NoRespondersError || (error instanceof errors.RequestError && error.isNoResponders()))
        throw new CarillonError('NO_NODE', `${node} does not answer for it any more`)
      if (!(error instanceof errors.TimeoutError) || tries === TRIES) throw error
    }
  }
}

/** Some of those that are offered, each with the same chance. */
class Chosen {
  readonly all: Agreed[] = []
  readonly #max: number
  #offered = 0

  /** A part of one is one with that chance. */
  constructor(max: number) {
    this.#max = Math.floor(max) + (Math.random() < max % 1 ? 1 : 0)
  }

  offer(agreed: Agreed): void {
    this.#offered += 1
    if (this.all.length < this.#max) return void this.all.push(agreed)
    const place = Math.floor(Math.random() * this.#offered)
    if (place < this.#max) this.all[place] = agreed
  }
}
