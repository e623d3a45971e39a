/**
 * What one signal costs the servers: rate, CPU time and bytes on disk, with one server and with three replicas, and how fast one reader takes the whole
 * journal. What docs/scale.md calculates with.
 *
 *   npm run bench:capacity                     200,000 signals over 1,000 instances in each case
 *   npm run bench:capacity -- --signals 50000  fewer; --json prints JSON
 *
 * No node runs: only producers, servers and a reader. All of them share this machine.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { connect } from '@carillon/client'
import { JetStreamLog, type NatsCluster, openCluster, openNatsCluster } from '@carillon/node'
import type { Partition } from '@carillon/runtime/protocol'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect as connectNats, type NatsConnection } from '@nats-io/transport-node'

import { provideNatsServer } from '../../scripts/nats-server.mjs'
import { Counter, purchase } from './bench-workflow.ts'
import { measureSubjects, type SubjectFigures } from './capacity-subjects.ts'
import { bytesOfFolder, cpuMsOf } from './process-use.ts'

const { values } = parseArgs({
  options: {
    signals: { type: 'string', default: '200000' },
    instances: { type: 'string', default: '1000' },
    /** New instances with one signal each, whose subjects the server has to know. */
    subjects: { type: 'string', default: '250000' },
    json: { type: 'boolean', default: false },
  },
})

const NAMESPACE = 'capacity'
const SIGNALS = Number(values.signals)
const INSTANCES = Number(values.instances)
/** Not counted: connections, caches and the compiler come up to speed. */
const WARM_UP = 20_000

interface Case {
  readonly name: string
  readonly servers: number
  readonly jetstreamConfig: string
}

const CASES: readonly Case[] = [
  { name: 'one server', servers: 1, jetstreamConfig: 'sync_interval: 1s' },
  { name: 'three servers, R3', servers: 3, jetstreamConfig: 'sync_interval: 1s' },
  {
    name: 'three servers, R3, fsync before each acknowledgement',
    servers: 3,
    jetstreamConfig: 'sync_interval: always',
  },
]

interface Figures {
  readonly name: string
  readonly acceptedPerSecond: number
  /** CPU time of one signal in microseconds: of the producer, of the stream's leader, of each other server. */
  readonly producerMicros: number
  readonly leaderMicros: number
  readonly followerMicros: number
  /** On the disk of each server. */
  readonly diskBytes: number
  /** Of the message as it is stored: subject, headers, payload. */
  readonly messageBytes: number
  readonly readPerSecond: number
  readonly readerMicros: number
}

const { path, version } = await provideNatsServer()
const figures: Figures[] = []
let subjectFigures: SubjectFigures | undefined
for (const one of CASES) {
  const dir = await mkdtemp(join(tmpdir(), 'carillon-capacity-'))
  const { name, servers: size, jetstreamConfig } = one
  const nats = await openNatsCluster({ path, dir, size, jetstreamConfig })
  try {
    figures.push(await measure(name, nats))
    if (size === 1) subjectFigures = await measureManySubjects(nats)
  } finally {
    await nats.close()
    await rm(dir, { recursive: true, force: true })
  }
}
if (values.json)
  console.log(JSON.stringify({ version, signals: SIGNALS, figures, subjects: subjectFigures }, undefined, 2))
else print()

async function measure(name: string, nats: NatsCluster): Promise<Figures> {
  const { servers, members } = nats
  const nc = await connectNats({ servers: [...servers] })
  const { subjects } = await openCluster(nc, { namespace: NAMESPACE, replicas: members.length >= 3 ? 3 : 1 })
  const carillon = await connect({ servers, namespace: NAMESPACE })
  const send = (count: number): Promise<unknown> => carillon.signalMany(signals(count))
  await send(WARM_UP)
  const { name: leader } = await nats.leaderOf(subjects.logStream)
  const cpuOf = (isLeader: boolean): number =>
    members.reduce((sum, member) => sum + ((member.name === leader) === isLeader ? cpuMsOf(member.pid) : 0), 0)
  const before = { leader: cpuOf(true), followers: cpuOf(false), own: process.cpuUsage(), bytes: await bytesOf(nc) }
  const beganMs = performance.now()
  await send(SIGNALS)
  const tookMs = performance.now() - beganMs
  const own = process.cpuUsage(before.own)
  const leaderMs = cpuOf(true) - before.leader
  const followersMs = cpuOf(false) - before.followers
  const stored = (await bytesOf(nc)) - before.bytes
  // Blocks are written a moment later.
  await new Promise((resolve) => void setTimeout(resolve, 2000))
  const disk = await bytesOfFolder(join(members[0]?.storeDir ?? '', 'jetstream'))
  const read = await readAll(nc, subjects, SIGNALS + WARM_UP)
  await carillon.close()
  await nc.close()
  return {
    name,
    acceptedPerSecond: (SIGNALS / tookMs) * 1000,
    producerMicros: (own.user + own.system) / SIGNALS,
    leaderMicros: (leaderMs * 1000) / SIGNALS,
    followerMicros: members.length === 1 ? 0 : (followersMs * 1000) / SIGNALS / (members.length - 1),
    diskBytes: disk / (SIGNALS + WARM_UP),
    messageBytes: stored / SIGNALS,
    ...read,
  }
}

