import { once } from 'node:events'
import { createServer, type Server } from 'node:net'

import { CLUSTER_KEY, formatClusterRecord } from '@carillon/runtime/protocol'
import { jetstreamManager } from '@nats-io/jetstream'
import { Kvm } from '@nats-io/kv'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

import { openCluster } from './cluster.ts'
import { startTestServer, type TestServer } from './testing/nats-process.ts'

describe('openCluster', () => {
  let server: TestServer
  let nc: NatsConnection
  let count = 0

  beforeAll(async () => {
    server = await startTestServer()
    nc = await connect({ servers: server.url })
  })

  afterAll(async () => {
    await nc.close()
    await server.stop()
  })

  const fresh = (): string => `ns-${++count}`

  it('makes one cluster when many nodes start at once', async () => {
    const namespace = fresh()
    const connections = await Promise.all(Array.from({ length: 8 }, () => connect({ servers: server.url })))
    const opened = await Promise.all(connections.map((own) => openCluster(own, { namespace, partitions: 16 })))
    expect(new Set(opened.map(({ record }) => record.clusterId)).size).toBe(1)
    expect(opened.filter(({ isNew }) => isNew)).toHaveLength(1)
    expect(opened[0]?.record).toMatchObject({ formatVersion: 1, namespace, partitions: 16, streams: 1, door: 'stream' })
    await Promise.all(connections.map((own) => own.close()))
  })

  it('takes the counts from the record later', async () => {
    const namespace = fresh()
    const first = await openCluster(nc, { namespace, partitions: 8 })
    const second = await openCluster(nc, { namespace })
    expect(second).toMatchObject({ isNew: false, record: first.record })
    expect(second.subjects.partitions).toBe(8)
  })

  it('makes streams that lose nothing', async () => {
    const { subjects } = await openCluster(nc, { namespace: fresh() })
    const jsm = await jetstreamManager(nc)
    for (const stream of [subjects.logStream, subjects.deadStream]) {
      const { config } = await jsm.streams.info(stream)
      expect(config).toMatchObject({
        retention: 'limits',
        storage: 'file',
        discard: 'new',
        max_age: 0,
        max_msgs: -1,
        max_msgs_per_subject: -1,
        allow_atomic: true,
      })
      expect(config).toMatchObject({ allow_rollup_hdrs: false, allow_msg_ttl: false })
    }
  })

  it.each([
    [{ partitions: 16 }, /partitions 8.*partitions 16/],
    [{ door: 'relay' as const }, /door stream.*door relay/],
  ])('refuses %j for a cluster that was made with other values', async (options, message) => {
    const namespace = fresh()
    await openCluster(nc, { namespace, partitions: 8 })
    await expect(openCluster(nc, { namespace, ...options })).rejects.toMatchObject({
      code: 'CLUSTER_MISMATCH',
      message: expect.stringMatching(message),
    })
  })

  it.each([
    [{ max_age: 3_600_000_000_000 }, /max_age 3600000000000.* 0/],
    [{ max_msgs_per_subject: 10 }, /max_msgs_per_subject 10.* -1/],
    [{ subjects: ['%.log.>'] }, /subjects.*signal/],
    [{ storage: 'memory' as const }, /storage/],
    [{ allow_rollup_hdrs: true }, /allow_rollup_hdrs/],
  ])('refuses a stream with %j', async (config, message) => {
    const namespace = fresh()
    const { subjects } = await openCluster(nc, { namespace })
    const jsm = await jetstreamManager(nc)
    const { config: good } = await jsm.streams.info(subjects.logStream)
    await jsm.streams.delete(subjects.logStream)
    const own = 'subjects' in config ? { ...config, subjects: [subjects.logAll] } : config
    const { subject_transform: transform, ...rest } = good
    await jsm.streams.add({
      ...rest,
      ...own,
      ...('subjects' in config || transform === undefined ? {} : { subject_transform: transform }),
    })
    await expect(openCluster(nc, { namespace })).rejects.toMatchObject({
      code: 'CLUSTER_MISMATCH',
      message: expect.stringMatching(message),
    })
  })

  it('lets the operator choose sizes, replicas aside', async () => {
    const namespace = fresh()
    const { subjects } = await openCluster(nc, { namespace, logBytesMax: 1024 * 1024 })
    const jsm = await jetstreamManager(nc)
    expect((await jsm.streams.info(subjects.logStream)).config.max_bytes).toBe(1024 * 1024)
    await jsm.streams.update(subjects.logStream, { max_bytes: 2 * 1024 * 1024, description: 'mine' })
    await openCluster(nc, { namespace })
  })

  it.each([
    '{',
    '[]',
    '{"formatVersion":2}',
    formatClusterRecord({
      formatVersion: 1,
      clusterId: 'c',
      namespace: 'other',
      partitions: 8,
      streams: 1,
      door: 'stream',
      createdAt: '',
    }),
  ])('refuses the record %s', async (text) => {
    const namespace = fresh()
    const bucket = await new Kvm(nc).create(`${namespace}-cluster`)
    await bucket.put(CLUSTER_KEY, text)
    await expect(openCluster(nc, { namespace })).rejects.toMatchObject({ code: 'CLUSTER_MISMATCH' })
  })

  it.each([
    [{ namespace: 'a.b' }, 'INVALID_ID'],
    [{ namespace: 'ok', partitions: 0 }, 'CONFIG_INVALID'],
    [{ namespace: 'ok', partitions: 1.5 }, 'CONFIG_INVALID'],
    [{ namespace: 'ok', replicas: 2 }, 'CONFIG_INVALID'],
  ])('refuses the options %j', async (options, code) => {
    await expect(openCluster(nc, options)).rejects.toMatchObject({ code })
  })

  it('says what the server lacks when it cannot keep three replicas', async () => {
    await expect(openCluster(nc, { namespace: fresh(), replicas: 3 })).rejects.toMatchObject({
      code: 'JETSTREAM_UNAVAILABLE',
      message: expect.stringContaining('replicas'),
    })
  })
})

