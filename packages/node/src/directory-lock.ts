/**
 * One live process per data directory.
 *
 * The lock is the kernel's flock on a file in the directory: it ends with the process, however that ends, and knows nothing of process ids,
 * which repeat and differ between containers. Node has no flock, but the lock belongs to the open file, not to the process that asked: the
 * `flock` program (util-linux, BusyBox) takes it on a descriptor that it inherits, and we keep that descriptor open.
 *
 * Where there is no such program, the process named in the file is looked for instead: by its id and, on Linux, by its start time, which no
 * later process with the same id shares. Then two processes that start in the same moment may both get the lock.
 */
import { spawn } from 'node:child_process'
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'

import { CarillonError } from '@carillon/runtime'

/** So long may the children of a process that was killed outlive it: their guards look for it many times a second. */
const LINGER_MS_MAX = 3000
const LINGER_LOOK_MS = 50

/** The file that is locked. It is never removed: a lock on a removed file would lock nobody out. */
export const LOCK_FILE = 'carillon.lock'

export interface DirectoryLock {
  /** The open file that is locked. A child process that inherits it has the directory locked as long as it lives. */
  readonly descriptor: number
  release(): void
}

export interface LockOptions {
  /** The program that takes the lock; another name in tests. */
  readonly flockProgram?: string
}

interface Holder {
  readonly pid: number
  readonly host: string
  /** Ticks from boot to the start of the process, and the boot; empty where the system does not tell. */
  readonly started: string
}

/** @throws DATA_IN_USE when a live process has the directory. */
export async function lockDirectory(path: string, options: LockOptions = {}): Promise<DirectoryLock> {
  const file = join(path, LOCK_FILE)
  // Not 'w': the holder's name must survive a failed attempt. Not 'a': the name is written at the start.
  closeSync(openSync(file, 'a'))
  const descriptor = openSync(file, 'r+')
  try {
    const program = options.flockProgram ?? 'flock'
    const taken = await orLeft(await flock(descriptor, program), file, () => flock(descriptor, program))
    const holder = readHolder(file)
    if (taken === 'no' || (taken === 'unknown' && holder !== undefined && isAlive(holder))) throw inUse(path, holder)
    const self: Holder = { pid: process.pid, host: hostname(), started: startOf(process.pid) }
    ftruncateSync(descriptor)
    writeSync(descriptor, JSON.stringify(self), 0)
  } catch (error) {
    closeSync(descriptor)
    throw error
  }
  return {
    descriptor,
    release() {
      try {
        ftruncateSync(descriptor)
      } finally {
        closeSync(descriptor)
      }
    },
  }
}

type Taken = 'yes' | 'no' | 'unknown'

/** The lock of a process that has ended may still be held by its children, for a moment. */
async function orLeft(first: Taken, file: string, again: () => Promise<Taken>): Promise<Taken> {
  let taken = first
  for (const endMs = performance.now() + LINGER_MS_MAX; taken === 'no' && performance.now() < endMs;) {
    const holder = readHolder(file)
    if (holder === undefined || holder.host !== hostname() || isAlive(holder)) break
    await new Promise((resolve) => setTimeout(resolve, LINGER_LOOK_MS))
    taken = await again()
  }
  return taken
}

function flock(descriptor: number, program: string): Promise<Taken> {
  return new Promise((resolve) => {
    // Descriptor 3 of the child is ours; its lock stays when the child is gone.
    const child = spawn(program, ['-n', '-x', '3'], { stdio: ['ignore', 'ignore', 'ignore', descriptor] })
    child.once('error', () => resolve('unknown'))
    child.once('exit', (code) => resolve(code === 0 ? 'yes' : code === 1 ? 'no' : 'unknown'))
  })
}

function inUse(path: string, holder: Holder | undefined): CarillonError {
  const who = holder === undefined ? 'another process' : `process ${holder.pid} on ${holder.host}`
  return new CarillonError(
    'DATA_IN_USE',
    `the data directory ${path} is in use by ${who}: stop it, or give this node its own data directory`,
    { details: { path, holder } },
  )
}

function readHolder(file: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'))
    if (typeof value !== 'object' || value === null) return undefined
    const { pid, host, started } = value as Record<string, unknown>
    if (typeof pid !== 'number' || typeof host !== 'string' || typeof started !== 'string') return undefined
    return { pid, host, started }
  } catch {
    // Empty or half written: nobody who still lives.
    return undefined
  }
}

function isAlive(holder: Holder): boolean {
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  return startOf(holder.pid) === holder.started
}

/** When a process started, so that a later one with its id is told apart. Empty where there is no /proc. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in brackets may hold spaces and brackets; field 22 is the 20th behind it.
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}/${ticks}`
  } catch {
    return ''
  }
}
