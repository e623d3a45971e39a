/** Type tests of activities: every `@ts-expect-error` line must not compile. They run with the build. */
import { defineWorkflow, implementActivities, type } from '../index.ts'

export const Mail = defineWorkflow('mail', {
  activities: {
    send: { input: type<string>(), concurrency: 4, rate: { limit: 50, per: '1 second' }, retry: { attempts: 3 } },
    // @ts-expect-error -- a rate needs its time
    post: { rate: { limit: 50 } },
    // @ts-expect-error -- not a duration
    call: { rate: { limit: 50, per: '1 fortnight' } },
  },
})

const Media = defineWorkflow('media', {
  activities: {
    probe: { input: type<string>(), output: type<number>() },
    resize: { input: type<{ width: number }>(), output: type<string>(), queue: 'gpu' },
    render: { output: type<string>(), queue: { name: 'gpu', concurrency: 4 } },
    mail: { queue: 'post' },
  },
})

export const local = implementActivities(Media, { probe: (path) => path.length })
export const everything = implementActivities(Media, {
  probe: (path) => path.length,
  resize: ({ width }) => width.toFixed(),
  render: () => 'done',
  mail() {},
})
export const gpu = implementActivities(
  Media,
  { resize: async ({ width }, ctx) => `${width} ${ctx.attempt}`, render: () => 'done' },
  { queue: 'gpu' },
)

export function refused(): void {
  // @ts-expect-error -- the local one is missing
  implementActivities(Media, { mail() {} })
  // @ts-expect-error -- one of the queue is missing
  implementActivities(Media, { resize: () => '' }, { queue: 'gpu' })
  // @ts-expect-error -- there is no such queue
  implementActivities(Media, {}, { queue: 'cpu' })
  // @ts-expect-error -- not its output
  implementActivities(Media, { resize: () => 1, render: () => 'x' }, { queue: 'gpu' })
}
