/**
 * Ids on the wire: how a type, an instance id or a name becomes one NATS subject token and back.
 *
 * Invariants
 * 1. `decodeToken(encodeToken(id)) === id` for every valid id.
 * 2. Two ids have the same token only if they are the same id: the encoding is canonical, and `decodeToken` refuses the rest.
 * 3. A token holds `[A-Za-z0-9_=-]` only, so that it is safe in a subject, a KV key, a file name, a log line and a metric label.
 */
import { CarillonError } from '../errors.ts'
import { escapeText, unescapeText } from './escape.ts'
import { ID_BYTES_MAX, INPUT_ID_BYTES_MAX, NAMESPACE_BYTES_MAX } from './limits.ts'

declare const token: unique symbol
/** One encoded subject token. Only `encodeToken` and `parseToken` make one. */
export type Token = string & { readonly [token]: true }

const PLAIN = /^[A-Za-z0-9_-]{1,200}$/
const NAMESPACE = /^[A-Za-z0-9_-]+$/
const TOKEN = /^(?:[A-Za-z0-9_-]|=[0-9A-F]{2})+$/
// eslint-disable-next-line no-control-regex -- control characters are exactly what is refused here
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/
const utf8 = new TextEncoder()

/**
 * Encodes an id to one subject token: letters, digits, `_` and `-` stay, every other byte of its UTF-8 becomes `=XX` (upper-case hex).
 *
 * @param what names the value in the error, for example `instance id`.
 * @throws INVALID_ID when the id is empty, over 200 bytes, not in NFC, or holds a control character or a lone surrogate.
 */
export function encodeToken(id: string, what = 'id'): Token {
  if (PLAIN.test(id)) return id as Token
  checkId(id, what, ID_BYTES_MAX)
  return escapeText(id) as Token
}

/**
 * Decodes a token back to its id.
 *
 * @throws INVALID_ID when the text is not the canonical encoding of a valid id.
 */
export function decodeToken(text: string): string {
  if (PLAIN.test(text)) return text
  const id = unescapeToken(text)
  if (id === undefined || encodeToken(id, 'token') !== text) {
    throw new CarillonError(
      'INVALID_ID',
      `the token ${quote(text)} is not the encoding of an id: escape every byte outside [A-Za-z0-9_-] as =XX, upper-case`,
    )
  }
  return id
}

/**
 * Checks an input id (the idempotency key of one input).
 *
 * @throws INVALID_ID when it is empty, over 200 bytes, or holds a control character or a lone surrogate.
 */
export function checkInputId(id: string): string {
  if (PLAIN.test(id)) return id
  return checkId(id, 'input id', INPUT_ID_BYTES_MAX)
}

/**
 * Checks a namespace: it is used as it stands in every subject and stream name.
 *
 * @throws INVALID_ID when it is not 1 to 32 of `[A-Za-z0-9_-]`.
 */
export function checkNamespace(namespace: string): string {
  if (!NAMESPACE.test(namespace) || namespace.length > NAMESPACE_BYTES_MAX) {
    throw new CarillonError(
      'INVALID_ID',
      `the namespace ${quote(namespace)} is not 1 to ${NAMESPACE_BYTES_MAX} characters of [A-Za-z0-9_-]`,
    )
  }
  return namespace
}

function checkId(id: string, what: string, bytesMax: number): string {
  const refuse = (rule: string): never => {
    throw new CarillonError('INVALID_ID', `the ${what} ${quote(id)} ${rule}`)
  }
  if (typeof id !== 'string') return refuse('is not a string')
  if (id.length === 0) return refuse('is empty: give it at least one character')
  if (id.length > bytesMax || utf8.encode(id).length > bytesMax) return refuse(`is over ${bytesMax} bytes of UTF-8`)
  if (!id.isWellFormed()) return refuse('holds a lone surrogate: it is not valid Unicode')
  if (CONTROL.test(id)) return refuse('holds a control character')
  if (id.normalize('NFC') !== id) return refuse('is not in Unicode normal form C: call .normalize("NFC") on it first')
  return id
}

function unescapeToken(text: string): string | undefined {
  if (!TOKEN.test(text) || text.length > ID_BYTES_MAX * 3) return undefined
  try {
    return unescapeText(text)
  } catch {
    return undefined
  }
}

/** Quotes a value for an error message: JSON, cut at 60 characters, so that it is safe in a log line. */
export function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 60 ? `${text.slice(0, 57)}…"` : text
}
