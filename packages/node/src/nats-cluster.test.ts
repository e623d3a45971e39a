import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'

import { openCluster } from './cluster.ts'
import type { NatsCluster } from './nats-cluster.ts'
import { startTestNatsCluster } from './testing/nats-cluster.ts'

const STREAM = 'numbers'
const WAIT = { timeout: 20_000, interval: 20 }

describe('openNatsCluster', () => {
  let cluster: NatsCluster
  let nc: NatsConnection

  beforeAll(async () => {
    cluster = await startTestNatsCluster()
    nc = await connect({ servers: [...cluster.servers], reconnectTimeWait: 100, maxReconnectAttempts: -1 })
    const jsm = await jetstreamManager(nc)
    await jsm.streams.add({ name: STREAM, subjects: ['numbers'], num_replicas: 3 })
    await cluster.ready()
  }, 60_000)

  afterAll(async () => {
    await nc?.close()
    await cluster?.close()
  })

  /** Publishes until a message is stored; gives its sequence. */
  const store = (): Promise<number> =>
    vi.waitFor(async () => (await jetstream(nc, { timeout: 500 }).publish('numbers', 'x')).seq, WAIT)

  it('has streams that have no leader yet while nodes open a new cluster at once: they wait and agree', async () => {
    const connections = await Promise.all(cluster.members.map(({ url }) => connect({ servers: url })))
    for (const namespace of ['a', 'b', 'c']) {
      const opened = await Promise.all(connections.map((own) => openCluster(own, { namespace, replicas: 3 })))
      expect(new Set(opened.map(({ record }) => record.clusterId)).size).toBe(1)
    }
    await Promise.all(connections.map((own) => own.close()))
  })

  it('knows who leads a stream, and lets it step down', async () => {
    const before = await cluster.leaderOf(STREAM)
    const after = await cluster.stepDown(STREAM)
    expect(after.name).not.toBe(before.name)
    expect((await cluster.leaderOf(STREAM)).name).toBe(after.name)
    expect(cluster.members).toContain(await cluster.metaLeader())
  })

  it('goes on without the leader that it kills, and takes it back under its name, port and store', async () => {
    const first = await store()
    const killed = await cluster.killLeaderOf(STREAM)
    expect(killed.state).toBe('stopped')
    const { port, pid } = killed
    expect((await cluster.leaderOf(STREAM)).name).not.toBe(killed.name)
    const second = await store()
    expect(second).toBeGreaterThan(first)
    await killed.restart()
    await cluster.ready()
    expect(killed).toMatchObject({ state: 'running', port })
    expect(killed.pid).not.toBe(pid)
    expect(await replicasOf(nc)).toEqual(cluster.members.map(({ name }) => name))
  })

  it('looks at those that answer while one is frozen, and waits for that one when it goes on', async () => {
    const leader = await cluster.leaderOf(STREAM)
    const frozen = cluster.members.find(({ name }) => name !== leader.name)
    frozen?.freeze()
    expect(frozen?.state).toBe('frozen')
    expect((await cluster.leaderOf(STREAM)).name).toBe(leader.name)
    await cluster.ready()
    frozen?.thaw()
    expect(frozen?.state).toBe('running')
    await cluster.ready()
  })

  it('says what is missing when it is not ready in time', async () => {
    await Promise.all(cluster.members.slice(0, 2).map((member) => member.kill9()))
    await expect(cluster.ready(200)).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringContaining('1 of 3 servers runs'),
    })
  })
}, 60_000)

async function replicasOf(nc: NatsConnection): Promise<readonly string[]> {
  const { cluster } = await (await jetstreamManager(nc)).streams.info(STREAM)
  return [cluster?.leader ?? '', ...(cluster?.replicas ?? []).map(({ name }) => name)].sort()
}

it('a cluster of one server is a server by itself, which leads everything', async () => {
  const cluster = await startTestNatsCluster({ size: 1 })
  const nc = await connect({ servers: [...cluster.servers] })
  await (await jetstreamManager(nc)).streams.add({ name: STREAM, subjects: ['numbers'] })
  await cluster.ready()
  expect((await cluster.leaderOf(STREAM)).name).toBe('nats-1')
  await nc.close()
  await cluster.close()
})
