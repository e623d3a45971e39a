/**
 * The demo of a cluster: three nats-servers, three nodes, and the feed of the other demo. On the way one node is killed, one frozen and one drained;
 * every signal is accepted all the while, and at the end every customer is compared with a calculation over the file.
 *
 * Exit code: 0 when all is equal, 1 when it is not or something failed, 130 when it was stopped.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { connect } from '@carillon/client'
import { NodeGroup, openNatsCluster } from '@carillon/node'
import { Subjects } from '@carillon/runtime/protocol'
import { connect as connectNats } from '@nats-io/transport-node'

import { formatOwners } from './demo/cluster-faults.ts'
import { OwnerView } from './demo/owner-view.ts'
import { runClusterDemo } from './demo/run-cluster-demo.ts'
import { onStage, type Stage } from './demo/stage.ts'

const FEED = fileURLToPath(new URL('../../loyalty/feed.ndjson', import.meta.url))
/** It lies beside this file, compiled as this file is. */
const WORKFLOWS = fileURLToPath(new URL(`for-node.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url))
const NAMES = ['node-1', 'node-2', 'node-3']
const NAMESPACE = 'loyalty'
const PARTITIONS = 64
const PARTNER_ANSWER_MS = 30

const { values } = parseArgs({
  options: {
    feed: { type: 'string', default: FEED },
    'lines-per-second': { type: 'string', default: '135' },
    'frozen-ms': { type: 'string', default: '6000' },
    /** The cron pattern of the monthly statements, with seconds in front: a month of the demo is short. */
    statements: { type: 'string', default: '*/10 * * * * *' },
    spread: { type: 'string', default: '5 seconds' },
    /** Leaves the folder with the nodes' logs, their data, the journal and what the partner got. */
    keep: { type: 'boolean', default: false },
  },
})

process.exitCode = await onStage(values, openAndRun)

async function openAndRun({ folder, progress, signal, natsServerPath, defer }: Stage): Promise<boolean> {
  const feedText = await readFile(values.feed, 'utf8')
  const nats = await openNatsCluster({
    path: natsServerPath,
    dir: join(folder, 'nats'),
    jetstreamConfig: 'sync_interval: 1s',
  })
  defer(() => nats.close())
  const ports = nats.members.map(({ name, port }) => `${name} on port ${port}`).join(', ')
  progress.say(`nats-servers ${ports}; every stream on all three (R3)`)
  const partnerPath = join(folder, 'partner.ndjson')
  const { servers } = nats
  const env = {
    LOYALTY_PARTNER_FILE: partnerPath,
    LOYALTY_PARTNER_ANSWER_MS: String(PARTNER_ANSWER_MS),
    LOYALTY_STATEMENTS: values.statements,
    LOYALTY_SPREAD: values.spread,
  }
  const cluster = { servers, namespace: NAMESPACE, partitions: PARTITIONS, replicas: 3 }
  const nodes = new NodeGroup({ names: NAMES, ...cluster, workflows: WORKFLOWS, folder, env, signal })
  defer(() => nodes.close())
  const started = await Promise.all(NAMES.map(async (name) => ({ name, ...(await nodes.start(name)) })))
  const ready = started.map(({ name, pid, readyMs }) => `${name} process ${pid}, ready after ${readyMs.toFixed(0)} ms`)
  progress.say(`nodes        ${ready.join('; ')}`)
  const owners = await viewOwners(servers, defer)
  await owners.until(() => true, signal)
  progress.say(`             ${formatOwners(NAMES, owners)} of ${PARTITIONS} partitions`)
  const carillon = await connect({ servers, namespace: NAMESPACE, name: 'loyalty-producer', signal })
  defer(() => carillon.close())
  const linesPerSecond = Number(values['lines-per-second'])
  progress.say(`producer     ${linesPerSecond} lines a second; statements by the cron pattern ${values.statements}`)
  const rest = { feedPath: values.feed, feedText, partnerPath, linesPerSecond, frozenMs: Number(values['frozen-ms']) }
  return runClusterDemo({ carillon, nodes, owners, progress, signal, ...rest })
}

async function viewOwners(servers: readonly string[], defer: Stage['defer']): Promise<OwnerView> {
  const nc = await connectNats({ servers: [...servers], name: 'loyalty-owner-view' })
  const owners = new OwnerView(nc, new Subjects(NAMESPACE, PARTITIONS))
  const stop = new AbortController()
  const watching = owners.watch(stop.signal)
  defer(async () => {
    stop.abort()
    await watching
    await nc.close()
  })
  return owners
}
