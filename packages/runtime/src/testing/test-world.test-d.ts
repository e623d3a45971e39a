/** Type tests: every `@ts-expect-error` line must not compile. They run with the build. */
import { z } from 'zod'

import { defineWorkflow, type } from '../index.ts'
import { mockActivities, type TestWorld } from './index.ts'

const Order = defineWorkflow('order', {
  input: z.object({ sku: z.string(), count: z.number().default(1) }),
  result: type<{ shipped: number }>(),
  signals: { note: z.string(), cancel: type<void>() },
  updates: { change: { input: z.number(), output: type<{ count: number }>() } },
  queries: { status: { output: type<'open' | 'closed'>() } },
  activities: { ship: { input: type<{ sku: string }>(), output: type<string>() }, ping: {} },
})

export async function handles(world: TestWorld): Promise<void> {
  const order = world.workflow(Order, 'o-1')
  await order.start({ sku: 'a' }, { ifRunning: 'use' })
  await order.signal('note', 'text', { wait: 'applied' })
  await order.signal('cancel')
  await order.signalWithStart({ input: { sku: 'a' }, signal: { name: 'note', payload: 'text' } })
  const { count }: { readonly count: number } = await order.update('change', 2, { timeoutMs: 5 })
  const status: 'open' | 'closed' = await order.query('status')
  const { shipped }: { readonly shipped: number } = await order.result()
  await world.skip('30 days')
  // @ts-expect-error -- the input is missing
  await order.start()
  // @ts-expect-error -- wrong input
  await order.start({ sku: 1 })
  // @ts-expect-error -- no such signal
  await order.signal('nothing')
  // @ts-expect-error -- wrong payload
  await order.signal('note', 5)
  // @ts-expect-error -- a start without its input
  await order.signalWithStart({ signal: { name: 'cancel' } })
  // @ts-expect-error -- wrong update input
  await order.update('change', 'two')
  // @ts-expect-error -- wrong answer
  const wrong: number = await order.query('status')
  // @ts-expect-error -- no such unit
  await world.skip('2 fortnights')
  world.workflow(Order, `${count} ${status} ${shipped} ${wrong}`)
}

const mocked = mockActivities(Order, { ship: async ({ sku }, ctx) => `${sku} ${ctx.attempt}`, ping: () => {} })
mocked.failNext('ship', 2)
export const sku: string | undefined = mocked.calls('ship')[0]?.input.sku
// @ts-expect-error -- no such activity
export const calls = mocked.calls.bind(mocked, 'fly')
export const missing = mockActivities(
  Order,
  // @ts-expect-error -- `ping` is missing
  { ship: async () => '' },
)
export const wrongOutput = mockActivities(Order, {
  // @ts-expect-error -- wrong output
  ship: async () => 5,
  ping: () => {},
})

const Parcel = defineWorkflow('parcel', { attributes: { station: 'text', weight: 'number' } })

export async function lists(world: TestWorld): Promise<void> {
  for await (const { attributes } of world.list({ contract: Parcel, where: { weight: { above: 1 } }, limit: 3 })) {
    const station: string | undefined = attributes?.station
    // @ts-expect-error -- a number is declared
    const weight: string | undefined = attributes?.weight
    world.workflow(Parcel, `${station} ${weight}`)
  }
  const count: number = await world.count({ contract: Parcel, where: { station: 'Kiel' } })
  const [group] = await world.count({ contract: Parcel, groupBy: { attribute: 'station' } })
  world.workflow(Parcel, `${count} ${group?.count}`)
  // @ts-expect-error -- no such attribute
  world.list({ contract: Parcel, where: { colour: 'red' } })
}
