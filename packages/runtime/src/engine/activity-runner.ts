/**
 * Runs the activities of this process: attempts, pauses between them, limits; and hands each result in once.
 *
 * Owns: which calls run, wait, rest, or have ended and wait to be let go.
 * Does not own: which calls are pending (the partitions do), nor how results reach the journal.
 *
 * Invariants
 * 1. A call runs at most once at a time in this process, and is not started again between its result and `letGo`.
 * 2. At most `activitiesMax` attempts run, and what waits in memory is bounded (activity-lanes.ts); `start` says no beyond that.
 * 3. A call that rests before its next attempt takes no place among those that run.
 */
import type { ActivityFunction, ActivityImplementations } from '../contract/activities.ts'
import { parseLimits } from '../contract/activity-limits.ts'
import {
  type ActivityCall,
  ActivityLanes,
  type ActivityPolicy,
  Attempt,
  callId,
  describeFailure,
  isFinal,
  Lane,
  pauseMs,
  policyOf,
} from '../activity/index.ts'
import { CarillonError, type ErrorData } from '../errors.ts'
import type { Clock, Controls, Logger } from '../ports/index.ts'
import {
  activityKey,
  type ControlState,
  type InstanceKey,
  type Outcome,
  parseKey,
  typeTokenOf,
} from '../protocol/index.ts'

export interface ActivityRunnerOptions {
  /** By type token. */
  readonly implementations: ReadonlyMap<string, ActivityImplementations>
  readonly clock: Clock
  readonly logger: Logger
  readonly activitiesMax: number
  readonly activityQueueMax: number
  /** The trace context that an attempt of the call belongs to. */
  readonly traceOf: (call: ActivityCall) => string | undefined
  /** Which activities nobody begins now. */
  readonly controls?: Controls | undefined
  /** Takes the result of a call into the journal. Called once per call, unless it rejects. */
  readonly complete: (call: ActivityCall, outcome: Outcome) => Promise<void>
}

interface Running {
  readonly call: ActivityCall
  readonly activity: Activity
  phase: 'waiting' | 'running' | 'resting' | 'ended'
  /** Begun so far. */
  attempts: number
  attempt: Attempt | undefined
  cancelRest: (() => void) | undefined
}

/** What this process knows of one activity. `fn` is undefined for one that it does not have. */
interface Activity {
  readonly type: ActivityImplementations | undefined
  readonly fn: ActivityFunction | undefined
  readonly lane: Lane<Running>
}

const UNLIMITED = { concurrency: Infinity, rate: undefined } as const

export class ActivityRunner {
  readonly #options: ActivityRunnerOptions
  readonly #activities: ReadonlyMap<string, ReadonlyMap<string, Activity>>
  /** Calls of activities that this process does not have: they fail. */
  readonly #unknown: Activity = { type: undefined, fn: undefined, lane: new Lane(UNLIMITED) }
  readonly #lanes: ActivityLanes<Running>
  readonly #calls = new Map<string, Running>()
  readonly #tasks = new Set<Promise<void>>()
  #unwatch: () => void = () => {}
  #closed = false

