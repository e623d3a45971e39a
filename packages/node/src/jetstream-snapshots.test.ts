import type { Partition } from '@carillon/runtime/protocol'
import { snapshotsConformance } from '@carillon/runtime/testing/snapshots-conformance'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect, errors, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { openCluster } from './cluster.ts'
import { JetStreamSnapshots } from './jetstream-snapshots.ts'
import { startTestServer, type TestServer } from './testing/nats-process.ts'

let server: TestServer
let count = 0

beforeAll(async () => {
  server = await startTestServer()
})

afterAll(() => server.stop())

snapshotsConformance('JetStreamSnapshots', async () => {
  const nc = await connect({ servers: server.url })
  count += 1
  const { subjects } = await openCluster(nc, { namespace: `snapshots-${count}`, partitions: 16 })
  return {
    snapshots: new JetStreamSnapshots(nc, subjects),
    async dispose() {
      await (await jetstreamManager(nc)).streams.delete(subjects.snapshotStream)
      await nc.close()
    },
  }
})

describe('JetStreamSnapshots', () => {
  const P = 3 as Partition

  /** The connection, but for answers that are lost: what was asked for has been done all the same. */
  function losing(nc: NatsConnection, isLost: (subject: string) => boolean): NatsConnection {
    return new Proxy(nc, {
      get(target, name) {
        if (name !== 'request') return Reflect.get(target, name) as unknown
        return async (...args: Parameters<NatsConnection['request']>) => {
          const answer = await target.request(...args)
          if (isLost(args[0])) throw new errors.TimeoutError()
          return answer
        }
      },
    })
  }

  it('knows its own head when the acknowledgement was lost, and that of another when it was not stored', async () => {
    const nc = await connect({ servers: server.url })
    const { subjects } = await openCluster(nc, { namespace: 'snapshots-lost', partitions: 16 })
    let lost = 0
    const mine = new JetStreamSnapshots(
      losing(nc, (subject) => subject.endsWith('.head') && lost++ === 0),
      subjects,
    )
    const other = new JetStreamSnapshots(nc, subjects)
    const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
    const first = await mine.replaceHead(P, bytes('mine'), 0)
    expect([lost, first]).toEqual([2, (await other.head(P))?.revision])
    const second = await other.replaceHead(P, bytes('other'), first ?? 0)
    lost = 0
    expect(await mine.replaceHead(P, bytes('late'), first ?? 0)).toBeUndefined()
    expect(await mine.head(P)).toEqual({ bytes: bytes('other'), revision: second })
    await nc.close()
  })

  it('goes on when the server comes back', async () => {
    const nc = await connect({ servers: server.url, reconnectTimeWait: 100, maxReconnectAttempts: -1 })
    const { subjects } = await openCluster(nc, { namespace: 'snapshots-back', partitions: 16 })
    const snapshots = new JetStreamSnapshots(nc, subjects)
    await snapshots.putPart(P, 's', 0, new Uint8Array(1000).fill(1))
    await server.kill9()
    const stored = snapshots.putPart(P, 's', 1, new Uint8Array(1000).fill(2))
    await server.restart()
    expect(await stored).toBeGreaterThan(0)
    const parts: number[] = []
    for await (const part of snapshots.parts(P, 's', 2)) parts.push(part[0] ?? 0)
    expect(parts).toEqual([1, 2])
    await nc.close()
  })
})
