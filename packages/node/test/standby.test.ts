import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { connect } from '@carillon/client'
import { type CarillonNode, openNode } from '@carillon/node'
import { defineWorkflow, implement, type } from '@carillon/runtime'
import { silentLogger } from '@carillon/runtime/ports'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'

import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'

const Sum = defineWorkflow('sum', { signals: { add: type<number>() }, queries: { total: { output: type<number>() } } })
const sum = implement(Sum, {
  startOnSignal: true,
  state: () => 0,
  on: { add: (ctx, n) => (ctx.state += n) },
  queries: { total: (total) => total },
})

describe('a second node of a cluster', () => {
  let server: TestServer
  let dir: string
  beforeAll(async () => {
    server = await startTestServer()
    dir = await mkdtemp(join(tmpdir(), 'carillon-standby-'))
  })
  afterAll(async () => {
    await server.stop()
    await rm(dir, { recursive: true, force: true })
  })

  const open = (name: string): Promise<CarillonNode> =>
    openNode({
      servers: server.url,
      name,
      dataDir: join(dir, name),
      workflows: { implementations: [sum], activities: [] },
      logger: silentLogger,
    })

  it('stands by while the first one serves, and takes its place with nothing lost', async () => {
    const first = await open('first')
    const carillon = await connect({ servers: server.url })
    const handle = carillon.workflow(Sum, 'a')
    await handle.signal('add', 1, { wait: 'applied' })

    const node = await open('second')
    await node.caughtUp
    await handle.signal('add', 2, { wait: 'applied' })
    expect(node.cluster.roles.owner).toBe(0)

    await first.close()
    await handle.signal('add', 4, { wait: 'applied' })
    expect(await handle.query('total')).toBe(7)
    expect(node.counts.applied).toBe(3)
    await vi.waitFor(() => expect(node.cluster.roles.owner).toBe(64), { timeout: 5000 })
    await node.close()
    await carillon.close()
  })

  it('is refused under the name of one that is there', async () => {
    const first = await open('first')
    await expect(
      openNode({
        servers: server.url,
        name: 'first',
        dataDir: join(dir, 'namesake'),
        workflows: { implementations: [sum], activities: [] },
        logger: silentLogger,
      }),
    ).rejects.toMatchObject({ code: 'NODE_NAME_IN_USE' })
    await first.close()
  })
})
