/**
 * The status file of a node: what `carillon health` looks at.
 *
 * It lies in the data directory, which one live process has for itself, and is written only by the process that has it. A heartbeat from the
 * event loop shows that the process is not merely there.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { Logger } from '@carillon/runtime/ports'

import type { NodePhase } from '../monitor/node-phase.ts'

const STATUS_FILE = 'node-status.json'
const HEARTBEAT_MS = 2000
/** Five heartbeats: less would call a busy disk a dead node. */
export const SILENT_MS_MAX = 10_000

export interface NodeStatus {
  readonly name: string
  readonly namespace: string
  readonly pid: number
  /** Tells this process from a later one with its id; empty where the system does not say. */
  readonly startTicks: string
  readonly phase: NodePhase
  /** Milliseconds since the epoch. */
  readonly heartbeatMs: number
}

export interface StatusWriter {
  enter(phase: Exclude<NodePhase, 'opening'>): void
  /** Stops the heartbeat and removes the file. */
  close(): void
}

/** Writes the status now, at every change, and every two seconds. A file that cannot be written is told once, and looks like a dead node. */
export function openStatusWriter(
  dataDir: string,
  node: { readonly name: string; readonly namespace: string },
  logger: Logger,
): StatusWriter {
  const file = join(dataDir, STATUS_FILE)
  let phase: NodePhase = 'catching-up'
  let hasFailed = false
  const write = (): void => {
    const status: NodeStatus = {
      ...node,
      pid: process.pid,
      startTicks: startTicksOf(process.pid),
      phase,
      heartbeatMs: Date.now(),
    }
    try {
      writeFileSync(`${file}.new`, JSON.stringify(status))
      renameSync(`${file}.new`, file)
      hasFailed = false
    } catch (error) {
      if (!hasFailed)
        logger.warn(
          { file, error },
          'the status file cannot be written: carillon health will report this node as silent',
        )
      hasFailed = true
    }
  }
  write()
  const timer = setInterval(write, HEARTBEAT_MS)
  timer.unref()
  return {
    enter(next) {
      phase = next
      write()
    },
    close() {
      clearInterval(timer)
      rmSync(file, { force: true })
    },
  }
}

/** Reads the status; undefined when there is none, or none that can be read. */
export function readStatus(dataDir: string): NodeStatus | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(join(dataDir, STATUS_FILE), 'utf8'))
    return typeof value === 'object' && value !== null && 'pid' in value ? (value as NodeStatus) : undefined
  } catch {
    return undefined
  }
}

/** Whether the process that wrote the status still runs. */
export function isRunning({ pid, startTicks }: NodeStatus): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  return startTicksOf(pid) === startTicks
}

/** Ticks from boot to the start of a process. Process ids repeat, above all in containers. */
function startTicksOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in brackets may hold anything; the start is the 20th field behind it.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}
