/**
 * A shop: three things are ordered, what has not shipped yet is changed, what has is refused, and in the end it is cancelled. Another order ships.
 *
 *     tsx producer.ts [servers]
 */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'

import { connect } from '@carillon/client'

import { type ItemStatus, Order, type OrderStatus } from './contract.ts'

const ITEMS = [
  { sku: 'lamp', quantity: 1 },
  { sku: 'chair', quantity: 4 },
  { sku: 'table', quantity: 1 },
]

const carillon = await connect({ servers: process.argv[2] ?? 'nats://127.0.0.1:4222' })
const run = Date.now().toString(36)
const order = carillon.workflow(Order, `order-${run}`)
const other = carillon.workflow(Order, `other-${run}`)

await order.start({ items: ITEMS })
await other.start({ items: ITEMS.slice(0, 2) })
await untilItem('lamp', 'shipping')
say('ordered', await order.query('status'))

say('6 chairs instead of 4', await order.update('changeQuantity', { sku: 'chair', quantity: 6 }))
await assert.rejects(order.update('changeQuantity', { sku: 'lamp', quantity: 2 }), (error) => {
  process.stdout.write(`2 lamps instead of 1: ${String(error)}\n`)
  return String(error).includes('too late: lamp is ship')
})

await untilItem('chair', 'shipping')
say('cancelled while the chairs ship', await order.update('cancel', { reason: 'too expensive' }))
const end = await order.result({ timeoutMs: 60_000 })
say('the end', end)
assert.deepEqual(end, {
  cancelled: true,
  items: [
    { sku: 'lamp', quantity: 1, status: 'returned' },
    { sku: 'chair', quantity: 6, status: 'returned' },
    { sku: 'table', quantity: 1, status: 'waiting' },
  ],
})

const otherEnd = await other.result({ timeoutMs: 60_000 })
say('the other order', otherEnd)
assert.equal(otherEnd.cancelled, false)
assert.ok(otherEnd.items.every(({ status }) => status === 'shipped'))
await carillon.close()

async function untilItem(sku: string, status: ItemStatus): Promise<void> {
  const deadlineMs = performance.now() + 30_000
  while ((await order.query('status')).items.find((item) => item.sku === sku)?.status !== status) {
    assert.ok(performance.now() < deadlineMs, `${sku} is not ${status} within 30 seconds`)
    await delay(20)
  }
}

function say(what: string, { cancelled, items }: OrderStatus): void {
  const list = items.map(({ sku, quantity, status }) => `${quantity} ${sku} ${status}`).join(', ')
  process.stdout.write(`${what}: ${list}${cancelled ? ' (cancelled)' : ''}\n`)
}
