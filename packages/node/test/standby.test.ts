import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { connect } from '@carillon/client'
import { type CarillonNode, openNode } from '@carillon/node'
import { defineWorkflow, implement, type } from '@carillon/runtime'
import { silentLogger } from '@carillon/runtime/ports'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

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

  const open = (name: string, signal?: AbortSignal): Promise<CarillonNode> =>
    openNode({
      servers: server.url,
      name,
      dataDir: join(dir, name),
      workflows: { implementations: [sum], activities: [] },
      logger: silentLogger,
      signal,
    })

  it('stands by while the first one serves, and takes its place with nothing lost', async () => {
    const first = await open('first')
    const carillon = await connect({ servers: server.url })
    const handle = carillon.workflow(Sum, 'a')
    await handle.signal('add', 1, { wait: 'applied' })

    let isServing = false
    const second = open('second').then((node) => {
      isServing = true
      return node
    })
    await handle.signal('add', 2, { wait: 'applied' })
    expect(isServing).toBe(false)

    await first.close()
    const node = await second
    await handle.signal('add', 4, { wait: 'applied' })
    expect(await handle.query('total')).toBe(7)
    expect(node.counts.applied).toBe(3)
    await node.close()
    await carillon.close()
  })

  it('gives up standing by when it is told to', async () => {
    const first = await open('first')
    const abort = new AbortController()
    const second = open('second', abort.signal)
    abort.abort(new Error('enough'))
    await expect(second).rejects.toThrow('enough')
    await first.close()
  })
})
