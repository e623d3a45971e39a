/** Delivers messages: here to the node's log. A real one posts to another system, with `ctx.callId` as the idempotency key. */
import { setTimeout as delay } from 'node:timers/promises'

import { implementActivities } from '@carillon/runtime'

import { UserSync } from './contract.ts'

/** As a system across a network takes. */
const ANSWER_MS = 50

export const userSyncActivities = implementActivities(UserSync, {
  async deliver({ messageId, text }, ctx) {
    await delay(ANSWER_MS, undefined, { signal: ctx.signal })
    ctx.log.info('delivered', { user: ctx.workflow.id, messageId, text, key: ctx.callId })
  },
})
