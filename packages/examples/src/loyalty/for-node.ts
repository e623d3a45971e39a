/**
 * The loyalty programme as `carillon node` and `carillon dev` take it:
 *
 *   carillon dev packages/examples/src/loyalty/for-node.ts
 *
 * Deliveries to the partner go to the file that LOYALTY_PARTNER_FILE names; default `partner.ndjson`.
 */
import { createLoyaltyActivities } from './activities.ts'
import { FilePartner } from './partner.ts'
import { createLoyalty } from './workflow.ts'

export const loyalty = createLoyalty()

export const loyaltyActivities = createLoyaltyActivities(
  await FilePartner.open({ path: process.env['LOYALTY_PARTNER_FILE'] ?? 'partner.ndjson', answerMs: 0 }),
)
