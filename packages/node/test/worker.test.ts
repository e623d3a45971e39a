/** Remote workers over a real node: calls through the work queue, their retries, limits, and what becomes of calls nobody wants. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Carillon, connect, type Worker } from '@carillon/client'
import { type CarillonNode, openNode } from '@carillon/node'
import {
  type ActivityContext,
  type ActivityImplementations,
  codeOf,
  defineWorkflow,
  implement,
  implementActivities,
  type,
} from '@carillon/runtime'
import { silentLogger } from '@carillon/runtime/ports'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect as connectNats } from '@nats-io/transport-node'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'

const Media = defineWorkflow('media', {
  signals: { render: type<string>(), stop: type<void>() },
  queries: { done: { output: type<unknown[]>() } },
  activities: {
    render: {
      input: type<string>(),
      output: type<string>(),
      queue: 'gpu',
      concurrency: 2,
      retry: { initial: 50, attempts: 3 },
      startToClose: '10 seconds',
    },
  },
})
const media = implement(Media, {
  startOnSignal: true,
  state: () => ({ done: [] as unknown[] }),
  on: {
    async render(ctx, what) {
      ctx.state.done.push(await ctx.activities.render(what).catch((error: unknown) => String(codeOf(error))))
    },
    stop: (ctx) => ctx.complete(),
  },
  concurrent: ['stop'],
  queries: { done: ({ done }) => [...done] },
})

type Render = (what: string, ctx: ActivityContext) => string | Promise<string>
const rendering = (render: Render): ActivityImplementations[] => [
  implementActivities(Media, { render }, { queue: 'gpu' }),
]

async function until(condition: () => boolean | Promise<boolean>, ms = 15_000): Promise<void> {
  const endMs = Date.now() + ms
  while (!(await condition())) {
    if (Date.now() > endMs) throw new Error(`not within ${ms} ms: ${condition.toString()}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

describe('a remote worker', () => {
  let server: TestServer
  let dir: string
  let node: CarillonNode
  let carillon: Carillon
  const workers: Worker[] = []
  const lines: string[] = []
  const open = (): Promise<CarillonNode> =>
    openNode({
      servers: server.url,
      dataDir: join(dir, 'node'),
      workflows: { implementations: [media], activities: [] },
      logger: silentLogger,
    })
  const work = async (render: Render, concurrency = 10): Promise<Worker> => {
    const logger = { ...silentLogger, info: (_: object, line: string) => void lines.push(line) }
    const worker = await carillon.worker({ queue: 'gpu', activities: rendering(render), concurrency, logger })
    workers.push(worker)
    return worker
  }
  beforeAll(async () => {
    server = await startTestServer()
    dir = await mkdtemp(join(tmpdir(), 'carillon-worker-'))
    node = await open()
    carillon = await connect({ servers: server.url })
  })
  afterEach(async () => {
    for (const worker of workers.splice(0)) await worker.close(0)
  })
  afterAll(async () => {
    await carillon.close()
    await node.close()
    await server.stop()
    await rm(dir, { recursive: true, force: true })
  })
  const done = (id: string): Promise<unknown> => carillon.workflow(Media, id).query('done')

  it('runs the calls of its queue, those that waited for it as well, and no more at once than their limit', async () => {
    for (let i = 0; i < 20; i++) await carillon.workflow(Media, `a${i}`).signal('render', `picture ${i}`)
    let running = 0
    let most = 0
    const callIds = new Set<string>()
    const worker = await work(async (what, { callId, attempt, workflow }) => {
      running += 1
      most = Math.max(most, running)
      callIds.add(callId)
      await new Promise((resolve) => setTimeout(resolve, 5))
      running -= 1
      return `${what} for ${workflow.id}, attempt ${attempt}`
    })
    await until(() => worker.counts.completed === 20)
    for (let i = 0; i < 20; i++)
      await until(async () => ((await done(`a${i}`)) as unknown[])[0] === `picture ${i} for a${i}, attempt 1`)
    expect(callIds.size).toBe(20)
    expect(most).toBe(2)
  })

  it('tries again by the policy, and tells the last error', async () => {
    const attempts: number[] = []
    await work((_, { attempt }) => {
      attempts.push(attempt)
      if (attempt < 3) throw new Error('not yet')
      return 'at last'
    })
    await carillon.workflow(Media, 'b').signal('render', 'x', { wait: 'applied' })
    expect(await done('b')).toEqual(['at last'])
    expect(attempts).toEqual([1, 2, 3])
    for (const worker of workers.splice(0)) await worker.close()
    const worker = await work(() => {
      throw new Error('never')
    })
    await carillon.workflow(Media, 'c').signal('render', 'x', { wait: 'applied' })
    expect(await done('c')).toEqual(['ACTIVITY_FAILED'])
    expect(worker.counts).toMatchObject({ retried: 2, failed: 1 })
  })

  it('aborts what its instance does not want any more, and drops what it had not begun', async () => {
    const aborted: unknown[] = []
    const worker = await work(
      (_, { signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            aborted.push(codeOf(signal.reason))
            reject(signal.reason as Error)
          })
        }),
      1,
    )
    const [first, second] = ['d', 'e'].map((id) => carillon.workflow(Media, id))
    await first?.signal('render', 'long')
    await until(() => worker.held === 1)
    await second?.signal('render', 'never')
    await second?.terminate('enough', { wait: 'applied' })
    await first?.terminate('enough', { wait: 'applied' })
    await until(() => worker.counts.dropped === 2)
    expect(aborted).toEqual(['CLOSED'])
  })

  it('gives back what it cannot finish when it is closed, and another one takes it', async () => {
    const first = await work(
      (_, { signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
    )
    await carillon.workflow(Media, 'f').signal('render', 'x')
    await until(() => first.held === 1)
    await first.close(50)
    expect(first.counts).toMatchObject({ handedBack: 1, completed: 0 })
    const second = await work(() => 'by the second')
    await until(() => second.counts.completed === 1)
    expect(await done('f')).toEqual(['by the second'])
  })

  it('pulls nothing of an activity that is paused, ends what it has begun, and goes on when it is resumed', async () => {
    let release = (): void => {}
    const released = new Promise<void>((resolve) => (release = resolve))
    const worker = await work(async (what) => {
      if (what === 'first') await released
      return what
    }, 1)
    await carillon.workflow(Media, 'h').signal('render', 'first')
    await until(() => worker.held === 1)
    await carillon.pauseActivity(Media, 'render')
    await until(() => lines.includes('what is paused has changed'))
    for (let i = 0; i < 3; i++) await carillon.workflow(Media, `h${i}`).signal('render', 'later')
    await until(async () => (await carillon.queues())[0]?.waiting === 3)
    release()
    await until(() => worker.counts.completed === 1)
    expect(await done('h')).toEqual(['first'])
    expect(await carillon.queues()).toMatchObject([{ queue: 'gpu', waiting: 3, held: 0 }])
    // A new worker does not begin one either.
    const other = await work(() => 'by the other')
    expect(worker.held + other.held).toBe(0)
    await carillon.resumeActivity(Media, 'render')
    await until(() => worker.counts.completed + other.counts.completed === 4)
    for (let i = 0; i < 3; i++) await until(async () => ((await done(`h${i}`)) as unknown[]).length === 1)
  })

  it('finds the rest of what a full queue could not take, when there is room again', async () => {
    const nats = await connectNats({ servers: server.url })
    const manager = await jetstreamManager(nats)
    const { config } = await manager.streams.info('carillon-task')
    await manager.streams.update('carillon-task', { ...config, max_msgs_per_subject: 5 })
    for (let i = 0; i < 30; i++) await carillon.workflow(Media, `k${i}`).signal('render', String(i))
    await until(async () => (await carillon.queues())[0]?.waiting === 5)
    const worker = await work((what) => what)
    await until(() => worker.counts.completed === 30, 30_000)
    for (let i = 0; i < 30; i++) await until(async () => ((await done(`k${i}`)) as unknown[]).length === 1)
    expect(await carillon.queues()).toMatchObject([{ waiting: 0 }])
    await manager.streams.update('carillon-task', config)
    await nats.close()
  })

  it('goes on while the node is away: the result is applied when it is back', async () => {
    let release = (): void => {}
    const released = new Promise<void>((resolve) => (release = resolve))
    const worker = await work(async () => {
      await released
      return 'meanwhile'
    })
    await carillon.workflow(Media, 'g').signal('render', 'x')
    await until(() => worker.held === 1)
    await node.close()
    release()
    await until(() => worker.counts.completed === 1)
    node = await open()
    await until(async () => ((await done('g')) as unknown[]).length === 1)
    expect(await done('g')).toEqual(['meanwhile'])
  })

  it('is refused where it has nothing to do', async () => {
    const activities = rendering(() => 'x')
    await expect(carillon.worker({ queue: 'cpu', activities })).rejects.toMatchObject({ code: 'INVALID_DEFINITION' })
    await expect(carillon.worker({ queue: 'gpu', activities, concurrency: 0 })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    })
  })
})
