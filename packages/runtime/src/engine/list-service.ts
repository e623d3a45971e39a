/** Lists and counts the instances of one partition. Everything comes from the store: summaries of records, rows of the index, counts. */
import type { Contract } from '../contract/contract.ts'
import type { Implementation } from '../contract/implement.ts'
import { indexRange, parseIndexKey, statusOfCode, valueOfKey } from '../core/index.ts'
import { CarillonError } from '../errors.ts'
import type { OrderedStore } from '../ports/index.ts'
import {
  type CountPage,
  decodeToken,
  type Group,
  INSTANCE_STATUSES,
  LIST_LIMIT_MAX,
  type ListPage,
  type ListRow,
  parseKey,
  quote,
  type RpcRequest,
} from '../protocol/index.ts'
import { candidatesOf, Look, summaryOf } from './candidates.ts'
import { anyValueOf, type AttributeFilter, type Filter, matches, parseFilter } from './instance-filter.ts'
import type { Partition } from './partition.ts'

type ListRequest = RpcRequest & { readonly op: 'list' }
type CountRequest = RpcRequest & { readonly op: 'count' }

/** Groups of one count: an attribute that nearly every instance has another value of is not for counting by. */
const GROUPS_MAX = 1000
/** In front of a key of the index, where a count by the index goes on. */
const INDEX_CURSOR = 'index:'

export interface ListServiceOptions {
  readonly store: OrderedStore
  /** By the type's token. */
  readonly implementations: ReadonlyMap<string, Implementation>
}

export class ListService {
  readonly #store: OrderedStore
  readonly #implementations: ReadonlyMap<string, Implementation>

  constructor({ store, implementations }: ListServiceOptions) {
    this.#store = store
    this.#implementations = implementations
  }

