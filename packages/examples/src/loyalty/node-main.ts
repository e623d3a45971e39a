/** A node of the loyalty programme: `node node-main.js --servers nats://… --data folder --partner file [--statements '0 9 1 * *']`. */
import { parseArgs } from 'node:util'

import { openNode } from '@carillon/node'
import type { Duration } from '@carillon/runtime'
import { pino } from 'pino'

import { createLoyaltyActivities } from './activities.ts'
import { FilePartner } from './partner.ts'
import { createLoyalty, MONTHLY } from './workflow.ts'

/** How long the node may take to end in order. Past that it ends as in a crash, which loses nothing either. */
const STOP_WITHIN_MS = 5_000

const { values } = parseArgs({
  options: {
    servers: { type: 'string', default: 'nats://127.0.0.1:4222' },
    data: { type: 'string', default: 'data' },
    partner: { type: 'string', default: 'partner.ndjson' },
    'partner-answer-ms': { type: 'string', default: '0' },
    /** A cron pattern, and how long after its moments the statements are spread. */
    statements: { type: 'string', default: MONTHLY.cron },
    spread: { type: 'string', default: MONTHLY.jitter },
  },
})

const stopped = untilStopped()
const logger = pino({ serializers: { error: pino.stdSerializers.err } })
const partner = await FilePartner.open({ path: values.partner, answerMs: Number(values['partner-answer-ms']) })
const statements = { ...MONTHLY, cron: values.statements, jitter: values.spread as Duration }
const node = await openNode({
  servers: values.servers,
  dataDir: values.data,
  workflows: {
    implementations: [createLoyalty({ statements })],
    activities: [createLoyaltyActivities(partner)],
  },
  logger,
})

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

/** Resolves when the node is told to stop, or when the program that started it is gone, however it went. */
function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    const stop = (): void => {
      setTimeout(() => process.exit(1), STOP_WITHIN_MS).unref()
      resolve()
    }
    for (const name of ['SIGINT', 'SIGTERM', 'disconnect']) process.once(name, stop)
    // That program may have gone before this line.
    if (process.send !== undefined && !process.connected) stop()
  })
}
