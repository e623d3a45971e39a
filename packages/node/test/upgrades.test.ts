import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Carillon, connect } from '@carillon/client'
import { type CarillonNode, openNode } from '@carillon/node'
import { silentLogger } from '@carillon/runtime/ports'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect as connectNats } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { loadWorkflows } from '../src/load-workflows.ts'
import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'
import { endAll, runCli, until } from './cli/cli-process.ts'
import { makeWorkflowFolder, type WorkflowFolder } from './cli/workflow-folder.ts'

/** Every build is a file of its own. What an activity does is the test's: it waits for the gate. */
const build = (order: string, more = ''): string => `
import { defineWorkflow, implement, implementActivities, type } from '@carillon/runtime'

const gate = (globalThis.upgradesGate ??= { calls: [], open: new Set() })
const Order = defineWorkflow('order', {
  signals: { order: type<string>(), add: type<number>(), spare: type<void>() },
  queries: { state: { output: type<unknown>() } },
  activities: { pay: { input: type<string>(), output: type<string>() }, check: { input: type<string>(), output: type<string>() } },
})
const call = (name) => async (what) => {
  gate.calls.push(name + ' ' + what)
  while (!gate.open.has(what)) await new Promise((resolve) => setTimeout(resolve, 10))
  return name + ' ' + what
}
export const order = implement(Order, {
  startOnSignal: true,
  ${more === '' ? 'state: () => ({ log: [] as string[], sum: 0 }),' : more}
  on: {
    ${order},
    add: (ctx, n) => void (ctx.state.${more.includes('cents') ? 'cents += n * 100' : 'sum += n'}),
    spare: () => {},
  },
  queries: { state: (state) => state },
})
export const activities = implementActivities(Order, { pay: call('pay'), check: call('check') })
`
const FIRST = build(`async order(ctx, what) { ctx.state.log.push(await ctx.activities.pay(what)) }`)
/** As it should be: guarded. */
const PATCHED = build(
  `async order(ctx, what) {
    if (ctx.patched('check')) ctx.state.log.push(await ctx.activities.check(what))
    ctx.state.log.push(await ctx.activities.pay(what))
  }`,
  `patches: ['check'], state: () => ({ log: [] as string[], sum: 0 }),`,
)
/** As it should not be. */
const CARELESS = build(
  `async order(ctx, what) {
    ctx.state.log.push(await ctx.activities.check(what))
    ctx.state.log.push(await ctx.activities.pay(what))
  }`,
)
const VERSION_2 = build(
  `async order(ctx, what) {
    if (ctx.patched('check')) ctx.state.log.push(await ctx.activities.check(what))
    ctx.state.log.push(await ctx.activities.pay(what))
  }`,
  `patches: ['check'], version: 2, migrate: ({ log, sum }: { log: string[]; sum: number }) => ({ log, cents: sum * 100 }), state: () => ({ log: [] as string[], cents: 0 }),`,
)
const WRONG_MIGRATE = VERSION_2.replace('cents: sum * 100', 'cents: sum')

interface Gate {
  readonly calls: string[]
  readonly open: Set<string>
}
const gate = ((globalThis as { upgradesGate?: Gate }).upgradesGate ??= { calls: [], open: new Set() })

