/**
 * `ctx.patched`: which way a coroutine goes that may have begun under an earlier build.
 *
 * Invariants
 * 1. The answer depends on the journal alone: on where the patch became active for the type in this partition, and where the coroutine began.
 */
import type { Implementation } from '../contract/implement.ts'
import { CarillonError } from '../errors.ts'
import { quote } from '../protocol/index.ts'
import type { Instance } from './instance.ts'

/** Patches of one type in one partition, with the sequences of the inputs that made them active. It grows. */
export type ActivePatches = ReadonlyMap<string, number>

/** The implementation as one partition runs it. */
export function withActivePatches(implementation: Implementation, active: ActivePatches): Implementation {
  return implementation.patches === undefined ? implementation : Object.freeze({ ...implementation, active })
}

/** @param beganSeq the input with which the coroutine began. @throws UNKNOWN_NAME when the type declares no such patch. */
export function isPatched({ implementation, type }: Instance, patch: string, beganSeq: number): boolean {
  const { patches, active } = implementation
  if (patches?.has(patch) !== true) {
    const declared = patches === undefined ? 'none' : [...patches].join(', ')
    throw new CarillonError(
      'UNKNOWN_NAME',
      `${type} declares no patch ${quote(patch)}; it has: ${declared}. Add it to patches of its implementation`,
    )
  }
  return active === undefined || beganSeq > (active.get(patch) ?? Number.POSITIVE_INFINITY)
}
