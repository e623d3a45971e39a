/**
 * A block of known ids as bytes. An entry is
 *
 *   length of the id (1 byte) · the id, UTF-8 · seq (6 bytes, big-endian) · 0, or 1 and the outcome: its length (4 bytes), msgpack
 *
 * where 0 stands for plain success, the outcome of nearly every signal.
 */
import { decodeValue, encodeValue, INPUT_ID_BYTES_MAX, type Outcome } from '../protocol/index.ts'

export const BLOCK_IDS = 64

/** What is remembered of one id. `undefined` outcome: the input waits still. */
export interface KnownId {
  readonly id: string
  readonly seq: number
  readonly outcome: Outcome | undefined
}

const SEQ_BYTES = 6
const TWO_32 = 2 ** 32
const BYTES_AT_FIRST = 128
const PLAIN_SUCCESS: Outcome = Object.freeze({ ok: true })

/** Appends entries to a growing buffer. */
export class KnownIdWriter {
  #buffer: Buffer
  #length = 0
  #count = 0

  constructor(bytesAtFirst = BYTES_AT_FIRST) {
    this.#buffer = Buffer.allocUnsafeSlow(bytesAtFirst)
  }

  static from(bytes: Uint8Array): KnownIdWriter {
    const writer = new KnownIdWriter(Math.max(BYTES_AT_FIRST, bytes.length))
    writer.#buffer.set(bytes)
    writer.#length = bytes.length
    for (const _ of listEntries(bytes)) writer.#count += 1
    return writer
  }

  get count(): number {
    return this.#count
  }

  get length(): number {
    return this.#length
  }

  /** A view: what is written later does not change it. */
  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length)
  }

  write({ id, seq, outcome }: KnownId): void {
    const plain = outcome === undefined || (outcome.ok && outcome.value === undefined)
    const encoded = plain ? undefined : encodeValue(outcome)
    this.#reserve(1 + INPUT_ID_BYTES_MAX + SEQ_BYTES + 1 + (encoded === undefined ? 0 : 4 + encoded.length))
    const buffer = this.#buffer
    const idBytes = writeId(buffer, id, this.#length + 1)
    buffer[this.#length] = idBytes
    let at = this.#length + 1 + idBytes
    buffer.writeUInt16BE(Math.floor(seq / TWO_32), at)
    buffer.writeUInt32BE(seq % TWO_32, at + 2)
    at += SEQ_BYTES
    buffer[at++] = encoded === undefined ? 0 : 1
    if (encoded !== undefined) {
      buffer.writeUInt32BE(encoded.length, at)
      buffer.set(encoded, at + 4)
      at += 4 + encoded.length
    }
    this.#length = at
    this.#count += 1
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#length + bytes))
    grown.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = grown
  }
}

/** The entry at a place of a block; undefined behind the last. */
export function entryAt(bytes: Uint8Array, place: number): KnownId | undefined {
  let at = 0
  for (let i = 0; i < place && at < bytes.length; i++) at = endOf(bytes, at)
  return at < bytes.length ? parseEntry(bytes, at) : undefined
}

export function* listEntries(bytes: Uint8Array): Iterable<KnownId> {
  for (let at = 0; at < bytes.length; at = endOf(bytes, at)) yield parseEntry(bytes, at)
}

/** Nearly all ids are short ASCII, where a loop beats a call into the host. Gives the bytes written. */
function writeId(buffer: Buffer, id: string, start: number): number {
  for (let i = 0; i < id.length; i++) {
    const code = id.charCodeAt(i)
    if (code > 0x7f) return buffer.write(id, start, 'utf8')
    buffer[start + i] = code
  }
  return id.length
}

function parseEntry(bytes: Uint8Array, at: number): KnownId {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const seqAt = at + 1 + (buffer[at] as number)
  const outcomeAt = seqAt + SEQ_BYTES
  const id = buffer.toString('utf8', at + 1, seqAt)
  const seq = buffer.readUInt16BE(seqAt) * TWO_32 + buffer.readUInt32BE(seqAt + 2)
  if (buffer[outcomeAt] === 0) return { id, seq, outcome: PLAIN_SUCCESS }
  const length = buffer.readUInt32BE(outcomeAt + 1)
  return { id, seq, outcome: decodeValue(buffer.subarray(outcomeAt + 5, outcomeAt + 5 + length)) as Outcome }
}

function endOf(bytes: Uint8Array, at: number): number {
  const outcomeAt = at + 1 + (bytes[at] as number) + SEQ_BYTES
  if (bytes[outcomeAt] === 0) return outcomeAt + 1
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return outcomeAt + 5 + view.getUint32(outcomeAt + 1)
}
