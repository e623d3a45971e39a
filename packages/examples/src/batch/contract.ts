/** The contracts of a batch that fits into one life, and of one that does not. */
import { defineWorkflow, type } from '@carillon/runtime'
import { z } from 'zod'

const ITEMS_MAX = 1000

/** What became of one item. */
export type Settled =
  | { readonly item: string; readonly ok: true; readonly value: number }
  | { readonly item: string; readonly ok: false; readonly error: string }

export interface Progress {
  readonly total: number
  readonly running: number
  readonly done: number
  readonly failed: number
}

/** Each item through an activity, so many at once. */
export const Batch = defineWorkflow('batch', {
  input: z.object({
    items: z.array(z.string().min(1).max(200)).min(1).max(ITEMS_MAX),
    /** Items at once. */
    width: z.number().int().min(1).max(100).default(10),
  }),
  /** One for each item, in their order. */
  result: type<readonly Settled[]>(),
  queries: { progress: { output: type<Progress>() } },
  activities: {
    process: {
      input: type<{ item: string }>(),
      output: type<{ value: number }>(),
      startToClose: '1 minute',
      retry: { attempts: 3, initial: '50 ms' },
    },
  },
})

export interface Summary {
  readonly total: number
  readonly done: number
  readonly failed: number
  /** The first of those that failed; FAILURES_KEPT at most. */
  readonly failures: readonly { readonly item: string; readonly error: string }[]
}

export const FAILURES_KEPT = 20

/** Any number of items: chunk by chunk, each a batch of its own, a few at once. What comes out goes out in order, chunk by chunk. */
export const BigBatch = defineWorkflow('big-batch', {
  input: z.object({
    total: z.number().int().min(1).max(100_000_000),
    chunk: z.number().int().min(1).max(ITEMS_MAX).default(500),
    /** Chunks at once. */
    chunksAtOnce: z.number().int().min(1).max(20).default(4),
    width: z.number().int().min(1).max(100).default(20),
  }),
  result: type<Summary>(),
  queries: { progress: { output: type<Summary>() } },
  activities: {
    /** The items from one place on. The same ones whenever it is asked again. */
    list: {
      input: type<{ from: number; count: number }>(),
      output: type<readonly string[]>(),
      startToClose: '1 minute',
    },
    /** Takes the results of a chunk. Chunks come in order; one may come twice. */
    store: { input: type<{ from: number; results: readonly Settled[] }>(), startToClose: '1 minute' },
  },
})
