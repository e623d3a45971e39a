/** The printer: here a wait and a line in the node's log. */
import { setTimeout as delay } from 'node:timers/promises'

import { implementActivities, NonRetryable } from '@carillon/runtime'

import { PrintJob } from './contract.ts'

const PAGE_MS = 100

/** The highest fence that each printer has seen; several of one name are told apart by the slot. A job that lost its lease and does not know it comes with a lower one. */
const fences = new Map<string, number>()

export const printActivities = implementActivities(PrintJob, {
  async printPage({ printer, slot, page, fence }, ctx) {
    const device = `${printer} ${slot}`
    if (fence < (fences.get(device) ?? 0)) throw new NonRetryable(`${device} serves somebody else by now`)
    fences.set(device, fence)
    await delay(PAGE_MS, undefined, { signal: ctx.signal })
    ctx.log.info('printed', { device, page, fence })
  },
})
