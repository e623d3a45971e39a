/** Delivers messages: here to the node's log. A real one posts to another system, with `ctx.callId` as the idempotency key. */
import { setTimeout as delay } from 'node:timers/promises'

import { implementActivities } from '@carillon/runtime'

import { ANSWER_MS, UserSync } from './contract.ts'

export const userSyncActivities = implementActivities(UserSync, {
  async deliver({ messageId, text }, ctx) {
    await delay(ANSWER_MS, undefined, { signal: ctx.signal })
    ctx.log.info('delivered', { user: ctx.workflow.id, messageId, text, key: ctx.callId })
  },
})
