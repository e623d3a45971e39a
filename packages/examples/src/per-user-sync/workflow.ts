/** The sync of one user: each message goes through the activity before the next one begins. Runs on the nodes. */
import { implement } from '@carillon/runtime'

import { type Progress, UserSync } from './contract.ts'

export const userSync = implement(UserSync, {
  // Users simply exist: the first message starts one.
  startOnSignal: true,
  state: (): Progress => ({ delivered: 0, lastMessageId: undefined }),
  on: {
    // Handlers of one instance run one at a time, in the order in which their signals were accepted. That is all it takes.
    async message(ctx, message) {
      await ctx.activities.deliver(message)
      ctx.state = { delivered: ctx.state.delivered + 1, lastMessageId: message.messageId }
    },
  },
  queries: { progress: (state) => state },
})