  constructor(options: ActivityRunnerOptions) {
    const { clock, activitiesMax, activityQueueMax } = options
    this.#options = options
    this.#activities = new Map([...options.implementations].map(([type, all]) => [type, activitiesOf(all)]))
    this.#lanes = new ActivityLanes({
      clock,
      runningMax: activitiesMax,
      waitingMax: activityQueueMax,
      start: (_, running) => this.#begin(running),
    })
    const { controls } = options
    if (controls === undefined) return
    this.#applyControls(controls.current())
    this.#unwatch = controls.watch((state) => this.#applyControls(state))
  }

  /** Calls of one lane wait in order, and wait for each other only. */
  laneOf({ key, name }: ActivityCall): object {
    return this.#activityOf(key, name).lane
  }

  /** Sees to it that the call is run. False when there is no room for its activity: ask again later. */
  start(call: ActivityCall): boolean {
    const id = callId(call.key, call.id)
    if (this.#calls.has(id)) return true
    if (this.#closed) return false
    const activity = this.#activityOf(call.key, call.name)
    const running: Running = {
      call,
      activity,
      phase: 'waiting',
      attempts: 0,
      attempt: undefined,
      cancelRest: undefined,
    }
    this.#calls.set(id, running)
    if (this.#lanes.offer(activity.lane, running)) return true
    this.#calls.delete(id)
    return false
  }

  /** The result was applied, or is not wanted any more: forgets the call, and aborts it if it runs. False when it is not one of this process. */
  letGo(key: InstanceKey, id: ActivityCall['id']): boolean {
    const running = this.#calls.get(callId(key, id))
    if (running === undefined) return false
    this.#calls.delete(callId(key, id))
    this.#stop(running, notWanted)
    return true
  }

  /** Forgets the calls of some instances and aborts those that run: they are run elsewhere now. */
  release(isReleased: (key: InstanceKey) => boolean): void {
    for (const [id, running] of this.#calls) {
      if (!isReleased(running.call.key)) continue
      this.#calls.delete(id)
      this.#stop(running, runsElsewhere)
    }
  }

  /** Aborts all attempts and resolves when none runs. What is pending stays so. */
  async close(): Promise<void> {
    this.#closed = true
    this.#unwatch()
    this.#lanes.close()
    for (const running of this.#calls.values()) this.#stop(running, nodeStops)
    await Promise.all(this.#tasks)
    this.#calls.clear()
  }

  /** Paused ones stay pending, in order; attempts that run go on. */
  #applyControls({ pausedActivities }: ControlState): void {
    for (const activities of this.#activities.values()) {
      for (const [name, { type, lane }] of activities) {
        const isPaused = type !== undefined && pausedActivities.has(activityKey(type.contract.name, name))
        if (isPaused && !lane.isPaused) this.#lanes.pause(lane)
        else if (!isPaused && lane.isPaused) this.#lanes.resume(lane)
      }
    }
  }

  #activityOf(key: InstanceKey, name: string): Activity {
    return this.#activities.get(typeTokenOf(key))?.get(name) ?? this.#unknown
  }

  #stop(running: Running, reason: () => CarillonError): void {
    const { lane } = running.activity
    if (running.phase === 'waiting') this.#lanes.remove(lane, running)
    else if (running.phase === 'resting') {
      running.cancelRest?.()
      this.#lanes.gone(lane)
    } else if (running.phase === 'running') running.attempt?.abort(reason())
  }

  /** The lane has a place for it. */
  #begin(running: Running): void {
    running.phase = 'running'
    const task: Promise<void> = this.#attempt(running).finally(() => this.#tasks.delete(task))
    this.#tasks.add(task)
  }

  async #attempt(running: Running): Promise<void> {
    const { lane } = running.activity
    let outcome: Outcome
    try {
      const { policy, value } = await this.#run(running)
      if (!value.ok && this.#isUnwanted(running)) return this.#lanes.ended(lane)
      if (!value.ok && running.attempts < policy.attempts && !isFinal(value.error, policy))
        return this.#rest(running, value.error, pauseMs(policy, running.attempts))
      outcome = value.ok ? value : failed(describeFailure(value.error, running.attempts))
    } catch (error) {
      // About the options, and not the attempt: a wrong duration.
      outcome = failed(describeFailure(error, 0))
    }
    running.phase = 'ended'
    await this.#complete(running, outcome)
    this.#lanes.ended(lane)
  }

  /** @throws INVALID_DURATION */
  async #run(running: Running): Promise<{ readonly policy: ActivityPolicy; readonly value: Settled }> {
    const { call, activity } = running
    const { clock, logger } = this.#options
    const { type, fn } = activity
    if (type === undefined || fn === undefined)
      throw new CarillonError(
        'UNKNOWN_NAME',
        `this node has no activity ${call.name} of ${parseKey(call.key).type}: pass implementActivities(…) to it`,
      )
    const policy = policyOf(type.contract.shape.activities?.[call.name], call.options)
    running.attempts += 1
    running.attempt = new Attempt({
      call,
      number: running.attempts,
      policy,
      clock,
      logger,
      trace: this.#options.traceOf(call),
    })
    try {
      return { policy, value: { ok: true, value: await running.attempt.run(type, fn) } }
    } catch (error) {
      return { policy, value: { ok: false, error } }
    }
  }

  #rest(running: Running, error: unknown, waitMs: number): void {
    const { call, activity, attempts } = running
    this.#options.logger.warn(
      { activity: call.name, ...parseKey(call.key), attempt: attempts, retryInMs: waitMs, err: error },
      'an attempt of an activity failed',
    )
    running.phase = 'resting'
    running.attempt = undefined
    running.cancelRest = this.#options.clock.after(waitMs, () => {
      running.phase = 'waiting'
      this.#lanes.rested(activity.lane, running)
    })
    this.#lanes.rests(activity.lane)
  }

  async #complete({ call }: Running, outcome: Outcome): Promise<void> {
    try {
      await this.#options.complete(call, outcome)
    } catch (error) {
      // Still pending in the store: whoever owns the partition next runs it again.
      this.#options.logger.error(
        { activity: call.name, ...parseKey(call.key), err: error },
        'the result of an activity could not be stored',
      )
      this.#calls.delete(callId(call.key, call.id))
    }
  }

  /** It was let go, or this process stops: nobody waits for the result. */
  #isUnwanted(running: Running): boolean {
    return this.#closed || this.#calls.get(callId(running.call.key, running.call.id)) !== running
  }
}

type Settled = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly error: unknown }

function activitiesOf(type: ActivityImplementations): ReadonlyMap<string, Activity> {
  const { name: typeName, shape } = type.contract
  return new Map(
    [...type.functions].map(([name, fn]): [string, Activity] => {
      const limits = parseLimits(shape.activities?.[name] ?? {}, `the activity ${name} of ${typeName}`)
      return [name, { type, fn, lane: new Lane(limits) }]
    }),
  )
}

/** Most calls have ended when they are let go: an error is made for the others only. */
function notWanted(): CarillonError {
  return new CarillonError('CLOSED', 'the result of this activity is not wanted any more')
}

function nodeStops(): CarillonError {
  return new CarillonError('CLOSING', 'this node stops: the activity runs again on the next one')
}

function runsElsewhere(): CarillonError {
  return new CarillonError('NOT_OWNER', 'another node owns this instance now: the activity runs again there')
}

function failed(error: ErrorData): Outcome {
  return { ok: false, error }
}
