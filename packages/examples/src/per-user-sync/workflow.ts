/** The sync of one user: each message goes through the activity before the next one begins. Runs on the nodes. */
import { implement } from '@carillon/runtime'

import { type Progress, RECENT_MAX, UserSync } from './contract.ts'

export const userSync = implement(UserSync, {
  // Users simply exist: the first message starts one.
  startOnSignal: true,
  state: (): Progress => ({ delivered: 0, recent: [] }),
  on: {
    // Handlers of one instance run one at a time, in the order in which their signals were accepted. That is all it takes.
    async message(ctx, message) {
      await ctx.activities.deliver(message)
      const { delivered, recent } = ctx.state
      ctx.state = { delivered: delivered + 1, recent: [...recent, message.messageId].slice(-RECENT_MAX) }
    },
  },
  queries: { progress: (state) => state },
})
