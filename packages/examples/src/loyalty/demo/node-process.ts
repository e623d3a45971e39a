/** A node as a child process: started, killed, started again. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { openSync, closeSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export interface NodeProcess {
  readonly pid: number
  /** From the start of the process until it applies what comes in, milliseconds. */
  readonly readyMs: number
  /** The last lines that it, or a process before it, has logged. */
  logTail(): string
  /** Resolves when it has ended, whoever ended it. */
  readonly exited: Promise<void>
  /** Ends it as a crash would. */
  kill9(): Promise<void>
  /** Ends it in order, and by force when it takes over 10 s. */
  stop(): Promise<void>
}

const READY_WITHIN_MS = 20_000
const STOP_WITHIN_MS = 10_000
const LOG_LINES_SHOWN = 15

/** The node's program lies beside this folder, compiled as this file is. */
const PROGRAM = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../node-main.ts' : '../node-main.js', import.meta.url),
)

/**
 * Starts a node and waits until it is ready.
 *
 * @param logPath its log lines are appended there.
 * @throws when it ends before it is ready or takes over 20 s; the message shows the end of its log.
 */
export async function startNode(args: readonly string[], logPath: string, signal: AbortSignal): Promise<NodeProcess> {
  const startMs = performance.now()
  const log = openSync(logPath, 'a')
  const child = fork(PROGRAM, [...args], { stdio: ['ignore', log, log, 'ipc'] })
  closeSync(log)
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  try {
    await waitUntilReady(child, exited, signal)
  } catch (error) {
    child.kill('SIGKILL')
    await exited
    signal.throwIfAborted()
    throw new Error(`the node ${messageOf(error)}; its log ends with:\n${tailOf(logPath)}`, { cause: error })
  }
  return handleOf(child, exited, logPath, performance.now() - startMs)
}

async function waitUntilReady(child: ChildProcess, exited: Promise<void>, signal: AbortSignal): Promise<void> {
  const ended = exited.then(() => Promise.reject(new Error('ended before it was ready')))
  ended.catch(() => undefined)
  const either = AbortSignal.any([signal, AbortSignal.timeout(READY_WITHIN_MS)])
  await Promise.race([once(child, 'message', { signal: either }), ended])
}

function handleOf(child: ChildProcess, exited: Promise<void>, logPath: string, readyMs: number): NodeProcess {
  const end = async (name: NodeJS.Signals): Promise<void> => {
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS)
    child.kill(name)
    await exited
    clearTimeout(timer)
  }
  return {
    pid: child.pid ?? 0,
    readyMs,
    exited,
    logTail: () => tailOf(logPath),
    kill9: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error && error.name !== 'AbortError'
    ? error.message
    : `was not ready within ${READY_WITHIN_MS} ms`
}

function tailOf(path: string): string {
  return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-LOG_LINES_SHOWN).join('\n')
}
