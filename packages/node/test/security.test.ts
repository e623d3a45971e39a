/** The production configuration lets everybody do their work: each role end to end, and the server refuses nothing on the way. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Carillon, connect } from '@carillon/client'
import { type CarillonNode, openNode } from '@carillon/node'
import { silentLogger } from '@carillon/runtime/ports'
import { headers } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'

import { runCli } from './cli/cli-process.ts'
import { startNodeProcess } from './cli/start-node.ts'
import { makeWorkflowFolder } from './cli/workflow-folder.ts'
import { fault, Order, order, rendering } from './order.ts'
import { SecuredServer } from './secured-server.ts'

const WAIT = { timeout: 10_000, interval: 20 }

describe('with the accounts of docker/production', () => {
  let server: SecuredServer
  let dir: string
  let node: CarillonNode
  let shop: Carillon
  let onCall: Carillon

  beforeAll(async () => {
    server = await SecuredServer.start()
    dir = await mkdtemp(join(tmpdir(), 'carillon-secured-'))
    node = await openNode({
      ...server.as('node-1'),
      dataDir: join(dir, 'node-1'),
      workflows: { implementations: [order], activities: [] },
      logger: silentLogger,
    })
    shop = await connect(server.as('shop'))
    onCall = await connect(server.as('on-call'))
  }, 60_000)

  afterAll(async () => {
    await shop?.close()
    await onCall?.close()
    await node?.close()
    await server?.stop()
    await rm(dir, { recursive: true, force: true })
  })

  /** Whatever a test did, the server refused none of it. */
  const expectNoRefusals = (): void => expect(server.refusals).toEqual([])

  it('a producer starts, signals, updates, waits for outcomes and queries', async () => {
    const handle = shop.workflow(Order, 'a')
    await handle.start({ total: 10 })
    await handle.signal('add', 5, { wait: 'applied' })
    expect(await handle.update('take', 3)).toEqual({ left: 12 })
    expect(await handle.query('state')).toEqual({ total: 12, pages: [] })
    expect(await handle.query('state', undefined, { from: 'any' })).toEqual({ total: 12, pages: [] })
    expect(await onCall.workflow(Order, 'a').query('state', undefined, { consistency: 'linearizable' })).toMatchObject({
      total: 12,
    })
    await Promise.all(Array.from({ length: 500 }, (_, i) => shop.workflow(Order, `many-${i % 5}`).signal('add', 1)))
    await vi.waitFor(async () => expect((await shop.workflow(Order, 'many-4').query('state')).total).toBe(100), WAIT)
    expectNoRefusals()
  })

  it('outcomes come as replies, across the accounts, not only when they are asked for', async () => {
    const nc = await server.raw('shop')
    const subscription = nc.subscribe('_INBOX.shop.by-hand', { max: 1 })
    const own = headers()
    own.set('Carillon-Reply', '_INBOX.shop.by-hand')
    await nc.request('carillon.signal.order.replied.add', '1', { timeout: 5000, headers: own })
    for await (const message of subscription) expect(message.subject).toBe('_INBOX.shop.by-hand')
    await nc.close()
    expectNoRefusals()
  })

  it('a device that speaks plain NATS publishes JSON on the public door and gets its PubAck', async () => {
    const nc = await server.raw('meters')
    const answer = await nc.request('carillon.signal.order.metered.add', '7')
    expect(answer.json()).toMatchObject({ stream: 'carillon-log', seq: expect.any(Number) })
    await nc.close()
    await vi.waitFor(async () => expect((await shop.workflow(Order, 'metered').query('state')).total).toBe(7), WAIT)
    expectNoRefusals()
  })

  it('a worker pulls the calls of its queue and stores their results', async () => {
    const client = await connect(server.as('pdf'))
    const worker = await client.worker({ queue: 'pdf', activities: [rendering] })
    await shop.workflow(Order, 'b').signal('render', 'invoice', { wait: 'applied' })
    expect(await shop.workflow(Order, 'b').query('state')).toMatchObject({ pages: ['invoice.pdf'] })
    expect(worker.counts).toMatchObject({ completed: 1, retried: 0 })
    await client.close()
    expectNoRefusals()
  })

  it('an operator finds what is suspended, reads its journal, lets it go on, and pauses a type', async () => {
    fault.isOn = true
    await shop.workflow(Order, 'c').signal('add', 1)
    await shop.workflow(Order, 'c').signal('trip')
    const suspended = async (): Promise<string[]> => {
      const ids: string[] = []
      for await (const { id } of onCall.list({ status: 'suspended' })) ids.push(id)
      return ids
    }
    await vi.waitFor(async () => expect(await suspended()).toEqual(['c']), WAIT)
    expect(await onCall.workflow(Order, 'c').describe()).toMatchObject({ status: 'suspended' })
    const names: string[] = []
    for await (const { name } of onCall.workflow(Order, 'c').history()) names.push(name)
    expect(names).toEqual(['add', 'trip'])
    fault.isOn = false
    await onCall.workflow(Order, 'c').resume({ wait: 'applied' })
    expect(await onCall.workflow(Order, 'c').describe()).toMatchObject({ status: 'running' })
    expect(await onCall.pauseType('order')).toBe(true)
    expect(await onCall.resumeType('order')).toBe(true)
    expect((await onCall.queues()).map(({ queue }) => queue)).toEqual(['pdf'])
    expectNoRefusals()
  })

  it('an operator drives a dead letter again', async () => {
    await shop.workflow('nobody', 'x').signal('add', 1)
    const letter = await vi.waitFor(async () => {
      for await (const one of onCall.deadLetters({ type: 'nobody' })) return one
      throw new Error('there is no dead letter yet')
    }, WAIT)
    await onCall.redrive(letter.seq)
    expectNoRefusals()
  })

  it('the carillon command does it with what make-keys.mjs has written for it', async () => {
    const env = { ...(await environmentOf(server.keys.file('on-call.env'))), CARILLON_SERVERS: server.url }
    const [doctor, list] = await Promise.all([
      runCli(['doctor', '--data-dir', join(dir, 'none'), '--json'], { env }),
      runCli(['list', '--json'], { env }),
    ])
    const findings = (JSON.parse(doctor.stdout) as { findings: { check: string; verdict: string; detail: string }[] })
      .findings
    expect(findings.filter(({ verdict }) => verdict === 'fail')).toEqual([])
    expect(findings).toContainEqual(expect.objectContaining({ check: 'journal', verdict: 'ok' }))
    expect(findings).toContainEqual(expect.objectContaining({ check: 'isolation', verdict: 'ok' }))
    expect(list).toMatchObject({ code: 0 })
    expect(list.stdout).toContain('many-4')
  })

  it('a node takes over from another one with a key of its own, saves snapshots and trims the journal', async () => {
    const second = openNode({
      ...server.as('node-2'),
      dataDir: join(dir, 'node-2'),
      workflows: { implementations: [order], activities: [] },
      logger: silentLogger,
      checkpoints: { everyMs: 100, restMs: 0, settleMs: 0 },
      history: { ageMs: 0 },
    })
    await node.close()
    node = await second
    await node.caughtUp
    expect(await shop.workflow(Order, 'a').update('take', 2)).toEqual({ left: 10 })
    await vi.waitFor(async () => expect((await onCall.journal.bounds()).firstSeq).toBeGreaterThan(500), WAIT)
    expectNoRefusals()
  })

  it('the carillon command runs a node, with what make-keys.mjs has written for it', async () => {
    await node.close()
    const folder = makeWorkflowFolder()
    const env = { ...(await environmentOf(server.keys.file('node-1.env'))), CARILLON_NODE_NAME: 'node-1' }
    const process = startNodeProcess({ servers: server.url, folder, data: 'data', env })
    await process.says('the node is ready')
    expect(await shop.workflow('counter', 'a').signal('add', { n: 1 }, { wait: 'applied' })).toMatchObject({
      duplicate: false,
    })
    expect(await process.stop()).toMatchObject({ code: 0 })
    folder.remove()
    expect(process.stdout + process.stderr).not.toContain(server.keys.seedOf('node-1'))
    expectNoRefusals()
  })

  it('a producer that asks for a linearizable read, which reads the journal, is told so at once', async () => {
    const reading = shop.workflow(Order, 'a').query('state', undefined, { consistency: 'linearizable' })
    await expect(reading).rejects.toMatchObject({
      code: 'SERVER_REFUSED',
      message: expect.stringContaining('STREAM.MSG.GET.carillon-log'),
    })
  })
})

async function environmentOf(file: string): Promise<Record<string, string>> {
  const lines = (await readFile(file, 'utf8')).trim().split('\n')
  return Object.fromEntries(lines.map((line) => line.split('=', 2) as [string, string]))
}
