/** `carillon node`: what it refuses, how it stops, how it dies, how it comes back. */
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'
import {
  type CliEnd,
  type CliOptions,
  type CliProcess,
  endAll,
  errorLine,
  runCli,
  startCli,
  until,
} from './cli/cli-process.ts'
import { makeWorkflowFolder, type WorkflowFolder } from './cli/workflow-folder.ts'

const SECRET = 's3cr3t-w0rd'
let server: TestServer
let folder: WorkflowFolder
let data = 0

beforeAll(async () => {
  server = await startTestServer()
  folder = makeWorkflowFolder()
})
afterEach(endAll)
afterAll(async () => {
  await server?.stop()
  folder?.remove()
})

interface NodeRun extends CliOptions {
  readonly servers?: string
  readonly dataDir?: string
  readonly more?: readonly string[]
  readonly files?: readonly string[]
}

/** A node in a namespace and a data folder of its own, unless it is told. */
function node({
  servers = server.url,
  dataDir = freshDir(),
  more = [],
  files = ['workflow.ts'],
  ...options
}: NodeRun = {}): CliProcess {
  const args = [
    'node',
    '--servers',
    servers,
    '--data-dir',
    dataDir,
    '--connect-timeout',
    '500ms',
    ...more,
    '--workflows',
    ...files,
  ]
  return startCli(args, { cwd: folder.path, ...options })
}

async function readyNode(run: NodeRun = {}): Promise<CliProcess> {
  const started = node({ ...run, more: ['--connect-timeout', '10s', ...(run.more ?? [])] })
  await started.says('the node is ready')
  return started
}

function freshDir(): string {
  data += 1
  return folder.file(`data-${data}`)
}

function signal(name: string, ...more: string[]): Promise<CliEnd> {
  return runCli(['signal', 'counter', 'a', name, ...more], { env: { CARILLON_SERVERS: server.url } })
}

/** One clear error: its line, no stack, no secret. */
function expectRefusal(end: CliEnd, code: number, line: RegExp): void {
  expect(errorLine(end)).toMatch(line)
  expect(end.code).toBe(code)
  expect(end.stdout + end.stderr).not.toContain(SECRET)
  expect(end.stdout + end.stderr).not.toMatch(/^\s+at /m)
}