  /** A page in the order of the keys. @throws CONFIG_INVALID, UNKNOWN_TYPE, UNKNOWN_NAME, INVALID_ATTRIBUTE */
  list(partition: Partition, request: ListRequest): ListPage {
    const { after, limit } = request
    const filter = this.#parse(request)
    const max = Number.isInteger(limit) ? Math.min(Math.max(1, limit), LIST_LIMIT_MAX) : LIST_LIMIT_MAX
    const rows: ListRow[] = []
    const look = new Look()
    let last = after
    for (const candidate of candidatesOf(this.#store, partition, filter, after, look)) {
      if (rows.length === max) return { rows, next: last ?? '', visited: look.visited }
      last = candidate.key
      if (filter.status !== undefined && candidate.status !== filter.status) continue
      const summary = summaryOf(this.#store, partition, candidate, look)
      if (summary === undefined || summary.status === 'absent' || !matches(filter, summary)) continue
      const { status, startedMs, closedMs, coveredSeq, attributes } = summary
      rows.push({
        ...parseKey(candidate.key),
        status,
        startedMs,
        seq: coveredSeq,
        ...(closedMs === undefined ? {} : { closedMs }),
        ...(attributes === undefined ? {} : { attributes }),
      })
    }
    return { rows, ...(look.isOver ? { next: last ?? '' } : {}), visited: look.visited }
  }

  /** Counts on from a place. Throws as `list`. @throws LIMIT_REACHED when there are too many groups. */
  count(partition: Partition, request: CountRequest): CountPage {
    const { after, groupBy } = request
    const filter = this.#parse(request)
    checkGroupBy(groupBy)
    const { where, started, closed, typeToken, status } = filter
    const isPlain = started === undefined && closed === undefined
    if (isPlain && where.length === 0 && (groupBy === undefined || typeof groupBy === 'string'))
      return countStatuses(partition, filter, groupBy)
    if (typeof groupBy === 'object' && typeToken === undefined)
      throw new CarillonError('CONFIG_INVALID', 'attributes are declared by a type: give type to count by one')
    const grouped =
      typeof groupBy === 'object' ? anyValueOf(this.#contractOf(typeToken ?? ''), groupBy.attribute) : undefined
    const [only = grouped, ...more] = where
    // One row of the index says all that is asked for.
    const isCovered =
      only !== undefined &&
      more.length === 0 &&
      only.spans.length > 0 &&
      (grouped === undefined
        ? only.isSingle || isOneValue(only)
        : where.length === 0 || (grouped.attribute === only.attribute && only.isSingle))
    if (isPlain && isCovered && typeToken !== undefined && groupBy !== 'type')
      return this.#countRows(partition, typeToken, only, status, groupBy, after)
    return this.#countInstances(partition, filter, groupBy, after)
  }

  #countRows(
    partition: Partition,
    typeToken: string,
    by: AttributeFilter,
    status: Filter['status'],
    groupBy: CountRequest['groupBy'],
    after: string | undefined,
  ): CountPage {
    const groups = new Groups()
    const look = new Look()
    const behind = after?.startsWith(INDEX_CURSOR) === true ? after.slice(INDEX_CURSOR.length) : undefined
    for (const span of by.spans.toSorted((a, b) => (a.from < b.from ? -1 : 1))) {
      const range = indexRange(partition.number, typeToken, by.attribute, span)
      const from = behind === undefined || behind < range.from ? range.from : `${behind}\u0000`
      for (const { key, value } of this.#store.range('index', { ...range, from })) {
        look.visited += 1
        const found = statusOfCode(value[0])
        if (found !== 'absent' && (status === undefined || found === status))
          groups.add(
            groupBy === undefined
              ? true
              : groupBy === 'status'
                ? found
                : (valueOfKey(parseIndexKey(key).value) as GroupValue),
          )
        if (look.isOver) return { groups: groups.rows, next: `${INDEX_CURSOR}${key}`, visited: look.visited }
      }
    }
    return { groups: groups.rows, visited: look.visited }
  }

  #countInstances(
    partition: Partition,
    filter: Filter,
    groupBy: CountRequest['groupBy'],
    after: string | undefined,
  ): CountPage {
    const groups = new Groups()
    const look = new Look()
    let last = after
    for (const candidate of candidatesOf(this.#store, partition, filter, after, look)) {
      last = candidate.key
      if (filter.status !== undefined && candidate.status !== filter.status) continue
      const summary = summaryOf(this.#store, partition, candidate, look)
      if (summary === undefined || !matches(filter, summary)) continue
      if (groupBy === undefined) groups.add(true)
      else if (groupBy === 'type') groups.add(parseKey(candidate.key).type)
      else if (groupBy === 'status') groups.add(summary.status)
      else for (const value of valuesOf(summary.attributes?.[groupBy.attribute])) groups.add(value)
    }
    return { groups: groups.rows, ...(look.isOver ? { next: last ?? '' } : {}), visited: look.visited }
  }

  #parse(request: ListRequest | CountRequest): Filter {
    return parseFilter(request, (typeToken) => this.#contractOf(typeToken))
  }

  #contractOf(typeToken: string): Contract {
    const implementation = this.#implementations.get(typeToken)
    if (implementation !== undefined) return implementation.contract
    throw new CarillonError(
      'UNKNOWN_TYPE',
      `this node runs no workflow type ${quote(decodeToken(typeToken))}, so it does not know its attributes`,
    )
  }
}

type GroupValue = Group['value']

class Groups {
  readonly #counts = new Map<unknown, { readonly value: GroupValue; count: number }>()

  get rows(): readonly Group[] {
    return [...this.#counts.values()]
  }

  add(value: GroupValue, count = 1): void {
    const id = value instanceof Date ? `time ${value.getTime()}` : value
    const group = this.#counts.get(id)
    if (group !== undefined) group.count += count
    else if (this.#counts.size < GROUPS_MAX) this.#counts.set(id, { value, count })
    else
      throw new CarillonError(
        'LIMIT_REACHED',
        `there are over ${GROUPS_MAX} groups to count: count by something that has fewer values, or narrow the filter`,
      )
  }
}

function checkGroupBy(groupBy: CountRequest['groupBy']): void {
  if (groupBy === undefined || groupBy === 'type' || groupBy === 'status') return
  if (typeof groupBy === 'object' && groupBy !== null && typeof groupBy.attribute === 'string') return
  throw new CarillonError(
    'CONFIG_INVALID',
    `groupBy is ${quote(groupBy)}: count by 'type', by 'status', or by { attribute: … }`,
  )
}

function countStatuses(partition: Partition, filter: Filter, groupBy: 'type' | 'status' | undefined): CountPage {
  const groups = new Groups()
  const { counts } = partition
  for (const type of filter.typeToken === undefined ? counts.types : [filter.typeToken])
    for (const status of filter.status === undefined ? INSTANCE_STATUSES : [filter.status]) {
      const count = counts.of(type, status)
      const value = groupBy === undefined ? true : groupBy === 'status' ? status : decodeToken(type)
      if (count > 0) groups.add(value, count)
    }
  return { groups: groups.rows, visited: 0 }
}

function isOneValue({ isExact, spans }: AttributeFilter): boolean {
  return isExact && spans.length === 1
}

function valuesOf(value: GroupValue | readonly string[] | undefined): readonly GroupValue[] {
  if (value === undefined) return []
  return Array.isArray(value) ? (value as readonly string[]) : [value as GroupValue]
}
