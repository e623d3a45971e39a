/** What is different between a build and something else, at one place of the journal. */
import { formatEffect } from '../cli/effect-text.ts'
import type { StateChange } from '../cli/state-diff.ts'
import type { BuildStep } from './build-messages.ts'

export interface Difference {
  /** The input at which it shows. */
  readonly seq: number
  readonly what: string
  /** In the state: what there is, and what this build makes of it. */
  readonly changes?: readonly StateChange[]
  /** In what the input asks for: what there is, and what this build asks for. */
  readonly effects?: { readonly before: readonly string[]; readonly after: readonly string[] }
}

/** What is in only one of two lists; undefined when nothing is. */
export function diffLists(
  before: readonly string[],
  after: readonly string[],
): { readonly before: readonly string[]; readonly after: readonly string[] } | undefined {
  const gone = before.filter((line) => !after.includes(line))
  const come = after.filter((line) => !before.includes(line))
  return gone.length + come.length === 0 ? undefined : { before: gone, after: come }
}

/** The effects of a step that the other one has not. */
export function diffEffects(before: BuildStep, after: BuildStep): Difference['effects'] | undefined {
  return diffLists(before.effects.map(formatEffect), after.effects.map(formatEffect))
}
