/** The contracts of a mutex (or semaphore), and of the jobs that share a printer by it. */
import { defineWorkflow, type } from '@carillon/runtime'
import { z } from 'zod'

/** Who asks: any workflow whose contract has the signals of `lockSignals`. */
const requester = z.object({ type: z.string().min(1), id: z.string().min(1) })
export type Requester = z.infer<typeof requester>

/** A request, by a name of the requester's own: what it releases, and what the answers are about. */
const lock = z.string().min(1).max(100)
const LEASE_MS_MAX = 7 * 24 * 3_600_000

export interface Grant {
  readonly slot: number
  readonly fence: number
  readonly untilMs: number
}

/** What a mutex tells those who ask. A contract whose workflow shall take locks spreads them into its signals. */
export const lockSignals = {
  /**
   * It is yours until then. `slot`, from 1, is the one of the permits that you have. `fence` rises with every grant: give it to the thing itself, which
   * refuses lower ones than that slot has seen.
   */
  granted: type<Grant & { readonly lock: string }>(),
  refused: type<{ readonly lock: string; readonly reason: string }>(),
  /** The lease has ended before the lock was released: it is somebody else's now. */
  expired: type<{ readonly lock: string }>(),
} as const

export interface Holder extends Grant {
  readonly by: Requester
  readonly lock: string
}

export interface Waiting {
  readonly by: Requester
  readonly lock: string
  readonly leaseMs: number
}

export interface MutexStatus {
  readonly permits: number
  readonly holders: readonly Holder[]
  /** Who asked first comes first. */
  readonly waiting: readonly Waiting[]
}

/** One instance for each thing that is shared; its id is the thing's name. Started by its first signal it has one permit. */
export const Mutex = defineWorkflow('mutex', {
  input: z.object({ permits: z.number().int().min(1).max(1000) }).optional(),
  signals: {
    /** Answered by `granted` when it is one's turn, or `refused`. The lease begins with the grant. */
    acquire: z.object({ by: requester, lock, leaseMs: z.number().int().min(1).max(LEASE_MS_MAX) }),
    /** The lease begins anew. */
    renew: z.object({ by: requester, lock }),
    /** Gives it back, or stops waiting for it. */
    release: z.object({ by: requester, lock }),
  },
  queries: {
    status: { output: type<MutexStatus>() },
  },
})

export interface Printed {
  readonly outcome: 'printed' | 'gave-up'
  readonly fence: number | undefined
  /** Why it gave up, or what was answered when it asked a second time with the lock in hand. */
  readonly refused: string | undefined
}

/** A job that prints, page by page, while no other does. */
export const PrintJob = defineWorkflow('print-job', {
  input: z.object({
    printer: z.string().min(1),
    pages: z.number().int().min(1).max(1000),
    leaseMs: z.number().int().positive().default(10_000),
    /** How long it waits for the printer. */
    patienceMs: z.number().int().positive().default(3_600_000),
    /** Asks for the printer again while it has it. */
    asksTwice: z.boolean().default(false),
  }),
  result: type<Printed>(),
  signals: { ...lockSignals },
  activities: {
    printPage: {
      input: type<{ printer: string; slot: number; page: number; fence: number }>(),
      startToClose: '1 minute',
    },
  },
})
