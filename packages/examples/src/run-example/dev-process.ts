/**
 * `carillon dev` as a child process.
 *
 * Owns: the process. It is in a group of its own, so that a Ctrl-C reaches it through its owner alone, and it stops by itself when its owner is
 * gone, however it went.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export interface DevProcess {
  readonly url: string
  readonly mqtt: string | undefined
  /** The process has ended by itself; resolves with its exit code. */
  readonly exited: Promise<number>
  /** Asks it to stop, and waits. Resolves with its exit code. */
  stop(): Promise<number>
}

export interface DevOptions {
  readonly workflows: readonly string[]
  /** Its working directory, where it keeps its data. */
  readonly folder: string
  readonly port: number
  readonly mqttPort: number | undefined
  /** Gets each line of its log. */
  readonly onLog: (line: string) => void
}

const BIN = fileURLToPath(new URL('../../../node/bin/carillon.js', import.meta.url))
const READY_MS_MAX = 60_000

/** Starts it and waits until its node is ready. @throws when it ends before, or takes over a minute. */
export async function startDev({ workflows, folder, port, mqttPort, onLog }: DevOptions): Promise<DevProcess> {
  const flags = ['--port', String(port), '--data-dir', 'data', '--json', '--supervised']
  const mqttFlags = mqttPort === undefined ? [] : ['--mqtt-port', String(mqttPort)]
  const child = spawn(process.execPath, [...process.execArgv, BIN, 'dev', ...workflows, ...flags, ...mqttFlags], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    detached: true,
  })
  const exited = once(child, 'exit').then(([code]: (number | null)[]) => code ?? 1)
  if (child.stderr !== null) createInterface({ input: child.stderr }).on('line', onLog)
  const timer = setTimeout(() => child.kill('SIGKILL'), READY_MS_MAX)
  const ready = await Promise.race([readyLine(child), exited])
  clearTimeout(timer)
  if (typeof ready === 'number') throw new Error(`carillon dev ended with ${ready} before it was ready`)
  return {
    ...ready,
    exited,
    stop() {
      child.kill('SIGTERM')
      return exited
    },
  }
}

interface Ready {
  readonly url: string
  readonly mqtt: string | undefined
}

function readyLine({ stdout }: ChildProcess): Promise<Ready> {
  return new Promise((resolve) => {
    if (stdout === null) return
    createInterface({ input: stdout }).on('line', (line) => {
      const { event, url, mqtt } = JSON.parse(line) as { event: string; url: string; mqtt?: string }
      if (event === 'ready') resolve({ url, mqtt })
    })
  })
}
