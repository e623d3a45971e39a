/** A cluster whose node does what a test says: a real nats-server with the streams, and a script that answers requests and replies. */
import { CarillonError, toErrorData } from '@carillon/runtime'
import { decodeValue, encodeValue, HEADERS, type Outcome, type RpcRequest, Subjects } from '@carillon/runtime/protocol'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect as connectNats, type Msg, type NatsConnection, type Subscription } from '@nats-io/transport-node'

import { startTestServer, type TestServer } from '../../node/src/testing/nats-process.ts'

const NAMESPACE = 'carillon'
export const PARTITIONS = 8

/** An input as the journal's subscribers see it. */
export interface SeenInput {
  readonly subject: string
  readonly kind: string
  readonly name: string
  readonly id: string
  readonly reply: string | undefined
  readonly encoding: string | undefined
  readonly traceparent: string | undefined
  /** Undefined unless it is msgpack. */
  readonly payload: unknown
}

/** What the node does; every part may be left out, and changed in mid-test. */
export interface Script {
  onRpc?: (request: RpcRequest, partition: number) => unknown
  /** What nodes answer that are not the owner; until there is one, nobody serves there. */
  onAny?: Script['onRpc']
  /** What answers about instances are as of. */
  seq?: number
  onInput?: (input: SeenInput) => void
}

export interface ScriptedCluster {
  readonly server: TestServer
  readonly nc: NatsConnection
  readonly script: Script
  readonly inputs: SeenInput[]
  readonly requests: RpcRequest[]
  /** Those of them that were for any node. */
  readonly asked: RpcRequest[]
  /** Sends an outcome to an inbox. */
  reply(inbox: string | undefined, seq: number, outcome: Outcome, duplicate?: boolean): void
  /** Begins to serve requests; until then nobody does. */
  serve(): Promise<void>
  /** Begins to serve what is for any node, until what it gives is called. */
  serveAny(): Promise<() => Promise<void>>
  /** Stops serving. */
  leave(): Promise<void>
  stop(): Promise<void>
}

export function clusterRecord(change: Readonly<Record<string, unknown>> = {}): string {
  const record = {
    formatVersion: 1,
    clusterId: 'c-1',
    namespace: NAMESPACE,
    partitions: PARTITIONS,
    streams: 1,
    door: 'relay',
    createdAt: '2026-01-01T00:00:00.000Z',
  }
  return JSON.stringify({ ...record, ...change })
}

/** Starts the server, makes the streams and the record, and watches the journal. */
export async function startScriptedCluster(): Promise<ScriptedCluster> {
  const server = await startTestServer()
  const nc = await connectNats({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 })
  const subjects = new Subjects(NAMESPACE, PARTITIONS)
  await createLog(nc, subjects)
  await putRecord(nc, NAMESPACE, clusterRecord())
  const script: Script = {}
  const inputs: SeenInput[] = []
  const requests: RpcRequest[] = []
  const asked: RpcRequest[] = []
  nc.subscribe(subjects.logAll, {
    callback: (_error, msg) => {
      const input = toSeen(subjects, msg)
      inputs.push(input)
      script.onInput?.(input)
    },
  })
  await nc.flush()
  let serving: Subscription | undefined
  return {
    server,
    nc,
    script,
    inputs,
    requests,
    asked,
    reply(inbox, seq, outcome, duplicate = false) {
      if (inbox !== undefined) nc.publish(inbox, encodeValue({ seq, duplicate, outcome }))
    },
    async serve() {
      serving = nc.subscribe(`${NAMESPACE}.rpc.*`, {
        callback: (_error, msg) => answer(msg, script.onRpc, script.seq, [requests]),
      })
      await nc.flush()
    },
    async serveAny() {
      const all = nc.subscribe(`${NAMESPACE}.rpc.any.*`, {
        callback: (_error, msg) => answer(msg, script.onAny, script.seq, [requests, asked]),
      })
      await nc.flush()
      return async () => {
        all.unsubscribe()
        await nc.flush()
      }
    },
    async leave() {
      serving?.unsubscribe()
      await nc.flush()
    },
    async stop() {
      await nc.close()
      await server.stop()
    },
  }
}

async function createLog(nc: NatsConnection, subjects: Subjects): Promise<void> {
  const manager = await jetstreamManager(nc)
  await manager.streams.add({
    name: subjects.logStream,
    subjects: [subjects.logAll],
    allow_direct: true,
    allow_atomic: true,
  })
  await manager.streams.add({ name: subjects.deadStream, subjects: [subjects.deadAll], allow_direct: true })
}

/** Writes a cluster's record as a node would; makes the bucket when there is none. */
export async function putRecord(nc: NatsConnection, namespace: string, record: string): Promise<void> {
  const bucket = new Subjects(namespace, 1).clusterBucket
  const manager = await jetstreamManager(nc)
  await manager.streams.add({ name: `KV_${bucket}`, subjects: [`$KV.${bucket}.>`] })
  nc.publish(`$KV.${bucket}.cluster`, record)
  await nc.flush()
}

function toSeen(subjects: Subjects, msg: Msg): SeenInput {
  const parsed = subjects.parseLog(msg.subject)
  const header = (name: string): string | undefined => msg.headers?.get(name) || undefined
  const encoding = header(HEADERS.encoding)
  return {
    subject: msg.subject,
    kind: parsed?.kind ?? 'malformed',
    name: parsed?.name ?? '',
    id: header(HEADERS.id) ?? '',
    reply: header(HEADERS.reply),
    encoding,
    traceparent: header(HEADERS.trace),
    payload: encoding === 'msgpack' ? decodeValue(msg.data) : undefined,
  }
}

function answer(msg: Msg, onRpc: Script['onRpc'], seq: number | undefined, into: readonly RpcRequest[][]): void {
  const request = decodeValue(msg.data) as RpcRequest
  for (const requests of into) requests.push(request)
  const asOf = seq === undefined ? {} : { seq }
  try {
    const value = onRpc?.(request, Number(msg.subject.split('.').at(-1)))
    if (value instanceof Promise) return
    msg.respond(encodeValue(value === undefined ? { ok: true, ...asOf } : { ok: true, value, ...asOf }))
  } catch (error) {
    msg.respond(encodeValue({ ok: false, error: toErrorData(error, 'QUERY_FAILED'), ...asOf }))
  }
}

/** What a node answers when it cannot say yet. */
export function stillWaiting(): never {
  throw new CarillonError('TIMEOUT', 'not applied yet')
}

/** Waits for a condition. */
export async function until(what: string, condition: () => boolean, timeoutMs = 10_000): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > end) throw new Error(`${what} did not come true within ${timeoutMs} ms`)
    await new Promise((resolve) => {
      setTimeout(resolve, 5)
    })
  }
}
