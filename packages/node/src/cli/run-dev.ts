/**
 * `carillon dev`: a nats-server and a node in one process tree, the node anew at each change of the sources.
 *
 * Owns: the data folder (locked while it runs), the server, the node process, the watchers.
 *
 * Invariants
 * 1. When it ends, however it ends, both processes end: the server by its watchdog, the node by the end of its channel.
 * 2. What was accepted is kept between runs: the folder is only added to.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'

import { CarillonError } from '@carillon/runtime'
import type { Logger } from '@carillon/runtime/ports'

import { type DirectoryLock, lockDirectory } from '../directory-lock.ts'
import { freePort, type NatsProcess, openNatsProcess } from '../nats-process.ts'
import { formatFirstSteps } from './dev-hints.ts'
import type { ReadyMessage } from './dev-message.ts'
import { type DevNode, startDevNode } from './dev-node.ts'
import { EXIT_OK } from './exit-codes.ts'
import { findNatsServer } from './find-nats-server.ts'
import { createLogger, type LogLevel } from './logger.ts'
import { print, printJson } from './output.ts'
import { SourceWatch } from './source-watch.ts'
import { StopRequest } from './stop-request.ts'

export interface DevFlags {
  readonly dataDir: string
  readonly port?: number
  /** Where the nats-server takes MQTT; nowhere when undefined. */
  readonly mqttPort?: number
  readonly namespace: string
  readonly logLevel: LogLevel
  readonly json?: boolean
  /** The end of the channel to the parent process counts as a request to stop. */
  readonly supervised?: boolean
  readonly codecs?: string
}

const HOST = '127.0.0.1'
const PORT_DEFAULT = 4222
const FILES_DEFAULT = [
  'workflow.ts',
  'workflows.ts',
  'src/workflow.ts',
  'src/workflows.ts',
  'workflow.js',
  'src/workflow.js',
]

/**
 * Runs until asked to stop.
 *
 * @returns the exit code after a stop that was asked for.
 * @throws CONFIG_INVALID without a workflow file or a nats-server. @throws DATA_IN_USE when another dev has the folder.
 * @throws SERVER_UNREACHABLE when the nats-server does not start, or ends.
 */
export async function runDev(given: readonly string[], flags: DevFlags): Promise<number> {
  const logger = await createLogger({ level: flags.logLevel, json: flags.json === true })
  const files = findFiles(given)
  const binary = await findNatsServer()
  const dataDir = resolve(flags.dataDir)
  const lock = await openDataDir(dataDir)
  const session: Session = { wasReady: false, files, flags, dataDir, logger }
  try {
    const port = await choosePort(flags.port, logger)
    const nats = await openNatsProcess({
      path: binary.path,
      storeDir: join(dataDir, 'nats'),
      port,
      ...mqttConfig(flags.mqttPort),
      log: (line) => logServer(logger, line),
    })
    logger.info({ url: nats.url, version: binary.version }, 'nats-server is running')
    return await runWithServer(session, nats)
  } finally {
    lock.release()
  }
}

interface Session {
  /** The first steps have been told. */
  wasReady: boolean
  readonly files: readonly string[]
  readonly flags: DevFlags
  readonly dataDir: string
  readonly logger: Logger
}

async function runWithServer(session: Session, nats: NatsProcess): Promise<number> {
  const watch = new SourceWatch([
    ...session.files,
    ...(session.flags.codecs === undefined ? [] : [session.flags.codecs]),
  ])
  const current: { node: DevNode | undefined } = { node: undefined }
  const stop = new StopRequest({
    withParent: session.flags.supervised === true,
    onHardStop: () => {
      current.node?.kill()
      nats.signal('SIGKILL')
    },
  })
  try {
    await runNodes(session, { nats, watch, stop, current })
    return EXIT_OK
  } finally {
    watch.close()
    await current.node?.stop()
    await nats.stop()
  }
}

interface Tree {
  readonly nats: NatsProcess
  readonly watch: SourceWatch
  readonly stop: StopRequest
  readonly current: { node: DevNode | undefined }
}

type Event =
  | { readonly kind: 'changed'; readonly files: readonly string[] }
  | { readonly kind: 'ended'; readonly code: number }
  | { readonly kind: 'stop' | 'no-server' }

