/**
 * Where a list or a count looks: the instances of a partition that may be asked for, in the order of their keys, by the way that takes the fewest rows.
 *
 * Invariants
 * 1. Candidates come in the order of their keys whatever the way, so that a page may go on by another way than the one before it.
 * 2. An instance that exists all along is met once, whatever changes in it meanwhile: its place is its key, which does not change.
 * 3. No more rows are looked at than `Look` allows, give or take those of one choice.
 */
import {
  decodeSummary,
  indexRange,
  instanceOfRecordKey,
  isStatusIndexed,
  parseIndexKey,
  recordKey,
  type RecordStatus,
  recordRange,
  STATUS_ATTRIBUTE,
  statusOfCode,
  type Summary,
} from '../core/index.ts'
import type { OrderedStore, Row } from '../ports/index.ts'
import type { InstanceKey } from '../protocol/index.ts'
import type { AttributeFilter, Filter } from './instance-filter.ts'
import type { Partition } from './partition.ts'

/** Rows that one page looks at, whatever it finds: about 20 ms, in which no turn runs. */
const VISITED_MAX = 8000
/** Rows of a span of values that are put into the order of the ids; where there are more, the records are looked at instead. */
const SORTED_MAX = 4000
/** Rows looked at of each way, to see which is the shortest. */
const PROBED_MAX = 32

/** What one page may look at. */
export class Look {
  visited = 0

  get isOver(): boolean {
    return this.visited >= VISITED_MAX
  }
}

export interface Candidate {
  readonly key: InstanceKey
  readonly status: RecordStatus
  /** Undefined where a row of the index was enough to find it. */
  readonly summary: Summary | undefined
}

/** The way to the instances of one type. */
interface Way {
  readonly typeToken: string
  readonly by: AttributeFilter
}

/** Candidates behind a key. With `by`, only those that have a value there. */
export function* candidatesOf(
  store: OrderedStore,
  partition: Partition,
  filter: Filter,
  after: string | undefined,
  look: Look,
): Generator<Candidate, void, undefined> {
  const { status, typeToken } = filter
  if (typeToken === undefined && (status === undefined || !isStatusIndexed(status))) {
    yield* recordsOf(store, partition, undefined, after, look)
    return
  }
  for (const type of typeToken === undefined ? partition.counts.types : [typeToken]) {
    if (after !== undefined && `${type}.` < after.slice(0, after.indexOf('.') + 1)) continue
    if (look.isOver) return
    if ((status === undefined ? partition.counts.total(type) : partition.counts.of(type, status)) === 0) continue
    yield* ofType(store, partition, type, filter, after, look)
  }
}

/** The summary of a candidate; undefined when it is gone. */
export function summaryOf(
  store: OrderedStore,
  partition: Partition,
  { key, summary }: Candidate,
  look: Look,
): Summary | undefined {
  if (summary !== undefined) return summary
  look.visited += 1
  const record = store.get('record', recordKey(partition.number, key))
  return record === undefined ? undefined : decodeSummary(record)
}

function* ofType(
  store: OrderedStore,
  partition: Partition,
  typeToken: string,
  filter: Filter,
  after: string | undefined,
  look: Look,
): Generator<Candidate, void, undefined> {
  const { status } = filter
  const ways = filter.where.filter(({ spans }) => spans.length > 0).map((by): Way => ({ typeToken, by }))
  if (status !== undefined && isStatusIndexed(status)) ways.push({ typeToken, by: byStatus(status) })
  const way = shortest(store, partition, ways, look)
  const afterId = after?.startsWith(`${typeToken}.`) === true ? after.slice(typeToken.length + 1) : undefined
  if (way?.by.isExact === true) return yield* merged(store, partition, way, afterId, look)
  const sorted = way === undefined ? undefined : sortedRows(store, partition, way, look)
  if (sorted === undefined) return yield* recordsOf(store, partition, typeToken, after, look)
  for (const candidate of sorted) if (afterId === undefined || isBehind(candidate, typeToken, afterId)) yield candidate
}

