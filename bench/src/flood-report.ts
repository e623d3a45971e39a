/** The figures of the flood: as a table, and whether they are flat. */
import type { DiskUse } from './disk-use.ts'

export const WAYS = {
  handlers: 'handlers alone: between two signals the instance is nothing but its state',
  renewing: 'a run that receives, and continues as new every 1000 signals',
  endless: 'a run that receives for ever, without continueAsNew',
} as const
export type Way = keyof typeof WAYS

export interface FloodLook extends DiskUse {
  /** Received so far. */
  readonly signals: number
  /** From the first publish to the last signal applied, by the number of signals. */
  readonly microsEach: number
  /** CPU time of the node, all its threads. */
  readonly cpuMicrosEach: number
  readonly rssBytes: number
  readonly heapBytes: number
}

export interface FloodCase {
  readonly way: Way
  readonly looks: readonly FloodLook[]
  readonly restartMs: number
  readonly state: { readonly orders: number; readonly sum: number }
  readonly expected: { readonly orders: number; readonly sum: number }
}

/** The last tenth of the signals may cost so much more than the second and third, behind the warm-up. */
const COST_RATIO_MAX = 1.5
const MEMORY_RATIO_MAX = 1.5
/** The state, and the known ids that do not fill a block yet. */
const RECORD_BYTES_MAX = 4096
/** Of a life of 1000 signals, and one that is on its way. */
const TAIL_ROWS_MAX = 2000
const MIB = 2 ** 20

/** What is not as it must be. */
export function judge({ way, looks, state, expected }: FloodCase): readonly string[] {
  const problems: string[] = []
  const expectFlat = (what: string, valueOf: (look: FloodLook) => number, max: number): void => {
    const ratio = growth(looks, valueOf)
    if (ratio > max)
      problems.push(
        `${way}: ${what} of the last tenth is ${ratio.toFixed(2)} times that of the first ones, over ${max}`,
      )
  }
  if (state.orders !== expected.orders || state.sum !== expected.sum)
    problems.push(`${way}: the state is ${JSON.stringify(state)}, and not ${JSON.stringify(expected)}`)
  expectFlat('CPU time per signal', (look) => look.cpuMicrosEach, COST_RATIO_MAX)
  expectFlat('memory', (look) => look.rssBytes, MEMORY_RATIO_MAX)
  const record = Math.max(...looks.map(({ recordBytes }) => recordBytes))
  if (record > RECORD_BYTES_MAX) problems.push(`${way}: the record has ${record} bytes, over ${RECORD_BYTES_MAX}`)
  if (way !== 'endless') {
    const rows = Math.max(...looks.map(({ tailRows }) => tailRows))
    if (rows > TAIL_ROWS_MAX) problems.push(`${way}: the tail has ${rows} rows`)
  }
  return problems
}

/** The last value by the mean of the second and third. */
function growth(looks: readonly FloodLook[], valueOf: (look: FloodLook) => number): number {
  const [, second, third] = looks
  const last = looks.at(-1)
  if (second === undefined || third === undefined || last === undefined) throw new Error('three looks at least')
  return valueOf(last) / ((valueOf(second) + valueOf(third)) / 2)
}

export function printFlood({ way, looks, restartMs, state }: FloodCase): void {
  console.log(`\n${WAYS[way]}\n`)
  console.log('| signals | µs each | CPU µs each | memory MiB | heap MiB | record B | tail rows | tail MiB |')
  console.log('| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |')
  for (const look of looks) {
    const cells = [
      look.signals.toLocaleString('en'),
      look.microsEach.toFixed(1),
      look.cpuMicrosEach.toFixed(1),
      (look.rssBytes / MIB).toFixed(0),
      (look.heapBytes / MIB).toFixed(0),
      look.recordBytes.toLocaleString('en'),
      look.tailRows.toLocaleString('en'),
      (look.tailBytes / MIB).toFixed(1),
    ]
    console.log(`| ${cells.join(' | ')} |`)
  }
  console.log(
    `\nlast tenth to first tenths: CPU ${growth(looks, (look) => look.cpuMicrosEach).toFixed(2)}, memory ${growth(looks, (look) => look.rssBytes).toFixed(2)}; restart ${restartMs.toFixed(0)} ms; ${state.orders.toLocaleString('en')} signals in the state`,
  )
}
