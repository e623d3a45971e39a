/**
 * A filter as the owner of a partition applies it: to the rows of the index, and to the summary of an instance.
 *
 * Invariants
 * 1. Both say the same of an instance: a condition is a set of spans of values as they stand in the keys of the index, for both.
 */
import type { AttributeKind } from '../contract/attributes.ts'
import type { Contract } from '../contract/contract.ts'
import { type IndexSpan, requireKind, type Summary, valueKeys, withAttributes } from '../core/index.ts'
import { CarillonError } from '../errors.ts'
import {
  type Condition,
  CONDITION_OPS,
  encodeToken,
  INSTANCE_STATUSES,
  type InstanceStatus,
  quote,
  type WireFilter,
} from '../protocol/index.ts'

/** Conditions of one filter: each is a way to look at. */
const CONDITIONS_MAX = 64
/** Values of one `anyOf`: each is a range of the index that is read beside the others. */
const ANY_OF_MAX = 100

/** All conditions on one attribute. */
export interface AttributeFilter {
  readonly attribute: string
  /** A value must lie in one of them; empty when the attribute must not be set. */
  readonly spans: readonly IndexSpan[]
  /** Each span is one value: its rows are in the order of the ids. */
  readonly isExact: boolean
  /** An instance has one row at most. */
  readonly isSingle: boolean
}

export interface Filter {
  readonly typeToken: string | undefined
  readonly status: InstanceStatus | undefined
  /** Exclusive ends, milliseconds since the epoch. */
  readonly started: TimeSpan | undefined
  readonly closed: TimeSpan | undefined
  readonly where: readonly AttributeFilter[]
}

interface TimeSpan {
  readonly after: number
  readonly before: number
}

/** @throws CONFIG_INVALID, UNKNOWN_TYPE, UNKNOWN_NAME, INVALID_ATTRIBUTE when it makes no sense for the type. */
export function parseFilter(request: WireFilter, contractOf: (typeToken: string) => Contract): Filter {
  const { type, status, where = [] } = request
  const typeToken = type === undefined ? undefined : encodeToken(type, 'workflow type')
  if (status !== undefined && !INSTANCE_STATUSES.includes(status))
    throw invalid(`the status ${quote(status)} is none: it is one of ${INSTANCE_STATUSES.join(', ')}`)
  if (!Array.isArray(where)) throw invalid('where is no array of conditions')
  if (where.length > CONDITIONS_MAX) throw invalid(`there are ${where.length} conditions, over ${CONDITIONS_MAX}`)
  if (where.length > 0 && typeToken === undefined) throw invalid('attributes are declared by a type: give type')
  return {
    typeToken,
    status,
    started: timeSpan(request.startedAfter, request.startedBefore),
    closed: timeSpan(request.closedAfter, request.closedBefore),
    where: where.length === 0 ? [] : parseWhere(where, contractOf(typeToken ?? '')),
  }
}

/** Rows of every value of an attribute. */
export function anyValueOf(contract: Contract, attribute: string): AttributeFilter {
  return { attribute, spans: [ANY], isExact: false, isSingle: requireKind(contract, attribute) !== 'texts' }
}

export function matches(filter: Filter, { status, startedMs, closedMs, attributes }: Summary): boolean {
  if (status === 'absent' || (filter.status !== undefined && status !== filter.status)) return false
  if (filter.started !== undefined && !isWithin(startedMs, filter.started)) return false
  if (filter.closed !== undefined && (closedMs === undefined || !isWithin(closedMs, filter.closed))) return false
  return filter.where.every(({ attribute, spans }) => {
    const value = attributes?.[attribute]
    if (value === undefined) return spans.length === 0
    return valueKeys(value).some((key) => spans.some(({ from, to }) => `${key}/` >= from && `${key}/` < to))
  })
}

const ANY: IndexSpan = { from: '', to: '~' }

function timeSpan(after: unknown, before: unknown): TimeSpan | undefined {
  if (after === undefined && before === undefined) return undefined
  return { after: toMs(after, -Infinity), before: toMs(before, Infinity) }
}

function toMs(value: unknown, otherwise: number): number {
  if (value === undefined) return otherwise
  if (typeof value === 'number' && Number.isFinite(value)) return value
  throw invalid(`the time ${quote(value)} is none: give milliseconds since the epoch`)
}

function isWithin(ms: number, { after, before }: TimeSpan): boolean {
  return ms > after && ms < before
}