function byStatus(status: string): AttributeFilter {
  return {
    attribute: STATUS_ATTRIBUTE,
    spans: [{ from: `${status}/`, to: `${status}0` }],
    isExact: true,
    isSingle: true,
  }
}

function shortest(store: OrderedStore, partition: Partition, ways: readonly Way[], look: Look): Way | undefined {
  if (ways.length < 2) return ways[0]
  let best: { readonly way: Way; readonly rows: number } | undefined
  for (const way of ways) {
    let rows = 0
    for (const _ of spanRows(store, partition, way, PROBED_MAX)) rows += 1
    look.visited += rows
    const isBetter =
      best === undefined || rows < best.rows || (rows === best.rows && way.by.isExact && !best.way.by.isExact)
    if (isBetter) best = { way, rows }
  }
  return best?.way
}

function* spanRows(
  store: OrderedStore,
  partition: Partition,
  { typeToken, by }: Way,
  limit: number,
): Generator<Row, void, undefined> {
  let left = limit
  for (const span of by.spans)
    for (const row of store.range('index', {
      ...indexRange(partition.number, typeToken, by.attribute, span),
      limit: left,
    })) {
      yield row
      if (--left === 0) return
    }
}

/** Rows of single values, each in the order of the ids already: the first of all next, and one of several of an instance. */
function* merged(
  store: OrderedStore,
  partition: Partition,
  { typeToken, by }: Way,
  afterId: string | undefined,
  look: Look,
): Generator<Candidate, void, undefined> {
  const heads = by.spans.flatMap((span) => {
    const from = afterId === undefined ? span.from : `${span.from}${afterId}\u0000`
    const range = indexRange(partition.number, typeToken, by.attribute, { from, to: span.to })
    const rows = store.range('index', range)[Symbol.iterator]()
    const first = rows.next()
    return first.done === true ? [] : [{ rows, row: first.value, idToken: parseIndexKey(first.value.key).idToken }]
  })
  let last: string | undefined
  while (heads.length > 0 && !look.isOver) {
    const head = heads.reduce((least, other) => (other.idToken < least.idToken ? other : least))
    look.visited += 1
    if (head.idToken !== last) yield candidateOf(typeToken, head.idToken, head.row)
    last = head.idToken
    const next = head.rows.next()
    if (next.done === true) heads.splice(heads.indexOf(head), 1)
    else {
      head.row = next.value
      head.idToken = parseIndexKey(next.value.key).idToken
    }
  }
}

/** Rows of a span of values in the order of the ids; undefined when there are too many. */
function sortedRows(store: OrderedStore, partition: Partition, way: Way, look: Look): readonly Candidate[] | undefined {
  const byId = new Map<string, Candidate>()
  let rows = 0
  for (const row of spanRows(store, partition, way, SORTED_MAX + 1)) {
    rows += 1
    const { idToken } = parseIndexKey(row.key)
    byId.set(idToken, candidateOf(way.typeToken, idToken, row))
  }
  look.visited += rows
  if (rows > SORTED_MAX) return undefined
  return [...byId].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, candidate]) => candidate)
}

function* recordsOf(
  store: OrderedStore,
  partition: Partition,
  typeToken: string | undefined,
  after: string | undefined,
  look: Look,
): Generator<Candidate, void, undefined> {
  const behind = typeToken === undefined || after?.startsWith(`${typeToken}.`) === true ? after : undefined
  for (const { key, value } of store.range('record', recordRange(partition.number, typeToken, behind))) {
    if (look.isOver) return
    look.visited += 1
    const summary = decodeSummary(value)
    yield { key: instanceOfRecordKey(key), status: summary.status, summary }
  }
}

function isBehind({ key }: Candidate, typeToken: string, afterId: string): boolean {
  return key.slice(typeToken.length + 1) > afterId
}

function candidateOf(typeToken: string, idToken: string, { value }: Row): Candidate {
  return { key: `${typeToken}.${idToken}`, status: statusOfCode(value[0]), summary: undefined }
}
