/** Lists and counts of a test world: as the client's, over all its partitions. */
import type { ContractShape } from '../contract/contract.ts'
import type { CountGroup, GroupBy, InstanceFilter, InstanceRow } from '../contract/instance-filter.ts'
import { type CountPage, type ListPage, mergeGroups, type RpcRequest, toWireFilter } from '../protocol/index.ts'

export interface ListOptions<Shape extends ContractShape = ContractShape> extends InstanceFilter<Shape> {
  /** Rows at most; default all. */
  readonly limit?: number | undefined
}

/** What they need of their world. Answers come when everything sent has been applied. */
export interface ListWorld {
  readonly partitions: number
  ask(partition: number, request: RpcRequest): Promise<unknown>
}

const PAGE_ROWS = 500

export async function* listInstances(
  world: ListWorld,
  options: ListOptions,
): AsyncGenerator<InstanceRow, void, undefined> {
  const filter = toWireFilter(options)
  let left = options.limit ?? Infinity
  for (let partition = 0; partition < world.partitions && left > 0; partition++) {
    let after: string | undefined
    do {
      const place = after === undefined ? {} : { after }
      const limit = Math.min(left, PAGE_ROWS)
      const page = (await world.ask(partition, { op: 'list', ...filter, ...place, limit })) as ListPage
      yield* page.rows as readonly InstanceRow[]
      left -= page.rows.length
      after = page.next
    } while (after !== undefined && left > 0)
  }
}

/** The number, or with `groupBy` the groups. */
export async function countInstances(
  world: ListWorld,
  options: InstanceFilter & { readonly groupBy?: GroupBy | undefined },
): Promise<number | readonly CountGroup[]> {
  const { groupBy } = options
  const filter = { ...toWireFilter(options), ...(groupBy === undefined ? {} : { groupBy }) }
  const counted: CountGroup[] = []
  for (let partition = 0; partition < world.partitions; partition++) {
    let after: string | undefined
    do {
      const place = after === undefined ? {} : { after }
      const page = (await world.ask(partition, { op: 'count', ...filter, ...place })) as CountPage
      counted.push(...page.groups)
      after = page.next
    } while (after !== undefined)
  }
  return groupBy === undefined ? counted.reduce((sum, { count }) => sum + count, 0) : mergeGroups(counted)
}
