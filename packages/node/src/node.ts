/** The composition root of a node: connects, opens the data, and runs an engine over all partitions. */
import { openConnection, Deadline } from '@carillon/client'
import {
  type ActivityImplementations,
  CarillonError,
  type Implementation,
  type Interceptors,
  missingActivities,
} from '@carillon/runtime'
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
import type { Door, Partition, PayloadCodecs, Subjects } from '@carillon/runtime/protocol'
import type { NatsConnection, NodeConnectionOptions } from '@nats-io/transport-node'

import { ActiveNode } from './active-node.ts'
import { openCluster } from './cluster.ts'
import { type ComposedHost, composeHost } from './compose-host.ts'
import { DoorRelay } from './door-relay.ts'
import { openQueues } from './open-queues.ts'

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
  /** Default: the host's name and the process id. */
  readonly name?: string | undefined
  /** For a cluster that does not exist yet; see `ClusterOptions`. */
  readonly partitions?: number | undefined
  readonly replicas?: number | undefined
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
  /** Gives up waiting, for a server or for another node to be gone, when aborted. */
  readonly signal?: AbortSignal | undefined
}

const CONNECT_TIMEOUT_MS = 15_000
const NEVER = new AbortController().signal

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

  /** Resolves when the journal, as it was at the start, has been applied and effects go out. */
  get caughtUp(): Promise<void> {
    return this.#parts.host.engine.caughtUp
  }

  get counts(): Readonly<EngineCounts> {
    return this.#parts.host.engine.counts
  }

  get residents(): number {
    return this.#parts.host.engine.residents
  }

  get load(): EngineLoad {
    return this.#parts.host.engine.load
  }

  /** What of the partitions that this node owns is saved remotely. */
  get checkpoints(): readonly CheckpointStatus[] {
    return this.#parts.host.remote.status
  }

  /** Messages of the journal that this node has trimmed since it started. */
  get trimmed(): number {
    return this.#parts.host.remote.trimmed
  }

  /** Bytes of snapshots that this node has stored since it started. */
  get checkpointBytes(): number {
    return this.#parts.host.remote.bytesStored
  }

  /** Inputs of the journal that are not applied yet. Rejects while the journal cannot be asked. */
  async journalUnapplied(): Promise<number> {
    const { lastSeq } = await this.#parts.host.log.bounds()
    return Math.max(0, lastSeq - this.load.position)
  }

  /** Finishes what runs, commits, closes the data and the connection. Safe to call again. */
  close(): Promise<void> {
    this.#closing ??= closeParts(this.#parts)
    return this.#closing
  }
}

interface NodeParts {
  readonly nc: NatsConnection
  readonly subjects: Subjects
  readonly host: ComposedHost
  /** Where the servers do not rewrite the public door. */
  readonly relay: DoorRelay | undefined
  readonly active: ActiveNode
}

/**
 * Opens a node, and the cluster if this is its first one. While another node serves the cluster, it stands by. Resolves when it reads the journal.
 *
 * @throws CarillonError with a next step; docs/errors.md has them all.
 */
export async function openNode(options: NodeOptions): Promise<CarillonNode> {
  checkWorkflows(options.workflows)
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
    door: options.door,
  })
  await openQueues(nc, subjects, options.workflows.implementations)
  let fail: (error: unknown) => void = () => {}
  const failed = new Promise<never>((_, reject) => (fail = reject))
  failed.catch(() => {})
  const host = await composeHost({
    ...options,
    nc,
    record,
    subjects,
    partitions: Array.from({ length: record.partitions }, (_, number) => number as Partition),
    onFailed: (error) => fail(error),
  })
  const active = await ActiveNode.acquire(
    { nc, subjects, name, clock: systemClock, logger, onLost: (error) => fail(error) },
    options.signal ?? NEVER,
  ).catch(async (error: unknown) => {
    await host.close()
    throw error
  })
  const relay =
    record.door === 'relay' ? new DoorRelay(nc, subjects, { log: (line) => logger.warn({}, line) }) : undefined
  const parts: NodeParts = { nc, subjects, host, relay, active }
  try {
    await host.engine.start()
    return new CarillonNode(parts, failed)
  } catch (error) {
    await closeParts(parts)
    throw error
  }
}

async function closeParts({ nc, host, relay, active }: NodeParts): Promise<void> {
  await relay?.close()
  await host.close()
  await active.release()
  await nc.close()
}

function checkWorkflows({ implementations, activities }: Workflows): void {
  const names = new Set<string>()
  for (const { contract } of implementations) {
    if (names.has(contract.name))
      throw new CarillonError(
        'INVALID_DEFINITION',
        `two implementations of the workflow type ${contract.name} were given: pass one`,
      )
    names.add(contract.name)
    const missing = missingActivities(contract, activities, 'local')
    if (missing.length === 0) continue
    throw new CarillonError(
      'INVALID_DEFINITION',
      `no activities were given for ${contract.name}, which declares ${missing.join(', ')}: pass implementActivities(…) for it`,
    )
  }
}
