/** Ends this process at a named point of the commit path, as a crash would: for tests of recovery. */
import { CarillonError } from '@carillon/runtime'
import { type Failpoint, FAILPOINTS, noFailpoints, type ReachFailpoint } from '@carillon/runtime/engine'
import { quote } from '@carillon/runtime/protocol'

const FORM = /^([a-z-]+):(\d{1,9})$/

/**
 * From `name:count`: SIGKILL at the count-th time that the point is reached. Nothing for undefined.
 *
 * @throws CONFIG_INVALID when it is not of that form.
 */
export function parseFailpoint(text: string | undefined): ReachFailpoint {
  if (text === undefined || text === '') return noFailpoints
  const [, name, count] = FORM.exec(text) ?? []
  const point = FAILPOINTS.find((known) => known === name)
  if (point === undefined || Number(count) < 1) {
    throw new CarillonError(
      'CONFIG_INVALID',
      `CARILLON_FAILPOINT is ${quote(text)}: write name:count with a count from 1 and one of ${FAILPOINTS.join(', ')}`,
    )
  }
  return killAt(point, Number(count))
}

function killAt(point: Failpoint, count: number): ReachFailpoint {
  let left = count
  return (reached) => {
    if (reached !== point || --left > 0) return
    process.kill(process.pid, 'SIGKILL')
  }
}
