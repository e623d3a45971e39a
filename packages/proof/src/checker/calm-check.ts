/**
 * While nothing is broken, next to nothing is done twice: each activity is attempted by one process, each input to another instance and each timer is
 * stored once. Repeats are harmless, so no other check would see a standby that emits what its owner emits.
 */
import type { FoldInput } from '../reference/fold-input.ts'
import type { Fold } from '../reference/fold.ts'
import type { EffectCheck } from './effect-check.ts'
import type { Findings } from './findings.ts'

/** An acknowledgement that is late on a busy machine makes a publisher send again. A node that is not silent doubles nearly all. */
const DOUBLED_MAX = 3
const DOUBLED_SHARE_MAX = 0.1

export class CalmCheck {
  readonly #fold: Fold
  readonly #findings: Findings
  /** Inputs of nodes by their effect; undefined outside of a calm. */
  #stored: Map<string, number> | undefined
  #fromSeq = 0

  constructor(fold: Fold, findings: Findings) {
    this.#fold = fold
    this.#findings = findings
  }

  begin(): void {
    this.#stored = new Map()
    this.#fromSeq = this.#fold.lastSeq
  }

  saw({ key, kind, id, payload }: FoldInput): void {
    if (this.#stored === undefined) return
    const { effect } = (payload.ok ? payload.value : {}) as { effect?: string }
    const name = kind === 'timer' ? `timer ${key}/${effect}` : this.#fold.sends.has(id ?? '') ? `send ${id}` : undefined
    if (name !== undefined) this.#stored.set(name, (this.#stored.get(name) ?? 0) + 1)
  }

  end(effects: EffectCheck): void {
    if (this.#stored === undefined) return
    const doubled = [...this.#stored]
      .filter(([, times]) => times > 1)
      .map(([name, times]) => `the ${name}, ${times} times`)
    const calls = [...this.#fold.calls.keys()].filter((callId) => seqOf(callId) > this.#fromSeq)
    for (const callId of calls) {
      const attempts = effects.attempts.get(callId) ?? []
      const numbers = new Set(attempts.map((text) => text.split(' ')[0]))
      if (numbers.size !== attempts.length) doubled.push(`the activity ${callId}, as ${attempts.join(', ')}`)
    }
    const all = this.#stored.size + calls.length
    this.#findings.looked('once-in-calm', all)
    if (doubled.length > Math.max(DOUBLED_MAX, all * DOUBLED_SHARE_MAX))
      this.#findings.find(
        'once-in-calm',
        `of ${all} effects ${doubled.length} came twice, although nothing was broken: ${doubled.slice(0, 3).join('; ')}`,
      )
    this.#stored = undefined
  }
}

function seqOf(callId: string): number {
  return Number(callId.slice(callId.lastIndexOf('/') + 1).split('.')[0])
}
