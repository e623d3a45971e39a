/** Lines that stay, and below them one line of progress: written over on a terminal, repeated now and then elsewhere. */
import type { WriteStream } from 'node:tty'

const TERMINAL_EVERY_MS = 100
const PLAIN_EVERY_MS = 2_000

export class Progress {
  readonly #output: WriteStream
  #line: (() => string) | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(output: WriteStream) {
    this.#output = output
  }

  /** Writes a line that stays. */
  say(text: string): void {
    this.#output.write(`${this.#clear()}${text}\n`)
    if (this.#output.isTTY) this.#draw()
  }

  /** Shows a line of progress, made anew each time, until `hide`. */
  show(line: () => string): void {
    this.#line = line
    this.#timer = setInterval(() => this.#draw(), this.#output.isTTY ? TERMINAL_EVERY_MS : PLAIN_EVERY_MS)
  }

  hide(): void {
    clearInterval(this.#timer)
    this.#line = undefined
    this.#output.write(this.#clear())
  }

  #draw(): void {
    if (this.#line === undefined) return
    const { isTTY, columns } = this.#output
    this.#output.write(isTTY ? `${this.#clear()}${this.#line().slice(0, columns - 1)}` : `${this.#line()}\n`)
  }

  #clear(): string {
    return this.#output.isTTY && this.#line !== undefined ? '\r\u001b[K' : ''
  }
}

/** A share from 0 to 1. */
export function bar(share: number): string {
  const width = 24
  const full = Math.min(width, Math.round(share * width))
  return `[${'#'.repeat(full)}${'.'.repeat(width - full)}]`
}
