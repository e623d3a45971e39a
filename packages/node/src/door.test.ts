import { encodeToken, HEADERS, type Partition, Subjects, type Token } from '@carillon/runtime/protocol'
import type { LogMessage } from '@carillon/runtime/ports'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect, headers, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'

import { openCluster } from './cluster.ts'
import { DoorRelay } from './door-relay.ts'
import { JetStreamLog } from './jetstream-log.ts'
import { startTestServer, type TestServer } from './testing/nats-process.ts'

const WAIT = { timeout: 20_000, interval: 5 }
const PARTITIONS = 64

interface PubAck {
  readonly stream: string
  readonly seq: number
  readonly duplicate?: boolean
  readonly error?: { readonly err_code: number; readonly description: string }
}

/** Ids with everything that is escaped: dots, wildcards, spaces, slashes, other scripts, single bytes of every kind. */
const IDS = [
  ...Array.from({ length: 250 }, (_, i) => `customer-${i}`),
  ...Array.from({ length: 90 }, (_, i) => `x${String.fromCharCode(0x21 + i)}y`),
  ...Array.from({ length: 60 }, (_, i) => `a.b/${i} *>`),
  ...Array.from({ length: 60 }, (_, i) => `Größe ✓ ${i}`),
  ...Array.from({ length: 40 }, (_, i) => '汉'.repeat(i + 1)),
]

const subjects = new Subjects('demo', PARTITIONS)
const type = encodeToken('order.v2')
const name = encodeToken('paid up')

async function publishAll(nc: NatsConnection): Promise<PubAck[]> {
  const answers = await Promise.all(
    IDS.map((id) => nc.request(subjects.door(type, encodeToken(id), name), id, { timeout: 10_000 })),
  )
  return answers.map((answer) => answer.json<PubAck>())
}

async function signal(nc: NatsConnection, id: string, own: Record<string, string>): Promise<PubAck> {
  const hdrs = headers()
  for (const [key, value] of Object.entries(own)) hdrs.set(key, value)
  return (
    await nc.request(subjects.door(type, id as Token, name), 'x', { timeout: 5000, headers: hdrs })
  ).json<PubAck>()
}

async function stored(nc: NatsConnection): Promise<LogMessage[]> {
  const log = new JetStreamLog(nc, subjects)
  const messages: LogMessage[] = []
  const { firstSeq, lastSeq } = await log.bounds()
  const reader = log.read({
    partitions: Array.from({ length: PARTITIONS }, (_, number) => number as Partition),
    fromSeq: firstSeq,
    onMessages: async (batch) => void messages.push(...batch),
    onFailed: (error) => expect.fail(String(error)),
  })
  await vi.waitFor(() => expect(messages.at(-1)?.seq ?? 0).toBe(lastSeq), WAIT)
  await reader.close()
  await log.close()
  return messages
}

const textOf = (message: LogMessage): string => new TextDecoder().decode(message.payload)

/** Every id is where our own hash puts it, once. */
async function expectPlaced(nc: NatsConnection, acks: readonly PubAck[]): Promise<void> {
  const messages = await stored(nc)
  expect(messages).toHaveLength(IDS.length)
  const bySeq = new Map(messages.map((message) => [message.seq, message]))
  const placed = acks.map(({ seq }) => [
    bySeq.get(seq)?.subject,
    bySeq.has(seq) ? textOf(bySeq.get(seq) as LogMessage) : '',
  ])
  expect(placed).toEqual(IDS.map((id) => [subjects.log(type, encodeToken(id), 'signal', name), id]))
  expect(messages.every((message) => subjects.parseLog(message.subject) !== undefined)).toBe(true)
}

describe('the public door', () => {
  let server: TestServer
  let nc: NatsConnection

  async function start(config?: string): Promise<void> {
    server = await startTestServer(config === undefined ? {} : { config })
    nc = await connect({ servers: server.url })
  }

  afterEach(async () => {
    await nc.close()
    await server.stop()
  })

  it('takes plain publishes to the subject that the client computes, by the stream itself', async () => {
    await start()
    await openCluster(nc, { namespace: 'demo', partitions: PARTITIONS })
    await expectPlaced(nc, await publishAll(nc))
  })

  it('takes plain publishes to the subject that the client computes, by a mapping of the account', async () => {
    await start(`mappings { ${JSON.stringify(subjects.doorAll)}: ${JSON.stringify(subjects.doorDestination)} }`)
    await openCluster(nc, { namespace: 'demo', partitions: PARTITIONS, door: 'mapping' })
    await expectPlaced(nc, await publishAll(nc))
  })

  it('takes plain publishes to the subject that the client computes, by the nodes', async () => {
    await start()
    await openCluster(nc, { namespace: 'demo', partitions: PARTITIONS, door: 'relay' })
    const relays = [new DoorRelay(nc, subjects), new DoorRelay(nc, subjects)]
    await expectPlaced(nc, await publishAll(nc))
    await Promise.all(relays.map((relay) => relay.close()))
  })

  it('takes each plain publish once when a mapping of the account comes before the stream', async () => {
    await start(`mappings { ${JSON.stringify(subjects.doorAll)}: ${JSON.stringify(subjects.doorDestination)} }`)
    await openCluster(nc, { namespace: 'demo', partitions: PARTITIONS })
    await expectPlaced(nc, await publishAll(nc))
  })

  it('refuses to open when there is no mapping', async () => {
    await start()
    const opening = openCluster(nc, { namespace: 'demo', door: 'mapping' })
    await expect(opening).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('nobody listens'),
    })
  })
})

