/** Rolls a version out over ten hosts, pauses in the middle, looks, and goes on or back: `node --import tsx producer.ts [continue | rollback] [servers]` */
import { setTimeout as delay } from 'node:timers/promises'

import { connect } from '@carillon/client'

import { Deployment } from './contract.ts'

const [then = 'continue', servers = 'nats://127.0.0.1:4222'] = process.argv.slice(2)
const carillon = await connect({ servers })
const deployment = carillon.workflow(Deployment, `release-${Date.now()}`)
await deployment.start({
  version: '2.0',
  previous: '1.9',
  hosts: Array.from({ length: 10 }, (_, i) => `host-${i + 1}`),
})
await delay(2_500)
await deployment.signal('pause', undefined, { wait: 'applied' })
say('paused', await deployment.query('progress'))
await deployment.signal(then === 'rollback' ? 'rollback' : 'continue')
say('the end', await deployment.result({ timeoutMs: 120_000 }))
await carillon.close()

function say(what: string, value: unknown): void {
  process.stdout.write(`${what}: ${JSON.stringify(value)}\n`)
}
