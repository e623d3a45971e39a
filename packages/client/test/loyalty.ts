/** The contract that the tests of the client speak by. */
import { defineWorkflow, type } from '@carillon/runtime'
import { z } from 'zod'

export const Loyalty = defineWorkflow('loyalty', {
  input: type<{ email: string }>(),
  result: type<{ points: number }>(),
  signals: {
    purchase: z.object({ orderId: z.string(), amount: z.number().positive() }),
    close: type<void>(),
    note: type<unknown>(),
  },
  updates: { redeem: { input: z.object({ points: z.number().int() }), output: type<{ left: number }>() }, reset: {} },
  queries: {
    status: { output: type<{ points: number }>() },
    orders: { input: type<{ limit: number }>(), output: type<string[]>() },
  },
})
