/** The contract of a rollout: what operators' tools and nodes share. */
import { defineWorkflow, type } from '@carillon/runtime'
import { z } from 'zod'

const version = z.string().min(1).max(100)

export type Phase = 'rolling-out' | 'paused' | 'rolling-back'

export interface Progress {
  readonly phase: Phase
  /** Hosts with the new version, in the order in which they got it. */
  readonly done: readonly string[]
  /** Hosts whose installation is under way. */
  readonly running: readonly string[]
  /** Hosts that failed: they are tried again on `continue`. */
  readonly failed: readonly { readonly host: string; readonly reason: string }[]
  readonly waiting: number
}

export interface Outcome {
  readonly outcome: 'rolled-out' | 'rolled-back'
  /** Hosts that have the version of the outcome by now. */
  readonly hosts: readonly string[]
}

export const Deployment = defineWorkflow('deployment', {
  input: z.object({
    version,
    previous: version,
    hosts: z.array(z.string().min(1)).min(1).max(1000),
    /** Hosts at once. */
    width: z.number().int().min(1).max(50).default(2),
  }),
  result: type<Outcome>(),
  signals: {
    /** No further host begins; those under way are finished. */
    pause: type<void>(),
    /** Goes on, with the hosts that failed as well. */
    continue: type<void>(),
    /** Gives every host that was touched its previous version, and ends. */
    rollback: type<void>(),
  },
  queries: { progress: { output: type<Progress>() } },
  activities: {
    install: {
      input: type<{ host: string; version: string }>(),
      startToClose: '5 minutes',
      retry: { attempts: 3, initial: '100 ms' },
    },
  },
})
