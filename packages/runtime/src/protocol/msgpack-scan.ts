/**
 * A look over msgpack before it is decoded: what it claims to hold must fit into it, be text where it says so, and not be
 * nested too deep.
 *
 * The decoder makes room for as many elements as an array claims, so without this look a payload of 100 bytes takes gigabytes. And it makes
 * lone surrogates of broken UTF-8, which could be kept in a state but never be saved.
 */
import { isUtf8 } from 'node:buffer'

import { CarillonError } from '../errors.ts'
import { DEPTH_MAX } from './limits.ts'

/** Extensions whose body is msgpack again: `Map` and `Set` of codec.ts. */
const EXT_NESTED_MAX = 2
/** The other ones that are known: `bigint`, `Date`, and msgpack's own timestamp (-1). */
const EXT_OTHER: ReadonlySet<number> = new Set([3, 4, 0xff])
/** Short texts of ASCII are looked over faster than a native call begins. */
const ASCII_BYTES_SEEN_MAX = 32
const FIXED_BYTES: Readonly<Record<number, number>> = {
  0xca: 5,
  0xcb: 9,
  0xcc: 2,
  0xcd: 3,
  0xce: 5,
  0xcf: 9,
  0xd0: 2,
  0xd1: 3,
  0xd2: 5,
  0xd3: 9,
}

/**
 * Checks the shape of one msgpack value.
 *
 * @throws INVALID_PAYLOAD when it is cut off, claims more elements than it has bytes, holds text that is not UTF-8, or is nested over 64 levels deep.
 */
export function checkMsgpack(bytes: Uint8Array): void {
  if (bytes.length > PLAIN_BYTES_MAX || !isPlain(bytes)) new Scan(bytes).run()
}

/** Payloads up to here are looked at in the short way first: they cannot be nested too deep. */
const PLAIN_BYTES_MAX = DEPTH_MAX

/** True when the bytes are small numbers of small things in ASCII, as most payloads are: one pass without bookkeeping. */
function isPlain(bytes: Uint8Array): boolean {
  let at = 0
  for (let expected = 1; expected > 0; expected--) {
    const first = bytes[at++]
    if (first === undefined) return false
    if (first < 0x80 || first >= 0xe0 || first === 0xc0 || first === 0xc2 || first === 0xc3) continue
    if (first < 0x90) expected += (first & 0x0f) * 2
    else if (first < 0xa0) expected += first & 0x0f
    else if (first < 0xc0 || first === 0xd9) {
      const end = first === 0xd9 ? at + 1 + (bytes[at++] ?? 0) : at + (first & 0x1f)
      for (; at < end; at++) if ((bytes[at] ?? 0xff) >= 0x80) return false
    } else {
      const length = FIXED_BYTES[first]
      if (length === undefined) return false
      at += length - 1
    }
  }
  return at <= bytes.length
}

class Scan {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  /** Items still to come in each container that is open; 1 for the value itself. */
  readonly #open: number[] = [1]
  #at = 0
  #claimed = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  run(): void {
    const open = this.#open
    while (open.length > 0) {
      const left = open[open.length - 1] as number
      if (left === 0) {
        open.pop()
        continue
      }
      open[open.length - 1] = left - 1
      this.#item()
    }
  }

  #item(): void {
    const first = this.#bytes[this.#at]
    if (first === undefined) throw this.#cutOff()
    if (first < 0x80 || first >= 0xe0) return this.#skip(1)
    if (first < 0x90) return this.#container(1, (first & 0x0f) * 2)
    if (first < 0xa0) return this.#container(1, first & 0x0f)
    if (first < 0xc0) return this.#text(1, first & 0x1f)
    if (first < 0xc4) return this.#skip(1)
    if (first < 0xc7) return this.#skip(1 + this.#length(first - 0xc4))
    if (first < 0xca) return this.#extension(this.#length(first - 0xc7), 2 + 2 ** (first - 0xc7))
    if (first >= 0xd4 && first < 0xd9) return this.#extension(2 ** (first - 0xd4), 2)
    if (first >= 0xd9 && first < 0xdc) return this.#text(1 + 2 ** (first - 0xd9), this.#number(first - 0xd9))
    if (first === 0xdc || first === 0xdd) return this.#container(first === 0xdc ? 3 : 5, this.#number(first - 0xdb))
    if (first === 0xde || first === 0xdf) return this.#container(first === 0xde ? 3 : 5, this.#number(first - 0xdd) * 2)
    this.#skip(FIXED_BYTES[first] as number)
  }

  /** The number behind the first byte, in 1, 2 or 4 bytes. */
  #number(width: number): number {
    if (this.#at + 1 + 2 ** width > this.#bytes.length) throw this.#cutOff()
    if (width === 0) return this.#view.getUint8(this.#at + 1)
    return width === 1 ? this.#view.getUint16(this.#at + 1) : this.#view.getUint32(this.#at + 1)
  }

  /** The length field behind the first byte, and the bytes it counts. */
  #length(width: number): number {
    return this.#number(width) + 2 ** width
  }

  #container(headerBytes: number, items: number): void {
    this.#skip(headerBytes)
    this.#claimed += items
    if (this.#claimed > this.#bytes.length)
      throw refused(`claims ${this.#claimed} elements in ${this.#bytes.length} bytes`)
    if (items === 0) return
    this.#open.push(items)
    if (this.#open.length > DEPTH_MAX) throw refused(`is nested over ${DEPTH_MAX} levels deep: flatten it`)
  }

  /** The array in the body of a `Map` or `Set` is scanned as if it stood here: the decoder refuses a body that holds less or more. */
  #extension(lengthBytes: number, headerBytes: number): void {
    const type = this.#bytes[this.#at + headerBytes - 1]
    if (type === undefined) throw this.#cutOff()
    if (type > EXT_NESTED_MAX || type === 0) {
      if (!EXT_OTHER.has(type)) throw refused(`holds an extension of the unknown type ${type}`)
      return this.#skip(2 + lengthBytes)
    }
    this.#skip(headerBytes)
    const body = this.#bytes[this.#at] ?? 0
    if ((body & 0xf0) !== 0x90 && body !== 0xdc && body !== 0xdd)
      throw refused('holds a Map or Set that is not an array')
    const open = this.#open
    open[open.length - 1] = (open[open.length - 1] as number) + 1
  }

  #text(headerBytes: number, length: number): void {
    const start = this.#at + headerBytes
    this.#skip(headerBytes + length)
    for (let at = start; at < this.#at; at++) {
      if ((this.#bytes[at] as number) < 0x80 && at - start < ASCII_BYTES_SEEN_MAX) continue
      if (isUtf8(this.#bytes.subarray(at, this.#at))) return
      throw refused('holds a text that is not UTF-8')
    }
  }

  #skip(count: number): void {
    this.#at += count
    if (this.#at > this.#bytes.length) throw this.#cutOff()
  }

  #cutOff(): CarillonError {
    return refused(`of ${this.#bytes.length} bytes is cut off`)
  }
}

function refused(what: string): CarillonError {
  return new CarillonError('INVALID_PAYLOAD', `the payload ${what}`)
}
