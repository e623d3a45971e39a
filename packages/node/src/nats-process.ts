/**
 * A nats-server as a child process: for `carillon dev` and for tests.
 *
 * Owns: the process, its configuration file, and a watchdog that ends it when this process is gone, however it went.
 * Does not own: the store directory, which outlives the process; finding or fetching the binary.
 *
 * Invariants
 * 1. `openNatsProcess` resolves only when the server that answers on the port is the one it started.
 * 2. When this process ends, even by SIGKILL, the server ends: the watchdog reads a pipe that only this process holds
 *    open.
 * 3. A store directory always has the same server name: in a cluster, the name is who the server is, and under another
 *    one its streams would miss a member for ever.
 * 4. A signal to the terminal's process group does not reach the server: its owner decides when it stops.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join, resolve as resolvePath } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

import { CarillonError } from '@carillon/runtime'

import { watchProcess } from './process-watchdog.ts'

export interface NatsProcessOptions {
  /** The nats-server binary. */
  readonly path: string
  /** Keeps the streams and the generated configuration; made when absent. */
  readonly storeDir: string
  /** The client port; a free one when undefined. */
  readonly port?: number
  /** The server's name; by default one that follows from the store directory. */
  readonly name?: string
  /** More lines of nats-server configuration, at the top level of the file. */
  readonly config?: string
  /** More lines inside the `jetstream` block, for example `sync_interval: always`. */
  readonly jetstreamConfig?: string
  /** Receives what the server logs, line by line. */
  readonly log?: (line: string) => void
  /** How long the server may take to answer, recovery of its streams included. Default 30 s. */
  readonly readyTimeoutMs?: number
}

export interface NatsProcess {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** Resolves when the process has ended, whoever ended it. */
  readonly exited: Promise<void>
  /** Ends the server gracefully, and by force when it takes over 10 s. Safe to call again. */
  stop(): Promise<void>
  /** Ends the server as a crash would. */
  kill9(): Promise<void>
  /** Sends it a signal, for example SIGSTOP. */
  signal(name: NodeJS.Signals): void
}

const HOST = '127.0.0.1'
const READY_TIMEOUT_MS = 30_000
const STOP_TIMEOUT_MS = 10_000
const POLL_MS = 20
/** Another program may take the free port before the server does. */
const PORT_ATTEMPTS_MAX = 3
const LOG_LINES_KEPT = 40
const NAME_DIGITS = 16

/**
 * Starts a nats-server with JetStream and waits until it answers.
 *
 * @throws SERVER_UNREACHABLE when it ends or does not answer in time; the message quotes its last log lines.
 */
export async function openNatsProcess(options: NatsProcessOptions): Promise<NatsProcess> {
  await mkdir(options.storeDir, { recursive: true })
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(options, options.port ?? (await freePort()))
    } catch (error) {
      const taken = error instanceof Error && error.message.includes('address already in use')
      if (!taken || options.port !== undefined || attempt === PORT_ATTEMPTS_MAX) throw error
    }
  }
}

/** A port that nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, HOST)
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string')
    throw new Error('a listening TCP server has an address with a port')
  server.close()
  await once(server, 'close')
  return address.port
}

async function start(options: NatsProcessOptions, port: number): Promise<NatsProcess> {
  const name = options.name ?? nameOf(options.storeDir)
  await removePortsFiles(options.storeDir)
  const configPath = join(options.storeDir, 'nats-server.conf')
  await writeFile(configPath, configOf(options, port, name))
  const child = spawn(options.path, ['-c', configPath], { stdio: ['ignore', 'ignore', 'pipe'], detached: true })
  const lines = collectLines(child, options.log)
  const exited = new Promise<void>((resolve) => {
    // Behind `exit`: what the server wrote last has been read by then.
    child.once('close', () => resolve())
    child.once('error', (error) => {
      lines.push(String(error))
      resolve()
    })
  })
  const watchdog = child.pid === undefined ? undefined : watchProcess(child.pid)
  child.once('exit', () => watchdog?.end())

  const failure = await waitUntilReady(
    { port, name, child, dir: options.storeDir },
    options.readyTimeoutMs ?? READY_TIMEOUT_MS,
  )
  if (failure === undefined) return handleOf(child, port, exited)
  child.kill('SIGKILL')
  await exited
  const tail = lines.map((line) => `\n  ${line}`).join('')
  throw new CarillonError('SERVER_UNREACHABLE', `${options.path} on port ${port} ${failure}; its log ends with:${tail}`)
}

function handleOf(child: ChildProcess, port: number, exited: Promise<void>): NatsProcess {
  const { pid } = child
  if (pid === undefined) throw new Error('a server that answers has a process id')
  const kill9 = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exited
  }
  return {
    url: `nats://${HOST}:${port}`,
    port,
    pid,
    exited,
    kill9,
    async stop() {
      child.kill('SIGCONT')
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
      await exited
      clearTimeout(timer)
    },
    signal: (name) => void child.kill(name),
  }
}

function configOf(options: NatsProcessOptions, port: number, name: string): string {
  return [
    `server_name: ${JSON.stringify(name)}`,
    `host: ${HOST}`,
    `port: ${port}`,
    `ports_file_dir: ${JSON.stringify(options.storeDir)}`,
    `jetstream { store_dir: ${JSON.stringify(options.storeDir)}\n${options.jetstreamConfig ?? ''}\n}`,
    options.config ?? '',
    '',
  ].join('\n')
}

function collectLines(child: ChildProcess, log: ((line: string) => void) | undefined): string[] {
  const lines: string[] = []
  let rest = ''
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n')
    rest = parts.pop() ?? ''
    for (const line of parts) {
      lines.push(line)
      if (lines.length > LOG_LINES_KEPT) lines.shift()
      log?.(line)
    }
  })
  return lines
}

interface Starting {
  readonly port: number
  readonly name: string
  readonly child: ChildProcess
  readonly dir: string
}

/** Undefined when the server is ready, else what went wrong. */
async function waitUntilReady({ port, name, child, dir }: Starting, timeoutMs: number): Promise<string | undefined> {
  const deadline = performance.now() + timeoutMs
  while (performance.now() < deadline) {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null)
      return 'ended before it was ready'
    // The server writes the file, named after its process id, when it listens: another one on the port does not (invariant 1).
    const hasWritten = (await portsFiles(dir)).some((file) => file.endsWith(`_${child.pid}.ports`))
    if (hasWritten && (await serverNameAt(port)) === name) return undefined
    await delay(POLL_MS)
  }
  return `did not answer within ${timeoutMs} ms`
}

function nameOf(storeDir: string): string {
  return `carillon-${createHash('sha256').update(resolvePath(storeDir)).digest('hex').slice(0, NAME_DIGITS)}`
}

async function portsFiles(dir: string): Promise<string[]> {
  return (await readdir(dir)).filter((file) => file.endsWith('.ports'))
}

async function removePortsFiles(dir: string): Promise<void> {
  for (const file of await portsFiles(dir)) await rm(join(dir, file), { force: true })
}

/** The server_name of the INFO line that a NATS server sends first, or undefined (invariant 1). */
function serverNameAt(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, HOST)
    let text = ''
    const finish = (name?: string): void => {
      socket.destroy()
      resolve(name)
    }
    socket.setTimeout(1000, () => finish())
    socket.on('error', () => finish())
    socket.on('end', () => finish())
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      if (text.includes('\r\n')) finish(/"server_name":"([^"]+)"/.exec(text)?.[1])
    })
  })
}
