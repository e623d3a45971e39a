/** Exactly the activities that the reference asks for were attempted: each at least once, under one id, with one input. */
import { isDeepStrictEqual } from 'node:util'

import type { Attempt } from '../histories.ts'
import type { Fold } from '../reference/fold.ts'
import type { Findings } from './findings.ts'
import { Tail } from './tail.ts'

export class EffectCheck {
  /** By call: how often each attempt of it was seen, and by whom. */
  readonly attempts = new Map<string, string[]>()
  readonly #tail: Tail<Attempt>
  readonly #fold: Fold
  readonly #findings: Findings
  #unjudged: Attempt[] = []
  readonly #complete = new Set<string>()

  constructor(path: string, fold: Fold, findings: Findings) {
    this.#tail = new Tail(path)
    this.#fold = fold
    this.#findings = findings
  }

  read(): void {
    for (const attempt of this.#tail.read()) {
      const { callId, attempt: number, by } = attempt
      this.attempts.set(callId, [...(this.attempts.get(callId) ?? []), `${number} by ${by}`])
      this.#unjudged.push(attempt)
    }
  }

  check(): void {
    this.read()
    for (const { callId, activity, input } of this.#unjudged.splice(0)) {
      this.#findings.looked('effect')
      const wanted = this.#fold.calls.get(callId)
      if (wanted === undefined) this.#findings.find('effect', `${activity} ${callId} was run, and nobody asks for it`)
      else if (wanted.activity !== activity || !isDeepStrictEqual(wanted.input, input))
        this.#findings.find(
          'effect',
          `${activity} ${callId} was run with ${JSON.stringify(input)}, the reference says ${JSON.stringify(wanted)}`,
        )
    }
    for (const callId of this.#fold.calls.keys()) {
      if (this.#complete.has(callId)) continue
      this.#complete.add(callId)
      if (!this.attempts.has(callId)) this.#findings.find('effect', `the activity ${callId} was never run`)
    }
  }
}
