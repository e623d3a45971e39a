/** A process and those that it has started, for what is to happen to all of them at once. */
import { readFileSync } from 'node:fs'

/** The process first. Alone where the system does not tell of others (only Linux does). */
export function processTreeOf(pid: number): readonly number[] {
  return [pid].concat(childrenOf(pid).flatMap(processTreeOf))
}

/** One that has ended is no matter. */
export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended.
  }
}

function childrenOf(pid: number): readonly number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    return text
      .split(' ')
      .filter((word) => word !== '')
      .map(Number)
  } catch {
    return []
  }
}
