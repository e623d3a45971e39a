/** The life of a node process: load, open, run until asked to stop or until it cannot go on, drain. */
import { hostname } from 'node:os'

import type { KeptHistory } from '@carillon/runtime/engine'
import type { Door } from '@carillon/runtime/protocol'
import type { Logger } from 'pino'

import { EngineProcesses, type EngineProcessesOptions } from '../engines/engine-processes.ts'
import { GUARD_LIMITS } from '../engines/guard-words.ts'
import { MonitorServer, type MonitorAddress } from '../monitor/monitor-server.ts'
import type { MetricsSource } from '../monitor/node-metrics.ts'
import type { NodePhase } from '../monitor/node-phase.ts'
import { type CarillonNode, openNode } from '../node.ts'
import { type ConnectionFlags, toNatsOptions } from './connection-options.ts'
import { tellReady, type WorkflowSummary } from './dev-message.ts'
import { EXIT_FAILED, EXIT_OK } from './exit-codes.ts'
import { parseFailpoint } from './failpoint.ts'
import { watchLastResort } from './last-resort.ts'
import { createLogger, type LogLevel } from './logger.ts'
import { openStatusWriter, type StatusWriter } from './node-status.ts'
import { splitList } from './option-values.ts'
import { StopRequest } from './stop-request.ts'

export interface NodeFlags extends ConnectionFlags {
  readonly workflows: readonly string[]
  readonly dataDir: string
  readonly name?: string
  readonly weight?: number
  readonly standbys?: number
  readonly build?: string
  readonly partitions?: number
  readonly replicas?: number
  readonly journalBytesMax?: number
  readonly door?: Door
  /** Processes that apply partitions; default 1. */
  readonly engines?: number
  /** Processes kept ready to take the place of one that was ended; default 1. */
  readonly spare?: '0' | '1'
  readonly turnLimit?: number
  readonly logLevel: LogLevel
  readonly monitor?: MonitorAddress
  readonly checkpointEvery?: number
  readonly keepHistory?: number
  readonly keepHistoryBytes?: number
  /** Set by `carillon dev`: the node stops with its parent. */
  readonly supervised?: boolean
}

/** Below the 30 s that container runtimes are usually told to give. */
const DRAIN_MS_MAX = 25_000
/** A node that is asked to stop while it opens has this long to get there and drain; then it just ends, which loses nothing. */
const OPENING_MS_MAX = 2000

/**
 * Runs a node.
 *
 * @returns the exit code after a stop that was asked for.
 * @throws what ended it otherwise, once it has drained.
 */
export async function runNode(flags: NodeFlags): Promise<number> {
  const logger = await createLogger({ level: flags.logLevel, json: flags.json === true })
  const stop = new StopRequest({
    withParent: flags.supervised === true,
    onHardStop: (signal) => logger.warn({ signal }, 'asked again: ended at once, nothing that was accepted is lost'),
  })
  watchLastResort(logger)
  parseFailpoint(process.env['CARILLON_FAILPOINT'])
  const seen: Seen = { phase: 'opening', node: undefined, engines: undefined }
  const monitor = flags.monitor === undefined ? undefined : await MonitorServer.open(flags.monitor, () => seen)
  if (monitor !== undefined) logger.info({ url: monitor.url }, 'probes and metrics: /live, /ready, /metrics')
  try {
    const opened = await orStopped(openWithEngines(flags, logger), stop)
    if (opened === undefined) {
      logger.info({ by: await stop.requested }, 'stopped before the node was open')
      return EXIT_OK
    }
    return await runOpen(opened, { flags, seen, stop, logger })
  } finally {
    await monitor?.close()
  }
}

interface Opened {
  readonly node: CarillonNode
  readonly engines: EngineProcesses
}

/** The engines load what the node is to run while it connects. */
async function openWithEngines(flags: NodeFlags, logger: Logger): Promise<Opened> {
  const { namespace, dataDir, name = hostname() } = flags
  logger.info({ node: name, namespace, dataDir, timeZones: process.versions['tz'] }, 'opening the node')
  const loading = EngineProcesses.load(toEngineOptions(flags, logger))
  const opening = openNode({
    ...toNodeOptions(flags, logger),
    openHost: async (options) => {
      const engines = await loading
      logger.info({ workflows: engines.workflows.map(({ type }) => type) }, 'the workflows are loaded')
      return engines.open(options)
    },
  })
  try {
    // What loading says comes first, however long a server is waited for.
    await Promise.race([loading, opening])
    const engines = await loading
    return { node: await opening, engines }
  } catch (error) {
    opening.catch(() => undefined)
    await loading.then(
      (engines) => engines.close(),
      () => undefined,
    )
    throw error
  }
}

