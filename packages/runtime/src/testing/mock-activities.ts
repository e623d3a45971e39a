/** Activities of a test: functions of its own, what they were called with, and failures on request. */
import {
  type ActivityContext,
  type ActivityFunction,
  type ActivityFunctions,
  type ActivityImplementations,
  implementActivities,
} from '../contract/activities.ts'
import type { ActivityNames, ActivityOf, FieldOf } from '../contract/context.ts'
import type { Contract, ContractShape } from '../contract/contract.ts'
import type { OutputOf } from '../contract/schema.ts'
import { CarillonError } from '../errors.ts'
import { neverAnswers } from './running-activities.ts'

/** One attempt of an activity, failed ones included. */
export interface MockCall<Input = unknown> {
  readonly input: Input
  readonly workflow: { readonly type: string; readonly id: string }
  readonly callId: string
  readonly attempt: number
}

/** Activities that a test looks into. Pass them to `TestWorld.open` or to a node like any others. */
export interface MockedActivities<Shape extends ContractShape> extends ActivityImplementations {
  /** The attempts of one activity so far, in their order. */
  calls<Name extends ActivityNames<Shape>>(
    name: Name,
  ): readonly MockCall<OutputOf<FieldOf<ActivityOf<Shape, Name>, 'input'>>>[]
  /** Lets the next attempts of an activity fail, `times` of them, each with the error (retried, unless it says otherwise). */
  failNext(name: ActivityNames<Shape>, times: number, error?: Error): void
  /** Lets the next attempts of an activity never answer, so that their time-outs come. */
  hangNext(name: ActivityNames<Shape>, times?: number): void
}

type Functions<Shape extends ContractShape> = ActivityFunctions<Shape>

/**
 * Implements the activities of a contract for a test. Functions of any mocking library will do.
 *
 * @throws INVALID_DEFINITION as `implementActivities`.
 */
export function mockActivities<Shape extends ContractShape>(
  contract: Contract<Shape>,
  functions: Functions<Shape>,
): MockedActivities<Shape> {
  const attempts = new Map<string, MockCall[]>()
  const planned = new Map<string, (Error | 'hang')[]>()
  const plan = (name: string, times: number, what: Error | 'hang'): void => {
    if (!Object.hasOwn(contract.shape.activities ?? {}, name))
      throw new CarillonError('UNKNOWN_NAME', `the contract of ${contract.name} declares no activity ${name}`)
    planned.set(name, [...(planned.get(name) ?? []), ...Array.from({ length: times }, () => what)])
  }
  const mocked = (name: string, fn: ActivityFunction): ActivityFunction => {
    const calls: MockCall[] = []
    attempts.set(name, calls)
    return (input, ctx: ActivityContext) => {
      calls.push({ input, workflow: ctx.workflow, callId: ctx.callId, attempt: ctx.attempt })
      const fate = planned.get(name)?.shift()
      if (fate === 'hang') return neverAnswers()
      if (fate !== undefined) throw fate
      return fn(input, ctx)
    }
  }
  const wrapped = Object.fromEntries(
    Object.entries(functions as Readonly<Record<string, ActivityFunction>>).map(([name, fn]) => [
      name,
      mocked(name, fn),
    ]),
  )
  return Object.freeze({
    ...implementActivities(contract as Contract, wrapped as never),
    calls: (name: string) => (attempts.get(name) ?? []) as never,
    failNext: (name: string, times: number, error = new Error(`${name} fails, as the test wants it to`)) =>
      plan(name, times, error),
    hangNext: (name: string, times = 1) => plan(name, times, 'hang'),
  })
}
