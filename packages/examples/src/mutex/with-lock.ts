/** How a workflow takes a lock: in `run`, or in a handler of a type with `run`. Copy it together with the mutex. */
import { codeOf, type Context, type Received, type SignalNames } from '@carillon/runtime'

import { type Grant, type lockSignals, Mutex } from './contract.ts'

interface LockShape {
  readonly signals: typeof lockSignals
}

interface Receiving {
  receive<Name extends SignalNames<LockShape>>(...names: Name[]): Promise<Received<LockShape, Name>>
}

/** The ctx of any workflow that takes the answers, and has no handlers for them: they wait in its mailbox. */
interface LockingContext extends Pick<Context, 'type' | 'id' | 'uuid' | 'workflow'>, Receiving {
  scope<T>(fn: (ctx: Receiving) => Promise<T>, options: { readonly timeout: number }): Promise<T>
}

export interface LockOptions {
  /** If it is neither renewed nor released for so long, it goes to the next one: whoever dies with it holds nobody up for longer. */
  readonly leaseMs: number
  /** How long to wait for it. */
  readonly patienceMs: number
}

export interface Held extends Grant {
  /** The lease begins anew, behind `untilMs`. */
  readonly renew: () => void
}

/** The mutex has refused, or patience has ended. Errors of workflow code are compared by what they say of themselves, not by their class. */
class LockRefused extends Error {
  override readonly name = 'LockRefused'
}

export function isRefused(error: unknown): error is Error {
  return error instanceof Error && error.name === 'LockRefused'
}

/** Runs `fn` while this instance has the lock, and gives it back, however `fn` ends. Rejects with LockRefused when it does not get it. */
export async function withLock<T>(
  ctx: LockingContext,
  name: string,
  { leaseMs, patienceMs }: LockOptions,
  fn: (held: Held) => Promise<T>,
): Promise<T> {
  const mutex = ctx.workflow(Mutex, name)
  const by = { type: ctx.type, id: ctx.id }
  const lock = ctx.uuid()
  mutex.signal('acquire', { by, lock, leaseMs })
  try {
    const grant = await untilGranted(ctx, name, lock, patienceMs)
    return await fn({ ...grant, renew: () => mutex.signal('renew', { by, lock }) })
  } finally {
    // A signal is no wait: it also leaves when this instance is being cancelled.
    mutex.signal('release', { by, lock })
  }
}

async function untilGranted(ctx: LockingContext, name: string, lock: string, patienceMs: number): Promise<Grant> {
  const answer = ctx.scope((scope) => answerFor(scope, lock), { timeout: patienceMs })
  const { granted, reason } = await answer.catch((error: unknown) => {
    if (codeOf(error) !== 'TIMEOUT') throw error
    return { granted: undefined, reason: `${name} was not free within ${patienceMs} ms` }
  })
  if (granted === undefined) throw new LockRefused(reason)
  return granted
}

interface Answer {
  readonly granted: Grant | undefined
  readonly reason: string
}

/** Answers to earlier requests, which nobody waits for any more, are passed over. */
async function answerFor(ctx: Receiving, lock: string): Promise<Answer> {
  for (;;) {
    const { name, payload } = await ctx.receive('granted', 'refused', 'expired')
    if (payload.lock !== lock) continue
    if (name === 'granted') return { granted: payload, reason: '' }
    return { granted: undefined, reason: name === 'refused' ? payload.reason : 'the lease has ended' }
  }
}