/** What the monitor sees. */
interface Seen {
  phase: NodePhase
  node: CarillonNode | undefined
  engines: MetricsSource['engines']
}

async function runOpen(
  { node, engines }: Opened,
  {
    flags,
    seen,
    stop,
    logger,
  }: Omit<Serving, 'status' | 'workflows'> & { readonly flags: NodeFlags; readonly seen: Seen },
): Promise<number> {
  const { namespace, dataDir, name = hostname() } = flags
  seen.node = node
  seen.engines = engines
  seen.phase = 'catching-up'
  const file = openStatusWriter(dataDir, { name, namespace }, logger)
  const status: StatusWriter = {
    enter(phase) {
      seen.phase = phase
      file.enter(phase)
    },
    close: () => file.close(),
  }
  try {
    return await serve(node, { workflows: engines.workflows, status, stop, logger })
  } finally {
    status.close()
  }
}

interface Serving {
  readonly workflows: readonly WorkflowSummary[]
  readonly status: StatusWriter
  readonly stop: StopRequest
  readonly logger: Logger
}

async function serve(node: CarillonNode, { workflows, status, stop, logger }: Serving): Promise<number> {
  const live = node.caughtUp.then(() => {
    if (stop.isRequested) return
    status.enter('live')
    tellReady(workflows)
    logger.info({}, 'the node is ready')
  })
  try {
    const by = await Promise.race([stop.requested, node.failed, live.then(() => stop.requested)])
    logger.info({ by }, 'draining')
  } catch (error) {
    // What ended the node is the error; that it cannot drain after it is a consequence.
    await drain(node, status, logger).catch((late: unknown) => logger.warn({ error: late }, 'the node could not drain'))
    throw error
  }
  return drain(node, status, logger)
}

async function drain(node: CarillonNode, status: StatusWriter, logger: Logger): Promise<number> {
  status.enter('draining')
  const late = new Promise<'late'>((resolve) => setTimeout(resolve, DRAIN_MS_MAX, 'late' as const).unref())
  if ((await Promise.race([node.close(), late])) === 'late') {
    logger.error({ afterMs: DRAIN_MS_MAX }, 'draining took too long: ended at once, nothing that was accepted is lost')
    return EXIT_FAILED
  }
  logger.info({ ...node.counts }, 'drained')
  return EXIT_OK
}

/** Undefined when a stop was asked for before the node was open. */
async function orStopped(opening: Promise<Opened>, stop: StopRequest): Promise<Opened | undefined> {
  const early = stop.requested.then(async () => {
    await Promise.race([
      opening.catch(() => undefined),
      new Promise((resolve) => setTimeout(resolve, OPENING_MS_MAX).unref()),
    ])
    return undefined
  })
  return Promise.race([opening, early])
}

function toNodeOptions(flags: NodeFlags, logger: Logger): Parameters<typeof openNode>[0] {
  return {
    servers: flags.servers,
    namespace: flags.namespace,
    dataDir: flags.dataDir,
    // The engines load them.
    workflows: { implementations: [], activities: [] },
    logger,
    name: flags.name ?? hostname(),
    weight: flags.weight,
    standbys: flags.standbys,
    build: flags.build,
    partitions: flags.partitions,
    replicas: flags.replicas,
    journalBytesMax: flags.journalBytesMax,
    door: flags.door,
    nats: toNatsOptions(flags),
    connectTimeoutMs: flags.connectTimeout,
    checkpoints: flags.checkpointEvery === undefined ? undefined : { everyMs: flags.checkpointEvery },
    history: toHistory(flags),
  }
}

/** With neither flag the journal is kept whole. */
function toHistory({ keepHistory, keepHistoryBytes }: NodeFlags): KeptHistory | undefined {
  if (keepHistory === undefined && keepHistoryBytes === undefined) return undefined
  return { ageMs: keepHistory, bytes: keepHistoryBytes }
}

function toEngineOptions(flags: NodeFlags, logger: Logger): EngineProcessesOptions {
  const { dataDir, logLevel, engines = 1, spare, turnLimit: turnMsMax = GUARD_LIMITS.turnMsMax } = flags
  const { name = hostname(), workflows, ...connection } = flags
  return {
    engines,
    dataDir,
    hasSpare: spare !== '0',
    logger,
    settings: {
      workflows: splitList(workflows),
      connection,
      name: `${name}/engine`,
      logLevel,
      guard: { ...GUARD_LIMITS, turnMsMax },
    },
  }
}
