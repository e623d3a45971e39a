/** What operators set for a whole namespace: changed through the client, seen by everyone who watches. */
import { type Carillon, connect, JetStreamControls } from '@carillon/client'
import { silentLogger, systemClock } from '@carillon/runtime/ports'
import { activityKey, Subjects } from '@carillon/runtime/protocol'
import { connect as connectNats, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'

import { openCluster } from '../src/cluster.ts'
import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'
import { openTcpProxy, type TcpProxy } from '../src/testing/tcp-proxy.ts'

describe('what is paused in a namespace', () => {
  let server: TestServer
  let proxy: TcpProxy
  let nc: NatsConnection
  let controls: JetStreamControls
  let carillon: Carillon
  const seen: (readonly string[])[] = []

  beforeAll(async () => {
    server = await startTestServer()
    proxy = await openTcpProxy(server.port)
    nc = await connectNats({ servers: proxy.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 })
    const { subjects } = await openCluster(nc, { namespace: 'carillon' })
    controls = await JetStreamControls.open({ nc, subjects, clock: systemClock, logger: silentLogger })
    controls.watch(({ pausedTypes }) => seen.push([...pausedTypes]))
    carillon = await connect({ servers: server.url })
  })
  afterAll(async () => {
    await carillon.close()
    await controls.close()
    await nc.close()
    await proxy.close()
    await server.stop()
  })

  it('is seen by those who watch, and told once', async () => {
    expect(controls.current().pausedTypes.size).toBe(0)
    expect(await carillon.pauseType('loyalty')).toBe(true)
    expect(await carillon.pauseType('loyalty')).toBe(false)
    await vi.waitFor(() => expect([...controls.current().pausedTypes]).toEqual(['loyalty']), 5000)
    expect(await carillon.pauseActivity('loyalty', 'notify partner')).toBe(true)
    await vi.waitFor(
      () => expect(controls.current().pausedActivities).toEqual(new Set([activityKey('loyalty', 'notify partner')])),
      5000,
    )
    expect(await carillon.paused()).toEqual({
      types: ['loyalty'],
      activities: [{ type: 'loyalty', activity: 'notify partner' }],
    })
    expect(seen[0]).toEqual(['loyalty'])
  })

  it('keeps every change, also when operators change different parts at once', async () => {
    const types = Array.from({ length: 5 }, (_, i) => `type-${i}`)
    await Promise.all(types.map((type) => carillon.pauseType(type)))
    expect((await carillon.paused()).types).toEqual(['loyalty', ...types])
    await Promise.all(types.map((type) => carillon.resumeType(type)))
    expect((await carillon.paused()).types).toEqual(['loyalty'])
  })

  it('is seen after the connection was gone when it changed', async () => {
    proxy.refuse(true)
    proxy.cut()
    await carillon.resumeType('loyalty')
    proxy.refuse(false)
    await vi.waitFor(() => expect(controls.current().pausedTypes.size).toBe(0), 10_000)
  })

  it('is opened with what was set before', async () => {
    await carillon.pauseType('device')
    const subjects = new Subjects('carillon', 64)
    const late = await JetStreamControls.open({ nc, subjects, clock: systemClock, logger: silentLogger })
    expect([...late.current().pausedTypes]).toEqual(['device'])
    await late.close()
  })
})
