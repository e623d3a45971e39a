/**
 * Rows of a store as a stream of bytes, cut into parts: what a checkpoint adds to the remote snapshot of a partition.
 *
 * A segment is a sequence of frames. One kind says that an instance is replaced: none of its rows in earlier segments counts. The others are rows. A part is
 * a CRC-32 and some of the bytes, wherever they are cut: an instance of any size is so many parts. The sum starts from the segment's name and the part's
 * number, so that a part in the wrong place fails too.
 *
 *     frame  = kind (1 byte) · length of the key (2 bytes) · length of the value (4 bytes) · key · value      (big-endian)
 *
 * Invariants
 * 1. What is read is what was written, or SNAPSHOT_DAMAGED: no frame of a part that fails its checksum is given out.
 */
import { crc32 } from 'node:zlib'

import { CarillonError } from '../errors.ts'
import { PART_BYTES_MAX, type Row, type Table } from '../ports/index.ts'

/** The kinds of frames by their code, which stays. The index follows from the records. */
const KINDS = ['replaced', 'meta', 'record', 'tail', 'ids', 'timer', 'effect'] as const satisfies readonly (
  | 'replaced'
  | Table
)[]
export type SavedTable = Exclude<(typeof KINDS)[number], 'replaced'>

export type Frame =
  | { readonly kind: 'replaced'; readonly key: string }
  | { readonly kind: 'row'; readonly table: SavedTable; readonly row: Row }

const HEAD_BYTES = 7
const SUM_BYTES = 4
const NOTHING = new Uint8Array(0)

/** Fills parts with frames. */
export class SegmentWriter {
  readonly #segment: string
  #part = Buffer.allocUnsafeSlow(PART_BYTES_MAX)
  #at = SUM_BYTES
  #full: Uint8Array[] = []
  #parts = 0
  #bytes = 0

  constructor(segment: string) {
    this.#segment = segment
  }

  /** Parts that were begun, and the bytes of those that are full. */
  get parts(): number {
    return this.#parts
  }

  get bytes(): number {
    return this.#bytes
  }

  add(frame: Frame): void {
    const [code, key, value] =
      frame.kind === 'replaced'
        ? ([0, frame.key, NOTHING] as const)
        : ([KINDS.indexOf(frame.table), frame.row.key, frame.row.value] as const)
    const head = Buffer.allocUnsafe(HEAD_BYTES + key.length)
    head.writeUInt8(code, 0)
    head.writeUInt16BE(key.length, 1)
    head.writeUInt32BE(value.length, 3)
    head.write(key, HEAD_BYTES, 'latin1')
    this.#write(head)
    this.#write(value)
  }

  /** The parts that are full by now, each given once. */
  takeFull(): readonly Uint8Array[] {
    const full = this.#full
    this.#full = []
    return full
  }

  /** The last part, when nothing is added any more; undefined where it holds nothing. */
  end(): Uint8Array | undefined {
    return this.#at === SUM_BYTES ? undefined : this.#seal()
  }

  #write(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length;) {
      const piece = bytes.subarray(from, from + PART_BYTES_MAX - this.#at)
      this.#part.set(piece, this.#at)
      this.#at += piece.length
      from += piece.length
      if (this.#at === PART_BYTES_MAX) this.#full.push(this.#seal())
    }
  }

  #seal(): Uint8Array {
    const part = this.#part.subarray(0, this.#at)
    part.writeUInt32BE(crc32(part.subarray(SUM_BYTES), seedOf(this.#segment, this.#parts)), 0)
    this.#parts += 1
    this.#bytes += part.length
    this.#part = Buffer.allocUnsafeSlow(PART_BYTES_MAX)
    this.#at = SUM_BYTES
    return part
  }
}

/** Gives the frames of parts, which come in order. */
export class SegmentReader {
  readonly #segment: string
  #index = 0
  #held: Uint8Array[] = []
  #heldBytes = 0
  /** So many are needed for the next frame. */
  #neededBytes = HEAD_BYTES

  constructor(segment: string) {
    this.#segment = segment
  }

  /** @throws SNAPSHOT_DAMAGED when the part is not the one that was written. */
  *read(part: Uint8Array): Generator<Frame, void, undefined> {
    const bytes = Buffer.from(part.buffer, part.byteOffset, part.length)
    const index = this.#index++
    if (
      bytes.length <= SUM_BYTES ||
      bytes.readUInt32BE(0) !== crc32(bytes.subarray(SUM_BYTES), seedOf(this.#segment, index))
    )
      throw damaged(`part ${index} of the segment ${this.#segment} fails its checksum`)
    this.#held.push(bytes.subarray(SUM_BYTES))
    this.#heldBytes += bytes.length - SUM_BYTES
    // Large frames are put together once, when all of them is there.
    if (this.#heldBytes < this.#neededBytes) return
    let whole = this.#held.length === 1 ? (this.#held[0] as Buffer) : Buffer.concat(this.#held, this.#heldBytes)
    for (;;) {
      const frameBytes =
        whole.length < HEAD_BYTES ? HEAD_BYTES : HEAD_BYTES + whole.readUInt16BE(1) + whole.readUInt32BE(3)
      if (whole.length < frameBytes || whole.length < HEAD_BYTES) {
        this.#held = whole.length === 0 ? [] : [whole]
        this.#heldBytes = whole.length
        this.#neededBytes = frameBytes
        return
      }
      yield toFrame(whole.subarray(0, frameBytes), this.#segment)
      whole = whole.subarray(frameBytes)
    }
  }

  /** @throws SNAPSHOT_DAMAGED when the last frame is not whole. */
  end(): void {
    if (this.#heldBytes > 0) throw damaged(`the segment ${this.#segment} ends within a frame`)
  }
}

function toFrame(bytes: Buffer, segment: string): Frame {
  const kind = KINDS[bytes.readUInt8(0)]
  const keyEnd = HEAD_BYTES + bytes.readUInt16BE(1)
  const key = bytes.toString('latin1', HEAD_BYTES, keyEnd)
  if (kind === undefined)
    throw damaged(`the segment ${segment} has a frame of kind ${bytes.readUInt8(0)}, which this release does not know`)
  if (kind === 'replaced') return { kind, key }
  // Not `subarray` alone: of a Buffer it would be a Buffer, and so would every blob that is decoded from it.
  return {
    kind: 'row',
    table: kind,
    row: { key, value: new Uint8Array(bytes.buffer, bytes.byteOffset + keyEnd, bytes.length - keyEnd) },
  }
}

function seedOf(segment: string, index: number): number {
  return crc32(`${segment}/${index}`)
}

function damaged(what: string): CarillonError {
  return new CarillonError(
    'SNAPSHOT_DAMAGED',
    `the remote snapshot cannot be used: ${what}. Where the journal is whole, a node builds its data from that; else from a copy of the stream`,
  )
}
