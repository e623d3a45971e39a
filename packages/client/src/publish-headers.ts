/** Message headers as bytes, made in one pass: the stock encoder checks, copies and joins a map per message. */
import { CarillonError } from '@carillon/runtime'
import { quote } from '@carillon/runtime/protocol'
import { MsgHdrsImpl } from '@nats-io/transport-node'

/** The text of a header block up to its last header: more may be added, and `\r\n` ends it. */
export type HeaderText = string

const PREAMBLE = 'NATS/1.0\r\n'
const NAME = /^[!-9;-~]+$/
/** Printable ASCII that neither begins nor ends with a space: nearly every value. */
const PLAIN_VALUE = /^[!-~](?:[ -~]*[!-~])?$/
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f]/
/** Names are few and come from code, so their checks are remembered; the bound is for a caller who makes them up. */
const NAMES_REMEMBERED_MAX = 64
const checkedNames = new Set<string>()

/**
 * Joins headers to the text that goes on the wire.
 *
 * @throws INVALID_ID when a name is not a token, or a value holds a control character (CR and LF would end the header)
 * or begins or ends
 *   with white space (every reader of NATS headers drops it, and two ids would become one).
 */
export function headerText(headers: Readonly<Record<string, string>> | undefined): HeaderText {
  let text = PREAMBLE
  if (headers === undefined) return text
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined) continue
    if (!checkedNames.has(name)) checkName(name)
    if (!PLAIN_VALUE.test(value)) checkValue(name, value)
    text += `${name}: ${value}\r\n`
  }
  return text
}

/** The same headers with the three of an atomic batch. Sequences count from 1. */
export function batchHeaderText(text: HeaderText, batchId: string, sequence: number, isLast: boolean): HeaderText {
  return `${text}Nats-Batch-Id: ${batchId}\r\nNats-Batch-Sequence: ${sequence}\r\n${isLast ? 'Nats-Batch-Commit: 1\r\n' : ''}`
}

/** Whether the text holds any header at all. */
export function hasHeaders(text: HeaderText): boolean {
  return text.length > PREAMBLE.length
}

/** Headers that are bytes already. One object serves many publishes, because `publish` reads it before it returns. */
export class EncodedHeaders extends MsgHdrsImpl {
  #bytes: Uint8Array = new Uint8Array(0)

  /** Takes the whole header block; gives itself back. */
  with(text: HeaderText): this {
    this.#bytes = Buffer.from(`${text}\r\n`)
    return this
  }

  override encode(): Uint8Array {
    return this.#bytes
  }
}

function checkName(name: string): void {
  if (!NAME.test(name))
    throw new CarillonError('INVALID_ID', `the header name ${quote(name)} is not printable ASCII without a colon`)
  if (checkedNames.size < NAMES_REMEMBERED_MAX) checkedNames.add(name)
}

function checkValue(name: string, value: string): void {
  const refuse = (rule: string): never => {
    throw new CarillonError('INVALID_ID', `the value ${quote(value)} of the header ${name} ${rule}`)
  }
  if (CONTROL.test(value)) refuse('holds a control character')
  if (!value.isWellFormed()) refuse('holds a lone surrogate: it is not valid Unicode')
  if (value.trim() !== value) refuse('begins or ends with white space, which does not survive in a NATS header')
}
