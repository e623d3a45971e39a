/** Installs versions: here a wait and a line in the node's log. Every seventh host is in a bad mood the first time. */
import { setTimeout as delay } from 'node:timers/promises'

import { implementActivities } from '@carillon/runtime'

import { Deployment } from './contract.ts'

const INSTALL_MS = 200

export const deploymentActivities = implementActivities(Deployment, {
  async install({ host, version }, ctx) {
    await delay(INSTALL_MS, undefined, { signal: ctx.signal })
    if (host.endsWith('7') && ctx.attempt === 1) throw new Error(`${host} does not answer`)
    ctx.log.info('installed', { host, version, attempt: ctx.attempt })
  },
})
