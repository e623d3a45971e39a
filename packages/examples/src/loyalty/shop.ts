/**
 * A shop: a customer buys, returns, and pays with points.
 *
 *     tsx shop.ts [servers]
 */
import assert from 'node:assert/strict'

import { connect } from '@carillon/client'

import { Loyalty, type Status } from './contract.ts'

const carillon = await connect({ servers: process.argv[2] ?? 'nats://127.0.0.1:4222' })
const customer = carillon.workflow(Loyalty, `customer-${Date.now().toString(36)}`)

// Nobody registers a customer: the first signal starts one. The order's number is the input's id, so that sending it again changes nothing.
await customer.signal('purchase', { orderId: 'o-1', amountCents: 250_00 }, { id: 'o-1' })
await customer.signal('purchase', { orderId: 'o-2', amountCents: 120_00 }, { id: 'o-2' })
await customer.signal('purchase', { orderId: 'o-2', amountCents: 120_00 }, { id: 'o-2' })
say('two purchases, one of them sent twice', await customer.query('status'))
await customer.signal('return', { orderId: 'o-2', amountCents: 120_00 }, { id: 'return of o-2', wait: 'applied' })
say('one of them returned; a level that was reached is kept', await customer.query('status'))

await assert.rejects(customer.update('redeem', { orderId: 'o-3', points: 900 }), (error) => {
  process.stdout.write(`900 points to pay with: ${String(error)}\n`)
  return String(error).includes('900 points are asked for, and there are 250')
})
const { left } = await customer.update('redeem', { orderId: 'o-3', points: 100 })
assert.equal(left, 150)

const status = await customer.query('status')
say('100 points to pay with', status)
assert.equal(status.points, 150)
assert.equal(status.level, 'silver')
assert.deepEqual(
  status.entries.map(({ orderId, points }) => `${orderId} ${points}`),
  ['o-1 250', 'o-2 120', 'o-2 -120', 'o-3 -100'],
)
await carillon.close()

function say(what: string, { points, level }: Status): void {
  process.stdout.write(`${what}: ${points} points, ${level}\n`)
}
