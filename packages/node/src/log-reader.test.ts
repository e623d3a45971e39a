import { cp, rm } from 'node:fs/promises'
import { join } from 'node:path'

import type { LogMessage } from '@carillon/runtime/ports'
import { encodeToken, type Partition, type Subjects } from '@carillon/runtime/protocol'
import { type JetStreamManager, jetstreamManager } from '@nats-io/jetstream'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import { openCluster } from './cluster.ts'
import { logStreamPlan } from './cluster-streams.ts'
import { JetStreamLog } from './jetstream-log.ts'
import type { JetStreamLogReader } from './log-reader.ts'
import { startTestServer, type TestServer } from './testing/nats-process.ts'
import { openTcpProxy } from './testing/tcp-proxy.ts'

const WAIT = { timeout: 20_000, interval: 5 }
const RECONNECT = { reconnectTimeWait: 20, reconnectJitter: 0, maxReconnectAttempts: -1 }
const PARTITIONS = Array.from({ length: 8 }, (_, number) => number as Partition)

describe('JetStreamLogReader', () => {
  let server: TestServer
  let nc: NatsConnection
  let jsm: JetStreamManager
  let subjects: Subjects
  let log: JetStreamLog
  let lines: string[]
  let readers: JetStreamLogReader[]

  beforeEach(async () => {
    server = await startTestServer()
    nc = await connect({ servers: server.url, ...RECONNECT })
    jsm = await jetstreamManager(nc)
    subjects = (await openCluster(nc, { namespace: 'demo', partitions: 8 })).subjects
    lines = []
    readers = []
    log = new JetStreamLog(nc, subjects, { log: (line) => lines.push(line) })
  })

  afterEach(async () => {
    await Promise.all(readers.map((reader) => reader.close()))
    await nc.close()
    await log.close()
    await server.stop()
  })

  const append = (id: string, payload: Uint8Array = new Uint8Array(8)): Promise<number> =>
    log.append(subjects.log(encodeToken('order'), encodeToken(id), 'signal', encodeToken('pay')), {
      headers: { 'Carillon-Id': id },
      payload,
    })

  const appendMany = (from: number, to: number): Promise<number[]> =>
    Promise.all(Array.from({ length: to - from }, (_, i) => append(`${from + i}`)))

  function read(
    fromSeq: number,
    from: JetStreamLog = log,
  ): { seqs: number[]; messages: LogMessage[]; failures: unknown[]; reader: JetStreamLogReader } {
    const seqs: number[] = []
    const messages: LogMessage[] = []
    const failures: unknown[] = []
    const reader = from.read({
      partitions: PARTITIONS,
      fromSeq,
      onMessages: async (batch) => {
        for (const message of batch) seqs.push(message.seq)
        messages.push(...batch)
      },
      onFailed: (error) => failures.push(error),
    })
    readers.push(reader)
    return { seqs, messages, failures, reader }
  }

  const upTo = (seq: number, from = 1): number[] => Array.from({ length: seq - from + 1 }, (_, i) => i + from)

  it('delivers everything once and in order while the server is killed and comes back', async () => {
    const { seqs, messages, failures, reader } = read(1)
    const acked = new Map<number, string>()
    const stop = new AbortController()
    const send = async (key: number): Promise<void> => {
      for (let i = 0; !stop.signal.aborted; i++) acked.set(await append(`${key}-${i}`), `${key}-${i}`)
    }
    const senders = Array.from({ length: 40 }, (_, key) => send(key))
    for (let round = 0; round < 2; round++) {
      const before = seqs.length
      await vi.waitFor(() => expect(seqs.length).toBeGreaterThan(before + 2000), WAIT)
      await server.kill9()
      await server.restart()
    }
    const before = seqs.length
    await vi.waitFor(() => expect(seqs.length).toBeGreaterThan(before + 500), WAIT)
    stop.abort()
    await Promise.all(senders)
    const { lastSeq } = await log.bounds()
    await vi.waitFor(() => expect(seqs.at(-1)).toBe(lastSeq), WAIT)
    expect(seqs).toEqual(upTo(lastSeq))
    expect([...acked].filter(([seq, id]) => messages[seq - 1]?.header('Carillon-Id') !== id)).toEqual([])
    expect(failures).toEqual([])
    expect(reader.sessions).toBeGreaterThanOrEqual(3)
  })

  it('goes on when its consumer is deleted', async () => {
    const { seqs, reader } = read(1)
    await appendMany(0, 100)
    await vi.waitFor(() => expect(seqs).toHaveLength(100), WAIT)
    for await (const consumer of jsm.consumers.list(subjects.logStream))
      await jsm.consumers.delete(subjects.logStream, consumer.name)
    await appendMany(100, 200)
    await vi.waitFor(() => expect(seqs).toEqual(upTo(200)), WAIT)
    expect(reader.sessions).toBe(2)
    expect(lines.join()).toContain('Consumer Deleted'.toLowerCase())
  })

  it('goes on when the server was frozen for longer than the watchdog waits', async () => {
    const { seqs, reader } = read(1)
    await appendMany(0, 10)
    await vi.waitFor(() => expect(seqs).toHaveLength(10), WAIT)
    server.signal('SIGSTOP')
    await vi.waitFor(() => expect(lines.join()).toContain('nothing was heard'), WAIT)
    server.signal('SIGCONT')
    await appendMany(10, 20)
    await vi.waitFor(async () => expect(seqs).toEqual(upTo((await log.bounds()).lastSeq)), WAIT)
    expect(reader.sessions).toBeGreaterThan(1)
  })

  it('says nothing of single messages that were deleted', async () => {
    // Those of this release deny it; those of earlier ones do not.
    await jsm.streams.delete(subjects.logStream)
    await jsm.streams.add({ ...logStreamPlan(subjects, 'stream', { replicas: 1 }), deny_delete: false })
    await appendMany(0, 100)
    for (const seq of [1, 50, 51, 100]) await jsm.streams.deleteMessage(subjects.logStream, seq, true)
    await append('last')
    const { seqs, failures } = read(2)
    await vi.waitFor(() => expect(seqs.at(-1)).toBe(101), WAIT)
    expect(seqs).toEqual(
      upTo(99, 2)
        .filter((seq) => seq !== 50 && seq !== 51)
        .concat(101),
    )
    expect(failures).toEqual([])
  })

  it('delivers messages of half a megabyte within its bounds', async () => {
    const { seqs, messages } = read(1)
    const payload = new Uint8Array(512 * 1024).fill(7)
    for (let i = 0; i < 100; i++) await append(`${i}`, payload)
    await vi.waitFor(() => expect(seqs).toEqual(upTo(100)), WAIT)
    expect(messages.every((message) => Buffer.compare(message.payload, payload) === 0)).toBe(true)
  })

  it('goes on reading its partitions over a long stretch of others', async () => {
    const own = subjects.partitionOf(encodeToken('order'), encodeToken('own'))
    const seqs: number[] = []
    const told: number[] = []
    const reader = log.read({
      partitions: [own],
      fromSeq: 1,
      onMessages: async (batch, throughSeq) => {
        seqs.push(...batch.map((message) => message.seq))
        told.push(throughSeq)
      },
      onFailed: (error) => expect.fail(String(error)),
    })
    readers.push(reader)
    const others = Array.from({ length: 100 }, (_, i) => `${i}`).filter(
      (id) => subjects.partitionOf(encodeToken('order'), encodeToken(id)) !== own,
    )
    for (let i = 0; i < 100; i++) await Promise.all(others.map((id) => append(id)))
    const seq = await append('own')
    expect(seq).toBeGreaterThan(8000)
    await vi.waitFor(() => expect(seqs).toEqual([seq]), WAIT)
    expect(told.at(-1)).toBe(seq)
    expect(told.length).toBeLessThan(seq / 10)
  })

  it('fails with JOURNAL_REPLACED when the stream is deleted', async () => {
    await append('1')
    const { seqs, failures } = read(1)
    await vi.waitFor(() => expect(seqs).toHaveLength(1), WAIT)
    await jsm.streams.delete(subjects.logStream)
    await vi.waitFor(() => expect(failures).toMatchObject([{ code: 'JOURNAL_REPLACED' }]), WAIT)
  })

  it('fails with JOURNAL_BEHIND when an older copy of the stream was put back, also one that has grown since', async () => {
    const store = join(server.storeDir, 'jetstream')
    const copy = join(server.storeDir, 'copy')
    const proxy = await openTcpProxy(server.port)
    const far = await connect({ servers: proxy.url, ...RECONNECT })
    const farLog = new JetStreamLog(far, subjects)
    const { seqs, failures } = read(1, farLog)
    await appendMany(0, 5)
    await server.kill9()
    await cp(store, copy, { recursive: true })
    await server.restart()
    await appendMany(5, 10)
    await vi.waitFor(() => expect(seqs).toHaveLength(10), WAIT)
    // What the reader is told of the new stream, it is told when that is longer than the old one was.
    proxy.refuse(true)
    proxy.cut()
    await server.kill9()
    await rm(store, { recursive: true })
    await cp(copy, store, { recursive: true })
    await server.restart()
    await appendMany(20, 40)
    proxy.refuse(false)
    await vi.waitFor(() => expect(failures).toMatchObject([{ code: 'JOURNAL_BEHIND' }]), WAIT)
    expect(seqs).toEqual(upTo(10))
    await far.close()
    await farLog.close()
    await proxy.close()
  })

  it('leaves no consumer behind', async () => {
    const { seqs, reader } = read(1)
    await append('1')
    await vi.waitFor(() => expect(seqs).toHaveLength(1), WAIT)
    await reader.close()
    await vi.waitFor(
      async () => expect((await jsm.streams.info(subjects.logStream)).state.consumer_count).toBe(0),
      WAIT,
    )
  })

  it('fails when its connection is closed under it', async () => {
    const own = await connect({ servers: server.url })
    const ownLog = new JetStreamLog(own, subjects)
    const { failures } = read(1, ownLog)
    await own.close()
    await vi.waitFor(() => expect(failures).toMatchObject([{ code: 'SERVER_UNREACHABLE' }]), WAIT)
    await ownLog.close()
  })
})
