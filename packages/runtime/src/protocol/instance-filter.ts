/** Which instances a list or a count is of: as callers give it, and as it travels to the owners of the partitions. */
import { CarillonError } from '../errors.ts'
import { quote } from './ids.ts'
import type { InstanceStatus } from './rpc.ts'

/** What an attribute may be asked for. `anyOf` has an array of values, `isSet` a truth value. */
export const CONDITION_OPS = ['is', 'anyOf', 'atLeast', 'above', 'atMost', 'below', 'startsWith', 'isSet'] as const
export type ConditionOp = (typeof CONDITION_OPS)[number]

/** One condition on one attribute. */
export interface Condition {
  readonly attribute: string
  readonly op: ConditionOp
  /** Of the attribute's kind. */
  readonly value?: unknown
  /** In place of `value`, from those who do not know the contract: the owner reads it as the declared kind says. */
  readonly text?: string
}

/** One group of a count: what was counted by, or true without that. */
export interface Group {
  readonly value: string | number | boolean | Date
  readonly count: number
}

/** As it travels: all of it must hold. Times are milliseconds since the epoch, exclusive. */
export interface WireFilter {
  readonly type?: string
  readonly status?: InstanceStatus
  readonly startedAfter?: number
  readonly startedBefore?: number
  readonly closedAfter?: number
  readonly closedBefore?: number
  /** Needs `type`. */
  readonly where?: readonly Condition[]
}

/** As callers give it. */
export interface LooseFilter {
  readonly contract?: { readonly name: string } | undefined
  readonly type?: string | undefined
  readonly status?: InstanceStatus | undefined
  readonly startedAfter?: Date | number | undefined
  readonly startedBefore?: Date | number | undefined
  readonly closedAfter?: Date | number | undefined
  readonly closedBefore?: Date | number | undefined
  readonly where?: Readonly<Record<string, unknown>> | undefined
  readonly conditions?: readonly Condition[] | undefined
}

const TIMES = ['startedAfter', 'startedBefore', 'closedAfter', 'closedBefore'] as const

/** @throws CONFIG_INVALID when it makes no sense. Whether attributes and values fit the contract is for the owner to say. */
export function toWireFilter(filter: LooseFilter): WireFilter {
  const { contract, status, where = {}, conditions = [] } = filter
  const type = contract?.name ?? filter.type
  if (contract !== undefined && filter.type !== undefined && filter.type !== contract.name)
    throw invalid(
      `the type ${quote(filter.type)} is not that of the contract ${quote(contract.name)}: give one of them`,
    )
  const all = [...Object.entries(where).flatMap(([attribute, asked]) => toConditions(attribute, asked)), ...conditions]
  if (all.length > 0 && type === undefined) throw invalid('attributes are declared by a type: give type or contract')
  return {
    ...(type === undefined ? {} : { type }),
    ...(status === undefined ? {} : { status }),
    ...Object.fromEntries(
      TIMES.flatMap((name) => (filter[name] === undefined ? [] : [[name, toMs(name, filter[name])]])),
    ),
    ...(all.length === 0 ? {} : { where: all }),
  }
}

/** A value is asked for as it is; an object holds conditions by their names. */
function toConditions(attribute: string, asked: unknown): Condition[] {
  if (asked === undefined) return []
  if (typeof asked !== 'object' || asked === null || asked instanceof Date)
    return [{ attribute, op: 'is', value: asked }]
  return Object.entries(asked).flatMap(([op, value]) => {
    if (value === undefined) return []
    if ((CONDITION_OPS as readonly string[]).includes(op))
      return [{ attribute, op: op as ConditionOp, value: value as unknown }]
    throw invalid(
      `the condition ${quote(op)} on ${attribute} is none: it is a value, or one of ${CONDITION_OPS.join(', ')}`,
    )
  })
}

/** Adds up the groups of several partitions; the largest first, and equal ones in the order of their values. */
export function mergeGroups(groups: readonly Group[]): readonly Group[] {
  const merged = new Map<unknown, { readonly value: Group['value']; count: number }>()
  for (const { value, count } of groups) {
    const id = value instanceof Date ? `time ${value.getTime()}` : value
    const known = merged.get(id)
    if (known === undefined) merged.set(id, { value, count })
    else known.count += count
  }
  return [...merged.values()].sort((a, b) => b.count - a.count || (a.value < b.value ? -1 : 1))
}

function toMs(name: string, time: Date | number): number {
  const ms = Number(time)
  if (Number.isFinite(ms)) return ms
  throw invalid(`${name} is ${quote(time)}: give a Date, or milliseconds since the epoch`)
}

function invalid(message: string): CarillonError {
  return new CarillonError('CONFIG_INVALID', message)
}
