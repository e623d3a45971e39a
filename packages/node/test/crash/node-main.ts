/** A node process of the kill test. It loads its code, waits for `go` on stdin, says `live` on stdout, and logs JSON lines on stderr. */
import { writeSync } from 'node:fs'
import { createInterface } from 'node:readline'

import { openNode } from '@carillon/node'
import type { EngineLimits, Failpoint } from '@carillon/runtime/engine'
import type { Logger } from '@carillon/runtime/ports'

import { type PlantedBug, plant } from './planted-bugs.ts'
import { activitiesOf, implementations } from './workflows.ts'

/** What the parent sends with `go`. */
export interface NodeOrders {
  readonly servers: string
  readonly namespace: string
  readonly partitions: number
  readonly dataDir: string
  readonly sinkFile: string
  readonly limits: Partial<EngineLimits>
  /** End the process by SIGKILL when this point is reached for the n-th time. */
  readonly failpoint: { readonly point: Failpoint; readonly count: number } | undefined
  readonly bug: PlantedBug | undefined
}

const CHECKPOINT_EVERY_MS = 300

// Written with writeSync: a line that was logged is out, whatever ends the process.
const line =
  (level: string) =>
  (fields: object, message: string): void =>
    void writeSync(2, `${JSON.stringify({ level, message, ...plain(fields) })}\n`)
const logger: Logger = { debug: () => {}, info: line('info'), warn: line('warn'), error: line('error') }

const input = createInterface({ input: process.stdin })
// No orphan: stdin ends with the parent.
input.once('close', () => process.exit(3))
input.once('line', (text) => void run(JSON.parse(text) as NodeOrders))
say('loaded')

async function run({
  servers,
  namespace,
  partitions,
  dataDir,
  sinkFile,
  limits,
  failpoint,
  bug,
}: NodeOrders): Promise<void> {
  if (bug !== undefined) plant(bug)
  let reached = 0
  const node = await openNode({
    servers,
    namespace,
    partitions,
    dataDir,
    limits,
    logger,
    workflows: { implementations, activities: activitiesOf(sinkFile) },
    // So often that kills come in the middle of one.
    checkpoints: { everyMs: CHECKPOINT_EVERY_MS },
    reach(point) {
      if (point !== failpoint?.point || ++reached !== failpoint.count) return
      say(`failpoint ${point}`)
      process.kill(process.pid, 'SIGKILL')
    },
  })
  node.failed.catch((error: unknown) => {
    logger.error({ error }, 'the node cannot go on')
    process.exit(4)
  })
  process.once('SIGTERM', () => void node.close().then(() => process.exit(0)))
  await node.caughtUp
  say('live')
}

function say(text: string): void {
  writeSync(1, `${text}\n`)
}

function plain(fields: object): object {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key,
      value instanceof Error ? String(value.stack) : (value as unknown),
    ]),
  )
}
