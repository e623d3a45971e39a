/** Seeded random numbers: sfc32 (Chris Doty-Humphrey, PractRand), seeded by FNV-1a of a text. Not for secrets. */
import { fnv1a32 } from '../protocol/index.ts'

const WARM_UP = 12

export class Random {
  #a: number
  #b: number
  #c: number
  #counter = 1

  /** @param seed ASCII. */
  constructor(seed: string) {
    this.#a = fnv1a32(seed)
    this.#b = fnv1a32(seed, this.#a)
    this.#c = fnv1a32(seed, this.#b)
    for (let i = 0; i < WARM_UP; i++) this.uint32()
  }

  uint32(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (this.#c << 21) | (this.#c >>> 11)
    this.#c = (this.#c + sum) | 0
    return sum >>> 0
  }

  /** A number in [0, 1) with 53 random bits. */
  float(): number {
    return ((this.uint32() >>> 5) * 0x4000000 + (this.uint32() >>> 6)) / 0x20000000000000
  }

  fill(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.uint32()
  }

  /** A version 4 UUID (RFC 9562). */
  uuid(): `${string}-${string}-${string}-${string}-${string}` {
    const bytes = new Uint8Array(16)
    this.fill(bytes)
    bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40
    bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
  }
}
