/** Lists instances page by page. Each partition lists its own, so a page's cursor says in which partition to go on. */
import { CarillonError } from '@carillon/runtime'
import {
  type InstanceStatus,
  LIST_LIMIT_MAX,
  type ListPage,
  type ListRow,
  type Partition,
  quote,
} from '@carillon/runtime/protocol'

import { Deadline } from './deadline.ts'
import { LIST_LIMIT_DEFAULT, READ_TIMEOUT_MS } from './limits.ts'
import type { Session } from './session.ts'

export interface ListOptions {
  readonly type?: string | undefined
  readonly status?: InstanceStatus | undefined
  /** Rows at most, 1 to 1000; default 100. */
  readonly limit?: number | undefined
  /** `next` of the page before. */
  readonly after?: string | undefined
  /** Default 15,000. */
  readonly timeoutMs?: number | undefined
}

/** A page of instances: by partition, and by type and id within one. */
export interface InstancePage {
  readonly rows: readonly ListRow[]
  /** Pass it as `after` for the next page; undefined on the last one. */
  readonly next: string | undefined
}

/** Where a listing goes on: a partition, and in it behind a key (from its start when undefined). */
interface Cursor {
  readonly partition: number
  readonly after: string | undefined
}

/** Partitions asked at once: most are nearly empty, and one round trip each in turn would add up. */
const ASKED_AT_ONCE = 16

/** Throws NO_NODE or TIMEOUT when a partition gives no answer. */
export async function listInstances(session: Session, options: ListOptions): Promise<InstancePage> {
  const limit = checkLimit(options.limit ?? LIST_LIMIT_DEFAULT)
  const deadline = new Deadline(options.timeoutMs ?? READ_TIMEOUT_MS)
  const rows: ListRow[] = []
  let cursor: Cursor | undefined = parseCursor(options.after, session.subjects.partitions)
  while (cursor !== undefined && rows.length < limit) {
    const group = cursorsFrom(cursor, session.subjects.partitions)
    const wanted = limit - rows.length
    const pages = await Promise.all(group.map((at) => readPage(session, options, at, wanted, deadline)))
    cursor = take(rows, limit, group, pages) ?? after(group, session.subjects.partitions)
  }
  return { rows, next: cursor === undefined ? undefined : formatCursor(cursor) }
}

/** Appends the pages in order as far as they fit whole; gives where to go on when one does not, or has more behind it. */
function take(
  rows: ListRow[],
  limit: number,
  group: readonly Cursor[],
  pages: readonly ListPage[],
): Cursor | undefined {
  for (const [i, page] of pages.entries()) {
    const at = group[i]
    if (at === undefined) break
    if (rows.length + page.rows.length > limit) return at
    rows.push(...page.rows)
    if (page.next !== undefined) return { partition: at.partition, after: page.next }
  }
  return undefined
}

async function readPage(
  session: Session,
  options: ListOptions,
  at: Cursor,
  limit: number,
  deadline: Deadline,
): Promise<ListPage> {
  const { type, status } = options
  const filters = { ...(type === undefined ? {} : { type }), ...(status === undefined ? {} : { status }) }
  const request = { op: 'list', ...filters, ...(at.after === undefined ? {} : { after: at.after }), limit } as const
  const what = `the list of partition ${at.partition}`
  const call = { partition: at.partition as Partition, what, deadline, holdMs: 0, request: () => request }
  return (await session.track(() => session.rpc.call(call))) as ListPage
}

function cursorsFrom(cursor: Cursor, partitions: number): readonly Cursor[] {
  const count = Math.min(ASKED_AT_ONCE, partitions - cursor.partition)
  return Array.from({ length: count }, (_, i) =>
    i === 0 ? cursor : { partition: cursor.partition + i, after: undefined },
  )
}

function after(group: readonly Cursor[], partitions: number): Cursor | undefined {
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