function parseWhere(conditions: readonly Condition[], contract: Contract): AttributeFilter[] {
  const filters: AttributeFilter[] = []
  for (const condition of conditions) {
    const parsed = parseCondition(condition, contract)
    const at = filters.findIndex(({ attribute, isSingle }) => isSingle && attribute === parsed.attribute)
    const other = filters[at]
    if (other === undefined) filters.push(parsed)
    else if (other.spans.length > 0 && parsed.spans.length > 0) filters[at] = both(other, parsed)
    // Set and not set at once: nothing is.
    else if (other.spans.length !== parsed.spans.length) filters[at] = { ...parsed, spans: [NOTHING], isExact: true }
  }
  return filters
}

const NOTHING: IndexSpan = { from: '!', to: '!' }

/** One value must be as both ask for it. */
function both(one: AttributeFilter, other: AttributeFilter): AttributeFilter {
  const spans = one.spans.flatMap((a) =>
    other.spans.flatMap((b) => {
      const span = { from: a.from > b.from ? a.from : b.from, to: a.to < b.to ? a.to : b.to }
      return span.from < span.to ? [span] : []
    }),
  )
  return { ...one, spans: spans.length === 0 ? [NOTHING] : spans, isExact: one.isExact || other.isExact }
}

function parseCondition(condition: Condition, contract: Contract): AttributeFilter {
  const { attribute, op, text } = condition
  if (!CONDITION_OPS.includes(op))
    throw invalid(`the condition ${quote(op)} on ${quote(attribute)} is none: it is one of ${CONDITION_OPS.join(', ')}`)
  const kind = requireKind(contract, attribute)
  const value = text === undefined ? condition.value : readText(text, op, kind, attribute)
  const keyOf = (one: unknown): string => valueKey(contract, attribute, kind, one)
  const isSingle = kind !== 'texts'
  const wide = (span: IndexSpan): AttributeFilter => ({ attribute, spans: [span], isExact: false, isSingle })
  switch (op) {
    case 'is':
      return { attribute, spans: [exactly(keyOf(value))], isExact: true, isSingle }
    case 'anyOf': {
      const values: unknown[] = Array.isArray(value) ? value : refuse(attribute, op, 'takes an array of values')
      if (values.length > ANY_OF_MAX) return refuse(attribute, op, `takes ${ANY_OF_MAX} values at most`)
      const spans = [...new Set(values.map(keyOf))].map(exactly)
      return { attribute, spans: spans.length === 0 ? [NOTHING] : spans, isExact: true, isSingle }
    }
    case 'startsWith': {
      if (kind !== 'text' && kind !== 'texts') return refuse(attribute, op, `is for texts, and it is a ${kind}`)
      const from = keyOf(value)
      return wide({ from, to: `${from}~` })
    }
    case 'isSet':
      if (typeof value !== 'boolean') return refuse(attribute, op, 'takes true or false')
      return value ? wide(ANY) : { attribute, spans: [], isExact: false, isSingle }
    default: {
      if (kind !== 'number' && kind !== 'time')
        return refuse(attribute, op, `is for numbers and times, and it is a ${kind}`)
      const key = keyOf(value)
      const letter = key.slice(0, 1)
      const { from, to } = exactly(key)
      if (op === 'atLeast') return wide({ from, to: `${letter}~` })
      if (op === 'above') return wide({ from: to, to: `${letter}~` })
      return wide({ from: letter, to: op === 'atMost' ? to : from })
    }
  }
}

/** The rows of one value: `0` follows `/`. */
function exactly(key: string): IndexSpan {
  return { from: `${key}/`, to: `${key}0` }
}

function valueKey(contract: Contract, attribute: string, kind: AttributeKind, value: unknown): string {
  const given = kind === 'texts' ? [value] : value
  const kept = withAttributes(contract, undefined, { [attribute]: given as never })?.[attribute]
  const [key] = kept === undefined ? [] : valueKeys(kept)
  if (key !== undefined) return key
  throw new CarillonError('INVALID_ATTRIBUTE', `the attribute ${attribute} is a ${kind}, and is asked for nothing`)
}

/** A value that came as text, as the kind says. What is none is found to be so as any other value. */
function readText(text: string, op: string, kind: AttributeKind, attribute: string): unknown {
  if (op === 'isSet') return readBool(text)
  if (op === 'anyOf') throw invalid(`the condition anyOf on ${attribute} does not go as text: give its values`)
  if (kind === 'number') return text.trim() === '' ? text : Number(text)
  if (kind === 'bool') return readBool(text)
  if (kind === 'time') return /^-?\d+$/.test(text) ? Number(text) : new Date(text)
  return text
}

function readBool(text: string): unknown {
  return text === 'true' ? true : text === 'false' ? false : text
}

function refuse(attribute: string, op: string, rule: string): never {
  throw new CarillonError('INVALID_ATTRIBUTE', `the condition ${op} on the attribute ${attribute} ${rule}`)
}

function invalid(message: string): CarillonError {
  return new CarillonError('CONFIG_INVALID', message)
}
