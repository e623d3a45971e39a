/** The workflow types of the kill test: what a node runs and a producer sends to. */
import { defineWorkflow, type Schema, type } from '@carillon/runtime'

/** Every signal carries the id that it is sent with, so that the instance's own record shows which inputs it applied. */
export interface Op {
  readonly op: string
}

export interface Take extends Op {
  readonly amount: number
}

export interface TakeAnswer {
  readonly taken: number
  readonly n: number
  readonly chain: string
}

export interface LedgerState {
  n: number
  chain: string
  recent: string[]
  ticks: number
  taken: number
  /** From `ctx.random`: only equal to itself, after a restart and on an empty disk. */
  luck: number
}

export interface StepsState {
  n: number
  chain: string
  credit: number
}

export interface Stamp extends Op {
  readonly n: number
}

const op = checked<Op>((value) => isObject(value) && typeof value['op'] === 'string')
const take = checked<Take>(
  (value) => isObject(value) && typeof value['op'] === 'string' && Number.isInteger(value['amount']),
)
const stamp = { input: type<Stamp>(), output: type<string>(), retry: { initial: 5, backoff: 1 } } as const

/** Handlers of signals, updates and timers; starts by itself. */
export const Ledger = defineWorkflow('ledger', {
  signals: { put: op },
  updates: { take: { input: take, output: type<TakeAnswer>() } },
  queries: { all: { output: type<LedgerState>() } },
  attributes: { n: 'number', recent: 'texts' },
  activities: { stamp },
})

/** A main function that receives, sleeps and waits for conditions; ends, and may be started again. */
export const Steps = defineWorkflow('steps', {
  input: checked<{ limit: number }>((value) => isObject(value) && Number.isInteger(value['limit'])),
  result: type<{ n: number; chain: string }>(),
  signals: { item: op, credit: op },
  queries: { all: { output: type<StepsState>() } },
  attributes: { n: 'number' },
  activities: { stamp },
})

/** Has a handler with a bug in it. */
export const Stuck = defineWorkflow('stuck', {
  signals: { put: op, bug: op },
  queries: { all: { output: type<{ n: number; chain: string }>() } },
})

function checked<T>(accepts: (value: unknown) => boolean): Schema<T> {
  const validate = (value: unknown) =>
    accepts(value) ? { value: value as T } : { issues: [{ message: 'is not what this workload sends' }] }
  return { '~standard': { version: 1, vendor: 'crash-test', validate } }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
