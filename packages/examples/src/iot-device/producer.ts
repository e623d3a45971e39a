/**
 * A device that knows nothing of Carillon: it publishes JSON, over NATS or over MQTT.
 *
 *     node --import tsx producer.ts [nats://… or mqtt://…] [device]
 */
import { fileURLToPath } from 'node:url'

import { connect as connectNats } from '@nats-io/transport-node'
import { connectAsync as connectMqtt } from 'mqtt'

import type { Telemetry } from './contract.ts'

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
export async function sendBreakdown(uplink: Uplink, device: string, fromN = 0): Promise<void> {
  const events = ['reading', 'rejected', 'reading', 'rejected', 'offline'] as const
  for (const [i, event] of events.entries())
    await uplink.send(device, { n: fromN + i, event, ...(event === 'reading' ? { celsius: 20 + i } : {}) })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [url = 'nats://127.0.0.1:4222', device = 'sensor-1'] = process.argv.slice(2)
  const uplink = url.startsWith('mqtt') ? await openMqttUplink(url) : await openNatsUplink(url)
  await sendBreakdown(uplink, device)
  await uplink.close()
  process.stdout.write(`${device} sent 5 messages: look with \`carillon query device ${device} status\`\n`)
}
