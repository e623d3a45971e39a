/** Counts instances over all partitions. */
import type { ContractShape, CountGroup, GroupBy, InstanceFilter } from '@carillon/runtime'
import { type CountPage, mergeGroups, type RpcRequest, toWireFilter } from '@carillon/runtime/protocol'

import { AskedPartitions, type MissingOptions } from './asked-partitions.ts'
import type { Session } from './session.ts'

export interface CountOptions<Shape extends ContractShape = ContractShape>
  extends InstanceFilter<Shape>, MissingOptions {
  /** The owners have applied the journal at least up to here: `seq` of what was sent before. */
  readonly minSeq?: number | undefined
}

/** Counted by something: the largest group first. */
export async function countGroups(
  session: Session,
  options: CountOptions,
  groupBy: GroupBy | undefined,
): Promise<readonly CountGroup[]> {
  const filter = toWireFilter(options)
  const asked = new AskedPartitions(session, 'the count', options)
  const { minSeq } = options
  const request = (after: string | undefined): RpcRequest & { readonly op: 'count' } => ({
    op: 'count',
    ...filter,
    ...(groupBy === undefined ? {} : { groupBy }),
    ...(after === undefined ? {} : { after }),
    ...(minSeq === undefined ? {} : { minSeq }),
  })
  const counted: CountPage['groups'][number][] = []
  for (let from = 0; from < session.subjects.partitions; from += asked.atOnce) {
    const count = Math.min(asked.atOnce, session.subjects.partitions - from)
    let places = Array.from({ length: count }, (_, i): Place => ({ partition: from + i, after: undefined }))
    while (places.length > 0) {
      const pages = await asked.ask<CountPage>(
        places.map(({ partition }) => partition),
        (_, i) => request(places[i]?.after),
      )
      counted.push(...pages.flatMap((page) => page?.groups ?? []))
      places = places.flatMap(({ partition }, i) => {
        const next = pages[i]?.next
        return next === undefined ? [] : [{ partition, after: next }]
      })
    }
  }
  return mergeGroups(counted)
}

interface Place {
  readonly partition: number
  readonly after: string | undefined
}