describe('openCluster on a server that will not do', () => {
  let close: (() => Promise<void>)[] = []

  afterEach(async () => {
    for (const step of close.reverse()) await step()
    close = []
  })

  async function connectTo(config: string, user = 'a'): Promise<NatsConnection> {
    const server = await startTestServer({ config })
    close.push(() => server.stop())
    const nc = await connect({ servers: server.url, user, pass: user })
    close.push(() => nc.close())
    return nc
  }

  it('says that JetStream is not enabled for the account', async () => {
    const nc = await connectTo('accounts { A { users: [ { user: a, password: a } ] } }')
    await expect(openCluster(nc, { namespace: 'demo', timeoutMs: 500 })).rejects.toMatchObject({
      code: 'JETSTREAM_UNAVAILABLE',
      message: expect.stringContaining('not enabled'),
    })
  })

  it('says which subject this user may not publish on', async () => {
    const nc = await connectTo(
      'authorization { users: [ { user: a, password: a, permissions: { publish: [ "demo.>" ], subscribe: [ "_INBOX.>" ] } } ] }',
    )
    await expect(openCluster(nc, { namespace: 'demo' })).rejects.toMatchObject({
      code: 'SERVER_REFUSED',
      message: expect.stringContaining('$JS.API'),
    })
  })

  it('says that the server is too old, and how to get one', async () => {
    const fake = await listen({
      server_id: 'X',
      server_name: 'x',
      version: '2.10.27',
      proto: 1,
      go: 'go',
      host: '127.0.0.1',
      port: 0,
      headers: true,
      max_payload: 1048576,
      jetstream: true,
    })
    const address = fake.address()
    const nc = await connect({
      servers: `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`,
      reconnect: false,
    })
    close.push(
      async () => void fake.close(),
      () => nc.close(),
    )
    await expect(openCluster(nc, { namespace: 'demo' })).rejects.toMatchObject({
      code: 'SERVER_TOO_OLD',
      message: expect.stringMatching(/2\.10\.27.*2\.12\.0.*github/),
    })
  })
})

/** The least of a NATS server: says who it is, and answers pings. */
async function listen(info: object): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.write(`INFO ${JSON.stringify(info)}\r\n`)
    socket.on('data', (chunk) => {
      if (chunk.includes('PING')) socket.write('PONG\r\n')
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}
