/** Reads msgpack, for the checker: as much of it as inputs hold, and nothing shared with the code under test. */
export function readMsgpack(bytes: Uint8Array): unknown {
  const reader = new Reader(bytes)
  const value = reader.value()
  if (!reader.isAtEnd) throw new RangeError('there is something behind the msgpack value')
  return value
}

class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  value(): unknown {
    const tag = this.#uint(1)
    if (tag < 0x80) return tag
    if (tag < 0x90) return this.#map(tag & 0x0f)
    if (tag < 0xa0) return this.#array(tag & 0x0f)
    if (tag < 0xc0) return this.#text(tag & 0x1f)
    if (tag >= 0xe0) return tag - 0x100
    return this.#long(tag)
  }

  #long(tag: number): unknown {
    switch (tag) {
      case 0xc0:
        return null
      case 0xc2:
        return false
      case 0xc3:
        return true
      case 0xcb:
        return this.#view.getFloat64(this.#skip(8))
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#uint(2 ** (tag - 0xcc))
      case 0xcf:
        return Number(this.#view.getBigUint64(this.#skip(8)))
      case 0xd0:
        return this.#view.getInt8(this.#skip(1))
      case 0xd1:
        return this.#view.getInt16(this.#skip(2))
      case 0xd2:
        return this.#view.getInt32(this.#skip(4))
      case 0xd3:
        return Number(this.#view.getBigInt64(this.#skip(8)))
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#uint(2 ** (tag - 0xd9)))
      case 0xdc:
      case 0xdd:
        return this.#array(this.#uint(2 ** (tag - 0xdb)))
      case 0xde:
      case 0xdf:
        return this.#map(this.#uint(2 ** (tag - 0xdd)))
      default:
        throw new RangeError(`msgpack tag ${tag} is not expected in an input`)
    }
  }

  #map(size: number): Record<string, unknown> {
    return Object.fromEntries(Array.from({ length: size }, () => [this.value() as string, this.value()]))
  }

  #array(size: number): unknown[] {
    return Array.from({ length: size }, () => this.value())
  }

  #text(length: number): string {
    const start = this.#skip(length)
    return new TextDecoder('utf-8', { fatal: true }).decode(this.#bytes.subarray(start, start + length))
  }

  #uint(width: number): number {
    const start = this.#skip(width)
    return this.#bytes.subarray(start, start + width).reduce((value, byte) => value * 256 + byte, 0)
  }

  #skip(width: number): number {
    const start = this.#at
    if (start + width > this.#bytes.length) throw new RangeError('the msgpack value is cut off')
    this.#at += width
    return start
  }
}
