/** Remote snapshots over a real server and real disks: a node that has lost its disk, and the journal before it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Carillon, connect } from '@carillon/client'
import { type CarillonNode, type NodeOptions, openNode } from '@carillon/node'
import { defineWorkflow, type HistoryOptions, implement, implementActivities, type } from '@carillon/runtime'
import { type LogMessage, silentLogger } from '@carillon/runtime/ports'
import { Refold } from '@carillon/runtime/replay'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect as connectNats, type NatsConnection } from '@nats-io/transport-node'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'

const WAIT = { timeout: 20_000, interval: 20 }
const IDS = Array.from({ length: 12 }, (_, n) => `keeper-${n}`)
const LARGE_BYTES = 8 * 1024 * 1024 - 4096

const Keeper = defineWorkflow('keeper', {
  signals: {
    add: type<number>(),
    grow: type<number>(),
    work: type<string>(),
    nap: type<number>(),
    remind: type<number>(),
    label: type<string>(),
  },
  queries: { seen: { output: type<{ sum: number; log: string[]; bytes: number }>() } },
  activities: { call: { input: type<string>(), output: type<string>() } },
  attributes: { label: 'text' },
})
const keeper = implement(Keeper, {
  startOnSignal: true,
  state: () => ({ sum: 0, log: [] as string[], large: '' }),
  on: {
    add: (ctx, n) => void (ctx.state.sum += n),
    grow: (ctx, bytes) => void (ctx.state.large = 'x'.repeat(bytes)),
    async work(ctx, what) {
      ctx.state.log.push(`asked ${what}`)
      ctx.state.log.push(await ctx.activities.call(what))
    },
    async nap(ctx, ms) {
      await ctx.sleep(ms)
      ctx.state.log.push('awake')
    },
    remind: (ctx, ms) => ctx.timers.later.set(ms),
    label: (ctx, label) => ctx.attributes.set({ label }),
  },
  timers: { later: { run: (ctx) => void ctx.state.log.push('reminded') } },
  queries: { seen: ({ sum, log, large }) => ({ sum, log: [...log], bytes: large.length }) },
})

let server: TestServer
let folder: string
let nc: NatsConnection
let carillon: Carillon
let node: CarillonNode | undefined
let isOpen = true
let calls: string[] = []
const activities = [
  implementActivities(Keeper, {
    async call(what) {
      calls.push(what)
      await vi.waitUntil(() => isOpen, WAIT)
      return `done ${what}`
    },
  }),
]

beforeEach(async () => {
  server = await startTestServer()
  folder = await mkdtemp(join(tmpdir(), 'carillon-snapshots-'))
  nc = await connectNats({ servers: server.url })
  isOpen = true
  calls = []
  await start()
  carillon = await connect({ servers: server.url })
})

afterEach(async () => {
  isOpen = true
  await carillon.close()
  await node?.close()
  await nc.close()
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

async function start(options: Partial<NodeOptions> = {}): Promise<void> {
  await open(options)
  await node?.caughtUp
}

/** Without waiting until it has taken its part. */
async function open(options: Partial<NodeOptions>): Promise<void> {
  node = await openNode({
    servers: server.url,
    dataDir: join(folder, 'data'),
    logger: silentLogger,
    partitions: 4,
    workflows: { implementations: [keeper], activities },
    checkpoints: { everyMs: 100, restMs: 0, settleMs: 0 },
    ...options,
  })
}

async function stopWithoutDisk(): Promise<void> {
  await node?.close()
  node = undefined
  await rm(join(folder, 'data'), { recursive: true })
}

/** Waits until everything that is in the journal now is saved remotely; gives its end. */
async function saved(): Promise<number> {
  const { lastSeq } = await carillon.journal.bounds()
  await vi.waitUntil(
    () => node?.checkpoints.length === 4 && node.checkpoints.every(({ coveredSeq }) => coveredSeq >= lastSeq),
    WAIT,
  )
  return lastSeq
}

async function trimTo(seq: number): Promise<void> {
  await (await jetstreamManager(nc)).streams.purge('carillon-log', { seq: seq + 1 })
  expect((await carillon.journal.bounds()).firstSeq).toBe(seq + 1)
}

async function journalOf(id: string): Promise<LogMessage[]> {
  const messages: LogMessage[] = []
  for await (const message of carillon.journal.inputsOf('keeper', id)) messages.push(message)
  return messages
}

async function digestOf(messages: readonly LogMessage[], id: string): Promise<string | undefined> {
  const { clusterId: taskSecret } = carillon.cluster
  const refold = new Refold({ subjects: carillon.journal.subjects, implementation: keeper, id, taskSecret })
  for (const message of messages) await refold.apply(message)
  return refold.digest()
}

