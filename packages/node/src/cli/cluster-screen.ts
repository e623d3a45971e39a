/** A screen of text that is drawn anew again and again, with nothing but what every terminal understands. */
const ENTER = '\u001b[?1049h\u001b[?25l'
const LEAVE = '\u001b[?25h\u001b[?1049l'
const HOME = '\u001b[H'
const CLEAR_LINE = '\u001b[K'
const CLEAR_BELOW = '\u001b[J'

/** What it is drawn on. */
export interface Terminal {
  readonly columns?: number | undefined
  readonly rows?: number | undefined
  write(text: string): unknown
}

export interface ScreenSize {
  readonly columns: number
  readonly rows: number
}

const COLUMNS_DEFAULT = 80
const ROWS_DEFAULT = 24

export class Screen {
  readonly #terminal: Terminal
  #isOpen = true

  /** Takes the terminal until `close`. */
  constructor(terminal: Terminal) {
    this.#terminal = terminal
    terminal.write(ENTER)
  }

  /** As of now: the window may change. */
  get size(): ScreenSize {
    const { columns, rows } = this.#terminal
    return { columns: columns || COLUMNS_DEFAULT, rows: rows || ROWS_DEFAULT }
  }

  /** Draws over what is there, so that nothing flickers. Not behind the last line: the terminal would scroll. */
  draw(lines: readonly string[]): void {
    if (!this.#isOpen) return
    const text = lines.map((line) => `${line}${CLEAR_LINE}`).join('\r\n')
    this.#terminal.write(`${HOME}${text}${CLEAR_BELOW}`)
  }

  /** Gives the terminal back as it was. Safe to call again. */
  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#terminal.write(LEAVE)
  }
}
