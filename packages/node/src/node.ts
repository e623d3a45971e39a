/** The composition root of a node: connects, opens the data, and takes part in the cluster with an engine. */
import { createRequire } from 'node:module'

import { openConnection, Deadline } from '@carillon/client'
import { type ActivityImplementations, CarillonError, type Implementation, type Interceptors } from '@carillon/runtime'
import type {
  CheckpointPace,
  CheckpointStatus,
  EngineCounts,
  EngineLimits,
  EngineLoad,
  KeptHistory,
  ReachFailpoint,
} from '@carillon/runtime/engine'
import { type Logger, systemClock } from '@carillon/runtime/ports'
import {
  type Door,
  type PayloadCodecs,
  quote,
  STANDBYS_MAX,
  type Subjects,
  WEIGHT_MAX,
} from '@carillon/runtime/protocol'
import type { NatsConnection, NodeConnectionOptions } from '@nats-io/transport-node'

import { checkWorkflows } from './check-workflows.ts'
import { ClusterSession, type ClusterStatus } from './cluster/cluster-session.ts'
import { openCluster } from './cluster.ts'
import type { HostOptions } from './compose-host.ts'
import { DoorRelay } from './door-relay.ts'
import { JetStreamLog } from './jetstream-log.ts'
import { type NodeHost, type OpenHost, openLocalHost } from './node-host.ts'

/** What a node runs: implementations of workflow types, and of their activities, and what stands around them. */
export interface Workflows {
  readonly implementations: readonly Implementation[]
  readonly activities: readonly ActivityImplementations[]
  /** What `defineInterceptors` returns; default: none. */
  readonly interceptors?: Interceptors | undefined
}

export interface NodeOptions {
  readonly servers: string | readonly string[]
  /** Default `carillon`. */
  readonly namespace?: string | undefined
  /** The folder of this node's snapshots; made when it is missing. No two nodes share one. */
  readonly dataDir: string
  readonly workflows: Workflows
  readonly logger: Logger
  /** What the node is called in its cluster, where no two share a name; default: `carillon-node-` and the process id. */
  readonly name?: string | undefined
  /** Its part of the partitions relative to other nodes': a whole number from 1 to 100; default 1. */
  readonly weight?: number | undefined
  /** What its workflow code is called, in `carillon cluster` and where states differ: a commit, a version; at most 200 characters. Default: this package's. */
  readonly build?: string | undefined
  /** How many standbys each partition is to have, 0 to 2; default 1. Of nodes that say different things the highest counts. */
  readonly standbys?: number | undefined
  /** For a cluster that does not exist yet; see `ClusterOptions`. */
  readonly partitions?: number | undefined
  readonly replicas?: number | undefined
  /** Bytes of the journal, when it is made; a full one refuses inputs. Default: what the servers have. */
  readonly journalBytesMax?: number | undefined
  readonly door?: Door | undefined
  /** What the NATS client takes: authentication, TLS, … */
  readonly nats?: Omit<NodeConnectionOptions, 'servers' | 'name'> | undefined
  readonly limits?: Partial<EngineLimits> | undefined
  /** How long to try to reach a server, milliseconds; default 15,000. */
  readonly connectTimeoutMs?: number | undefined
  readonly reach?: ReachFailpoint | undefined
  /** How often, and how fast, partitions are saved remotely; default `CHECKPOINT_PACE`: every 30 s. */
  readonly checkpoints?: Partial<CheckpointPace> | undefined
  /** What of the journal is kept behind the remote snapshots. Default: everything, nothing is trimmed. The same on every node. */
  readonly history?: KeptHistory | undefined
  /** What payloads pass on their way out and in, and this node's store; `createCodecs` of `@carillon/runtime/codecs` makes them. Default: none. */
  readonly codecs?: PayloadCodecs | undefined
  /** What applies the partitions; default: an engine in this process. */
  readonly openHost?: OpenHost | undefined
  /** Gives up waiting for a server when aborted. */
  readonly signal?: AbortSignal | undefined
}

const CONNECT_TIMEOUT_MS = 15_000
const NEVER = new AbortController().signal
/** So long a node that closes waits until others have taken its partitions: below what `carillon node` has for all of its end. */
const DRAIN_MS_MAX = 10_000
const STANDBYS_DEFAULT = 1
/** It stands in every heartbeat. */
const BUILD_CHARS_MAX = 200

/** A running node. */
export class CarillonNode {
  readonly subjects: Subjects
  /** Rejects when the node cannot go on: close it then. */
  readonly failed: Promise<never>
  readonly #parts: NodeParts
  #closing: Promise<void> | undefined

  constructor(parts: NodeParts, failed: Promise<never>) {
    this.#parts = parts
    this.subjects = parts.subjects
    this.failed = failed
  }

  /** Resolves when this node takes its part: what it owns is served, what it stands by for has caught up, and no partition is without an owner. */
  get caughtUp(): Promise<void> {
    return this.#parts.session.settled
  }

  /** What it has of the cluster, and what it knows of the others. */
  get cluster(): ClusterStatus {
    return this.#parts.session.status
  }

  get counts(): Readonly<EngineCounts> {
    return this.#parts.host.counts
  }

  get residents(): number {
    return this.#parts.host.residents
  }

  get load(): EngineLoad {
    return this.#parts.host.load
  }

  /** What of the partitions that this node owns is saved remotely. */
  get checkpoints(): readonly CheckpointStatus[] {
    return this.#parts.host.remote.checkpoints
  }

