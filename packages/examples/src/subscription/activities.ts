/** The bank and the post: here lines in the node's log. Cards whose number begins with "empty" are declined. */
import { implementActivities } from '@carillon/runtime'

import { Subscription } from './contract.ts'

export const subscriptionActivities = implementActivities(Subscription, {
  charge({ invoice, amountCents, card }, ctx) {
    if (card.startsWith('empty')) throw Object.assign(new Error('the card is declined'), { code: 'CARD_DECLINED' })
    ctx.log.info('charged', { invoice, amountCents, card })
    // A real bank gets the invoice as the idempotency key.
    return { receipt: `receipt of ${invoice}` }
  },
  notify({ notice, text }, ctx) {
    ctx.log.info(`letter: ${notice}`, { text })
  },
})
