/**
 * Devices that know nothing of Carillon: they publish JSON, over NATS or over MQTT.
 *
 *     tsx producer.ts [nats://…] [mqtt://…]
 */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import { type Carillon, connect } from '@carillon/client'
import { connect as connectNats } from '@nats-io/transport-node'
import { connectAsync as connectMqtt } from 'mqtt'

import { Device, type DeviceStatus, type Telemetry, type TelemetryEvent } from './contract.ts'

/** How a device sends one message. */
export interface Uplink {
  send(device: string, telemetry: Telemetry): Promise<void>
  close(): Promise<void>
}

/** NATS: a request, so that the answer says that the message is durable. */
export async function openNatsUplink(url: string, namespace = 'carillon'): Promise<Uplink> {
  const nc = await connectNats({ servers: url })
  return {
    async send(device, telemetry) {
      await nc.request(`${namespace}.signal.device.${device}.telemetry`, JSON.stringify(telemetry), { timeout: 5000 })
    },
    close: () => nc.close(),
  }
}

/** MQTT: a topic is the subject with slashes. QoS 1 asks the server to confirm; a repeat of the device carries the same `n`. */
export async function openMqttUplink(url: string, namespace = 'carillon'): Promise<Uplink> {
  const client = await connectMqtt(url, { connectTimeout: 5000, reconnectPeriod: 1000 })
  return {
    async send(device, telemetry) {
      await client.publishAsync(`${namespace}/signal/device/${device}/telemetry`, JSON.stringify(telemetry), { qos: 1 })
    },
    close: () => client.endAsync(),
  }
}

/** What a device with broken credentials sends. */
export const BREAKDOWN: readonly TelemetryEvent[] = ['reading', 'rejected', 'reading', 'rejected', 'offline']

export async function sendEvents(uplink: Uplink, device: string, events: readonly TelemetryEvent[]): Promise<void> {
  for (const [n, event] of events.entries())
    await uplink.send(device, { n, event, ...(event === 'reading' ? { celsius: 20 + n } : {}) })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [url = 'nats://127.0.0.1:4222', mqttUrl] = process.argv.slice(2)
  await sendAndLook(url, mqttUrl)
}

/** Three devices, two uplinks; then what a person in operations sees of them. */
async function sendAndLook(url: string, mqttUrl: string | undefined): Promise<void> {
  const run = Date.now().toString(36)
  const [broken, healthy, overMqtt] = [`broken-${run}`, `healthy-${run}`, `mqtt-${run}`]
  const nats = await openNatsUplink(url)
  await tellAndSend('NATS', nats, broken, BREAKDOWN)
  await tellAndSend('NATS', nats, healthy, ['reading', 'offline', 'rejected', 'reading', 'rejected'])
  await nats.close()
  if (mqttUrl !== undefined) {
    const mqtt = await openMqttUplink(mqttUrl)
    await tellAndSend('MQTT', mqtt, overMqtt, BREAKDOWN)
    await mqtt.close()
  }

  const carillon = await connect({ servers: url })
  const provisionedAgain = { lastN: 4, celsius: 22, online: false, reprovisioned: 1 }
  assert.deepEqual(await statusOf(carillon, broken), provisionedAgain)
  assert.deepEqual(await statusOf(carillon, healthy), { lastN: 4, celsius: 23, online: true, reprovisioned: 0 })
  if (mqttUrl === undefined)
    say('no device over MQTT: give mqtt://… as the second argument, and --mqtt-port to carillon dev')
  else assert.deepEqual(await statusOf(carillon, overMqtt), provisionedAgain)
  await carillon.close()
}

async function tellAndSend(
  how: string,
  uplink: Uplink,
  device: string,
  events: readonly TelemetryEvent[],
): Promise<void> {
  say(`${device} sends over ${how}: ${events.join(', ')}`)
  await sendEvents(uplink, device, events)
}

/** Nobody waited for the devices' messages to be handled: MQTT confirms less than that. */
async function statusOf(carillon: Carillon, device: string): Promise<DeviceStatus> {
  const deadlineMs = performance.now() + 10_000
  for (;;) {
    const status = await carillon
      .workflow(Device, device)
      .query('status')
      .catch(() => undefined)
    if (status?.lastN === 4) {
      say(`${device} by query: ${JSON.stringify(status)}`)
      return status
    }
    if (performance.now() > deadlineMs) throw new Error(`${device} has not arrived: ${JSON.stringify(status)}`)
    await delay(50)
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
