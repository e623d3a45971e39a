/** How results and errors leave the process: results on stdout, everything else on stderr. */
import { codeOf, ERROR_CODES, toErrorData } from '@carillon/runtime'

import { withoutSecrets } from './secrets.ts'

// eslint-disable-next-line no-control-regex -- control characters are exactly what must not reach a terminal
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g
const LINE_BREAKS = /\s*[\r\n]+\s*/g

/** Prints one line of a result. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** Prints a value as one line of JSON. */
export function printJson(value: unknown): void {
  print(toJson(value))
}

/** Tells people something that is not a result. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`)
}

/** Prints a failure: one line for an operating error; a bug shows where it is. */
export function printError(error: unknown, asJson: boolean): void {
  const isOperating = codeOf(error) !== undefined && String(codeOf(error)) in ERROR_CODES
  const { code, message, details } = isOperating ? toErrorData(error, 'CONFIG_INVALID') : unexpected(error)
  const text = oneLine(message)
  if (asJson) return note(withoutSecrets(toJson({ error: { code, message: text, details } })))
  note(`error ${code}: ${text}`)
  if (!isOperating && error instanceof Error && error.stack !== undefined) note(withoutSecrets(error.stack))
}

function unexpected(error: unknown): { readonly code: string; readonly message: string; readonly details?: unknown } {
  return { code: 'UNEXPECTED', message: error instanceof Error ? error.message : String(error) }
}

/** A text on one line, without credentials and without what a terminal would obey. */
export function oneLine(text: string): string {
  return withoutSecrets(text).trim().replaceAll(LINE_BREAKS, ' | ').replaceAll('\t', ' ').replaceAll(CONTROL, '?')
}

/** A value as JSON: what JSON has no word for becomes text (dates, large integers) or a list (maps as pairs, sets, bytes as base64). */
export function toJson(value: unknown, indent?: number): string {
  return JSON.stringify(toPlain(value), undefined, indent) ?? 'null'
}

/** A value as JSON holds it. */
export function toPlain(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString()
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
  if (value instanceof Map) return [...value].map(toPlain)
  if (value instanceof Set || Array.isArray(value)) return [...(value as Iterable<unknown>)].map(toPlain)
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toPlain(item)]))
}
