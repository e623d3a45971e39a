/** The attributes of an instance as its code sets and reads them. What is kept is never changed in place. */
import {
  ATTRIBUTE_LIMITS,
  type AttributeKind,
  type Attributes,
  type AttributesOf,
  type AttributesToSet,
  type AttributeValue,
} from '../contract/attributes.ts'
import type { Contract } from '../contract/contract.ts'
import { CarillonError } from '../errors.ts'
import { encodeValue, quote } from '../protocol/index.ts'
import type { Instance } from './instance.ts'

/** Those that are set. */
export type AttributeData = Readonly<Record<string, AttributeValue>>

export function attributesOf(instance: Instance): Attributes {
  const { contract } = instance.implementation
  const set = (values: AttributesToSet): void => {
    instance.requireTurn()
    instance.data.attributes = withAttributes(contract, instance.data.attributes, values)
  }
  return {
    set,
    unset: (...names) => set(Object.fromEntries(names.map((name) => [name, undefined]))),
    get(name) {
      instance.requireTurn()
      requireKind(contract, name)
      return copyAttribute(instance.data.attributes?.[name])
    },
    all() {
      instance.requireTurn()
      return copyAttributes(instance.data.attributes)
    },
  }
}

/** Some attributes with others set over them; undefined when none is left. Throws as `Attributes.set`. */
export function withAttributes(
  contract: Contract,
  old: AttributeData | undefined,
  values: AttributesToSet,
): AttributeData | undefined {
  const next: Record<string, AttributeValue> = { ...old }
  for (const [name, value] of Object.entries(values)) {
    const kept = keep(contract.name, name, requireKind(contract, name), value)
    if (kept === undefined) delete next[name]
    else next[name] = kept
  }
  if (Object.keys(next).length === 0) return undefined
  const { length } = encodeValue(next)
  if (length <= ATTRIBUTE_LIMITS.bytes) return next
  throw new CarillonError(
    'LIMIT_REACHED',
    `the attributes of ${contract.name} have ${length} bytes, over ${ATTRIBUTE_LIMITS.bytes}: keep what nobody lists by in the state`,
  )
}

/** The declared kind. @throws UNKNOWN_NAME */
export function requireKind({ name: type, shape }: Contract, name: string): AttributeKind {
  const declared: Readonly<Record<string, AttributeKind>> = shape.attributes ?? {}
  const kind = Object.hasOwn(declared, name) ? declared[name] : undefined
  if (kind !== undefined) return kind
  throw new CarillonError(
    'UNKNOWN_NAME',
    `${type} declares no attribute ${quote(name)}; it has: ${Object.keys(declared).join(', ') || 'none'}`,
  )
}

/** A value of a kind as it is kept; undefined for none. @throws INVALID_ATTRIBUTE, LIMIT_REACHED */
function keep(type: string, name: string, kind: AttributeKind, value: unknown): AttributeValue | undefined {
  if (value === undefined) return undefined
  const refuse = (rule: string): never => {
    throw new CarillonError(
      'INVALID_ATTRIBUTE',
      `the attribute ${name} of ${type} is a ${kind}: ${quote(value)} ${rule}`,
    )
  }
  switch (kind) {
    case 'text':
      return typeof value === 'string' ? checkText(type, name, value) : refuse('is no text')
    case 'number':
      // Without -0: it would be another row than 0.
      return typeof value === 'number' && Number.isFinite(value) ? value + 0 : refuse('is no finite number')
    case 'bool':
      return typeof value === 'boolean' ? value : refuse('is neither true nor false')
    case 'time': {
      const ms = value instanceof Date ? value.getTime() : value
      const date = typeof ms === 'number' ? new Date(ms) : undefined
      return date === undefined || Number.isNaN(date.getTime())
        ? refuse('is no moment: give a Date, or milliseconds since the epoch')
        : date
    }
    case 'texts': {
      if (!Array.isArray(value) || !value.every((text) => typeof text === 'string'))
        return refuse('is no array of texts')
      const texts = [...new Set(value as readonly string[])].sort()
      if (texts.length > ATTRIBUTE_LIMITS.texts)
        throw new CarillonError(
          'LIMIT_REACHED',
          `the attribute ${name} of ${type} has ${texts.length} texts, over ${ATTRIBUTE_LIMITS.texts}: keep fewer`,
        )
      for (const text of texts) checkText(type, name, text)
      return texts.length === 0 ? undefined : texts
    }
  }
}

const utf8 = new TextEncoder()

function checkText(type: string, name: string, text: string): string {
  if (!text.isWellFormed())
    throw new CarillonError(
      'INVALID_ATTRIBUTE',
      `the attribute ${name} of ${type} is ${quote(text)}, which holds a lone surrogate: it is not valid Unicode`,
    )
  if (text.length <= ATTRIBUTE_LIMITS.textBytes && utf8.encode(text).length <= ATTRIBUTE_LIMITS.textBytes) return text
  throw new CarillonError(
    'LIMIT_REACHED',
    `a text of the attribute ${name} of ${type} is over ${ATTRIBUTE_LIMITS.textBytes} bytes of UTF-8: keep a shorter one`,
  )
}

function copyAttributes(attributes: AttributeData | undefined): AttributesOf {
  return Object.fromEntries(Object.entries(attributes ?? {}).map(([name, value]) => [name, copyAttribute(value)]))
}

/** The caller may change what it gets, or put it into its state. */
function copyAttribute(value: AttributeValue | undefined): never {
  if (value instanceof Date) return new Date(value) as never
  return (Array.isArray(value) ? [...(value as readonly string[])] : value) as never
}
