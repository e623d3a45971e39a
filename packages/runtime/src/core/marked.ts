/** Turns of inputs about which something was decided before: skipped ones, and commands that were obeyed when they came. */
import type { ErrorData } from '../errors.ts'
import type { Input, Outcome } from '../protocol/index.ts'
import { refusedChild } from './children.ts'
import type { Instance } from './instance.ts'
import { stepTimer, firedTimerOf } from './step-timer.ts'

/**
 * The index that the effects of a marked turn begin behind. The turn as it was before may have left effects of its own ids, which are still on their
 * way; no turn has so many.
 */
export const MARKED_PLACE = 5_000_000

/** The input becomes a dead letter; no user code sees it. Its id stays known, with the error as its outcome. */
export function stepDead(instance: Instance, input: Input, error: ErrorData): void {
  if (input.kind === 'timer') {
    instance.isSilent = true
    stepTimer(instance, input)
    instance.isSilent = false
  } else if (!remember(instance, input)) return
  const { codecs } = instance.implementation.host ?? {}
  const result = refusedChild(instance.key, input, error, instance.requireTurn().nextEffectId(), codecs)
  if (result !== undefined) instance.emit(result)
  instance.deadLetter(input, error)
}

/** A command that took effect when it came, at its place in the order. */
export function stepObeyed(instance: Instance, input: Input, outcome: Outcome): void {
  if (remember(instance, input)) instance.finish(input, outcome)
}

/**
 * Whether an input can be left out, as if it had not been there. The result of an activity, a child, an update or a sleep cannot: the code that waits for
 * it would wait for ever.
 */
export function canBeDead(instance: Instance, input: Input): boolean {
  const { kind } = input
  if (kind === 'activity' || kind === 'child' || kind === 'answer') return false
  if (kind !== 'timer') return true
  const id = firedTimerOf(instance, input)?.effect
  return [...instance.data.timers.values()].some(({ effect }) => effect === id)
}

/** False for a repeat, which has been answered. */
function remember(instance: Instance, input: Input): boolean {
  if (input.id === undefined) return true
  const known = instance.data.known.get(input.id)
  if (known === undefined) instance.data.known.add(input.id, input.seq)
  else instance.answerRepeat(input, known.outcome)
  return known === undefined
}
