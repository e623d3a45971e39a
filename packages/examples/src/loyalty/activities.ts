/** What the loyalty programme does to the world outside. Plain async functions: each call at least once, always with the same key. */
import { type ActivityContext, type ActivityImplementations, implementActivities } from '@carillon/runtime'

import { Loyalty } from './contract.ts'
import type { Delivery, Partner } from './partner.ts'

export function createLoyaltyActivities(partner: Partner): ActivityImplementations {
  const deliver = (ctx: ActivityContext, kind: Delivery['kind'], body: unknown): Promise<void> =>
    partner.deliver({ key: ctx.callId, customer: ctx.workflow.id, kind, body }, ctx.signal)
  return implementActivities(Loyalty, {
    notifyPartner: (level, ctx) => deliver(ctx, 'level', level),
    sendStatement: (statement, ctx) => deliver(ctx, 'statement', statement),
  })
}
