/**
 * The demo: a recorded feed is signalled to 500 customers, their node is killed in the middle and started again, and at the end every customer is
 * compared with a calculation over the file. It brings its own nats-server and leaves nothing behind.
 *
 * Exit code: 0 when all is equal, 1 when it is not or something failed, 130 when it was stopped.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { connect } from '@carillon/client'
import { openNatsProcess, openNodeProcess } from '@carillon/node'

import { CrashingNode } from './demo/crashing-node.ts'
import { runDemo } from './demo/run-demo.ts'
import { onStage, type Stage } from './demo/stage.ts'

const FEED = fileURLToPath(new URL('../../loyalty/feed.ndjson', import.meta.url))
/** The node's program lies beside this file, compiled as this file is. */
const PROGRAM = fileURLToPath(new URL(`node-main.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url))
/** How long the partner takes to answer: the crash then meets calls that have arrived and are not answered. */
const PARTNER_ANSWER_MS = 30

const { values } = parseArgs({
  options: {
    feed: { type: 'string', default: FEED },
    'lines-per-second': { type: 'string', default: '420' },
    /** The cron pattern of the monthly statements, with seconds in front: a month of the demo is short. */
    statements: { type: 'string', default: '*/4 * * * * *' },
    /** How long after its moments the statements are spread. */
    spread: { type: 'string', default: '2 seconds' },
    /** Leaves the folder with the node's log, its data, the journal and what the partner got. */
    keep: { type: 'boolean', default: false },
  },
})

process.exitCode = await onStage(values, openAndRun)

async function openAndRun({ folder, progress, signal, natsServerPath, defer }: Stage): Promise<boolean> {
  const feedText = await readFile(values.feed, 'utf8')
  const nats = await openNatsProcess({ path: natsServerPath, storeDir: join(folder, 'nats') })
  defer(() => nats.stop())
  progress.say(`nats-server  ${nats.url}, process ${nats.pid}`)
  const partnerPath = join(folder, 'partner.ndjson')
  const args = nodeArgs(nats.url, folder, partnerPath)
  const node = await CrashingNode.open(() =>
    openNodeProcess({ program: PROGRAM, args, logPath: join(folder, 'node.log'), signal }),
  )
  defer(() => node.close())
  progress.say(`node         process ${node.process.pid}, ready ${node.process.readyMs.toFixed(0)} ms after its start`)
  const carillon = await connect({ servers: nats.url, name: 'loyalty-producer', signal })
  defer(() => carillon.close())
  progress.say(
    `producer     ${values['lines-per-second']} lines a second; statements by the cron pattern ${values.statements}`,
  )
  const linesPerSecond = Number(values['lines-per-second'])
  return runDemo({ carillon, node, progress, feedPath: values.feed, feedText, partnerPath, linesPerSecond, signal })
}

function nodeArgs(servers: string, folder: string, partner: string): readonly string[] {
  const data = join(folder, 'node')
  const answerMs = String(PARTNER_ANSWER_MS)
  return [
    '--servers',
    servers,
    '--data',
    data,
    '--partner',
    partner,
    '--partner-answer-ms',
    answerMs,
    '--statements',
    values.statements,
    '--spread',
    values.spread,
  ]
}
