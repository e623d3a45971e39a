/** Type tests of activities: every `@ts-expect-error` line must not compile. They run with the build. */
import { defineWorkflow, type } from '../index.ts'

export const Mail = defineWorkflow('mail', {
  activities: {
    send: { input: type<string>(), concurrency: 4, rate: { limit: 50, per: '1 second' }, retry: { attempts: 3 } },
    // @ts-expect-error -- a rate needs its time
    post: { rate: { limit: 50 } },
    // @ts-expect-error -- not a duration
    call: { rate: { limit: 50, per: '1 fortnight' } },
  },
})
