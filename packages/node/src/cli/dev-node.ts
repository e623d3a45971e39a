/**
 * The node process under `carillon dev`.
 *
 * Owns: one child process. It is in a group of its own, so that Ctrl-C in the terminal reaches dev alone, and it stops by itself when dev is gone.
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
/** Longer than a node takes to drain by itself. */
const STOP_MS_MAX = 30_000

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
  return { exited, kill: () => void child.kill('SIGKILL'), stop: () => stop(child, exited) }
}

async function stop(child: ChildProcess, exited: Promise<number>): Promise<void> {
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX)
  await exited
  clearTimeout(timer)
}