  /** Saves what it owns now, without waiting for the next round. Engines in processes of their own keep their rounds: for those it does nothing. */
  async saveCheckpoints(): Promise<void> {
    await this.#parts.host.saveNow?.()
  }

  /** Messages of the journal that this node has trimmed since it started. */
  get trimmed(): number {
    return this.#parts.host.remote.trimmed
  }

  /** Bytes of snapshots that this node has stored since it started. */
  get checkpointBytes(): number {
    return this.#parts.host.remote.checkpointBytes
  }

  /** Inputs of the journal that are not applied yet. Rejects while the journal cannot be asked. */
  async journalUnapplied(): Promise<number> {
    const { lastSeq } = await this.#parts.log.bounds()
    return Math.max(0, lastSeq - this.load.position)
  }

  /** Gives its partitions to other nodes, if there are any, finishes what runs, commits, closes the data and the connection. Safe to call again. */
  close(): Promise<void> {
    this.#closing ??= closeParts(this.#parts)
    return this.#closing
  }
}

interface NodeParts {
  readonly nc: NatsConnection
  readonly subjects: Subjects
  /** To ask for the journal's bounds. */
  readonly log: JetStreamLog
  readonly host: NodeHost
  /** Where the servers do not rewrite the public door. */
  readonly relay: DoorRelay | undefined
  readonly session: ClusterSession
  /** One that has failed has nothing to give. */
  readonly hasFailed: () => boolean
}

/**
 * Opens a node, and the cluster if this is its first one. Resolves when it has joined; see `caughtUp` for when it has taken its part.
 *
 * @throws CarillonError with a next step; docs/errors.md has them all.
 */
export async function openNode(options: NodeOptions): Promise<CarillonNode> {
  checkWorkflows(options.workflows)
  checkShare(options)
  const namespace = options.namespace ?? 'carillon'
  const name = options.name ?? `carillon-node-${process.pid}`
  const deadline = new Deadline(options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS)
  const nc = await openConnection(
    { servers: options.servers, name, nats: options.nats ?? {} },
    deadline,
    options.signal ?? NEVER,
  )
  try {
    return await compose(nc, namespace, name, options)
  } catch (error) {
    await nc.close()
    throw error
  }
}

async function compose(
  nc: NatsConnection,
  namespace: string,
  name: string,
  options: NodeOptions,
): Promise<CarillonNode> {
  const { logger } = options
  const { record, subjects } = await openCluster(nc, {
    namespace,
    partitions: options.partitions,
    replicas: options.replicas,
    logBytesMax: options.journalBytesMax,
    door: options.door,
  })
  let fail: (error: unknown) => void = () => {}
  let hasFailed = false
  const failed = new Promise<never>((_, reject) => (fail = reject))
  failed.catch(() => (hasFailed = true))
  const onFailed = (error: unknown): void => fail(error)
  const { weight = 1, standbys = STANDBYS_DEFAULT, build = releaseOf() } = options
  const log = new JetStreamLog(nc, subjects)
  const opening = startHost(options.openHost ?? openLocalHost, {
    ...options,
    name,
    node: { name, build },
    nc,
    record,
    subjects,
    partitions: [],
    onFailed,
  })
  const session = await ClusterSession.open(
    { nc, subjects, node: name, weight, standbys, build, clock: systemClock, logger, onFailed },
    opening.then((host) => ({ host, counters: () => countersOf(host) })),
  ).catch(async (error: unknown) => {
    const host = await opening.catch(() => undefined)
    await host?.close()
    throw error
  })
  const relay =
    record.door === 'relay' ? new DoorRelay(nc, subjects, { log: (line) => logger.warn({}, line) }) : undefined
  return new CarillonNode(
    { nc, subjects, log, host: await opening, relay, session, hasFailed: () => hasFailed },
    failed,
  )
}

async function startHost(openHost: OpenHost, options: HostOptions): Promise<NodeHost> {
  const host = await openHost(options)
  try {
    await host.start()
    return host
  } catch (error) {
    await host.close()
    throw error
  }
}

async function closeParts({ nc, log, host, relay, session, hasFailed }: NodeParts): Promise<void> {
  if (!hasFailed()) await session.drain(DRAIN_MS_MAX)
  await relay?.close()
  await session.close()
  await host.close()
  await log.close()
  await nc.close()
}

/** What heartbeats tell of an engine. */
function countersOf({ counts, residents, load }: NodeHost): Readonly<Record<string, number>> {
  return { ...counts, residents, ...load }
}

function releaseOf(): string {
  const { version } = createRequire(import.meta.url)('../package.json') as { readonly version: string }
  return version
}

function checkShare({ weight, standbys, build }: NodeOptions): void {
  const isWhole = (value: number | undefined, min: number, max: number): boolean =>
    value === undefined || (Number.isInteger(value) && value >= min && value <= max)
  if (!isWhole(weight, 1, WEIGHT_MAX))
    throw new CarillonError('CONFIG_INVALID', `weight ${quote(weight)} is not a whole number from 1 to ${WEIGHT_MAX}`)
  if (!isWhole(standbys, 0, STANDBYS_MAX))
    throw new CarillonError('CONFIG_INVALID', `standbys ${quote(standbys)} is not 0, 1 or ${STANDBYS_MAX}`)
  if (build !== undefined && !(build.length >= 1 && build.length <= BUILD_CHARS_MAX))
    throw new CarillonError('CONFIG_INVALID', `build ${quote(build)} has not 1 to ${BUILD_CHARS_MAX} characters`)
}
