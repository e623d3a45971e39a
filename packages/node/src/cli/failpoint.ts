/** Ends this process at a named point of the commit path, as a crash would: for tests of recovery. */
import { readFileSync } from 'node:fs'

import { CarillonError } from '@carillon/runtime'
import { type Failpoint, FAILPOINTS, noFailpoints, type ReachFailpoint } from '@carillon/runtime/engine'
import { quote } from '@carillon/runtime/protocol'

const FORM = /^([a-z-]+):(\d{1,9})$/
const FILE = /^file:(.+)$/
const LOOK_EVERY_MS = 50

/**
 * From `name:count`: SIGKILL at the count-th time that the point is reached. From `file:<path>`: the same, from the moment on at which the file is
 * there and holds `name:count`. Nothing for undefined. `pids`: what ends, this process last; an engine's ends its node with it.
 *
 * @throws CONFIG_INVALID when it is not of that form.
 */
export function parseFailpoint(text: string | undefined, pids: readonly number[] = [process.pid]): ReachFailpoint {
  if (text === undefined || text === '') return noFailpoints
  const [, path] = FILE.exec(text) ?? []
  return path === undefined ? killAt(text, pids) : killOnceTold(path, pids)
}

function killAt(text: string, pids: readonly number[]): ReachFailpoint {
  const [, name, count] = FORM.exec(text) ?? []
  const point = FAILPOINTS.find((known) => known === name)
  if (point === undefined || Number(count) < 1) {
    throw new CarillonError(
      'CONFIG_INVALID',
      `CARILLON_FAILPOINT is ${quote(text)}: write name:count with a count from 1 and one of ${FAILPOINTS.join(', ')}`,
    )
  }
  return killAtPoint(point, Number(count), pids)
}

/** A node that runs for long is told when its time has come. */
function killOnceTold(path: string, pids: readonly number[]): ReachFailpoint {
  let reach = noFailpoints
  const looking = setInterval(() => {
    const text = readIfThere(path)
    if (text === undefined) return
    clearInterval(looking)
    reach = killAt(text.trim(), pids)
  }, LOOK_EVERY_MS)
  looking.unref()
  return (point) => reach(point)
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function killAtPoint(point: Failpoint, count: number, pids: readonly number[]): ReachFailpoint {
  let left = count
  return (reached) => {
    if (reached !== point || --left > 0) return
    for (const pid of pids) process.kill(pid, 'SIGKILL')
  }
}