describe('a node without its disk', () => {
  it('has every instance back from the snapshots where the journal is trimmed: states, effects, timers, known ids, code that waits', async () => {
    const of = (id: string) => carillon.workflow(Keeper, id)
    for (const [n, id] of IDS.entries()) {
      for (let i = 0; i < 80; i++) await of(id).signal('add', n + i, { id: `add-${i}` })
      await of(id).signal('label', `label ${n}`)
    }
    isOpen = false
    await of('keeper-1').signal('work', 'one')
    await of('keeper-2').signal('nap', 1500)
    await of('keeper-3').signal('remind', 1500)
    await of('keeper-4').signal('grow', LARGE_BYTES, { wait: 'applied' })
    await vi.waitUntil(() => calls.length === 1, WAIT)
    const covered = await saved()
    const copies = new Map<string, LogMessage[]>()
    for (const id of IDS) copies.set(id, await journalOf(id))
    await stopWithoutDisk()
    await trimTo(covered)
    // Accepted while nobody is there.
    await of('keeper-1').signal('add', 1000)
    await start()
    expect((await of('keeper-4').query('seen')).bytes).toBe(LARGE_BYTES)
    // The call was pending, so it is made again; the handler behind it goes on.
    await vi.waitUntil(() => calls.length === 2, WAIT)
    isOpen = true
    const logOf = async (id: string): Promise<readonly string[]> => (await of(id).query('seen')).log
    await vi.waitUntil(async () => (await logOf('keeper-1')).at(-1) === 'done one', WAIT)
    await vi.waitUntil(async () => (await logOf('keeper-2')).at(-1) === 'awake', WAIT)
    await vi.waitUntil(async () => (await logOf('keeper-3')).at(-1) === 'reminded', WAIT)
    expect((await of('keeper-1').query('seen')).sum).toBe(80 + (79 * 80) / 2 + 1000)
    // A repeat of an id that is in the trimmed part changes nothing.
    await of('keeper-5').signal('add', 5, { id: 'add-5', wait: 'applied' })
    expect((await of('keeper-5').query('seen')).sum).toBe(80 * 5 + (79 * 80) / 2)
    const found = []
    for await (const { id } of carillon.list({ contract: Keeper, where: { label: 'label 7' } })) found.push(id)
    expect(found).toEqual(['keeper-7'])
    expect(await carillon.count({ contract: Keeper })).toBe(IDS.length)
    // Every one equals the fold of the whole, also after what came since.
    for (const [id, before] of copies) {
      const behind = (await journalOf(id)).filter(({ seq }) => seq > covered)
      expect((await of(id).describe()).digest).toBe(await digestOf([...before, ...behind], id))
    }
  }, 60_000)

  it('law 8: stops where neither the journal nor the snapshots reach', async () => {
    for (const id of IDS) await carillon.workflow(Keeper, id).signal('add', 1)
    const covered = await saved()
    await node?.close()
    node = undefined
    await carillon.workflow(Keeper, 'keeper-1').signal('add', 1)
    await carillon.workflow(Keeper, 'keeper-1').signal('add', 1)
    await trimTo(covered + 1)
    await rm(join(folder, 'data'), { recursive: true })
    // The node says so of each partition, again and again, and serves none.
    const stopped = new Map<unknown, number>()
    const warn = (fields: object): void => {
      const { partition, code } = fields as { partition?: unknown; code?: unknown }
      if (code === 'JOURNAL_BEHIND') stopped.set(partition, (stopped.get(partition) ?? 0) + 1)
    }
    await open({ logger: { ...silentLogger, warn } })
    await vi.waitUntil(() => stopped.size === 4 && [...stopped.values()].every((times) => times > 1), WAIT)
    expect(node).toMatchObject({ counts: { applied: 0 } })
    const asked = carillon.workflow(Keeper, 'keeper-1').query('seen', undefined, { timeoutMs: 300 })
    await expect(asked).rejects.toMatchObject({
      code: expect.stringMatching(/^(NO_NODE|TIMEOUT|NOT_OWNER)$/u) as string,
    })
  }, 60_000)
})

describe('trimming', () => {
  it('removes what is saved and not to be kept, says so to who reads it, and nothing is missed by a node without its disk', async () => {
    await node?.close()
    await start({ history: { bytes: 2000 } })
    for (let i = 0; i < 50; i++) for (const id of IDS) await carillon.workflow(Keeper, id).signal('add', 1)
    const { lastSeq } = await carillon.journal.bounds()
    await vi.waitUntil(async () => (await carillon.journal.bounds()).firstSeq > lastSeq - 40, WAIT)
    expect(node?.trimmed).toBeGreaterThan(500)
    const { firstSeq } = await carillon.journal.bounds()
    // The newest are kept.
    expect(firstSeq).toBeLessThanOrEqual(lastSeq - 5)
    const read = async (options: HistoryOptions): Promise<number> => {
      let count = 0
      for await (const entry of carillon.workflow(Keeper, 'keeper-3').history(options)) count += entry.seq > 0 ? 1 : 0
      return count
    }
    await expect(read({})).rejects.toMatchObject({ code: 'HISTORY_TRIMMED', details: { firstSeq } })
    expect(await read({ partial: true })).toBeLessThan(20)
    expect(await read({ from: firstSeq })).toBe(await read({ partial: true }))
    // One that began behind the trimmed part is whole.
    await carillon.workflow(Keeper, 'late').signal('add', 1, { wait: 'applied' })
    let late = 0
    for await (const { kind } of carillon.workflow(Keeper, 'late').history()) late += kind === 'signal' ? 1 : 0
    expect(late).toBe(1)
    await stopWithoutDisk()
    await start()
    for (const id of IDS) expect((await carillon.workflow(Keeper, id).query('seen')).sum).toBe(50)
  }, 60_000)
})
