/** The life of an instance over a real node: what holds across a restart of the node, and through the client. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Carillon, connect } from '@carillon/client'
import { type CarillonNode, openNode } from '@carillon/node'
import { defineWorkflow, implement, implementActivities, type } from '@carillon/runtime'
import { silentLogger } from '@carillon/runtime/ports'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'

const Feed = defineWorkflow('feed', {
  input: type<{ total: number } | undefined>(),
  signals: { item: type<number>() },
  queries: { total: { output: type<{ total: number; lives: number }>() } },
})
const feed = implement(Feed, {
  startOnSignal: true,
  state: (input) => ({ total: input?.total ?? 0, lives: 1 }),
  queries: { total: ({ total, lives }) => ({ total, lives }) },
  async run(ctx) {
    for (let left = 3; left > 0; left--) ctx.state.total += (await ctx.receive('item')).payload
    return ctx.continueAsNew(undefined, { state: { total: ctx.state.total, lives: ctx.state.lives + 1 } })
  },
})

const Rollout = defineWorkflow('rollout', {
  signals: { deploy: type<string>(), pause: type<void>(), proceed: type<void>() },
  queries: { state: { output: type<{ done: string[]; isPaused: boolean }>() } },
  activities: { install: { input: type<string>() } },
})
const rollout = implement(Rollout, {
  startOnSignal: true,
  state: () => ({ done: [] as string[], isPaused: false }),
  on: {
    async deploy(ctx, host) {
      await ctx.activities.install(host)
      await ctx.condition(() => !ctx.state.isPaused)
      ctx.state.done.push(host)
    },
    pause: (ctx) => void (ctx.state.isPaused = true),
    proceed: (ctx) => void (ctx.state.isPaused = false),
  },
  concurrent: ['pause', 'proceed'],
  queries: { state: ({ done, isPaused }) => ({ done: [...done], isPaused }) },
})
let letInstall: () => void = () => {}
const installed = new Promise<void>((resolve) => (letInstall = resolve))
const installs = implementActivities(Rollout, { install: () => installed })

describe('the life of an instance', () => {
  let server: TestServer
  let dir: string
  let node: CarillonNode
  let carillon: Carillon
  const open = (): Promise<CarillonNode> =>
    openNode({
      servers: server.url,
      name: 'node',
      dataDir: join(dir, 'node'),
      workflows: { implementations: [feed, rollout], activities: [installs] },
      logger: silentLogger,
    })
  beforeAll(async () => {
    server = await startTestServer()
    dir = await mkdtemp(join(tmpdir(), 'carillon-lifecycle-'))
    node = await open()
    carillon = await connect({ servers: server.url })
  })
  afterAll(async () => {
    await carillon.close()
    await node.close()
    await server.stop()
    await rm(dir, { recursive: true, force: true })
  })
  const restart = async (): Promise<void> => {
    await node.close()
    node = await open()
  }

  it('goes on through continueAsNew and a restart of the node, with its signals in order and each id once', async () => {
    const handle = carillon.workflow(Feed, 'f')
    for (let n = 1; n <= 10; n++) await handle.signal('item', n, { id: `id-${n}` })
    await handle.signal('item', 1, { id: 'id-1', wait: 'applied' })
    expect(await handle.query('total')).toEqual({ total: 55, lives: 4 })
    const { digest } = await handle.describe()
    await restart()
    expect(await handle.describe()).toMatchObject({ digest, status: 'running', incarnation: 1, mailbox: 0 })
    await handle.signal('item', 3, { id: 'id-3' })
    await handle.signal('item', 11, { wait: 'applied' })
    await handle.signal('item', 12, { wait: 'applied' })
    expect(await handle.query('total')).toEqual({ total: 78, lives: 5 })
  })

  it('takes a concurrent signal while a handler waits for its activity, and still knows it after a restart', async () => {
    const handle = carillon.workflow(Rollout, 'r')
    await handle.signal('deploy', 'a')
    const deployed = handle.signal('deploy', 'b', { wait: 'applied' })
    await handle.signal('pause', undefined, { wait: 'applied' })
    expect(await handle.query('state')).toEqual({ done: [], isPaused: true })
    await restart()
    letInstall()
    await handle.signal('proceed', undefined, { wait: 'applied' })
    await deployed
    expect(await handle.query('state')).toEqual({ done: ['a', 'b'], isPaused: false })
  })
})
