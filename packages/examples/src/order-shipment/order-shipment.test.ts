import { NonRetryable } from '@carillon/runtime'
import { mockActivities } from '@carillon/runtime/testing'
import { expect, it } from 'vitest'

import { describeOnBothBackends } from '../testing/describe-on-both-backends.ts'
import { orderActivities } from './activities.ts'
import { Order } from './contract.ts'
import { order } from './workflow.ts'

const ITEMS = [
  { sku: 'lamp', quantity: 1 },
  { sku: 'chair', quantity: 4 },
  { sku: 'table', quantity: 1 },
]

/** A warehouse that sends a parcel when the test lets it. */
function warehouse() {
  const waiting: (() => void)[] = []
  const activities = mockActivities(Order, {
    ship: ({ sku }) => new Promise((resolve) => waiting.push(() => resolve({ parcel: `parcel of ${sku}` }))),
    takeBack: async () => {},
  })
  const shipped = (): string[] => activities.calls('ship').map(({ input }) => `${input.quantity} ${input.sku}`)
  return { activities, shipped, letGo: () => waiting.shift()?.() }
}

describeOnBothBackends('an order', { workflows: [order], activities: [orderActivities] }, (open) => {
  async function start() {
    const { activities, shipped, letGo } = warehouse()
    const backend = await open({ activities: [activities] })
    const o1 = backend.workflow(Order, 'o-1')
    await o1.start({ items: ITEMS })
    const ships = (count: number): Promise<void> => backend.until(() => shipped().length === count)
    await ships(1)
    return { o1, ships, shipped, letGo, activities }
  }

  it('ships a quantity that was changed while another item shipped', async () => {
    const { o1, ships, shipped, letGo } = await start()
    expect(await o1.update('changeQuantity', { sku: 'chair', quantity: 6 })).toMatchObject({
      items: [{ status: 'shipping' }, { quantity: 6, status: 'waiting' }, { status: 'waiting' }],
    })
    await o1.update('changeQuantity', { sku: 'table', quantity: 0 })
    letGo()
    await ships(2)
    letGo()
    expect(await o1.result({ timeoutMs: 10_000 })).toEqual({
      cancelled: false,
      items: [
        { sku: 'lamp', quantity: 1, status: 'shipped' },
        { sku: 'chair', quantity: 6, status: 'shipped' },
        { sku: 'table', quantity: 0, status: 'shipped' },
      ],
    })
    expect(shipped()).toEqual(['1 lamp', '6 chair'])
  })

  it('refuses what is too late, or makes no sense, and changes nothing', async () => {
    const { o1, ships, letGo } = await start()
    await expect(o1.update('changeQuantity', { sku: 'lamp', quantity: 2 })).rejects.toMatchObject({
      code: 'UPDATE_REJECTED',
      message: 'too late: lamp is shipping',
    })
    letGo()
    await ships(2)
    await expect(o1.update('changeQuantity', { sku: 'lamp', quantity: 2 })).rejects.toThrow('too late: lamp is shipped')
    await expect(o1.update('changeQuantity', { sku: 'sofa', quantity: 2 })).rejects.toThrow('no sofa')
    await expect(o1.update('changeQuantity', { sku: 'table', quantity: -1 })).rejects.toMatchObject({
      code: 'INVALID_PAYLOAD',
    })
    expect(await o1.query('status')).toEqual({
      cancelled: false,
      items: [
        { sku: 'lamp', quantity: 1, status: 'shipped' },
        { sku: 'chair', quantity: 4, status: 'shipping' },
        { sku: 'table', quantity: 1, status: 'waiting' },
      ],
    })
  })

  it('takes back what has shipped, last first, when it is cancelled, and ships nothing more', async () => {
    const { o1, ships, shipped, letGo, activities } = await start()
    letGo()
    await ships(2)
    expect(await o1.update('cancel', { reason: 'changed my mind' })).toMatchObject({ cancelled: true })
    await expect(o1.update('changeQuantity', { sku: 'table', quantity: 2 })).rejects.toThrow('cancelled')
    letGo()
    expect(await o1.result({ timeoutMs: 10_000 })).toEqual({
      cancelled: true,
      items: [
        { sku: 'lamp', quantity: 1, status: 'returned' },
        { sku: 'chair', quantity: 4, status: 'returned' },
        { sku: 'table', quantity: 1, status: 'waiting' },
      ],
    })
    expect(shipped()).toHaveLength(2)
    expect(activities.calls('takeBack').map(({ input }) => input.parcel)).toEqual(['parcel of chair', 'parcel of lamp'])
  })

  it('takes back the rest when one parcel cannot be taken back', async () => {
    const { o1, ships, letGo, activities } = await start()
    letGo()
    await ships(2)
    await o1.update('cancel', { reason: 'changed my mind' })
    activities.failNext('takeBack', 1, new NonRetryable('the parcel is lost'))
    letGo()
    expect(await o1.result({ timeoutMs: 10_000 })).toMatchObject({
      items: [{ status: 'returned' }, { status: 'shipped' }, { status: 'waiting' }],
    })
  })

  it('answers a repeated update with its first outcome', async () => {
    const { o1 } = await start()
    const first = await o1.update('changeQuantity', { sku: 'chair', quantity: 6 }, { id: 'u1' })
    await o1.update('changeQuantity', { sku: 'chair', quantity: 8 }, { id: 'u2' })
    expect(await o1.update('changeQuantity', { sku: 'chair', quantity: 6 }, { id: 'u1' })).toEqual(first)
    expect((await o1.query('status')).items[1]).toMatchObject({ quantity: 8 })
    // The journal holds what was sent, the repeat too.
    const sent: unknown[] = []
    for await (const { kind, id, payload } of o1.history({ from: 2 })) sent.push([kind, id, payload])
    const changed = (quantity: number): object => ({ sku: 'chair', quantity })
    expect(sent.slice(-3)).toEqual([
      ['update', 'u1', changed(6)],
      ['update', 'u2', changed(8)],
      ['update', 'u1', changed(6)],
    ])
  })
})
