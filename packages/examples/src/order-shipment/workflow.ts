/**
 * An order: ships one item after the other, while updates change what is left of it. Runs on the nodes.
 *
 * `run` and the updates take turns at the awaits of `run`, so none of them sees a half-done change.
 */
import { implement, UpdateRejected } from '@carillon/runtime'

import { type Item, type ItemStatus, Order, type OrderStatus } from './contract.ts'

interface Position {
  readonly sku: string
  quantity: number
  status: ItemStatus
}

interface State {
  cancelled: boolean
  positions: Position[]
}

export const order = implement(Order, {
  state: ({ items }): State => ({
    cancelled: false,
    positions: items.map(({ sku, quantity }) => ({ sku, quantity, status: 'waiting' })),
  }),
  async run(ctx) {
    const saga = ctx.saga()
    for (;;) {
      const next = ctx.state.positions.find(({ status }) => status === 'waiting')
      if (next === undefined || ctx.state.cancelled) break
      next.status = 'shipping'
      const { sku, quantity } = next
      const parcel = quantity === 0 ? undefined : (await ctx.activities.ship({ sku, quantity })).parcel
      saga.add(async (undoing) => {
        if (parcel !== undefined) await undoing.activities.takeBack({ sku, quantity, parcel })
        change(ctx.state, sku, { status: 'returned' })
      })
      change(ctx.state, sku, { status: 'shipped' })
    }
    if (ctx.state.cancelled) {
      const failures = await saga.compensate()
      for (const { message } of failures) ctx.log.error('a parcel was not taken back', { message })
    }
    return statusOf(ctx.state)
  },
  updates: {
    changeQuantity: {
      validate({ cancelled, positions }, { sku }) {
        if (cancelled) throw new UpdateRejected('the order is cancelled')
        const position = positions.find((other) => other.sku === sku)
        if (position === undefined) throw new UpdateRejected(`the order has no ${sku}`)
        if (position.status !== 'waiting') throw new UpdateRejected(`too late: ${sku} is ${position.status}`)
      },
      run(ctx, { sku, quantity }) {
        change(ctx.state, sku, { quantity })
        return statusOf(ctx.state)
      },
    },
    cancel: {
      validate({ cancelled, positions }) {
        if (cancelled) throw new UpdateRejected('the order is cancelled already')
        if (positions.every(({ status }) => status === 'shipped'))
          throw new UpdateRejected('too late: everything has shipped')
      },
      run(ctx, { reason }) {
        ctx.log.info('the order is cancelled', { reason })
        ctx.state.cancelled = true
        return statusOf(ctx.state)
      },
    },
  },
  queries: { status: (state) => statusOf(state) },
})

function change(state: State, sku: string, to: Partial<Omit<Position, 'sku'>>): void {
  const position = state.positions.find((other) => other.sku === sku)
  if (position !== undefined) Object.assign(position, to)
}

function statusOf({
  cancelled,
  positions,
}: {
  readonly cancelled: boolean
  readonly positions: readonly (Item & { readonly status: ItemStatus })[]
}): OrderStatus {
  return { cancelled, items: positions.map(({ sku, quantity, status }) => ({ sku, quantity, status })) }
}
