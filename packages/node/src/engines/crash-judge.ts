/**
 * What follows from the end of an engine's process.
 *
 * Owns: what it was in when it ended, the last times. Does not own: the process that takes its place.
 *
 * A turn that did not come back is judged at once: its guard has measured it. A process that ended in a turn in another way may have ended because of it, or of
 * everything else that it held; so a turn is judged when it was there twice in a row. Where nobody knows what ran, the next process tells of every turn.
 */
import type { Judgement, JudgementCode } from '@carillon/runtime/engine'

import type { EngineExit } from './engine-process.ts'
import type { Shown } from './turn-board.ts'

/** So many ends that nothing explains, within so long, and the node gives up: it would only begin anew for ever. */
const CRASHES_MAX = 3
const CRASHES_WITHIN_MS = 60_000

export type CrashVerdict =
  /** The code is left out from now on. */
  | { readonly kind: 'judged'; readonly judgement: Judgement }
  /** Something else; the next process is to tell of each turn. */
  | { readonly kind: 'unexplained' }
  | { readonly kind: 'hopeless' }

export class CrashJudge {
  readonly #turnMsMax: number
  #suspect: string | undefined
  #crashesMs: number[] = []

  constructor(turnMsMax: number) {
    this.#turnMsMax = turnMsMax
  }

  judge({ how, word }: EngineExit, nowMs: number): CrashVerdict {
    const shown = word?.kind === 'endless' || word?.kind === 'running' ? word.shown : undefined
    const judged = (code: JudgementCode, reason: string): CrashVerdict | undefined => {
      const judgement = shown === undefined ? undefined : judgementOf(shown, code, reason)
      if (judgement === undefined) return undefined
      this.#suspect = undefined
      this.#crashesMs = []
      return { kind: 'judged', judgement }
    }
    if (word?.kind === 'endless') {
      const reason = `it did not come back: it has computed for ${word.ranMs} ms, and the limit is ${this.#turnMsMax} ms (--turn-limit); look for a loop without an end, and move long work into an activity`
      const verdict = judged('TURN_ENDLESS', reason)
      if (verdict !== undefined) return verdict
    }
    const suspect = shown === undefined ? undefined : JSON.stringify({ ...shown, isStandby: undefined })
    if (suspect !== undefined && suspect === this.#suspect) {
      const verdict = judged(
        'TURN_CRASHED',
        `the process in which it ran has ended twice (${how}): look for memory that it takes without end, and for calls that end the process`,
      )
      if (verdict !== undefined) return verdict
    }
    this.#suspect = suspect
    this.#crashesMs = [...this.#crashesMs.filter((atMs) => nowMs - atMs < CRASHES_WITHIN_MS), nowMs]
    return this.#crashesMs.length >= CRASHES_MAX ? { kind: 'hopeless' } : { kind: 'unexplained' }
  }
}

function judgementOf(shown: Shown, code: JudgementCode, reason: string): Judgement | undefined {
  switch (shown.kind) {
    case 'none':
      return undefined
    case 'turn':
      return {
        kind: 'turn',
        partition: shown.partition,
        seq: shown.seq,
        code,
        reason: `the turn of seq ${shown.seq}: ${reason}`,
      }
    case 'query':
      return { ...shown, code, reason: `the query ${shown.name}: ${reason}` }
    case 'migrate':
      return { ...shown, code, reason: `migrate: ${reason}` }
  }
}
