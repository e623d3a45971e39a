/** The warehouse: takes a second for each parcel, so that there is time to change one's mind. */
import { setTimeout as delay } from 'node:timers/promises'

import { implementActivities } from '@carillon/runtime'

import { Order } from './contract.ts'

const PARCEL_MS = 1_000

export const orderActivities = implementActivities(Order, {
  async ship({ sku, quantity }, ctx) {
    await delay(PARCEL_MS, undefined, { signal: ctx.signal })
    // The same for each attempt of this call: a warehouse that knows it sends one parcel.
    const parcel = ctx.callId
    ctx.log.info('shipped', { sku, quantity, parcel })
    return { parcel }
  },
  takeBack({ sku, quantity, parcel }, ctx) {
    ctx.log.info('taken back', { sku, quantity, parcel })
  },
})
