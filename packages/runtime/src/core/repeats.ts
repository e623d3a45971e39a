/**
 * What of a repeating timer stands in the data of its instance: a plan of its own, a one-off in place of the next period, periods not handled. Few
 * timers have any of it, so `InstanceData.repeats` is mostly undefined. It is never changed in place: a captured base shares it.
 */
import type { Plan } from '../contract/timer-handler.ts'
import { fnv1a32 } from '../protocol/partition.ts'
import type { Instance } from './instance.ts'
import { PERIODS_MAX } from './periods.ts'

export interface Repeat {
  /** In place of the one in the implementation. */
  readonly plan: Plan | undefined
  /** It is set to a moment that code chose, without jitter. */
  readonly isOneOff: boolean
  /** Periods that were not handled since the last one that was, up to PERIODS_MAX. */
  readonly missed: number
}

export type Repeats = ReadonlyMap<string, Repeat>

const NOTHING: Repeat = { plan: undefined, isOneOff: false, missed: 0 }

export function repeatOf({ data }: Instance, name: string): Repeat {
  return data.repeats?.get(name) ?? NOTHING
}

export function noteRepeat(instance: Instance, name: string, change: Partial<Repeat>): void {
  const before = repeatOf(instance, name)
  const repeat = { ...before, ...change }
  if (repeat.plan === before.plan && repeat.isOneOff === before.isOneOff && repeat.missed === before.missed) return
  const repeats = new Map(instance.data.repeats)
  if (repeat.plan === undefined && !repeat.isOneOff && repeat.missed === 0) repeats.delete(name)
  else repeats.set(name, { ...repeat, missed: Math.min(repeat.missed, PERIODS_MAX) })
  instance.data.repeats = repeats.size === 0 ? undefined : repeats
}

/** How the timer repeats in this instance; undefined when it does not. */
export function planOf(instance: Instance, name: string): Plan | undefined {
  return repeatOf(instance, name).plan ?? instance.implementation.timers.get(name)?.plan
}

/** By how much later the timer's periods come in this instance: always the same, spread evenly over instances. */
export function jitterOf(instance: Instance, name: string): number {
  const jitterMs = instance.implementation.timers.get(name)?.jitterMs ?? 0
  return jitterMs === 0 ? 0 : Math.floor((fnv1a32(`${instance.key}/${name}`) / 2 ** 32) * jitterMs)
}