describe('server headers from producers', () => {
  let server: TestServer
  let nc: NatsConnection

  beforeAll(async () => {
    server = await startTestServer()
    nc = await connect({ servers: server.url })
    await openCluster(nc, { namespace: 'demo', partitions: PARTITIONS })
    for (const id of ['1', '2']) await signal(nc, id, {})
  })

  afterAll(async () => {
    await nc.close()
    await server.stop()
  })

  it.each([
    ['Nats-Rollup', 'all', 10111],
    ['Nats-Rollup', 'sub', 10111],
    ['Nats-TTL', '1s', 10166],
    ['Nats-TTL', 'never', 10166],
    ['Nats-Schedule', '@at 2020-01-01T00:00:00Z', 10188],
    ['Nats-Incr', '+1', 10168],
    ['Nats-Expected-Stream', 'other', 10060],
    ['Nats-Expected-Last-Sequence', '99', 10071],
    ['Nats-Expected-Last-Subject-Sequence', '99', 10071],
    ['Nats-Expected-Last-Msg-Id', 'other', 10070],
    ['Nats-Batch-Id', 'mine', 10175],
  ])('%s: %s is refused, and the journal stays as it is', async (header, value, errCode) => {
    const before = (await stored(nc)).map((message) => message.seq)
    expect(await signal(nc, '1', { [header]: value })).toMatchObject({ error: { err_code: errCode } })
    expect((await stored(nc)).map((message) => message.seq)).toEqual(before)
  })

  it.each([
    ['Nats-Marker-Reason', 'Purge'],
    ['Nats-Schedule-Target', 'demo.log.0.a.b.start'],
    ['Nats-Required-Api-Level', '99'],
    ['KV-Operation', 'PURGE'],
  ])('%s: %s is stored, and nothing comes of it', async (header, value) => {
    const before = await stored(nc)
    expect((await signal(nc, '1', { [header]: value })).error).toBeUndefined()
    const after = await stored(nc)
    expect(after.slice(0, -1).map((message) => message.seq)).toEqual(before.map((message) => message.seq))
    expect(after.at(-1)?.header(header)).toBe(value)
  })

  it('Nats-Msg-Id drops a repeat within its window, also one that went to another instance', async () => {
    const first = await signal(nc, '1', { 'Nats-Msg-Id': 'm-1' })
    expect(await signal(nc, '1', { 'Nats-Msg-Id': 'm-1' })).toEqual({ ...first, duplicate: true })
    expect(await signal(nc, '2', { 'Nats-Msg-Id': 'm-1' })).toEqual({ ...first, duplicate: true })
  })
})

describe('DoorRelay', () => {
  let server: TestServer
  let nc: NatsConnection
  let relay: DoorRelay

  beforeAll(async () => {
    server = await startTestServer()
    nc = await connect({ servers: server.url })
    await openCluster(nc, { namespace: 'demo', partitions: PARTITIONS, door: 'relay' })
    relay = new DoorRelay(nc, subjects)
  })

  afterAll(async () => {
    await relay.close()
    await nc.close()
    await server.stop()
  })

  it('passes the headers of an input, and none that the server acts upon', async () => {
    const known = Object.fromEntries(
      [HEADERS.id, HEADERS.encoding, HEADERS.reply, HEADERS.version, HEADERS.trace, HEADERS.natsId].map((header, i) => [
        header,
        `v${i}`,
      ]),
    )
    const foreign = {
      'Nats-Rollup': 'all',
      'Nats-TTL': '1s',
      'Nats-Expected-Stream': 'other',
      'Nats-Batch-Id': 'b',
      'X-Own': 'x',
      [HEADERS.reasonCode]: 'forged',
    }
    const { seq } = await signal(nc, '1', { ...known, ...foreign })
    const message = (await stored(nc)).find((candidate) => candidate.seq === seq)
    for (const [header, value] of Object.entries(known)) expect(message?.header(header)).toBe(value)
    for (const header of Object.keys(foreign)) expect(message?.header(header)).toBeUndefined()
  })

  it('tells a repeated message id', async () => {
    const first = await signal(nc, '1', { 'Nats-Msg-Id': 'm-9' })
    expect(await signal(nc, '1', { 'Nats-Msg-Id': 'm-9' })).toEqual({ ...first, duplicate: true })
  })

  it('answers nothing on the subjects of the journal or of the server', async () => {
    const before = (await jetstreamManager(nc)).streams
    const { state } = await before.info(subjects.logStream)
    for (const reply of ['demo.log.0.a.b.start', `$JS.API.STREAM.PURGE.${subjects.logStream}`]) {
      nc.publish(subjects.door(type, '1' as Token, name), 'x', { reply })
    }
    await vi.waitFor(
      async () => expect((await before.info(subjects.logStream)).state.messages).toBe(state.messages + 2),
      WAIT,
    )
    await signal(nc, '1', {})
    expect((await before.info(subjects.logStream)).state.messages).toBe(state.messages + 3)
  })
})
