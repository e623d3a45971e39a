/** Writes reports: here a line in the node's log, with a number of rows that the moment decides. */
import { implementActivities } from '@carillon/runtime'

import { Report } from './contract.ts'

export const reportActivities = implementActivities(Report, {
  write({ report, asOf }, ctx) {
    const rows = new Date(asOf).getUTCMinutes() + 1
    ctx.log.info('written', { report, asOf, rows })
    return Promise.resolve({ rows })
  },
})