async function measureManySubjects({ servers, members }: NatsCluster): Promise<SubjectFigures | undefined> {
  const [server] = members
  if (server === undefined) return undefined
  const nc = await connectNats({ servers: [...servers] })
  const carillon = await connect({ servers, namespace: NAMESPACE })
  try {
    return await measureSubjects(nc, carillon, server, `${NAMESPACE}-log`, Number(values.subjects))
  } finally {
    await carillon.close()
    await nc.close()
  }
}

/** As JetStream counts them: without what replication and files add. */
async function bytesOf(nc: NatsConnection): Promise<number> {
  return (await (await jetstreamManager(nc)).streams.info(`${NAMESPACE}-log`)).state.bytes
}

/** As a node reads: the whole stream, from its beginning. */
async function readAll(
  nc: NatsConnection,
  subjects: ConstructorParameters<typeof JetStreamLog>[1],
  count: number,
): Promise<Pick<Figures, 'readPerSecond' | 'readerMicros'>> {
  const log = new JetStreamLog(nc, subjects)
  const cpu = process.cpuUsage()
  const beganMs = performance.now()
  let seen = 0
  await new Promise<void>((resolve, reject) => {
    log.read({
      partitions: Array.from({ length: subjects.partitions }, (_, number) => number as Partition),
      fromSeq: 1,
      onMessages: async (messages) => {
        seen += messages.length
        if (seen >= count) resolve()
      },
      onFailed: reject,
    })
  })
  const tookMs = performance.now() - beganMs
  const { user, system } = process.cpuUsage(cpu)
  await log.close()
  return { readPerSecond: (count / tookMs) * 1000, readerMicros: (user + system) / count }
}

function* signals(
  count: number,
): Generator<{ workflow: typeof Counter; id: string; name: 'count'; payload: ReturnType<typeof purchase> }> {
  for (let i = 0; i < count; i++)
    yield { workflow: Counter, id: `customer-${i % INSTANCES}`, name: 'count', payload: purchase(i) }
}

function print(): void {
  console.log(
    `\nnats-server ${version}; ${SIGNALS.toLocaleString('en-US')} signals to ${INSTANCES} instances; all on this machine\n`,
  )
  const head = [
    'servers',
    'accepted',
    'CPU µs: producer + leader + each follower',
    'message',
    'disk of each server',
    'one reader, whole journal',
    'CPU µs of it',
  ]
  console.log(`| ${head.join(' | ')} |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |`)
  for (const one of figures) {
    const cpu = [one.producerMicros, one.leaderMicros, one.followerMicros]
      .map((micros) => micros.toFixed(1))
      .join(' + ')
    const cells = [
      one.name,
      `${Math.round(one.acceptedPerSecond).toLocaleString('en-US')}/s`,
      cpu,
      `${one.messageBytes.toFixed(0)} B`,
      `${one.diskBytes.toFixed(0)} B a signal`,
      `${Math.round(one.readPerSecond).toLocaleString('en-US')}/s`,
      one.readerMicros.toFixed(1),
    ]
    console.log(`| ${cells.join(' | ')} |`)
  }
  if (subjectFigures === undefined) return
  const { subjects, memoryBytes, purgeMs, longestGapMs } = subjectFigures
  console.log(
    `\n${subjects.toLocaleString('en-US')} subjects in the stream, one server: ${memoryBytes.toFixed(0)} B of memory each; trimming all but a tenth took ${purgeMs.toFixed(0)} ms, and the longest gap between acknowledgements meanwhile was ${longestGapMs.toFixed(0)} ms`,
  )
}
