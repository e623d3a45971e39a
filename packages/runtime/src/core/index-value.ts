/**
 * Attribute values as parts of keys: equal values are equal texts, numbers and moments are in their order, and a text begins with its beginnings.
 *
 * A letter says what it is; the forms hold no `/` and nothing above `z`.
 */
import type { AttributeValue } from '../contract/attributes.ts'
import { escapeText, unescapeText } from '../protocol/index.ts'

const PLAIN = /^[A-Za-z0-9_-]*$/
const SIGN = 1n << 63n
const ALL_BITS = (1n << 64n) - 1n

/** One value, or each of several texts. */
export function valueKeys(value: AttributeValue): readonly string[] {
  if (typeof value === 'string') return [textKey(value)]
  if (typeof value === 'number') return [`n${orderedHex(value)}`]
  if (typeof value === 'boolean') return [value ? 'b1' : 'b0']
  if (value instanceof Date) return [`d${orderedHex(value.getTime())}`]
  return value.map(textKey)
}

/** The value that a key was made of; one text where it was one of several. */
export function valueOfKey(key: string): AttributeValue {
  const rest = key.slice(1)
  switch (key[0]) {
    case 'n':
      return fromOrderedHex(rest)
    case 'd':
      return new Date(fromOrderedHex(rest))
    case 'b':
      return rest === '1'
    default:
      return PLAIN.test(rest) ? rest : unescapeText(rest)
  }
}

/** Escaped as tokens are; other than a token it may be empty, and holds any text. */
function textKey(text: string): string {
  return `t${PLAIN.test(text) ? text : escapeText(text)}`
}

const bits = new DataView(new ArrayBuffer(8))

/** The bits of a double, with the sign turned over, and all of them where it is negative: then their order is that of the numbers. */
function orderedHex(value: number): string {
  bits.setFloat64(0, value)
  const raw = bits.getBigUint64(0)
  return ((raw & SIGN) === 0n ? raw | SIGN : raw ^ ALL_BITS).toString(16).padStart(16, '0')
}

function fromOrderedHex(text: string): number {
  const ordered = BigInt(`0x${text}`)
  bits.setBigUint64(0, (ordered & SIGN) === 0n ? ordered ^ ALL_BITS : ordered ^ SIGN)
  return bits.getFloat64(0)
}
