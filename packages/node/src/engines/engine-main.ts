/**
 * A program: one engine in a process of its own. Its node gives the orders, over the channel of the process.
 *
 * Owns: its connection to NATS, its store, its engine, and the guard that watches its turns.
 * Does not own: the data folder's lock, which is its node's; it keeps it open, so that nobody takes the folder while this process lives.
 *
 * Invariants
 * 1. It ends with its node, however that ends: by the end of the channel, or, stuck in a turn, by its guard.
 * 2. Signals that stop a node stop the node alone: it lets its engines finish.
 */
import { Deadline, openConnection } from '@carillon/client'
import { CarillonError, toErrorData } from '@carillon/runtime'
import { Subjects } from '@carillon/runtime/protocol'
import type { NatsConnection } from '@nats-io/transport-node'
import type { Logger } from 'pino'

import { toCodecs, toNatsOptions } from '../cli/connection-options.ts'
import { summaryOf } from '../cli/dev-message.ts'
import { parseFailpoint } from '../cli/failpoint.ts'
import { watchLastResort } from '../cli/last-resort.ts'
import { createLogger } from '../cli/logger.ts'
import { checkWorkflows } from '../check-workflows.ts'
import { type ComposedHost, composeHost, type HostOptions } from '../compose-host.ts'
import { loadWorkflows } from '../load-workflows.ts'
import { remoteStatusOf } from '../node-host.ts'
import { openLmdbStore } from '../open-lmdb-store.ts'
import { identityOf } from '../stream-state.ts'
import { arrangeStores } from './arrange-stores.ts'
import { CarefulBoard } from './careful-board.ts'
import {
  type EngineBuild,
  type EngineCall,
  type EngineMessage,
  type EngineOrder,
  type EngineRequest,
  type EngineSettings,
  type EngineStatus,
  GUARD_FD,
  placeOfTurn,
} from './engine-messages.ts'
import { startGuard } from './guard-thread.ts'
import { SharedTurnBoard } from './turn-board.ts'

const STATUS_EVERY_MS = 250
const BEAT_EVERY_MS = 100
/** One may have been on its way already. Where no second one comes, nothing has been asked of the instance either. */
const COMMITS_TO_SETTLE = 2
const NEVER = new AbortController().signal

interface Loaded {
  readonly nc: NatsConnection
  readonly build: Pick<HostOptions, 'workflows' | 'codecs'>
  readonly logger: Logger
}

const board = new SharedTurnBoard()
let loaded: Loaded | undefined
let host: ComposedHost | undefined
/** Judged turns that were left out, with the commits that there had been by then. */
const carriedOut: { readonly place: string; readonly commits: number }[] = []

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined)
process.on('disconnect', () => process.exit())
process.on('message', ({ id, request }: EngineCall) => {
  answer(request).then(
    (value) => {
      tellStatus()
      tell({ kind: 'answer', id, value })
      if (request.op === 'close') process.disconnect()
    },
    (error: unknown) => tell({ kind: 'refusal', id, error: toErrorData(error, 'STORAGE_FAILED') }),
  )
})
setInterval(() => board.beat(), BEAT_EVERY_MS).unref()

async function answer(request: EngineRequest): Promise<unknown> {
  switch (request.op) {
    case 'load':
      return load(request.settings)
    case 'arrange':
      return arrange(request)
    case 'open':
      return open(request.order)
    case 'effects-done':
      return opened().engine.effectsDone(request.partition, request.seq)
    case 'close':
      return close()
    default:
      return opened().engine[request.op](request.partition)
  }
}

async function load(settings: EngineSettings): Promise<EngineBuild> {
  const { connection, name, logLevel } = settings
  startGuard({ memory: board.memory, fd: GUARD_FD, parentPid: process.ppid, limits: settings.guard })
  const logger = await createLogger({ level: logLevel, json: connection.json === true })
  watchLastResort(logger)
  const workflows = await loadWorkflows(settings.workflows)
  checkWorkflows(workflows)
  const codecs = await toCodecs(connection)
  const nc = await openConnection(
    { servers: connection.servers, name, nats: toNatsOptions(connection) },
    new Deadline(connection.connectTimeout),
    NEVER,
  )
  loaded = { nc, build: { workflows, codecs }, logger }
  return { workflows: summaryOf(workflows) }
}

async function arrange({ record, folders, engines }: EngineRequest & { readonly op: 'arrange' }): Promise<void> {
  const { nc, logger } = built()
  const subjects = new Subjects(record.namespace, record.partitions)
  const logIdentity = await identityOf(nc, subjects.logStream)
  if (logIdentity === undefined)
    throw new CarillonError('JETSTREAM_UNAVAILABLE', `the stream ${subjects.logStream} is not there: start again`)
  const cluster = { clusterId: record.clusterId, clusterName: record.namespace, logIdentity }
  const stores = await Promise.all(
    folders.map(async (path) => (await openLmdbStore({ path, cluster, log: logger, lock: 'held' })).store),
  )
  try {
    const moved = await arrangeStores(stores, { engines, partitions: record.partitions })
    logger.info({ engines, moved }, 'the partitions in the data folder are arranged for another number of engines')
  } finally {
    await Promise.all(stores.map((store) => store.close()))
  }
}

async function open({ engine, dataDir, isProven, ...order }: EngineOrder): Promise<void> {
  const { record, partitions, limits, name, node, checkpoints, history, judgements, isCareful } = order
  const { nc, build, logger } = built()
  host = await composeHost({
    ...build,
    nc,
    record,
    subjects: new Subjects(record.namespace, record.partitions),
    dataDir,
    lock: 'held',
    isProven,
    partitions,
    limits,
    name,
    node,
    checkpoints,
    history,
    reach: parseFailpoint(process.env['CARILLON_FAILPOINT'], [process.ppid, process.pid]),
    watch: {
      board: isCareful ? new CarefulBoard(board, GUARD_FD) : board,
      judgements,
      onCarriedOut: (judgement) =>
        carriedOut.push({ place: placeOfTurn(judgement), commits: host?.engine.counts.commits ?? 0 }),
    },
    logger: engine === undefined ? logger : logger.child({ engine }),
    onFailed: (error) => tell({ kind: 'failed', error: toErrorData(error, 'STORAGE_FAILED') }),
  })
  await host.engine.start()
  host.engine.caughtUp.then(
    () => {
      tellStatus()
      tell({ kind: 'caught-up' })
    },
    () => undefined,
  )
  setInterval(tellStatus, STATUS_EVERY_MS).unref()
}

async function close(): Promise<void> {
  await host?.close()
  await loaded?.nc.close()
}

function built(): Loaded {
  if (loaded === undefined) throw new CarillonError('CONFIG_INVALID', 'the engine has not loaded its workflows')
  return loaded
}

function opened(): ComposedHost {
  if (host === undefined) throw new CarillonError('CONFIG_INVALID', 'the engine has not been opened')
  return host
}

function tellStatus(): void {
  if (host === undefined) return
  const { engine } = host
  const status: EngineStatus = {
    hosted: engine.hosted(),
    counts: { ...engine.counts },
    load: engine.load,
    residents: engine.residents,
    remote: remoteStatusOf(host),
    memoryBytes: process.memoryUsage.rss(),
    settled: carriedOut
      .filter(({ commits }) => engine.counts.commits >= commits + COMMITS_TO_SETTLE)
      .map(({ place }) => place),
  }
  tell({ kind: 'status', status })
}

function tell(message: EngineMessage): void {
  if (process.connected) process.send?.(message)
}
