/** The workflow types of the fault run: what nodes run and producers send to. */
import { defineWorkflow, type Schema, type } from '@carillon/runtime'

/** Every input carries the id that it is sent with, so that the state shows what was applied, and in which order. */
export interface Op {
  readonly op: string
}

export interface Transfer extends Op {
  readonly to: string
  readonly amount: number
}

export interface Taken {
  readonly taken: number
  readonly n: number
  readonly chain: string
}

export interface Stamp extends Op {
  readonly n: number
}

export interface Receipt extends Op {
  readonly amount: number
}

/** Of the queue of the remote worker. */
export const RECEIPTS = 'receipts'
/** `l0` to `l199`. */
export const LEDGERS = 200

const op = checked<Op>((value) => isText(value['op']))
const stamp = { input: type<Stamp>(), output: type<string>(), retry: { initial: 5, backoff: 1 } } as const

/** Signals others, calls activities, sets timers and cancels some of them. */
export const Ledger = defineWorkflow('ledger', {
  signals: { put: op, note: checked<{ readonly from: string }>((value) => isText(value['from'])) },
  updates: {
    take: {
      input: checked<Op & { readonly amount: number }>(
        (value) => isText(value['op']) && Number.isInteger(value['amount']),
      ),
      output: type<Taken>(),
    },
  },
  activities: { stamp },
})

/** One instance of it gets half of the traffic. */
export const Hot = defineWorkflow('hot', { signals: { hit: op }, activities: { stamp } })

/** Money moves from one to another; all of it together stays the same. */
export const Account = defineWorkflow('account', {
  signals: {
    transfer: checked<Transfer>(
      (value) => isText(value['op']) && isText(value['to']) && Number.isInteger(value['amount']),
    ),
    deposit: checked<Op & { readonly amount: number }>(
      (value) => isText(value['op']) && Number.isInteger(value['amount']),
    ),
  },
  activities: {
    receipt: {
      input: type<Receipt>(),
      output: type<string>(),
      retry: { initial: 5, backoff: 1 },
      queue: { name: RECEIPTS, deadAfter: '2 seconds' },
    },
  },
})

/** Sleeps and sets timers, some of them over several faults. */
export const Sleeper = defineWorkflow('sleeper', {
  signals: {
    nap: checked<Op & { readonly ms: number }>((value) => isText(value['op']) && Number.isInteger(value['ms'])),
  },
})

/** Has a handler that throws; its inputs become dead letters. */
export const Fragile = defineWorkflow('fragile', { signals: { put: op, bug: op } })

function checked<T>(accepts: (value: Readonly<Record<string, unknown>>) => boolean): Schema<T> {
  const validate = (value: unknown) =>
    typeof value === 'object' && value !== null && accepts(value as Record<string, unknown>)
      ? { value: value as T }
      : { issues: [{ message: 'is not what this input takes' }] }
  return { '~standard': { version: 1, vendor: 'carillon-proof', validate } }
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}
