/** What is done with an item: here its number, squared, after a moment. Numbers that end with 13 cannot be squared. */
import { setTimeout as delay } from 'node:timers/promises'

import { implementActivities, NonRetryable } from '@carillon/runtime'

import { Batch, BigBatch } from './contract.ts'

const PROCESS_MS = 20

export const batchActivities = implementActivities(Batch, {
  async process({ item }, ctx) {
    await delay(PROCESS_MS, undefined, { signal: ctx.signal })
    const number = Number(item.replace('item-', ''))
    if (number % 100 === 13) throw new NonRetryable(`${number} is bad luck`)
    return { value: number ** 2 }
  },
})

export const bigBatchActivities = implementActivities(BigBatch, {
  list: ({ from, count }) => Array.from({ length: count }, (_, i) => `item-${from + i}`),
  store({ from, results }, ctx) {
    ctx.log.info('stored', { from, results: results.length, failed: results.filter(({ ok }) => !ok).length })
  },
})
