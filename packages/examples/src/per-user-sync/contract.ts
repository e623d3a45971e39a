/** The contract of the sync: what the feed's reader and the nodes share. */
import { defineWorkflow, type } from '@carillon/runtime'
import { z } from 'zod'

/** One message of a user. */
export interface Message {
  readonly messageId: string
  readonly text: string
}

export interface Progress {
  readonly delivered: number
  /** The ids of the last ones, oldest first; RECENT_MAX at most. */
  readonly recent: readonly string[]
}

export const RECENT_MAX = 100

/** How long the other system takes for a message in this example. */
export const ANSWER_MS = 50

/** One instance for each user; its id is the user's. */
export const UserSync = defineWorkflow('user-sync', {
  signals: { message: z.object({ messageId: z.string().min(1), text: z.string() }) },
  queries: { progress: { output: type<Progress>() } },
  activities: {
    /** Hands one message to the other system. `startToClose` and `retry` bound one attempt and the wait between two. */
    deliver: { input: type<Message>(), startToClose: '10 seconds', retry: { initial: '100 ms', max: '10 seconds' } },
  },
})