describe('a node is refused', () => {
  it('when no server answers: 3', async () => {
    const end = await node({ servers: `nats://operator:${SECRET}@127.0.0.1:1` }).end()
    expectRefusal(
      end,
      3,
      /^error SERVER_UNREACHABLE: no NATS server answered at nats:\/\/127\.0\.0\.1:1 within 500 ms: .*check the address/,
    )
  })

  it('when the URL is none: 2', async () => {
    expectRefusal(
      await node({ servers: `nats://operator:${SECRET}@:x` }).end(),
      2,
      /^error CONFIG_INVALID: the NATS server ":x" is not a URL: write it as nats:\/\/host:port/,
    )
  })

  it('when the credentials are wrong: 4', async () => {
    const guarded = await startTestServer({ config: 'authorization { user: operator, password: right }' })
    try {
      const servers = guarded.url.replace('nats://', `nats://operator:${SECRET}@`)
      expectRefusal(await node({ servers }).end(), 4, /^error SERVER_REFUSED: .*check the credentials/)
      const byVariables = { CARILLON_USER: 'operator', CARILLON_PASSWORD: SECRET }
      expectRefusal(await node({ servers: guarded.url, env: byVariables }).end(), 4, /^error SERVER_REFUSED: /)
    } finally {
      await guarded.stop()
    }
  })

  it('when the server is too old: 4', async () => {
    const old = await startOldServer()
    try {
      const { port } = old.address() as AddressInfo
      const end = await node({ servers: `nats://operator:${SECRET}@127.0.0.1:${port}` }).end()
      expectRefusal(
        end,
        4,
        /^error SERVER_TOO_OLD: nats-server 2\.9\.10 at .* is too old: 2\.12\.0 is the oldest that works; get 2\.15/,
      )
    } finally {
      old.close()
    }
  })

  it('when the server has no JetStream: 4', async () => {
    const limited = await startTestServer({
      config: 'accounts { A { users: [{ user: a, password: b }] } }\nno_auth_user: a',
    })
    try {
      expectRefusal(await node({ servers: limited.url }).end(), 4, /^error JETSTREAM_UNAVAILABLE: .*enable JetStream/)
    } finally {
      await limited.stop()
    }
  })

  it("when the data folder is another cluster's: 5", async () => {
    const dataDir = freshDir()
    await (await readyNode({ dataDir })).stop()
    const end = await node({ dataDir, more: ['--namespace', 'another'] }).end()
    expectRefusal(
      end,
      5,
      /^error FOREIGN_DATA: .*belongs to the cluster carillon .* not to another .*give this node another data directory/,
    )
  })

  it('when the data folder is in use: 5', async () => {
    const dataDir = freshDir()
    const first = await readyNode({ dataDir })
    expectRefusal(
      await node({ dataDir }).end(),
      5,
      new RegExp(`^error DATA_IN_USE: .*in use by process ${first.pid} .*stop it, or give`),
    )
    expect((await runCli(['health', '--data-dir', dataDir])).code).toBe(0)
  })

  it('when the data folder cannot be made: 7', async () => {
    writeFileSync(folder.file('a-file'), '')
    expectRefusal(
      await node({ dataDir: folder.file('a-file/data') }).end(),
      7,
      /^error STORAGE_FAILED: the data directory .* cannot be written: .*give another one/,
    )
  })

  it('when the disk has no room: 7', async () => {
    const end = await node({ by: ['sh', '-c', 'ulimit -f 64; exec "$@"', 'sh'] }).end()
    expectRefusal(end, 7, /^error STORAGE_FAILED: .*free space on the disk/)
  })

  it('when the cluster has other partitions: 5', async () => {
    await (await readyNode()).stop()
    expectRefusal(
      await node({ more: ['--partitions', '7'] }).end(),
      5,
      /^error CLUSTER_MISMATCH: .*created with partitions 64, and partitions 7 was asked for/,
    )
  })

  it('when the journal was replaced: 6', async () => {
    const dataDir = freshDir()
    const own = await startTestServer()
    try {
      await (await readyNode({ servers: own.url, dataDir })).stop()
      await deleteStream(own.url, 'carillon-log')
      expectRefusal(await node({ servers: own.url, dataDir }).end(), 6, /^error JOURNAL_REPLACED: /)
    } finally {
      await own.stop()
    }
  })

  it.each([
    ['is not there', ['gone.ts'], '', /^error CONFIG_INVALID: the workflow file .*gone\.ts does not exist/],
    [
      'does not compile',
      ['bad.ts'],
      'const x: = 3',
      /^error INVALID_DEFINITION: bad\.ts does not compile: .*bad\.ts:1:9/,
    ],
    [
      'imports what is not there',
      ['bad.ts'],
      "import './gone.ts'",
      /^error INVALID_DEFINITION: bad\.ts imports what is not there: .*gone\.ts/,
    ],
    [
      'throws',
      ['bad.ts'],
      "throw new Error('at once')",
      /^error INVALID_DEFINITION: bad\.ts threw while it was loaded.*: at once$/,
    ],
    [
      'exports no workflow',
      ['bad.ts'],
      'export const x = { y: [1] }',
      /^error INVALID_DEFINITION: no workflow was found in bad\.ts: export what implement/,
    ],
    [
      'lacks the activities',
      ['bad.ts'],
      "export { default } from './workflow.ts'",
      /^error INVALID_DEFINITION: no activities were given for counter/,
    ],
  ])('when the workflow file %s: 2', async (_, files, text, line) => {
    if (text !== '') folder.write('bad.ts', text)
    expectRefusal(await node({ files }).end(), 2, line)
  })

  it('when a variable has a value that is none: 2', async () => {
    expectRefusal(
      await node({ env: { CARILLON_REPLICAS: 'three' } }).end(),
      2,
      /^error CONFIG_INVALID: .*CARILLON_REPLICAS.*whole number/,
    )
    expectRefusal(
      await node({ env: { CARILLON_FAILPOINT: 'nowhere:1' } }).end(),
      2,
      /^error CONFIG_INVALID: CARILLON_FAILPOINT is "nowhere:1": .*after-apply/,
    )
  })
})