/** One node after the other, until a stop is asked for. */
async function runNodes(session: Session, { nats, watch, stop, current }: Tree): Promise<void> {
  const { logger } = session
  const stopped = stop.requested.then(() => ({ kind: 'stop' }) as const)
  const noServer = nats.exited.then(() => ({ kind: 'no-server' }) as const)
  let changed = watch.next().then((files) => ({ kind: 'changed', files }) as const)
  for (;;) {
    current.node ??= startDevNode(nodeArguments(session, nats), (message) => announce(session, nats, message))
    const ended = current.node.exited.then((code) => ({ kind: 'ended', code }) as const)
    let event: Event = await Promise.race([stopped, noServer, changed, ended])
    if (event.kind === 'ended') {
      logger.warn({ code: event.code }, 'the node has ended: waiting for a change of the sources')
      event = await Promise.race([stopped, noServer, changed])
    }
    if (event.kind === 'stop') return logger.info({ by: await stop.requested }, 'stopping')
    if (event.kind === 'no-server')
      throw new CarillonError(
        'SERVER_UNREACHABLE',
        'the nats-server of carillon dev has ended: look at its log above, and start dev again',
      )
    if (event.kind === 'changed') logger.info({ files: event.files }, 'sources have changed: the node starts anew')
    changed = watch.next().then((files) => ({ kind: 'changed', files }) as const)
    await current.node.stop()
    current.node = undefined
  }
}

function nodeArguments({ files, flags, dataDir }: Session, nats: NatsProcess): string[] {
  const { namespace, logLevel, json, codecs } = flags
  const data = join(dataDir, 'node')
  const options = [
    '--servers',
    nats.url,
    '--namespace',
    namespace,
    '--data-dir',
    data,
    '--name',
    'dev',
    '--log-level',
    logLevel,
    // Nobody else waits here.
    '--spare',
    '0',
  ]
  const optional = [...(json === true ? ['--json'] : []), ...(codecs === undefined ? [] : ['--codecs', codecs])]
  return [...options, ...optional, '--workflows', ...files]
}

function announce(session: Session, { url, port }: NatsProcess, { workflows }: ReadyMessage): void {
  const { flags, dataDir, wasReady } = session
  session.wasReady = true
  const { namespace, mqttPort } = flags
  const mqtt = mqttPort === undefined ? undefined : `mqtt://${HOST}:${mqttPort}`
  if (flags.json === true) return printJson({ event: 'ready', url, mqtt, namespace, dataDir, workflows })
  if (wasReady) return print('ready again')
  const servers = port === PORT_DEFAULT ? undefined : url
  for (const line of formatFirstSteps({ url, servers, mqtt, namespace, dataDir, workflows })) print(line)
}

function findFiles(given: readonly string[]): readonly string[] {
  if (given.length > 0) {
    const missing = given.find((file) => !existsSync(file))
    if (missing === undefined) return given
    throw new CarillonError(
      'CONFIG_INVALID',
      `the workflow file ${missing} does not exist: check the path, which is relative to the working directory`,
    )
  }
  const found = FILES_DEFAULT.find((file) => existsSync(file))
  if (found !== undefined) return [found]
  throw new CarillonError(
    'CONFIG_INVALID',
    `no workflow file is given, and there is no ${FILES_DEFAULT.slice(0, 4).join(', ')} here: pass one, for example carillon dev my-workflow.ts`,
  )
}

async function openDataDir(dataDir: string): Promise<DirectoryLock> {
  try {
    mkdirSync(dataDir, { recursive: true })
    const lock = await lockDirectory(dataDir)
    if (!existsSync(join(dataDir, '.gitignore'))) writeFileSync(join(dataDir, '.gitignore'), '*\n')
    return lock
  } catch (error) {
    if (error instanceof CarillonError) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw new CarillonError(
      'STORAGE_FAILED',
      `the data folder ${dataDir} cannot be used: ${reason}: check its rights, or give another by --data-dir`,
      { cause: error },
    )
  }
}

/** The port that was asked for, or the usual one, or, when that is taken, any free one. */
async function choosePort(asked: number | undefined, logger: Logger): Promise<number> {
  const port = asked ?? PORT_DEFAULT
  if (await isFree(port)) return port
  if (asked !== undefined)
    throw new CarillonError(
      'CONFIG_INVALID',
      `port ${asked} cannot be listened on: another program may have it; leave --port out to have a free one chosen`,
    )
  const other = await freePort()
  logger.warn({ port: other }, `port ${PORT_DEFAULT} is taken: nats-server listens on ${other}`)
  return other
}

function mqttConfig(port: number | undefined): { readonly config?: string } {
  return port === undefined ? {} : { config: `mqtt { host: ${HOST}, port: ${port} }` }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, HOST, () => server.close(() => resolve(true)))
  })
}

/** What the server says in passing is for debugging. */
function logServer(logger: Logger, line: string): void {
  const text = line.replace(/^\[\d+\] \S+ \S+ /, '')
  if (/^\[(?:ERR|FTL)\]/.test(text)) logger.error({}, `nats-server: ${text.slice(6)}`)
  else if (text.startsWith('[WRN]')) logger.warn({}, `nats-server: ${text.slice(6)}`)
  else logger.debug({}, `nats-server: ${text}`)
}
