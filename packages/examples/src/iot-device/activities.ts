/** Provisions devices: here a line in the node's log. */
import { implementActivities } from '@carillon/runtime'

import { Device } from './contract.ts'

export const deviceActivities = implementActivities(Device, {
  reprovision({ afterN }, ctx) {
    ctx.log.info('new credentials', { device: ctx.workflow.id, afterN, key: ctx.callId })
  },
})
