/**
 * A node as a child process, for demos and benches: started, killed, frozen, asked to stop.
 *
 * Owns: the process, and while it is frozen a watchdog that ends it when this process is gone: frozen, it would not notice.
 * Does not own: its data folder and its log, which outlive it.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

import { processTreeOf, sendSignal } from './process-tree.ts'
import { type ProcessWatchdog, watchProcess } from './process-watchdog.ts'

export interface NodeProcessOptions {
  /** Of `carillon node`, or of `program`. */
  readonly args: readonly string[]
  /** What it logs is appended there. */
  readonly logPath: string
  /** A program of one's own that opens a node, ends when it is disconnected, and sends any message when the node is ready. Default: `carillon node`. */
  readonly program?: string
  readonly env?: Readonly<Record<string, string>> | undefined
  /** How long it may take to be ready. Default 60 s. */
  readonly readyTimeoutMs?: number | undefined
  /** Gives up waiting. */
  readonly signal?: AbortSignal | undefined
}

export interface NodeProcess {
  readonly pid: number
  /** From its start until it applied what came in, milliseconds. */
  readonly readyMs: number
  /** Resolves when it has ended, whoever ended it, with its exit code: null when a signal did. */
  readonly exited: Promise<number | null>
  /** The last lines that it, or a process before it, has logged. */
  logTail(): string
  /** Ends it as a crash would. */
  kill9(): Promise<void>
  /** Asks it to drain (SIGTERM), and ends it by force when that takes over 30 s. Resolves with the exit code. */
  stop(): Promise<number | null>
  /** SIGSTOP, for its engines as well: its connections stay open, and nothing answers. */
  freeze(): void
  /** SIGCONT. */
  thaw(): void
}

const CARILLON = fileURLToPath(new URL('../bin/carillon.js', import.meta.url))
/** As the command itself has it. */
const NODE_FLAGS = ['--max-semi-space-size=64']
const READY_TIMEOUT_MS = 60_000
const STOP_MS_MAX = 30_000
const LOG_LINES_SHOWN = 15

/**
 * Starts a node, and waits until it is ready. It ends with this process.
 *
 * @throws when it ends before it is ready, or takes too long; the message shows the end of its log. It has ended then.
 */
export async function openNodeProcess(options: NodeProcessOptions): Promise<NodeProcess> {
  const { logPath, signal, readyTimeoutMs = READY_TIMEOUT_MS } = options
  const startMs = performance.now()
  const child = spawnNode(options)
  const exited = new Promise<number | null>((resolve) => {
    child.once('exit', resolve)
    child.once('error', () => resolve(null))
  })
  const logTail = (): string => readFileSync(logPath, 'utf8').trimEnd().split('\n').slice(-LOG_LINES_SHOWN).join('\n')
  try {
    const late = AbortSignal.timeout(readyTimeoutMs)
    await waitUntilReady(child, exited, signal === undefined ? late : AbortSignal.any([signal, late]))
  } catch (error) {
    child.kill('SIGKILL')
    await exited
    signal?.throwIfAborted()
    const hasEnded = error instanceof Error && error.name !== 'AbortError'
    const what = hasEnded ? error.message : `was not ready within ${readyTimeoutMs} ms`
    throw new Error(`the node, process ${child.pid ?? 0}, ${what}; its log ends with:\n${logTail()}`, { cause: error })
  }
  return { pid: child.pid ?? 0, readyMs: performance.now() - startMs, exited, logTail, ...commandsOf(child, exited) }
}

function spawnNode({ args, logPath, program, env }: NodeProcessOptions): ChildProcess {
  const log = openSync(logPath, 'a')
  const child = fork(program ?? CARILLON, program === undefined ? ['node', '--supervised', ...args] : [...args], {
    stdio: ['ignore', log, log, 'ipc'],
    execArgv: [...NODE_FLAGS, ...process.execArgv],
    env: { ...process.env, ...env },
  })
  closeSync(log)
  return child
}

async function waitUntilReady(child: ChildProcess, exited: Promise<number | null>, signal: AbortSignal): Promise<void> {
  const ended = exited.then((code) => Promise.reject(new Error(`ended with ${code} before it was ready`)))
  ended.catch(() => undefined)
  await Promise.race([once(child, 'message', { signal }), ended])
}

function commandsOf(
  child: ChildProcess,
  exited: Promise<number | null>,
): Pick<NodeProcess, 'kill9' | 'stop' | 'freeze' | 'thaw'> {
  let frozen: readonly { readonly pid: number; readonly watchdog: ProcessWatchdog }[] = []
  const thaw = (): void => {
    for (const { pid, watchdog } of frozen) {
      sendSignal(pid, 'SIGCONT')
      watchdog.end()
    }
    frozen = []
  }
  exited.then(thaw, thaw)
  return {
    thaw,
    freeze() {
      if (frozen.length > 0) return
      frozen = processTreeOf(child.pid ?? 0).map((pid) => ({ pid, watchdog: watchProcess(pid) }))
      for (const { pid } of frozen) sendSignal(pid, 'SIGSTOP')
    },
    async kill9() {
      child.kill('SIGKILL')
      await exited
    },
    async stop() {
      thaw()
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX)
      child.kill('SIGTERM')
      const exitCode = await exited
      clearTimeout(timer)
      return exitCode
    },
  }
}
