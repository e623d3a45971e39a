/**
 * Headers of a received message, read from its bytes. The stock decoder splits, checks and maps every header of the
 * block: it costs ten times as much as looking for the one that is asked for.
 */
import { type Msg, MsgImpl } from '@nats-io/transport-node'

const PREAMBLE = 'NATS/1.0'
/**
 * `\r\nName:` of the names that were asked for: a handful of constants. The bound is for a caller who makes them up.
 */
const needles = new Map<string, string>()
const NEEDLES_MAX = 64

/**
 * The header block as text, or '' when the message has none.
 *
 * The client hands out the payload as a view into the bytes that were received, and the headers stand right before it
 * there. How long they are follows from the message's size. What is not found to begin as a header block is decoded by
 * the client instead.
 */
export function headerBlock(msg: Msg, data: Uint8Array): string {
  if (!(msg instanceof MsgImpl)) return decodedBlock(msg)
  const length = msg.size() - msg.subject.length - msg.reply.length - data.length
  if (length === 0) return ''
  const start = data.byteOffset - length
  if (length < 0 || start < 0) return decodedBlock(msg)
  const block = Buffer.from(data.buffer, start, length).toString()
  return block.startsWith(PREAMBLE) ? block : decodedBlock(msg)
}

/** The first value of a header in a block, without the white space around it; undefined when it is absent. */
export function headerIn(block: string, name: string): string | undefined {
  const needle = needleOf(name)
  const at = block.indexOf(needle)
  if (at < 0) return undefined
  let start = at + needle.length
  let end = block.indexOf('\r\n', start)
  if (end < 0) end = block.length
  while (start < end && isBlank(block.charCodeAt(start))) start += 1
  while (end > start && isBlank(block.charCodeAt(end - 1))) end -= 1
  return block.slice(start, end)
}

/** The status of a message without payload, for example 503; 0 when it has none. */
export function statusOf(block: string): number {
  return Number.parseInt(block.slice(PREAMBLE.length + 1, PREAMBLE.length + 4), 10) || 0
}

function needleOf(name: string): string {
  let needle = needles.get(name)
  if (needle === undefined) {
    needle = `\r\n${name}:`
    if (needles.size < NEEDLES_MAX) needles.set(name, needle)
  }
  return needle
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

function decodedBlock(msg: Msg): string {
  const { headers } = msg
  if (headers === undefined) return ''
  let block = `${PREAMBLE} ${headers.status}`
  for (const [name, values] of headers) {
    for (const value of values) block += `\r\n${name}: ${value}`
  }
  return `${block}\r\n\r\n`
}
