/**
 * The demo: a recorded feed is signalled to 500 customers, their node is killed in the middle and started again, and at the end every customer is
 * compared with a calculation over the file. It brings its own nats-server and leaves nothing behind.
 *
 * Exit code: 0 when all is equal, 1 when it is not or something failed, 130 when it was stopped.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { connect } from '@carillon/client'
import { openNatsProcess } from '@carillon/node'

import { CrashingNode } from './demo/crashing-node.ts'
import { startNode } from './demo/node-process.ts'
import { Progress } from './demo/progress.ts'
import { runDemo } from './demo/run-demo.ts'

const FEED = fileURLToPath(new URL('../../loyalty/feed.ndjson', import.meta.url))
/** How long the partner takes to answer: the crash then meets calls that have arrived and are not answered. */
const PARTNER_ANSWER_MS = 30
const STOPPED = 130

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

process.exitCode = await main()

async function main(): Promise<number> {
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => stop.abort())
  // Whoever read the output is gone.
  process.stdout.on('error', () => stop.abort())
  const folder = await mkdtemp(join(tmpdir(), 'carillon-demo-'))
  const closers = [() => (values.keep ? tellKept(folder) : rm(folder, { recursive: true, force: true }))]
  try {
    return (await openAndRun(folder, stop.signal, (close) => closers.push(close))) ? 0 : 1
  } catch (error) {
    if (stop.signal.aborted) return STOPPED
    console.error(`the demo failed: ${error instanceof Error ? error.message : String(error)}`)
    return 1
  } finally {
    for (const close of closers.toReversed()) await close()
  }
}

async function openAndRun(
  folder: string,
  signal: AbortSignal,
  defer: (close: () => Promise<void>) => void,
): Promise<boolean> {
  const feedText = await readFile(values.feed, 'utf8')
  const progress = new Progress(process.stdout)
  const nats = await openNatsProcess({ path: natsServerPath(), storeDir: join(folder, 'nats') })
  defer(() => nats.stop())
  progress.say(`nats-server  ${nats.url}, process ${nats.pid}`)
  const partnerPath = join(folder, 'partner.ndjson')
  const node = await CrashingNode.open(() =>
    startNode(nodeArgs(nats.url, folder, partnerPath), join(folder, 'node.log'), signal),
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

async function tellKept(folder: string): Promise<void> {
  console.log(`kept: ${folder}`)
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

function natsServerPath(): string {
  const path = process.env['CARILLON_NATS_SERVER']
  if (path !== undefined && path !== '') return path
  throw new Error(
    'CARILLON_NATS_SERVER names no nats-server: run `npm run demo` at the root of the repository, which provides one',
  )
}
