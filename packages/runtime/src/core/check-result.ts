/**
 * Whether a result is of what the code asks for. Results are matched by effect; code that has changed under a coroutine that waits may ask for
 * something else by the same effect, and must not get the result of what the code before it asked for.
 */
import { CarillonError } from '../errors.ts'
import type { Input } from '../protocol/index.ts'
import type { EffectId } from './effect.ts'
import type { Instance } from './instance.ts'

/**
 * Takes what waits for a result out of those of its kind that are open. Where nothing does, the input is ignored, and undefined is given.
 *
 * @param nameOf the name that the result of it must have. @throws NONDETERMINISTIC when it has another, or something else waits by that effect.
 */
export function takeAsked<Asked>(
  instance: Instance,
  input: Input,
  effect: EffectId,
  open: Map<EffectId, Asked>,
  nameOf: (asked: Asked) => string,
): Asked | undefined {
  const asked = open.get(effect)
  if (asked === undefined) {
    checkUnasked(instance, input, effect)
    instance.emit({ kind: 'ignored', input })
    return undefined
  }
  checkResult(instance, input, effect, nameOf(asked))
  open.delete(effect)
  return asked
}

function checkResult({ type, id }: Instance, { seq, kind, name }: Input, effect: EffectId, asked: string): void {
  if (asked === name) return
  throw changed(
    `the input at seq ${seq} is the ${what(kind)} ${name}, but the code of ${type}/${id} asks for ${asked} as ${effect}`,
  )
}

/** For a result that nothing of its kind waits for. */
function checkUnasked({ type, id, data }: Instance, { seq, kind, name }: Input, effect: EffectId): void {
  const other = [
    [data.activities, 'an activity'],
    [data.sleeps, 'a sleep'],
    [data.children, 'a child'],
    [data.calls, 'an update of another instance'],
  ] as const
  const open = other.find(([effects]) => effects.has(effect))
  if (open === undefined) return
  throw changed(
    `the input at seq ${seq} is the ${what(kind)} ${name}, but the code of ${type}/${id} asks for ${open[1]} as ${effect}`,
  )
}

function what(kind: Input['kind']): string {
  return kind === 'answer'
    ? 'answer to the update'
    : kind === 'child'
      ? 'result of a child of type'
      : 'result of the activity'
}

function changed(message: string): CarillonError {
  return new CarillonError(
    'NONDETERMINISTIC',
    `${message}: it has changed under a handler or run that waits; deploy code that asks as before, then resume`,
  )
}
