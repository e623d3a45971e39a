/** A history file that is being written. */
import { createWriteStream, type WriteStream } from 'node:fs'

export class LineFile {
  readonly #stream: WriteStream

  constructor(path: string) {
    this.#stream = createWriteStream(path, { flags: 'a' })
  }

  write(line: object): void {
    this.#stream.write(`${JSON.stringify(line)}\n`)
  }

  /** Resolves when what was written is in the file. */
  flush(): Promise<void> {
    return new Promise((resolve, reject) =>
      this.#stream.write('', (error) => (error === null || error === undefined ? resolve() : reject(error))),
    )
  }

  close(): Promise<void> {
    return new Promise((resolve) => void this.#stream.end(() => resolve()))
  }
}