describe('a node', () => {
  it('takes every option from the environment, and an empty variable for none', async () => {
    const dataDir = freshDir()
    const env = {
      CARILLON_SERVERS: server.url,
      CARILLON_NAMESPACE: 'from-env',
      CARILLON_DATA_DIR: dataDir,
      CARILLON_REPLICAS: '1',
      CARILLON_PARTITIONS: '4',
      CARILLON_DOOR: '',
      CARILLON_WORKFLOWS: 'workflow.ts, lists.js',
      CARILLON_NODE_NAME: 'node-x',
    }
    const list =
      "import { defineWorkflow, implement } from '@carillon/runtime'\nconst one = (name) => implement(defineWorkflow(name, {}), { state: () => 0 })\nexport const all = [one('one'), one('two')]"
    folder.write('lists.js', list)
    writeFileSync(folder.file('package.json'), '{"type": "module"}')
    const started = startCli(['node'], { cwd: folder.path, env })
    await started.says('"workflows":["counter","one","two"]')
    const health = await runCli(['health', '--json'], { env: { CARILLON_DATA_DIR: dataDir } })
    expect(JSON.parse(health.stdout)).toMatchObject({
      name: 'node-x',
      namespace: 'from-env',
      pid: started.pid,
      phase: 'live',
    })
    expect((await started.stop()).code).toBe(0)
  })

  it('runs workflows that were made with another copy of the runtime', async () => {
    const other = makeWorkflowFolder()
    try {
      other.copyRuntime()
      const env = { CARILLON_NAMESPACE: 'two-copies', CARILLON_SERVERS: server.url }
      await readyNode({ cwd: other.path, env })
      const end = await runCli(['update', 'counter', 'a', 'take', '{"n": 1}'], { env })
      expect(end).toMatchObject({ code: 0, stdout: '{\n  "left": -1\n}\n' })
    } finally {
      other.remove()
    }
  })

  it('logs JSON lines when stderr is no terminal', async () => {
    const { stdout, stderr } = await (await readyNode()).stop()
    expect(stdout).toBe('')
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    for (const line of lines)
      expect(line).toMatchObject({
        level: expect.any(Number) as number,
        time: expect.any(String) as string,
        msg: expect.any(String) as string,
      })
  })

  it('has no healthy answer before it runs, and none after', async () => {
    const dataDir = freshDir()
    const before = await runCli(['health', '--data-dir', dataDir])
    expect(before.code).toBe(8)
    expect(errorLine(before)).toMatch(/^error NO_NODE: no node runs with the data folder/)
    const started = await readyNode({ dataDir })
    expect((await runCli(['health', '--data-dir', dataDir])).stdout).toContain(`process ${started.pid}) is live`)
    started.signal('SIGKILL')
    await started.exited
    expect((await runCli(['health', '--data-dir', dataDir])).code).toBe(8)
  })

  it('is unhealthy when it hangs', async () => {
    const dataDir = freshDir()
    const started = await readyNode({ dataDir })
    started.signal('SIGSTOP')
    // As if the silence had lasted: the heartbeat is set back instead of waited for.
    const file = `${dataDir}/node-status.json`
    const status = JSON.parse(readFileSync(file, 'utf8')) as { heartbeatMs: number }
    writeFileSync(file, JSON.stringify({ ...status, heartbeatMs: status.heartbeatMs - 60_000 }))
    const end = await runCli(['health', '--data-dir', dataDir])
    expect(errorLine(end)).toMatch(/^error NO_NODE: the node .* has been silent for \d+ ms/)
    expect(end.code).toBe(8)
  })

  it('goes on after a rejection that nobody handled', async () => {
    const started = await readyNode()
    await signal('forget', '--wait', 'applied')
    await started.says('UNHANDLED_REJECTION')
    expect(started.stderr).toContain('nobody awaited this')
    expect((await signal('add', '{"n": 1}', '--wait', 'applied')).code).toBe(0)
    expect((await started.stop()).code).toBe(0)
  })

  it('goes on in another process of its engine after an exception that nobody caught', async () => {
    folder.write(
      'throws.ts',
      `
import { existsSync, writeFileSync } from 'node:fs'
export * from './workflow.ts'
export { default } from './workflow.ts'
if (!existsSync('thrown'))
  setInterval(() => {
    if (!existsSync('throw')) return
    writeFileSync('thrown', '')
    throw new Error('from a timer')
  }, 20)
`,
    )
    const started = await readyNode({ files: ['throws.ts'] })
    folder.write('throw', '')
    await started.says('another one takes its place')
    expect(started.stderr).toMatch(/"code":"UNCAUGHT_EXCEPTION".*from a timer/)
    expect((await signal('add', '{"n": 1}', '--wait', 'applied')).code).toBe(0)
    expect((await started.stop()).code).toBe(0)
  })

  it('ends with 6 when the journal is lost while it runs', async () => {
    const own = await startTestServer()
    try {
      const started = await readyNode({ servers: own.url })
      await deleteStream(own.url, 'carillon-log')
      expectRefusal(await started.end(), 6, /^error JOURNAL_REPLACED: /)
    } finally {
      await own.stop()
    }
  })
})

