/** The end of every demo: what came out is read, compared with the calculation over the feed, and shown. */
import type { Carillon } from '@carillon/client'

import type { Expected } from '../expected.ts'
import type { ReplayResult } from '../producer.ts'
import { readActual } from './actual.ts'
import { compare, type Comparison } from './compare.ts'
import type { Progress } from './progress.ts'
import { formatReport } from './report.ts'

export interface CompareWithFeedOptions {
  readonly expected: Expected
  readonly replayed: ReplayResult
  readonly partnerPath: string
  readonly progress: Progress
  readonly signal: AbortSignal
}

export async function compareWithFeed(
  carillon: Carillon,
  { expected, replayed, partnerPath, progress, signal }: CompareWithFeedOptions,
): Promise<Comparison> {
  progress.say('the feed has ended: every customer is compared with a calculation over the file')
  const customers = expected.customers.keys()
  const actual = await readActual(carillon, { customers, replayed, partnerPath, signal })
  const comparison = compare(expected, actual)
  progress.say(formatReport({ expected, actual, comparison }))
  return comparison
}

export function sayWhetherEqual({ differences, lost, doubled }: Comparison, progress: Progress): boolean {
  const isEqual = differences.length === 0
  progress.say(`equal: ${isEqual ? 'yes' : 'no'}, lost: ${lost}, doubled: ${doubled}`)
  return isEqual
}
