import { freePort } from '@carillon/node'
import { mockActivities, TestWorld } from '@carillon/runtime/testing'
import { afterEach, describe, expect, it } from 'vitest'

import { describeOnBothBackends } from '../testing/describe-on-both-backends.ts'
import { deviceActivities } from './activities.ts'
import { Device, type TelemetryEvent } from './contract.ts'
import { BREAKDOWN, openMqttUplink, openNatsUplink, sendEvents, type Uplink } from './producer.ts'
import { createDevice, device } from './workflow.ts'

const mqttPort = await freePort()
const setup = {
  workflows: [device],
  activities: [deviceActivities],
  natsConfig: `mqtt { host: 127.0.0.1, port: ${mqttPort} }`,
}

function provisioning() {
  return mockActivities(Device, { reprovision: async () => {} })
}

describeOnBothBackends('a device', setup, (open) => {
  let uplink: Uplink | undefined
  afterEach(async () => {
    await uplink?.close()
    uplink = undefined
  })

  it('starts by itself, and is provisioned again after the symptoms in their order, from plain JSON', async () => {
    const activities = provisioning()
    const backend = await open({ activities: [activities] })
    const door: Uplink = {
      send: (id, telemetry) => backend.publish(Device, id, 'telemetry', telemetry),
      close: async () => {},
    }
    uplink = backend.kind === 'server' ? await openNatsUplink(backend.url, backend.namespace) : door
    await sendEvents(uplink, 'd-1', BREAKDOWN)
    await backend.until(() => activities.calls('reprovision').length === 1)
    const d1 = backend.workflow(Device, 'd-1')
    await backend.until(async () => (await d1.query('status')).reprovisioned === 1)
    expect(await d1.query('status')).toEqual({ lastN: 4, celsius: 22, online: false, reprovisioned: 1 })
    expect(activities.calls('reprovision')[0]?.input).toEqual({ afterN: 4 })
  })

  it('does nothing when the symptoms come in another order, or a message comes twice', async () => {
    const activities = provisioning()
    const backend = await open({ activities: [activities] })
    const events: readonly (readonly [number, TelemetryEvent])[] = [
      [0, 'offline'],
      [1, 'rejected'],
      [1, 'rejected'],
      [2, 'offline'],
      [3, 'reading'],
    ]
    for (const [n, event] of events) await backend.publish(Device, 'd-1', 'telemetry', { n, event })
    const d1 = backend.workflow(Device, 'd-1')
    await backend.until(async () => (await d1.query('status').catch(() => undefined))?.lastN === 3)
    expect(await d1.query('status')).toMatchObject({ online: true, reprovisioned: 0 })
    expect(activities.calls('reprovision')).toEqual([])
  })

  it('is offline after its silence', async () => {
    const backend = await open({ workflows: [createDevice({ window: '1 minute', silence: '150 ms' })] })
    const d1 = backend.workflow(Device, 'd-1')
    await d1.signal('telemetry', { n: 0, event: 'reading', celsius: 21 })
    await backend.until(async () => !(await d1.query('status')).online)
    await d1.signal('telemetry', { n: 1, event: 'reading' }, { wait: 'applied' })
    expect(await d1.query('status')).toMatchObject({ online: true, celsius: 21 })
  })

  it('takes telemetry over MQTT from the listener of the nats-server', async ({ skip }) => {
    const activities = provisioning()
    const backend = await open({ activities: [activities] })
    if (backend.kind === 'memory') return skip('there is no MQTT listener in memory')
    uplink = await openMqttUplink(`mqtt://127.0.0.1:${mqttPort}`, backend.namespace)
    await sendEvents(uplink, 'd-9', BREAKDOWN)
    await backend.until(() => activities.calls('reprovision').length === 1)
    const d9 = backend.workflow(Device, 'd-9')
    await backend.until(async () => (await d9.query('status')).lastN === 4)
    expect((await d9.describe()).knownIds).toBe(0)
  })
})

describe('the window of a device', () => {
  it('forgets symptoms that are older than five minutes', async () => {
    const activities = provisioning()
    const world = await TestWorld.open({ workflows: [device], activities: [activities] })
    const d1 = world.workflow(Device, 'd-1')
    await d1.signal('telemetry', { n: 0, event: 'rejected' })
    await world.skip('4 minutes')
    await d1.signal('telemetry', { n: 1, event: 'rejected' })
    await world.skip('2 minutes')
    await d1.signal('telemetry', { n: 2, event: 'offline' })
    await world.settled()
    expect(activities.calls('reprovision')).toEqual([])
    await d1.signal('telemetry', { n: 3, event: 'rejected' })
    await world.skip('2 minutes')
    await d1.signal('telemetry', { n: 4, event: 'offline' }, { wait: 'applied' })
    expect(activities.calls('reprovision')).toHaveLength(1)
    await world.close()
  })
})