describe('a deploy', () => {
  let server: TestServer
  let dir: string
  let folder: WorkflowFolder
  let node: CarillonNode
  let carillon: Carillon
  const open = async (file: string): Promise<CarillonNode> =>
    openNode({
      servers: server.url,
      dataDir: join(dir, 'node'),
      partitions: 4,
      workflows: await loadWorkflows([folder.file(file)]),
      logger: silentLogger,
    })
  const deploy = async (file: string): Promise<void> => {
    await node.close()
    node = await open(file)
    await node.caughtUp
  }
  const stateOf = (id: string): Promise<unknown> => carillon.workflow('order', id).query('state')
  const replay = (...args: readonly string[]) =>
    runCli(['replay', '--servers', server.url, '--json', '--workflows', ...args], { cwd: folder.path })
  beforeAll(async () => {
    server = await startTestServer()
    dir = await mkdtemp(join(tmpdir(), 'carillon-upgrades-'))
    folder = makeWorkflowFolder(FIRST)
    const files = {
      first: FIRST,
      patched: PATCHED,
      careless: CARELESS,
      'version-2': VERSION_2,
      'wrong-migrate': WRONG_MIGRATE,
    }
    for (const [name, text] of Object.entries(files)) folder.write(`${name}.ts`, text)
    node = await open('first.ts')
    carillon = await connect({ servers: server.url })
  })
  afterAll(async () => {
    await endAll()
    await carillon.close()
    await node.close()
    await server.stop()
    folder.remove()
    await rm(dir, { recursive: true, force: true })
  })

  it('in the middle of a handler that waits: with a patch it goes on as it began, and what begins behind it goes the new way', async () => {
    const handle = carillon.workflow('order', 'a')
    await carillon.workflow('order', 'slow').signal('order', 'slow')
    await carillon.workflow('order', 'idle').signal('add', 7, { wait: 'applied' })
    await handle.signal('order', 'one')
    await until(() => gate.calls.includes('pay one'), 'the activity')
    await deploy('patched.ts')
    await handle.signal('order', 'two')
    // The activity was in flight: it is called again, under its old name.
    await until(() => gate.calls.filter((call) => call === 'pay one').length === 2, 'the activity again')
    gate.open.add('one').add('two')
    await handle.signal('spare', undefined, { wait: 'applied' })
    expect(gate.calls).not.toContain('check one')
    expect(await stateOf('a')).toEqual({ log: ['pay one', 'check two', 'pay two'], sum: 0 })
    const { digest } = await handle.describe()
    // Once for each of the partitions, also after another start.
    await deploy('patched.ts')
    expect(await handle.describe()).toMatchObject({ digest })
    const nats = await connectNats({ servers: server.url })
    const manager = await jetstreamManager(nats)
    const { state } = await manager.streams.info('carillon-log', { subjects_filter: 'carillon.log.*.order.$type.>' })
    expect(Object.values(state.subjects ?? {})).toEqual([1, 1, 1, 1])
    await nats.close()
  })

  it('is tried before by replay: the build that runs differs in nothing, one that asks for something else is found, with the place', async () => {
    const same = await replay('patched.ts')
    expect([same.code, same.stderr]).toEqual([0, ''])
    expect(JSON.parse(same.stdout)).toMatchObject({
      instances: 3,
      same: 3,
      differs: 0,
      incomplete: 0,
      // It is not over yet: the old way must stay in the code.
      waitsBefore: { 'order: check': { count: 1, example: 'slow' } },
    })
    gate.open.add('slow')
    await carillon.workflow('order', 'slow').signal('spare', undefined, { wait: 'applied' })

    const careless = await replay('careless.ts', '--against', 'patched.ts', '--journal-only')
    expect(careless.code).toBe(1)
    const lines = careless.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { readonly id?: string; readonly differences: readonly object[] })
    const [report, counts] = [lines.find(({ id }) => id === 'a'), lines.at(-1)]
    expect(report).toMatchObject({ type: 'order', id: 'a', result: 'differs' })
    expect(report?.differences[0]).toMatchObject({
      what: expect.stringMatching(/suspended at activity pay: NONDETERMINISTIC: .* asks for check as \d+\.0/),
    })
    const first = await carillon.workflow('order', 'a').history({ limit: 1 }).next()
    const { seq } = first.value as { readonly seq: number }
    expect(report?.differences.at(-1)).toMatchObject({
      seq,
      what: expect.stringContaining('another way than the other one, at signal order'),
      effects: { before: [`activity pay ${seq}.0 "one"`], after: [`activity check ${seq}.0 "one"`] },
    })
    expect(counts).toMatchObject({ same: 1, differs: 2, waitsBefore: {} })
  })

  it('of a new version is tried before: migrate must give what the new code makes of the same inputs', async () => {
    expect(await replay('version-2.ts', '--against', 'patched.ts')).toMatchObject({ code: 0 })
    const wrong = await replay('wrong-migrate.ts', '--type', 'order', '--id', 'idle')
    expect(wrong.code).toBe(1)
    expect(JSON.parse(wrong.stdout.split('\n')[0] ?? '')).toMatchObject({
      id: 'idle',
      differences: [
        {
          what: 'this build comes to another state than the cluster has, migrated from version 1',
          changes: [{ path: 'cents', before: 7, after: 700 }],
        },
      ],
    })
  })

  it('of a new version migrates what LMDB holds, when it is read', async () => {
    await deploy('version-2.ts')
    expect(await stateOf('idle')).toEqual({ log: [], cents: 700 })
    await carillon.workflow('order', 'idle').signal('add', 1, { wait: 'applied' })
    expect(await stateOf('idle')).toEqual({ log: [], cents: 800 })
    // Over it an older build touches nothing.
    await deploy('patched.ts')
    await carillon.workflow('order', 'idle').signal('add', 1)
    const idle = carillon.workflow('order', 'idle')
    await until(async () => (await idle.describe()).queued === 1, 'the parked input')
    expect(await idle.describe()).toMatchObject({
      status: 'suspended',
      suspended: { error: { code: 'UNKNOWN_VERSION' } },
      stateVersion: 2,
    })
    await deploy('version-2.ts')
    await idle.resume({ wait: 'applied' })
    expect(await stateOf('idle')).toEqual({ log: [], cents: 900 })
  })

  it('is told by replay which instances it cannot try, because the journal does not hold their beginning', async () => {
    const { lastSeq } = await carillon.journal.bounds()
    await carillon.workflow('order', 'late').signal('add', 3, { wait: 'applied' })
    const nats = await connectNats({ servers: server.url })
    await (await jetstreamManager(nats)).streams.purge('carillon-log', { seq: lastSeq })
    await nats.close()
    await carillon.workflow('order', 'a').signal('spare', undefined, { wait: 'applied' })
    const { code, stdout, stderr } = await replay('version-2.ts')
    expect(code).toBe(1)
    expect(stderr).toContain('instances without an input since then are not looked at')
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object)
    expect(lines.at(-1)).toMatchObject({ same: 1, differs: 0, incomplete: 2 })
    expect(lines[0]).toMatchObject({
      result: 'incomplete',
      reason: expect.stringContaining('the journal has been trimmed'),
    })
  })
})
