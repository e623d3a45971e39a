/** Tasks over a real node: completed by the client, by a plain NATS message, and by a command; open across a restart. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Carillon, connect } from '@carillon/client'
import { type CarillonNode, openNode } from '@carillon/node'
import { codeOf, defineWorkflow, implement, type } from '@carillon/runtime'
import { silentLogger } from '@carillon/runtime/ports'
import { connect as connectNats, headers, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'
import { endAll, runCli } from './cli/cli-process.ts'

const Order = defineWorkflow('order', {
  result: type<string>(),
  tasks: { pay: { input: type<{ amount: number }>(), output: type<{ receipt: string }>() } },
})
const order = implement(Order, {
  state: () => ({}),
  async run(ctx) {
    const { result } = ctx.task('pay', { amount: 12 }, { deadline: '1 hour' })
    return await result.then(
      ({ receipt }) => receipt,
      (error: unknown) => `${codeOf(error)}: ${(error as Error).message}`,
    )
  },
})

describe('a task', () => {
  let server: TestServer
  let dir: string
  let node: CarillonNode
  let carillon: Carillon
  let nats: NatsConnection
  const open = (): Promise<CarillonNode> =>
    openNode({
      servers: server.url,
      dataDir: join(dir, 'node'),
      workflows: { implementations: [order], activities: [] },
      logger: silentLogger,
    })
  beforeAll(async () => {
    server = await startTestServer()
    dir = await mkdtemp(join(tmpdir(), 'carillon-tasks-'))
    node = await open()
    carillon = await connect({ servers: server.url })
    nats = await connectNats({ servers: server.url })
  })
  afterAll(async () => {
    await endAll()
    await nats.close()
    await carillon.close()
    await node.close()
    await server.stop()
    await rm(dir, { recursive: true, force: true })
  })
  const start = async (id: string) => {
    const handle = carillon.workflow(Order, id)
    await handle.start()
    const { tasks = [] } = await handle.describe()
    return { handle, token: tasks[0]?.token as string, tasks }
  }

  it('is completed by the client, once, also behind a restart of the node; a late one is told CLOSED', async () => {
    const { handle, token, tasks } = await start('by-client')
    expect(tasks).toMatchObject([{ name: 'pay', input: { amount: 12 }, dueMs: expect.any(Number) as number }])
    await node.close()
    node = await open()
    expect((await handle.describe()).tasks).toEqual(tasks)
    await carillon.completeTask(token, { receipt: 'r-1' }, { id: 'hook-1' })
    expect(await handle.result()).toBe('r-1')
    expect(await carillon.completeTask(token, { receipt: 'r-2' }, { id: 'hook-1' })).toMatchObject({ duplicate: true })
    await expect(carillon.completeTask(token, { receipt: 'r-2' })).rejects.toMatchObject({ code: 'CLOSED' })
    expect(await handle.result()).toBe('r-1')
    const forged = token.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A'))
    await expect(carillon.completeTask(forged, { receipt: 'r-3' })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(carillon.completeTask('order.by-client.pay')).rejects.toMatchObject({ code: 'INVALID_ID' })
  })

  it('is completed, or failed, by one plain NATS message on the public door', async () => {
    const one = await start('by-nats')
    const id = headers()
    id.set('Carillon-Id', 'webhook-9')
    const ack = await nats.request(`carillon.signal.${one.token}`, '{"receipt":"r-9"}', { timeout: 5000, headers: id })
    expect(ack.json()).toMatchObject({ stream: 'carillon-log', seq: expect.any(Number) as number })
    expect(await one.handle.result()).toBe('r-9')
    const other = await start('failed-by-nats')
    const failed = other.token.replace('.task=3A', '.task-failed=3A')
    await nats.request(`carillon.signal.${failed}`, '{"code":"DECLINED","message":"no money"}', { timeout: 5000 })
    expect(await other.handle.result()).toBe('TASK_FAILED: no money')
  })

  it('is listed and completed by commands', async () => {
    const { handle, token } = await start('by-command')
    const env = { CARILLON_SERVERS: server.url }
    const listed = await runCli(['task', 'list', 'order', 'by-command', '--json'], { env })
    expect(JSON.parse(listed.stdout)).toMatchObject([{ name: 'pay', token }])
    const done = await runCli(['task', 'complete', token, '{"receipt": "r-7"}'], { env })
    expect(done).toMatchObject({ code: 0, stderr: '' })
    expect(await handle.result()).toBe('r-7')
    const late = await runCli(['task', 'fail', token, 'too late'], { env })
    expect(late.code).not.toBe(0)
    expect(late.stderr).toMatch(/^error CLOSED: /)
  })
})
