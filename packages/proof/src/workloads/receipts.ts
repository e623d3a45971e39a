/** The activities of the remote worker: the module is given to `carillon worker`. */
import { implementActivities } from '@carillon/runtime'

import { Account } from './contracts.ts'
import { attempt } from './sink.ts'

export const receipts = implementActivities(Account, {
  receipt: (input, call) => attempt('receipt', input, call),
})
