/** Ends a process when this one is gone, however it went. */
import { spawn } from 'node:child_process'
import type { Socket } from 'node:net'

export interface ProcessWatchdog {
  /** Leaves the process alone from now on. */
  end(): void
}

/** The watchdog is a shell that reads a pipe which only this process holds open, and kills `pid` when the pipe closes. */
export function watchProcess(pid: number): ProcessWatchdog {
  if (process.platform === 'win32') return watchOnExit(pid)
  const script = 'cat >/dev/null; kill -KILL "$1" 2>/dev/null'
  const watchdog = spawn('/bin/sh', ['-c', script, 'sh', String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  watchdog.on('error', () => undefined)
  watchdog.unref()
  if (watchdog.stdin !== null && 'unref' in watchdog.stdin) (watchdog.stdin as Socket).unref()
  return { end: () => void (watchdog.pid !== undefined && killGroup(watchdog.pid)) }
}

function watchOnExit(pid: number): ProcessWatchdog {
  const kill = (): void => {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended already.
    }
  }
  process.once('exit', kill)
  return { end: () => void process.off('exit', kill) }
}

/** The shell and its `cat`: both are in the group that `detached` made. */
function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended already.
  }
}
