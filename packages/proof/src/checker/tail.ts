/** Reads a file of JSON lines as it grows. */
import { closeSync, openSync, readSync } from 'node:fs'

const CHUNK = 1 << 20

export class Tail<Line> {
  readonly #path: string
  #offset = 0
  #rest = Buffer.alloc(0)

  constructor(path: string) {
    this.#path = path
  }

  /** The lines that have come since the last call. A line that is not whole yet comes later. */
  *read(): Iterable<Line> {
    let file: number
    try {
      file = openSync(this.#path, 'r')
    } catch {
      return
    }
    try {
      const chunk = Buffer.alloc(CHUNK)
      for (;;) {
        const bytes = readSync(file, chunk, 0, CHUNK, this.#offset)
        if (bytes === 0) return
        this.#offset += bytes
        yield* this.#lines(chunk.subarray(0, bytes))
      }
    } finally {
      closeSync(file)
    }
  }

  *#lines(chunk: Buffer): Iterable<Line> {
    const data = Buffer.concat([this.#rest, chunk])
    let from = 0
    for (let end = data.indexOf(10); end !== -1; end = data.indexOf(10, from)) {
      yield JSON.parse(data.toString('utf8', from, end)) as Line
      from = end + 1
    }
    this.#rest = Buffer.from(data.subarray(from))
  }
}