describe('stopping', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('drains at %s, and ends with 0', async (name) => {
    const dataDir = freshDir()
    const started = await readyNode({ dataDir })
    await signal('add', '{"n": 1}', '--wait', 'applied')
    started.signal(name)
    const { code, stderr } = await started.end()
    expect(code).toBe(0)
    expect(stderr).toMatch(new RegExp(`"by":"${name}","msg":"draining"[^]*"msg":"drained"`))
    expect(existsSync(`${dataDir}/node-status.json`)).toBe(false)
    expect(JSON.parse(readFileSync(`${dataDir}/carillon.json`, 'utf8'))).toMatchObject({ uncleanOpens: 0 })
  })

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('ends at once at a second %s, and loses nothing', async (name, code) => {
    const own = await startTestServer()
    const env = { CARILLON_SERVERS: own.url, TEST_RELEASE: folder.file(`release-${name}`) }
    const send = (...args: string[]): Promise<CliEnd> => runCli(['signal', 'counter', 'a', ...args], { env })
    const total = async (): Promise<string> => (await runCli(['query', 'counter', 'a', 'total'], { env })).stdout
    try {
      const dataDir = freshDir()
      const started = await readyNode({ servers: own.url, dataDir, env })
      await send('add', '{"n": 1}')
      await send('hold')
      await started.says('holding')
      // The activity ends while its result cannot be stored: the drain has to wait.
      own.signal('SIGSTOP')
      writeFileSync(env.TEST_RELEASE, '')
      await started.says('released')
      started.signal(name)
      await started.says('"msg":"draining"')
      started.signal(name)
      expect(await started.exited).toBe(code)
      expect(started.stderr).not.toContain('drained')

      own.signal('SIGCONT')
      const next = await readyNode({ servers: own.url, dataDir, env })
      await until(
        async () => (await total()) === '101\n',
        () => `the result of the activity; ${next.stderr}`,
      )
    } finally {
      own.signal('SIGCONT')
      await own.stop()
    }
  })

  it('does not wait for a server that does not answer', async () => {
    const args = ['node', '--servers', 'nats://127.0.0.1:1', '--data-dir', freshDir(), '--workflows', 'workflow.ts']
    const started = startCli(args, { cwd: folder.path })
    await started.says('opening the node')
    const { code, stderr } = await started.stop()
    expect(code).toBe(0)
    expect(stderr).toContain('stopped before the node was open')
  })
})

describe('a failpoint', () => {
  it('kills the node when it is reached for the given time, and the next node has everything', async () => {
    const dataDir = freshDir()
    const env = { CARILLON_SERVERS: server.url, CARILLON_NAMESPACE: 'failpoint' }
    const started = await readyNode({ dataDir, env: { ...env, CARILLON_FAILPOINT: 'after-apply:3' } })
    const add = (): Promise<CliEnd> => runCli(['signal', 'counter', 'killed', 'add', '{"n": 1}'], { env })
    await add()
    await add()
    expect((await runCli(['query', 'counter', 'killed', 'total'], { env })).stdout).toBe('2\n')
    await add()
    expect(await started.exited).toBe(137)
    await readyNode({ dataDir, env })
    expect((await runCli(['query', 'counter', 'killed', 'total'], { env })).stdout).toBe('3\n')
  })
})

/** A server as 2.9 introduces itself. */
async function startOldServer(): Promise<Server> {
  const info = {
    server_id: 'old',
    server_name: 'old',
    version: '2.9.10',
    proto: 1,
    headers: true,
    jetstream: true,
    max_payload: 1_048_576,
  }
  const old = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.write(`INFO ${JSON.stringify(info)}\r\n`)
    socket.on('data', (chunk) => {
      for (const _ of chunk.toString('latin1').matchAll(/^PING\r$/gm)) socket.write('PONG\r\n')
    })
  }).listen(0, '127.0.0.1')
  await once(old, 'listening')
  return old
}

async function deleteStream(url: string, name: string): Promise<void> {
  const { connect } = await import('@nats-io/transport-node')
  const nc = await connect({ servers: url })
  await nc.request(`$JS.API.STREAM.DELETE.${name}`)
  await nc.close()
}
