/** The contract of an order: what shop, warehouse and nodes share. */
import { defineWorkflow, type } from '@carillon/runtime'
import { z } from 'zod'

const quantity = z.number().int().min(0).max(10_000)

/** One position of an order. Quantity 0: it is left out. */
const item = z.object({ sku: z.string().min(1), quantity })

export type Item = z.infer<typeof item>

/** An item waits, is on its way out of the warehouse, has left it, or was taken back after a cancel. */
export type ItemStatus = 'waiting' | 'shipping' | 'shipped' | 'returned'

export interface OrderItem extends Item {
  readonly status: ItemStatus
}

export interface OrderStatus {
  readonly cancelled: boolean
  readonly items: readonly OrderItem[]
}

export const Order = defineWorkflow('order', {
  input: z.object({ items: z.array(item).min(1).max(100) }),
  result: type<OrderStatus>(),
  updates: {
    /** Refused once the item ships. */
    changeQuantity: { input: item, output: type<OrderStatus>() },
    /** Refused once everything has shipped. What has left the warehouse already is taken back. */
    cancel: { input: z.object({ reason: z.string() }), output: type<OrderStatus>() },
  },
  queries: { status: { output: type<OrderStatus>() } },
  activities: {
    ship: { input: type<Item>(), output: type<{ parcel: string }>(), startToClose: '1 minute' },
    takeBack: { input: type<Item & { readonly parcel: string }>(), startToClose: '1 minute' },
  },
})
