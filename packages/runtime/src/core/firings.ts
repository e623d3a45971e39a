/**
 * Timers with a handler: fired. What becomes of periods that were missed, and of a firing while an earlier one is in progress.
 *
 * Invariants
 * 1. The next period is set in the turn that takes the firing, before its handler runs.
 * 2. A firing that waits is described by the input of its job alone: behind a renewal it begins from that.
 */
import type { TimerHandler } from '../contract/timer-handler.ts'
import type { Firing } from '../contract/timers.ts'
import { decodeValue, encodeValue, type Input } from '../protocol/index.ts'
import type { EffectId } from './effect.ts'
import type { Instance, Job } from './instance.ts'
import { InstanceContext } from './instance-context.ts'
import { INSTANCE_LIMITS } from './instance-data.ts'
import { duePeriods, PERIODS_MAX } from './periods.ts'
import { jitterOf, noteRepeat, planOf, repeatOf } from './repeats.ts'
import { armPeriod } from './timers.ts'

/** With `catchUp: 'skip'`, a firing that comes later than this is not handled: every firing is a little late, and a node takes seconds to start. */
const LATE_MS_MAX = 60_000

/** A firing that has reached the instance, in time. */
interface Fired {
  readonly name: string
  readonly id: EffectId
  /** When it was set to, here. */
  readonly setMs: number
  /** When it was due, as the journal has it. */
  readonly dueMs: number
}

/**
 * When a timer that fires was due. For the periods of cron patterns the moment in the firing counts, and not the one in the instance's data: it was
 * computed with the time zone database of the node that fired, and all nodes must come to the same whatever they know about time zones.
 *
 * @param givenMs as the firing says. One before this life began is forged.
 */
export function dueOf(instance: Instance, name: string, setMs: number, givenMs: number): number {
  const { phase } = instance.data
  if (phase.kind !== 'running' || givenMs < phase.startedMs) return setMs
  return planOf(instance, name)?.kind === 'cron' && !repeatOf(instance, name).isOneOff ? givenMs : setMs
}

/** Takes a firing: sets the next period, and lets the handler run by the timer's policies. */
export function fireNamed(instance: Instance, input: Input, fired: Fired): void {
  const { name } = fired
  instance.data.timers.delete(name)
  const timer = instance.implementation.timers.get(name)
  if (timer === undefined) return instance.emit({ kind: 'ignored', input })
  const named = input.name === name ? input : { ...input, name }
  // It is a dead letter: the next period is set, and no handler runs.
  if (instance.isSilent) return void (planOf(instance, name) === undefined || dueFirings(instance, timer, fired))
  if (planOf(instance, name) === undefined) return begin(instance, timer, named, { dueMs: fired.dueMs, missed: 0 })
  if (fired.dueMs !== fired.setMs) warnOfTimeZones(instance, fired)
  for (const firing of dueFirings(instance, timer, fired)) offer(instance, timer, named, fired.id, firing)
}

/** Runs the handler of a firing that waited when the instance continued as new. */
export function runAgain(instance: Instance, input: Input): void {
  const timer = instance.implementation.timers.get(input.name)
  if (timer === undefined) return instance.emit({ kind: 'ignored', input })
  begin(instance, timer, input, firingOf(input))
}

/** What is to be handled now, in order. Sets the next period. */
function dueFirings(instance: Instance, timer: TimerHandler, { name, dueMs }: Fired): readonly Firing[] {
  const plan = planOf(instance, name)
  if (plan === undefined) return []
  const { isOneOff, missed } = repeatOf(instance, name)
  const jitterMs = jitterOf(instance, name)
  const nowMs = instance.requireTurn().nowMs - jitterMs
  const { moments, dropped, nextMs } = duePeriods(plan, isOneOff ? dueMs : dueMs - jitterMs, nowMs)
  armPeriod(instance, name, nextMs)
  noteRepeat(instance, name, { missed: 0 })
  if (timer.catchUp === 'all')
    return moments.map((moment, index) => ({
      dueMs: moment,
      missed: index === 0 ? Math.min(missed + dropped, PERIODS_MAX) : 0,
    }))
  const lastMs = moments.at(-1) as number
  const before = Math.min(missed + dropped + moments.length - 1, PERIODS_MAX)
  if (timer.catchUp === 'skip' && nowMs - lastMs > LATE_MS_MAX) {
    noteRepeat(instance, name, { missed: before + 1 })
    return []
  }
  return [{ dueMs: lastMs, missed: before }]
}

function offer(instance: Instance, timer: TimerHandler, input: Input, id: EffectId, firing: Firing): void {
  const { begun, waiting } = instance.jobsOf('timer', input.name)
  if (timer.overlap === 'skip' && begun + waiting.length > 0) {
    const { missed } = repeatOf(instance, input.name)
    return noteRepeat(instance, input.name, { missed: missed + firing.missed + 1 })
  }
  const last = waiting.at(-1)
  if (last === undefined || (timer.catchUp === 'all' && waiting.length < INSTANCE_LIMITS.firings))
    return begin(instance, timer, carrying(input, id, firing), firing)
  const missed = Math.min(firingOf(last.input).missed + 1 + firing.missed, PERIODS_MAX)
  const both = { dueMs: firing.dueMs, missed }
  instance.replaceWaiting(last, jobOf(instance, timer, carrying(last.input, id, both), both))
}

/** The input with what its handler is told (invariant 2). */
function carrying(input: Input, effect: EffectId, { dueMs, missed }: Firing): Input {
  return { ...input, encoding: 'msgpack', payload: encodeValue({ effect, dueMs, missed }) }
}

/** As `carrying` made it. */
function firingOf({ payload }: Input): Firing {
  const { dueMs, missed = 0 } = decodeValue(payload) as { readonly dueMs: number; readonly missed?: number }
  return { dueMs, missed }
}

function begin(instance: Instance, timer: TimerHandler, input: Input, firing: Firing): void {
  const job = jobOf(instance, timer, input, firing)
  if (timer.overlap === 'allow') instance.startBeside(job)
  else instance.enqueue(job)
}

function jobOf(instance: Instance, timer: TimerHandler, input: Input, firing: Firing): Job {
  const context = timer.overlap === 'allow' ? new InstanceContext(instance, input.seq) : instance.contextOf(input)
  return { input, run: () => timer.run(context, firing) }
}

function warnOfTimeZones(instance: Instance, { name, setMs, dueMs }: Fired): void {
  instance.emit({
    kind: 'log',
    level: 'warn',
    message: `the timer ${name} was due at another moment for the node that fired it: give all nodes one version of Node.js, so that they know the same time zones`,
    fields: { timer: name, hereMs: setMs, thereMs: dueMs },
  })
}
