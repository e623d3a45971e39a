/** A node of the loyalty programme: `node node-main.js --servers nats://… --data folder --partner file [--month '30 days']`. */
import { parseArgs } from 'node:util'

import { openNode } from '@carillon/node'
import type { Duration } from '@carillon/runtime'
import { pino } from 'pino'

import { createLoyaltyActivities } from './activities.ts'
import { FilePartner } from './partner.ts'
import { createLoyalty } from './workflow.ts'

const { values } = parseArgs({
  options: {
    servers: { type: 'string', default: 'nats://127.0.0.1:4222' },
    data: { type: 'string', default: 'data' },
    partner: { type: 'string', default: 'partner.ndjson' },
    'partner-answer-ms': { type: 'string', default: '0' },
    month: { type: 'string', default: '30 days' },
  },
})

const logger = pino()
const partner = await FilePartner.open({ path: values.partner, answerMs: Number(values['partner-answer-ms']) })
const node = await openNode({
  servers: values.servers,
  dataDir: values.data,
  workflows: {
    implementations: [createLoyalty({ month: values.month as Duration })],
    activities: [createLoyaltyActivities(partner)],
  },
  logger,
})

const stop = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort())
// Started by another program, it ends with that program, however that goes.
process.once('disconnect', () => stop.abort())
const stopped = new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve()))

try {
  await Promise.race([node.caughtUp, node.failed, stopped])
  process.send?.('ready')
  await Promise.race([node.failed, stopped])
} catch (error) {
  logger.fatal({ error }, 'the node cannot go on')
  process.exitCode = 1
} finally {
  await node.close()
  await partner.close()
  if (process.connected) process.disconnect()
}
