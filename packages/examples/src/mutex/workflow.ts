/** A mutex, or semaphore, and jobs that use it. Runs on the nodes. */
import { codeOf, type Context, defineWorkflow, implement, WorkflowFailure } from '@carillon/runtime'

import { type Holder, lockSignals, Mutex, type Printed, PrintJob, type Requester, type Waiting } from './contract.ts'
import { isRefused, withLock } from './with-lock.ts'

interface State {
  readonly permits: number
  fence: number
  /** At most as many as there are permits. */
  holders: (Holder & { readonly leaseMs: number })[]
  /** In the order of the journal. */
  waiting: Waiting[]
}

/** Who comes when so many wait is refused. */
const WAITING_MAX = 10_000

type MutexContext = Context<typeof Mutex.shape, State, 'lease'>

/**
 * Every handler is done in one turn, so nothing ever happens between looking and taking; and between two signals the mutex is nothing but its
 * state: no code waits in it.
 */
export const mutex = implement(Mutex, {
  startOnSignal: true,
  state: (input): State => ({ permits: input?.permits ?? 1, fence: 0, holders: [], waiting: [] }),
  on: {
    acquire(ctx, { by, lock, leaseMs }) {
      const known = [...ctx.state.holders, ...ctx.state.waiting].find((other) => isSame(other.by, by))
      // The same request again, from a sender that does not name its inputs: it is known.
      if (known?.lock === lock) return
      if (known !== undefined) return refuse(ctx, by, lock, `you have or wait for ${ctx.id} already`)
      if (ctx.state.waiting.length >= WAITING_MAX) return refuse(ctx, by, lock, `${WAITING_MAX} wait for ${ctx.id}`)
      ctx.state.waiting.push({ by, lock, leaseMs })
      grant(ctx)
    },
    renew(ctx, { by, lock }) {
      ctx.state.holders = ctx.state.holders.map((holder) =>
        isRequest(holder, by, lock) ? { ...holder, untilMs: ctx.now() + holder.leaseMs } : holder,
      )
      grant(ctx)
    },
    release(ctx, { by, lock }) {
      ctx.state.holders = ctx.state.holders.filter((holder) => !isRequest(holder, by, lock))
      ctx.state.waiting = ctx.state.waiting.filter((waiting) => !isRequest(waiting, by, lock))
      grant(ctx)
    },
  },
  queries: {
    status: ({ permits, holders, waiting }) => ({
      permits,
      holders: holders.map(({ by, lock, slot, fence, untilMs }) => ({ by, lock, slot, fence, untilMs })),
      waiting,
    }),
  },
  timers: {
    /** Set to the end of the first lease, if somebody has one. */
    lease: {
      run(ctx) {
        for (const { by, lock, untilMs } of ctx.state.holders)
          if (untilMs <= ctx.now()) answer(ctx, by).signal('expired', { lock })
        ctx.state.holders = ctx.state.holders.filter(({ untilMs }) => untilMs > ctx.now())
        grant(ctx)
      },
    },
  },
})

/** Gives what is free to those who wait longest. */
function grant(ctx: MutexContext): void {
  const { state } = ctx
  while (state.holders.length < state.permits) {
    const next = state.waiting.shift()
    if (next === undefined) break
    state.fence += 1
    const granted = { slot: freeSlot(state), fence: state.fence, untilMs: ctx.now() + next.leaseMs }
    state.holders.push({ ...next, ...granted })
    answer(ctx, next.by).signal('granted', { lock: next.lock, ...granted })
  }
  if (state.holders.length === 0) ctx.timers.lease.cancel()
  else ctx.timers.lease.setAt(Math.min(...state.holders.map(({ untilMs }) => untilMs)))
}

function freeSlot({ holders }: State): number {
  let slot = 1
  while (holders.some((holder) => holder.slot === slot)) slot += 1
  return slot
}

function refuse(ctx: MutexContext, by: Requester, lock: string, reason: string): void {
  answer(ctx, by).signal('refused', { lock, reason })
}

/** Of whatever type the requester is: what matters is that it takes these signals. */
function answer(ctx: MutexContext, { type, id }: Requester) {
  return ctx.workflow(defineWorkflow(type, { signals: lockSignals }), id)
}

function isSame(a: Requester, b: Requester): boolean {
  return a.type === b.type && a.id === b.id
}

function isRequest(request: Waiting | Holder, by: Requester, lock: string): boolean {
  return isSame(request.by, by) && request.lock === lock
}

export const printJob = implement(PrintJob, {
  state: () => ({}),
  async run(ctx, { printer, pages, leaseMs, patienceMs, asksTwice }): Promise<Printed> {
    const options = { leaseMs, patienceMs }
    try {
      return await withLock(ctx, printer, options, async ({ slot, fence, renew }) => {
        const refused = asksTwice
          ? await withLock(ctx, printer, options, async () => 'granted').catch(reasonOf)
          : undefined
        for (let page = 1; page <= pages; page++) {
          await ctx.activities.printPage({ printer, slot, page, fence })
          renew()
        }
        return { outcome: 'printed', fence, refused }
      })
    } catch (error) {
      if (codeOf(error) === 'ACTIVITY_FAILED') throw new WorkflowFailure(`the printer refused: ${String(error)}`)
      return { outcome: 'gave-up', fence: undefined, refused: reasonOf(error) }
    }
  },
})

/** @throws what is not a refusal. */
function reasonOf(error: unknown): string {
  if (isRefused(error)) return error.message
  throw error
}
