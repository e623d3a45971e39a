/**
 * The loyalty programme as `carillon node` and `carillon dev` take it:
 *
 *   carillon dev packages/examples/src/loyalty/for-node.ts
 *
 * Deliveries to the partner go to the file that LOYALTY_PARTNER_FILE names; default `partner.ndjson`. LOYALTY_STATEMENTS is a cron pattern in place of
 * the monthly one, LOYALTY_SPREAD how long after its moments the statements are spread, LOYALTY_PARTNER_ANSWER_MS how long the partner takes to answer.
 */
import type { Duration } from '@carillon/runtime'

import { createLoyaltyActivities } from './activities.ts'
import { FilePartner } from './partner.ts'
import { createLoyalty, MONTHLY } from './workflow.ts'

const { env } = process

export const loyalty = createLoyalty({
  statements: {
    ...MONTHLY,
    cron: env['LOYALTY_STATEMENTS'] ?? MONTHLY.cron,
    jitter: (env['LOYALTY_SPREAD'] ?? MONTHLY.jitter) as Duration,
  },
})

export const loyaltyActivities = createLoyaltyActivities(
  await FilePartner.open({
    path: env['LOYALTY_PARTNER_FILE'] ?? 'partner.ndjson',
    answerMs: Number(env['LOYALTY_PARTNER_ANSWER_MS'] ?? '0'),
  }),
)
