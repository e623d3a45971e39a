/** Which instances a list or a count is of, typed by the contract where one is given. */
import type { Condition, Group, InstanceStatus } from '../protocol/index.ts'
import type { AttributeKindOf, AttributeNames, AttributesOf } from './attributes.ts'
import type { Contract, ContractShape } from './contract.ts'

interface IsSet {
  readonly isSet?: boolean | undefined
}
interface AnyOf<Value> {
  readonly anyOf?: readonly Value[] | undefined
}
interface Bounds<Value> {
  readonly atLeast?: Value | undefined
  readonly above?: Value | undefined
  readonly atMost?: Value | undefined
  readonly below?: Value | undefined
}
interface StartsWith {
  readonly startsWith?: string | undefined
}

/** What an attribute of each kind may be asked for: a value, or conditions that must all hold. Of several texts, one must be as asked. */
interface Asked {
  readonly text: string | (AnyOf<string> & StartsWith & IsSet)
  readonly number: number | (AnyOf<number> & Bounds<number> & IsSet)
  readonly bool: boolean | IsSet
  readonly time: Date | (Bounds<Date> & IsSet)
  readonly texts: string | (AnyOf<string> & StartsWith & IsSet)
}

/** Conditions by attribute; all must hold. */
export type Where<Shape extends ContractShape = ContractShape> = {
  readonly [Name in AttributeNames<Shape>]?: Asked[AttributeKindOf<Shape, Name>] | undefined
}

/** All of it must hold. Times are exclusive, as dates or milliseconds since the epoch. */
export interface InstanceFilter<Shape extends ContractShape = ContractShape> {
  readonly contract?: Contract<Shape> | undefined
  /** In place of `contract`. */
  readonly type?: string | undefined
  readonly status?: InstanceStatus | undefined
  readonly startedAfter?: Date | number | undefined
  readonly startedBefore?: Date | number | undefined
  /** Of instances that have closed. */
  readonly closedAfter?: Date | number | undefined
  readonly closedBefore?: Date | number | undefined
  /** Needs `contract` or `type`. */
  readonly where?: Where<Shape> | undefined
  /** The same as a list, also with values as text. */
  readonly conditions?: readonly Condition[] | undefined
}

/** What instances are counted by. */
export type GroupBy<Shape extends ContractShape = ContractShape> =
  | 'type'
  | 'status'
  | { readonly attribute: AttributeNames<Shape> }

/** One instance of a list. */
export interface InstanceRow<Shape extends ContractShape = ContractShape> {
  readonly type: string
  readonly id: string
  readonly status: InstanceStatus
  readonly startedMs: number
  /** When it closed; undefined while it has not. */
  readonly closedMs?: number
  /** Sequence of the last input that was saved. */
  readonly seq: number
  /** Those that are set; undefined when none is. */
  readonly attributes?: AttributesOf<Shape>
}

/** One group of a count: the type, the status, or the attribute's value. Of several texts, each is a group. */
export type CountGroup = Group
