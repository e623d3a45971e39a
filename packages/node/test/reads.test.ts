import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Carillon, connect } from '@carillon/client'
import { type CarillonNode, openNode } from '@carillon/node'
import { defineWorkflow, type } from '@carillon/runtime'
import { silentLogger } from '@carillon/runtime/ports'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect as connectNats, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { loadWorkflows } from '../src/load-workflows.ts'
import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'
import { endAll, errorLine, runCli } from './cli/cli-process.ts'
import { makeWorkflowFolder, type WorkflowFolder } from './cli/workflow-folder.ts'

const METER = `
import { defineWorkflow, implement, implementActivities, type } from '@carillon/runtime'

const Meter = defineWorkflow('meter', {
  signals: { add: type<number>(), check: type<void>(), reset: type<void>(), ask: type<void>() },
  queries: { count: { output: type<number>() }, token: { output: type<string>() } },
  activities: { double: { input: type<number>(), output: type<number>() } },
  tasks: { confirm: { output: type<number>() } },
})
export const meter = implement(Meter, {
  startOnSignal: true,
  state: () => ({ sum: 0, seen: [] as number[], by: new Map<string, number>(), token: '' }),
  on: {
    add(ctx, n) {
      ctx.state.sum += n
      ctx.state.seen.push(n)
      ctx.state.by.set('n' + n, ctx.now())
    },
    async check(ctx) {
      ctx.state.sum = await ctx.activities.double(ctx.state.sum)
    },
    reset(ctx) {
      ctx.state.seen = []
    },
    async ask(ctx) {
      const { token, result } = ctx.task('confirm')
      ctx.state.token = token
      ctx.state.sum += (await result) as number
    },
  },
  queries: { count: (state) => state.seen.length, token: (state) => state.token },
})
export const activities = implementActivities(Meter, { double: (n) => n * 2 })
`
const Meter = defineWorkflow('meter', {
  signals: { add: type<number>(), check: type<void>(), reset: type<void>(), ask: type<void>() },
  queries: { count: { output: type<number>() }, token: { output: type<string>() } },
})

describe('reads', () => {
  let server: TestServer
  let dir: string
  let folder: WorkflowFolder
  let node: CarillonNode
  let carillon: Carillon
  let foreign: NatsConnection
  beforeAll(async () => {
    server = await startTestServer()
    dir = await mkdtemp(join(tmpdir(), 'carillon-reads-'))
    folder = makeWorkflowFolder(METER)
    node = await openNode({
      servers: server.url,
      dataDir: join(dir, 'node'),
      workflows: await loadWorkflows([folder.file('workflow.ts')]),
      logger: silentLogger,
    })
    carillon = await connect({ servers: server.url })
    foreign = await connectNats({ servers: server.url })
  })
  afterAll(async () => {
    await endAll()
    await foreign.close()
    await carillon.close()
    await node.close()
    await server.stop()
    folder.remove()
    await rm(dir, { recursive: true, force: true })
  })
  const history = (...more: readonly string[]) =>
    runCli(['history', 'meter', 'm', '--servers', server.url, '--state', '--workflows', 'workflow.ts', ...more], {
      cwd: folder.path,
    })

  it('G7: that are linearizable see every input that a foreign writer had acknowledged before', async () => {
    const handle = carillon.workflow(Meter, 'l')
    const door = jetstream(foreign)
    for (let n = 1; n <= 100; n++) {
      await door.publish('carillon.signal.meter.l.add', String(n))
      expect(await handle.query('count', undefined, { consistency: 'linearizable' })).toBe(n)
    }
  })

  it('show the state after every input, with what changed and what it asked for', async () => {
    const handle = carillon.workflow(Meter, 'm')
    for (const n of [1, 2]) await handle.signal('add', n, { id: `id-${n}`, wait: 'applied' })
    const { seq } = await handle.signal('check', undefined, { wait: 'applied' })
    await handle.signal('add', 2, { id: 'id-2' })
    await handle.signal('reset', undefined, { wait: 'applied' })
    await handle.signal('ask')
    await carillon.completeTask(await handle.query('token'), 10)
    const { code, stdout } = await history('--json')
    expect(code).toBe(0)
    const rows = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { readonly digest: string; readonly state: object })
    expect(rows).toMatchObject([
      { kind: 'signal', name: 'add', outcome: 'applied', state: { sum: 1, seen: [1] } },
      {
        inputId: 'id-2',
        changes: [
          { path: 'sum', before: 1, after: 3 },
          { path: 'seen.1', after: 2 },
          { path: 'by.1', after: ['n2', expect.any(Number)] },
        ],
        effects: [{ kind: 'reply', outcome: { ok: true } }],
      },
      { seq, name: 'check', changes: [], effects: [{ kind: 'activity', id: `${seq}.0`, name: 'double', input: 3 }] },
      { kind: 'activity', name: 'double', changes: [{ path: 'sum', before: 3, after: 6 }] },
      { outcome: 'duplicate', inputId: 'id-2', changes: [] },
      {
        name: 'reset',
        changes: [
          { path: 'seen.0', before: 1 },
          { path: 'seen.1', before: 2 },
        ],
        state: { seen: [] },
      },
      { name: 'ask' },
      // The token is of this cluster.
      { outcome: 'applied', changes: [{ path: 'sum', before: 6, after: 16 }] },
    ])
    expect(rows.at(-1)?.digest).toBe((await handle.describe()).digest)
  })

  it('show the state as of one seq, and say it when the journal does not hold the beginning any more', async () => {
    const seqs: number[] = []
    for await (const { seq } of carillon.workflow(Meter, 'm').history()) seqs.push(seq)
    const asOf = await history('--at', String(seqs[1]))
    expect(asOf.stdout).toContain(`seq ${seqs[1]}  `)
    expect(asOf.stdout).toContain('~ sum: 1 → 3')
    expect(asOf.stdout).toContain('"sum": 3')
    expect(asOf.stdout).not.toContain('"sum": 1')
    await (await jetstreamManager(foreign)).streams.purge('carillon-log', { seq: seqs[1] ?? 0 })
    const trimmed = await history()
    expect([trimmed.code, trimmed.stdout]).toEqual([6, ''])
    expect(errorLine(trimmed)).toMatch(
      /^error JOURNAL_BEHIND: the journal has been trimmed: it begins at seq \d+, .* meter\/m started/,
    )
  })
})
