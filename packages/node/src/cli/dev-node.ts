/**
 * The node process under `carillon dev`.
 *
 * Owns: one child process, and a watchdog over it.
 *
 * Invariants
 * 1. Ctrl-C in the terminal reaches dev alone: the child is in a group of its own.
 * 2. When dev is gone, however it went, the node drains, or is ended by the watchdog if an author's code keeps it from that.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

import { isReady, type ReadyMessage } from './dev-message.ts'

export interface DevNode {
  /** Resolves when the process has ended, with its exit code. */
  readonly exited: Promise<number>
  /** Asks it to drain; resolves when it has ended. */
  stop(): Promise<void>
  /** Ends it at once. */
  kill(): void
}

const BIN = fileURLToPath(new URL('../../bin/carillon.js', import.meta.url))
/** A node that takes longer is stuck in an author's code, and ending it loses nothing. */
const STOP_SECONDS_MAX = 5
/** Waits for the end of a pipe that only dev holds open, grants the node its time, and ends it. */
const WATCHDOG = `
cat >/dev/null
i=0
while [ $i -lt ${STOP_SECONDS_MAX} ] && kill -0 "$1" 2>/dev/null; do sleep 1; i=$((i + 1)); done
kill -KILL "$1" 2>/dev/null`

/** Starts `carillon node` with the arguments. Its log goes to this process's stderr. */
export function startDevNode(args: readonly string[], onReady: (message: ReadyMessage) => void): DevNode {
  const child = spawn(process.execPath, [...process.execArgv, BIN, 'node', '--supervised', ...args], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    detached: true,
  })
  child.on('message', (message) => {
    if (isReady(message)) onReady(message)
  })
  const exited = new Promise<number>((resolve) => {
    child.once('error', () => resolve(1))
    child.once('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? 'SIGKILL']))
  })
  const watchdog = watchOver(child)
  child.once('exit', watchdog.end)
  const kill = (): void => {
    child.kill('SIGKILL')
    watchdog.end()
  }
  return { exited, kill, stop: () => stop(child, exited) }
}

async function stop(child: ChildProcess, exited: Promise<number>): Promise<void> {
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_SECONDS_MAX * 1000)
  await exited
  clearTimeout(timer)
}

function watchOver({ pid }: ChildProcess): { readonly end: () => void } {
  if (pid === undefined || process.platform === 'win32') return { end: () => undefined }
  const watchdog = spawn('/bin/sh', ['-c', WATCHDOG, 'sh', String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  watchdog.on('error', () => undefined)
  return { end: () => void (watchdog.pid !== undefined && endGroup(watchdog.pid)) }
}

/** The shell and what it runs: both are in the group that `detached` made. */
function endGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended already.
  }
}
