/** What a thread of this process has computed, from the system. Linux alone tells it to other threads. */
import { readFileSync } from 'node:fs'

import type { ThreadTimes } from './turn-judge.ts'

const NS_PER_MS = 1e6
/** Of the fields in `stat`: 100 a second on every Linux that Node runs on. */
const TICK_MS = 10

/** A reader of a thread's times; each gives undefined where the system does not tell. */
export function threadTimesOf(threadId: number): () => ThreadTimes | undefined {
  const folder = `/proc/self/task/${threadId}`
  const readers = [() => fromSchedstat(`${folder}/schedstat`), () => fromStat(`${folder}/stat`)]
  return readers.find((read) => read() !== undefined) ?? (() => undefined)
}

function fromSchedstat(file: string): ThreadTimes | undefined {
  const [cpuNs, queuedNs] = (read(file) ?? '').split(' ').map(Number)
  // All zero where the kernel keeps no such statistics.
  if (cpuNs === undefined || queuedNs === undefined || !(cpuNs > 0)) return undefined
  return { cpuMs: cpuNs / NS_PER_MS, queuedMs: queuedNs / NS_PER_MS }
}

/** Without the time in the queue: a starved thread looks as if it were blocked, and the limit for that is long. */
function fromStat(file: string): ThreadTimes | undefined {
  const text = read(file)
  if (text === undefined) return undefined
  // The name in brackets may hold spaces and brackets; user and system time are the 12th and 13th fields behind it.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const ticks = Number(fields[11]) + Number(fields[12])
  return Number.isFinite(ticks) ? { cpuMs: ticks * TICK_MS, queuedMs: 0 } : undefined
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
