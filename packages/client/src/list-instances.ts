/** Lists instances. Each partition lists its own, so a page's cursor says in which partition to go on. */
import { CarillonError, type ContractShape, type InstanceFilter, type InstanceRow } from '@carillon/runtime'
import { LIST_LIMIT_MAX, type ListPage, quote, toWireFilter, type WireFilter } from '@carillon/runtime/protocol'

import { AskedPartitions, type MissingOptions } from './asked-partitions.ts'
import { LIST_LIMIT_DEFAULT } from './limits.ts'
import type { Session } from './session.ts'

export interface ListOptions<Shape extends ContractShape = ContractShape>
  extends InstanceFilter<Shape>, MissingOptions {
  /** Rows at most; default all. Of a page 1 to 1000, default 100. */
  readonly limit?: number | undefined
  /** The owners have applied the journal at least up to here: `seq` of what was sent before. */
  readonly minSeq?: number | undefined
}

export interface PageOptions<Shape extends ContractShape = ContractShape> extends ListOptions<Shape> {
  /** `next` of the page before. */
  readonly after?: string | undefined
}

/** A page of instances: by partition, and by type and id within one. */
export interface InstancePage<Shape extends ContractShape = ContractShape> {
  readonly rows: readonly InstanceRow<Shape>[]
  /** Pass it as `after` for the next page; undefined on the last one. */
  readonly next: string | undefined
}

/** Where a listing goes on: a partition, and in it behind a key (from its start when undefined). */
interface Cursor {
  readonly partition: number
  readonly after: string | undefined
}

type Rows = InstanceRow[]

/** Rows of one request of those who read all of them. */
const PAGE_ROWS = 1000
/** How many times more partitions are asked next when those before had few rows. */
const WIDER = 4

/** Gives the rows one by one. It asks for more only when what it had is consumed. */
export async function* listAll(session: Session, options: ListOptions): AsyncGenerator<InstanceRow, void, undefined> {
  let left = options.limit ?? Infinity
  if (options.limit !== undefined && !(Number.isInteger(left) && left >= 1))
    throw new CarillonError('CONFIG_INVALID', `limit is ${quote(options.limit)}: give a whole number from 1`)
  let after: string | undefined
  do {
    const page = await listPage(session, { ...options, after, limit: Math.min(left, PAGE_ROWS) })
    yield* page.rows
    left -= page.rows.length
    after = page.next
  } while (after !== undefined && left > 0)
}

/** Throws NO_NODE or TIMEOUT when a partition gives no answer. */
export async function listPage(session: Session, options: PageOptions): Promise<InstancePage> {
  const limit = checkLimit(options.limit ?? LIST_LIMIT_DEFAULT)
  const filter = toWireFilter(options)
  const { partitions } = session.subjects
  const asked = new AskedPartitions(session, 'the list', options)
  const rows: Rows = []
  let cursor: Cursor | undefined = parseCursor(options.after, partitions)
  // In the middle of a partition there is probably enough in it; what others answered would be for nothing.
  let width = cursor?.after === undefined ? asked.atOnce : 1
  while (cursor !== undefined && rows.length < limit) {
    const group = cursorsFrom(cursor, partitions, width)
    width = Math.min(width * WIDER, asked.atOnce)
    const wanted = limit - rows.length
    const pages = await asked.ask<ListPage>(
      group.map(({ partition }) => partition),
      (_, i) => requestOf(filter, options, group[i]?.after, wanted),
    )
    cursor = take(rows, limit, group, pages) ?? behind(group, partitions)
  }
  return { rows, next: cursor === undefined ? undefined : formatCursor(cursor) }
}

function requestOf(filter: WireFilter, { minSeq }: ListOptions, after: string | undefined, limit: number) {
  return {
    op: 'list',
    ...filter,
    ...(after === undefined ? {} : { after }),
    ...(minSeq === undefined ? {} : { minSeq }),
    limit,
  } as const
}

/** Appends the pages in order as far as they fit whole; gives where to go on when one does not, or has more behind it. */
function take(
  rows: Rows,
  limit: number,
  group: readonly Cursor[],
  pages: readonly (ListPage | undefined)[],
): Cursor | undefined {
  for (const [i, page] of pages.entries()) {
    const at = group[i]
    if (at === undefined) break
    if (page === undefined) continue
    if (rows.length + page.rows.length > limit) return at
    rows.push(...(page.rows as Rows))
    if (page.next !== undefined) return { partition: at.partition, after: page.next }
  }
  return undefined
}

function cursorsFrom(cursor: Cursor, partitions: number, atOnce: number): readonly Cursor[] {
  const count = Math.min(atOnce, partitions - cursor.partition)
  return Array.from({ length: count }, (_, i) =>
    i === 0 ? cursor : { partition: cursor.partition + i, after: undefined },
  )
}

function behind(group: readonly Cursor[], partitions: number): Cursor | undefined {
  const partition = (group[0]?.partition ?? 0) + group.length
  return partition < partitions ? { partition, after: undefined } : undefined
}

function formatCursor({ partition, after }: Cursor): string {
  return after === undefined ? String(partition) : `${partition}/${after}`
}

function parseCursor(text: string | undefined, partitions: number): Cursor {
  if (text === undefined) return { partition: 0, after: undefined }
  const [, digits, after] = /^(\d{1,5})(?:\/(.+))?$/s.exec(text) ?? []
  const partition = Number(digits ?? Number.NaN)
  if (partition < partitions) return { partition, after }
  throw new CarillonError('CONFIG_INVALID', `after is ${quote(text)}: pass the next of the page before`)
}

function checkLimit(limit: number): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= LIST_LIMIT_MAX) return limit
  throw new CarillonError('CONFIG_INVALID', `limit is ${limit}: give a whole number from 1 to ${LIST_LIMIT_MAX}`)
}
