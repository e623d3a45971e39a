/** A shop: orders three things, changes the last, and tries to change the first when it is too late. `node --import tsx producer.ts [servers]` */
import { connect } from '@carillon/client'
import { hasCode } from '@carillon/runtime'

import { Order } from './contract.ts'

const carillon = await connect({ servers: process.argv[2] ?? 'nats://127.0.0.1:4222' })
const order = carillon.workflow(Order, `order-${Date.now()}`)
await order.start({
  items: [
    { sku: 'lamp', quantity: 1 },
    { sku: 'chair', quantity: 4 },
    { sku: 'table', quantity: 1 },
  ],
})
say('6 chairs instead of 4', await order.update('changeQuantity', { sku: 'chair', quantity: 6 }))
await order.update('changeQuantity', { sku: 'lamp', quantity: 2 }).catch((error: unknown) => {
  if (!hasCode(error, 'UPDATE_REJECTED')) throw error
  say('2 lamps are refused', String(error))
})
say('cancelled', await order.update('cancel', { reason: 'too expensive' }))
say('the end', await order.result({ timeoutMs: 60_000 }))
await carillon.close()

function say(what: string, value: unknown): void {
  process.stdout.write(`${what}: ${JSON.stringify(value)}\n`)
}
