import { PipelinedPublisher, type PipelinedPublisherOptions } from '@carillon/client'
import type { LogMessage } from '@carillon/runtime/ports'
import { encodeToken, type Partition, Subjects } from '@carillon/runtime/protocol'
import { type JetStreamManager, jetstreamManager } from '@nats-io/jetstream'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'

import { JetStreamLog } from './jetstream-log.ts'
import { startTestServer, type TestServer } from './testing/nats-process.ts'
import { openTcpProxy, type TcpProxy } from './testing/tcp-proxy.ts'

const WAIT = { timeout: 20_000, interval: 5 }

describe('PipelinedPublisher against a server', () => {
  let server: TestServer
  let proxy: TcpProxy
  let nc: NatsConnection
  let admin: NatsConnection
  let jsm: JetStreamManager
  let subjects: Subjects
  let publisher: PipelinedPublisher
  let count = 0

  beforeAll(async () => {
    server = await startTestServer()
  })

  afterAll(() => server.stop())

  beforeEach(async () => {
    count += 1
    subjects = new Subjects(`publisher-${count}`, 4)
    proxy = await openTcpProxy(server.port)
    nc = await connect({ servers: proxy.url, reconnectTimeWait: 20, reconnectJitter: 0, maxReconnectAttempts: -1 })
    admin = await connect({ servers: server.url })
    jsm = await jetstreamManager(admin)
  })

  afterEach(async () => {
    await nc.close()
    await publisher.close()
    await jsm.streams.delete(subjects.logStream).catch(() => undefined)
    await admin.close()
    await proxy.close()
  })

  const create = (config: object = { allow_atomic: true }): Promise<unknown> =>
    jsm.streams.add({ name: subjects.logStream, subjects: [subjects.logAll], ...config })

  const open = (options: PipelinedPublisherOptions = {}): PipelinedPublisher => {
    publisher = new PipelinedPublisher(nc, options)
    return publisher
  }

  const publish = (id: string, text: string, size = 0): Promise<{ seq: number; duplicate: boolean }> => {
    const payload = new Uint8Array(Math.max(size, Buffer.byteLength(text)))
    payload.set(Buffer.from(text))
    const subject = subjects.log(encodeToken('order'), encodeToken(id), 'signal', encodeToken('pay'))
    return publisher.publish({ subject, key: id, headers: { 'Carillon-Id': text }, payload })
  }

  /** Everything in the stream, read over a connection of its own. */
  async function stored(): Promise<LogMessage[]> {
    const direct = await connect({ servers: server.url })
    const log = new JetStreamLog(direct, subjects)
    const messages: LogMessage[] = []
    const reader = log.read({
      partitions: [0, 1, 2, 3] as Partition[],
      fromSeq: 1,
      onMessages: async (batch) => void messages.push(...batch),
      onFailed: (error) => expect.fail(String(error)),
    })
    await vi.waitFor(async () => expect(messages.at(-1)?.seq ?? 0).toBe((await log.bounds()).lastSeq), WAIT)
    await reader.close()
    await log.close()
    await direct.close()
    return messages
  }

  const idOf = (message: LogMessage): string => message.header('Carillon-Id') ?? ''

  /** The ids in the order of their first copies. */
  const firstCopies = (messages: readonly LogMessage[]): string[] => [...new Set(messages.map(idOf))]

  it('sends what queues on one key as atomic batches, and gives each message its own sequence', async () => {
    await create()
    open()
    const acks = await Promise.all(Array.from({ length: 3000 }, (_, i) => publish('hot', `${i}`)))
    const messages = await stored()
    expect(messages.map(idOf)).toEqual(Array.from({ length: 3000 }, (_, i) => `${i}`))
    expect(acks.map((ack) => ack.seq)).toEqual(messages.map((message) => message.seq))
    expect(messages.filter((message) => message.header('Nats-Batch-Id') !== undefined).length).toBeGreaterThan(2000)
  })

  it('sends one by one to a stream that takes no batches', async () => {
    await create({})
    open()
    await Promise.all(Array.from({ length: 2000 }, (_, i) => publish('hot', `${i}`)))
    expect((await stored()).map(idOf)).toEqual(Array.from({ length: 2000 }, (_, i) => `${i}`))
  })

  it('refuses one message of a batch and stores the others', async () => {
    await create({ allow_atomic: true, max_msg_size: 2000 })
    open()
    const results = await Promise.allSettled(
      Array.from({ length: 400 }, (_, i) => publish('hot', `${i}`, i === 200 ? 3000 : 0)),
    )
    expect(results.map((result) => result.status).filter((status) => status === 'rejected')).toHaveLength(1)
    expect(results[200]).toMatchObject({ reason: { code: 'PAYLOAD_TOO_LARGE' } })
    expect((await stored()).map(idOf)).toEqual(
      Array.from({ length: 400 }, (_, i) => `${i}`).filter((id) => id !== '200'),
    )
  })

  it('waits for a stream that is not there yet', async () => {
    open()
    const ack = publish('1', 'a')
    const second = publish('1', 'b')
    await create()
    expect(await Promise.all([ack, second])).toMatchObject([{ seq: 1 }, { seq: 2 }])
  })

  it('holds back a message while the one before it on its key is refused, though its own publish would succeed', async () => {
    open()
    const { outMsgs } = nc.stats()
    const first = publish('1', 'a')
    // By then the first waits for 400 ms before it is sent again.
    await vi.waitFor(() => expect(nc.stats().outMsgs).toBeGreaterThanOrEqual(outMsgs + 4), WAIT)
    await create()
    const [second, other] = [publish('1', 'b'), publish('2', 'c')]
    expect(await other).toMatchObject({ seq: 1 })
    expect(await Promise.all([first, second])).toMatchObject([{ seq: 2 }, { seq: 3 }])
    expect((await stored()).map(idOf)).toEqual(['c', 'a', 'b'])
  })

  it('gives up after its budget, and takes the rest of the key with it', async () => {
    open({ retryBudgetMs: 300 })
    const results = await Promise.allSettled([publish('1', 'a'), publish('1', 'b'), publish('2', 'c')])
    expect(results).toMatchObject(
      Array.from({ length: 3 }, () => ({ status: 'rejected', reason: { code: 'NOT_ACKNOWLEDGED' } })),
    )
    expect(String(results[0]?.status === 'rejected' && results[0].reason)).toMatch(
      /no responders.*may have been stored.*same id/,
    )
    expect(publisher.pending).toBe(0)
  })

  it('rejects over its bound, and paces a sender who asks', async () => {
    await create()
    open({ pendingMax: 100 })
    const results = await Promise.allSettled(Array.from({ length: 150 }, (_, i) => publish(`${i}`, `${i}`)))
    const rejected = results.filter((result) => result.status === 'rejected')
    expect(rejected).toHaveLength(50)
    expect(rejected[0]).toMatchObject({ reason: { code: 'LIMIT_REACHED' } })
    const paced: Promise<unknown>[] = []
    for (let i = 0; i < 1000; i++) {
      await publisher.ready()
      paced.push(publish(`${i}`, `${i}`))
      expect(publisher.pending).toBeLessThanOrEqual(100)
    }
    await Promise.all(paced)
  })

  it('refuses a payload that the server would not take', async () => {
    await create()
    open()
    await expect(publish('1', 'a', 1024 * 1024)).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' })
  })

  it('keeps the order of each key when acknowledgements are lost and messages stored twice', async () => {
    await create()
    open({ ackTimeoutMs: 200 })
    await publish('0', 'warm')
    proxy.deafen()
    const acks = Array.from({ length: 300 }, (_, i) => publish(`${i % 3}`, `${i}`))
    await vi.waitFor(
      async () => expect((await jsm.streams.info(subjects.logStream)).state.messages).toBeGreaterThan(3),
      WAIT,
    )
    proxy.cut()
    await Promise.all(acks)
    // What the server had read from the old connection may be stored later than what came over the new one.
    await vi.waitFor(
      async () => expect((await jsm.streams.info(subjects.logStream)).state.messages).toBeGreaterThan(301),
      WAIT,
    )
    const messages = await stored()
    for (let key = 0; key < 3; key++) {
      const own = messages.filter((message) => message.subject.includes(`.order.${key}.`) && idOf(message) !== 'warm')
      expect(firstCopies(own)).toEqual(Array.from({ length: 100 }, (_, i) => `${i * 3 + key}`))
    }
  })

  it('sends nothing while the connection is down, and everything once it is back', async () => {
    await create()
    open()
    await publish('1', 'a')
    proxy.refuse(true)
    proxy.cut()
    await vi.waitFor(() => expect(nc.info).toBeUndefined(), WAIT)
    const { outMsgs } = nc.stats()
    const acks = Array.from({ length: 100 }, (_, i) => publish(`${i}`, `${i}`))
    await new Promise((resolve) => setImmediate(resolve))
    expect(nc.stats().outMsgs).toBe(outMsgs)
    proxy.refuse(false)
    await Promise.all(acks)
    expect(await stored()).toHaveLength(101)
  })

  it('loses nothing acknowledged and keeps order when the server is killed and comes back', async () => {
    await create()
    open()
    const acked: { id: string; seq: number }[] = []
    const stop = new AbortController()
    const send = async (key: number): Promise<void> => {
      for (let i = 0; !stop.signal.aborted; i++) {
        const { seq } = await publish(`${key}`, `${key}-${i}`)
        acked.push({ id: `${key}-${i}`, seq })
      }
    }
    const senders = Array.from({ length: 50 }, (_, key) => send(key))
    for (let round = 0; round < 2; round++) {
      const before = acked.length
      await vi.waitFor(() => expect(acked.length).toBeGreaterThan(before + 2000), WAIT)
      await server.kill9()
      await server.restart()
    }
    const before = acked.length
    await vi.waitFor(() => expect(acked.length).toBeGreaterThan(before + 500), WAIT)
    stop.abort()
    await Promise.all(senders)
    const bySeq = new Map((await stored()).map((message) => [message.seq, idOf(message)]))
    expect(acked.filter(({ id, seq }) => bySeq.get(seq) !== id)).toEqual([])
    for (let key = 0; key < 50; key++) {
      const own = [...new Set(bySeq.values())].filter((id) => id.startsWith(`${key}-`))
      expect(own).toEqual(own.map((_, i) => `${key}-${i}`))
    }
  })

  it('repeats what a frozen server did not acknowledge', async () => {
    await create()
    open({ ackTimeoutMs: 100 })
    await publish('1', 'a')
    server.signal('SIGSTOP')
    const acks = Array.from({ length: 20 }, (_, i) => publish('1', `${i}`))
    await vi.waitFor(() => expect(nc.stats().outMsgs).toBeGreaterThan(4), WAIT)
    server.signal('SIGCONT')
    await Promise.all(acks)
    expect(firstCopies(await stored())).toEqual(['a', ...Array.from({ length: 20 }, (_, i) => `${i}`)])
  })

  it('ends at once when it is aborted, and waits for what is pending when it is closed', async () => {
    const abort = new AbortController()
    open({ signal: abort.signal })
    const pending = publish('1', 'a')
    abort.abort()
    await expect(pending).rejects.toMatchObject({ code: 'NOT_ACKNOWLEDGED' })
    await publisher.close()
    await expect(publish('1', 'b')).rejects.toMatchObject({ code: 'CLOSING' })

    await create()
    open()
    const last = publish('1', 'c')
    await publisher.close()
    expect(await last).toMatchObject({ seq: 1 })
  })
})

describe('PipelinedPublisher without permission', () => {
  it('fails at once and says which subject is forbidden', async () => {
    const server = await startTestServer({
      config:
        'authorization { users: [ { user: a, password: a }, { user: b, password: b, permissions: { publish: [ "ok.>" ], subscribe: [ "mine.>" ] } } ] }',
    })
    try {
      const nc = await connect({ servers: server.url, user: 'b', pass: 'b', inboxPrefix: 'mine' })
      const publisher = new PipelinedPublisher(nc)
      const forbidden = publisher.publish({ subject: 'no.log.0', key: '1', payload: new Uint8Array(1) })
      await expect(forbidden).rejects.toMatchObject({
        code: 'SERVER_REFUSED',
        message: expect.stringContaining('no.log.0'),
      })
      await publisher.close()
      await nc.close()
    } finally {
      await server.stop()
    }
  })
})
