/** How long the producer waits between two acknowledgements, by the part of the run in which it waits. */

export interface AckGap {
  readonly part: string
  readonly longestMs: number
  readonly acknowledged: number
}

export class AckGaps {
  readonly #gaps = new Map<string, { longestMs: number; acknowledged: number }>()
  #part: string
  #lastMs: number | undefined

  constructor(part: string) {
    this.#part = part
  }

  /** Opens the next part. A gap counts for each part that it reaches into. */
  enter(part: string, nowMs: number): void {
    this.#note(nowMs, 0)
    this.#part = part
  }

  acknowledged(nowMs: number): void {
    this.#note(nowMs, 1)
    this.#lastMs = nowMs
  }

  /** In the order in which the parts were first entered. */
  list(): readonly AckGap[] {
    return [...this.#gaps].map(([part, { acknowledged, longestMs }]) => ({ part, acknowledged, longestMs }))
  }

  #note(nowMs: number, acknowledged: number): void {
    const gap = this.#gaps.get(this.#part) ?? { longestMs: 0, acknowledged: 0 }
    this.#gaps.set(this.#part, gap)
    gap.acknowledged += acknowledged
    if (this.#lastMs !== undefined) gap.longestMs = Math.max(gap.longestMs, nowMs - this.#lastMs)
  }
}
