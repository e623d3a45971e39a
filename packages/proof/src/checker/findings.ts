/** What the checks found, and how much each of them looked at: a check that looked at nothing proves nothing. */

/** The promises of the project that a check stands for. */
export type CheckName =
  | 'acknowledged'
  | 'only-sent'
  | 'sender-order'
  | 'state'
  | 'digest'
  | 'outcome'
  | 'effect'
  | 'once-in-calm'
  | 'dead-letter'
  | 'timer'
  | 'bank'
  | 'journal'
  | 'ownership'
  | 'progress'
  | 'process'

export interface Finding {
  readonly check: CheckName
  readonly text: string
}

const PER_CHECK_MAX = 5
const TEXT_MAX = 600

export class Findings {
  readonly found: Finding[] = []
  readonly counts: Partial<Record<CheckName, number>> = {}
  readonly #perCheck: Partial<Record<CheckName, number>> = {}

  looked(check: CheckName, times = 1): void {
    this.counts[check] = (this.counts[check] ?? 0) + times
  }

  /** The first few of each check say enough. */
  find(check: CheckName, text: string): void {
    const count = (this.#perCheck[check] = (this.#perCheck[check] ?? 0) + 1)
    if (count <= PER_CHECK_MAX) this.found.push({ check, text: text.slice(0, TEXT_MAX) })
  }
}
