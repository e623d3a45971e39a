/** Search attributes: what the instances of a type are listed and counted by. A contract declares each with its kind. */
import { CarillonError } from '../errors.ts'
import type { ContractShape } from './contract.ts'

/** What an attribute may hold: a text, a number, a truth value, a moment, or several texts in no order. */
export const ATTRIBUTE_KINDS = ['text', 'number', 'bool', 'time', 'texts'] as const
export type AttributeKind = (typeof ATTRIBUTE_KINDS)[number]

/** One value as it is kept. */
export type AttributeValue = string | number | boolean | Date | readonly string[]

/** Bounds of the attributes of one instance. */
export const ATTRIBUTE_LIMITS = {
  /** Attributes that a type may declare: each that is set is a row of its own. */
  perType: 32,
  /** Characters of a name: it stands in the key of each row. */
  nameChars: 40,
  /** Bytes of one text as UTF-8, as of an id: it stands in the key of a row. */
  textBytes: 200,
  /** Texts of one attribute: each is a row. */
  texts: 32,
  /** Bytes of all that are set, encoded: they are read for every row of a list. */
  bytes: 8 * 1024,
} as const

const NAME = /^[A-Za-z][A-Za-z0-9_]*$/

interface Kept {
  readonly text: string
  readonly number: number
  readonly bool: boolean
  readonly time: Date
  readonly texts: readonly string[]
}

interface Given extends Omit<Kept, 'time'> {
  /** As a date, or milliseconds since the epoch. */
  readonly time: Date | number
}

type KindsOf<Shape extends ContractShape> = NonNullable<Shape['attributes']>

export type AttributeNames<Shape extends ContractShape> = Extract<keyof KindsOf<Shape>, string>

/** The declared kind of one attribute. */
export type AttributeKindOf<Shape extends ContractShape, Name> = Name extends keyof KindsOf<Shape>
  ? KindsOf<Shape>[Name]
  : never

/** Attributes as they are read: those that are set. */
export type AttributesOf<Shape extends ContractShape = ContractShape> = {
  readonly [Name in AttributeNames<Shape>]?: Kept[AttributeKindOf<Shape, Name>]
}

/** Attributes as they are set; `undefined` unsets one. */
export type AttributesToSet<Shape extends ContractShape = ContractShape> = {
  readonly [Name in AttributeNames<Shape>]?: Given[AttributeKindOf<Shape, Name>] | undefined
}

/** The attributes of an instance, for its own code. They are part of it as its state is, and go on over `continueAsNew` and the close. */
export interface Attributes<Shape extends ContractShape = ContractShape> {
  /**
   * Sets these; others stay as they are. `undefined`, and no texts at all, unset.
   *
   * @throws UNKNOWN_NAME when the contract declares no such attribute. @throws INVALID_ATTRIBUTE when a value is not of its kind.
   * @throws LIMIT_REACHED over one of `ATTRIBUTE_LIMITS`.
   */
  set(values: AttributesToSet<Shape>): void
  /** Throws as `set`. */
  unset(...names: AttributeNames<Shape>[]): void
  /** The value, or undefined when it is not set. */
  get<Name extends AttributeNames<Shape>>(name: Name): AttributesOf<Shape>[Name]
  /** All that are set, as a copy. */
  all(): AttributesOf<Shape>
}

/** @throws INVALID_DEFINITION when an attribute has a name or a kind that is none, or there are too many. */
export function checkAttributes(type: string, attributes: Readonly<Record<string, AttributeKind>>): void {
  const refuse = (message: string): never => {
    throw new CarillonError('INVALID_DEFINITION', `the contract ${type} ${message}`)
  }
  const entries = Object.entries(attributes)
  if (entries.length > ATTRIBUTE_LIMITS.perType)
    refuse(
      `declares ${entries.length} attributes, over ${ATTRIBUTE_LIMITS.perType}: keep what nobody lists by in the state`,
    )
  for (const [name, kind] of entries) {
    if (!NAME.test(name) || name.length > ATTRIBUTE_LIMITS.nameChars)
      refuse(
        `declares the attribute ${JSON.stringify(name)}: a name is 1 to ${ATTRIBUTE_LIMITS.nameChars} letters, digits or _, a letter first`,
      )
    if (!ATTRIBUTE_KINDS.includes(kind))
      refuse(
        `declares the attribute ${name} as ${JSON.stringify(kind)}: a kind is one of ${ATTRIBUTE_KINDS.join(', ')}`,
      )
  }
}
