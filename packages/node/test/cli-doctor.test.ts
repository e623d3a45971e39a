/** `carillon doctor`: one line a check, with the next step. */
import { writeFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

import { freePort } from '../src/nats-process.ts'
import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'
import { type CliEnd, endAll, runCli } from './cli/cli-process.ts'
import { startNodeProcess } from './cli/start-node.ts'
import { makeWorkflowFolder, type WorkflowFolder } from './cli/workflow-folder.ts'

const CONFIG = `
authorization {
  users = [
    { user: operator, password: "s3cr3t", permissions: {
      publish: { deny: ["$JS.API.STREAM.PURGE.>"] }, subscribe: ["carillon.>", "$KV.>", "_INBOX.operator.>"] } }
    { user: producer, password: "s3cr3t", permissions: { publish: ["carillon.signal.>", "$JS.API.>", "_INBOX.>"], subscribe: ["_INBOX.>"] } }
  ]
}`

let server: TestServer
let folder: WorkflowFolder
let monitorUrl: string

beforeAll(async () => {
  const httpPort = await freePort()
  monitorUrl = `http://127.0.0.1:${httpPort}`
  server = await startTestServer({
    config: `http: 127.0.0.1:${httpPort}\n${CONFIG}`,
    jetstreamConfig: 'sync_interval: always',
  })
  folder = makeWorkflowFolder()
  const node = startNodeProcess({ servers: server.url, folder, env: operator })
  await node.says('the node is ready')
  await node.stop()
})
afterEach(endAll)
afterAll(async () => {
  await server?.stop()
  folder?.remove()
})

const operator = {
  CARILLON_USER: 'operator',
  CARILLON_PASSWORD: 's3cr3t',
  CARILLON_INBOX_PREFIX: '_INBOX.operator',
}

function doctor(args: readonly string[] = [], env: Readonly<Record<string, string>> = operator): Promise<CliEnd> {
  return runCli(
    ['doctor', '--servers', server.url, '--data-dir', folder.file('data'), '--connect-timeout', '500ms', ...args],
    { env },
  )
}

describe('carillon doctor', () => {
  it('finds nothing wrong where nothing is', async () => {
    const node = startNodeProcess({ servers: server.url, folder, env: operator })
    await node.says('the node is ready')
    const { code, stdout } = await doctor(['--monitor-url', monitorUrl])
    expect(
      stdout
        .trim()
        .split('\n')
        .map((line) => line.split(/ +/).slice(0, 2)),
    ).toEqual(
      ['server', 'jetstream', 'cluster', 'journal', 'door', 'permissions', 'isolation', 'nodes', 'sync', 'disk'].map(
        (check) => ['ok', check],
      ),
    )
    expect(stdout).toMatch(/^ok +sync +always: what is acknowledged survives a power cut$/m)
    expect(stdout).toMatch(/^ok +nodes +all 64 partitions are served$/m)
    expect(code).toBe(0)
  })

  it('warns where no node runs and the sync setting is not known, and ends with 0', async () => {
    const { code, stdout } = await doctor()
    expect(stdout).toMatch(
      /^warn +nodes +64 of 64 partitions are not served: their inputs are accepted, and wait\n +next: start a node/m,
    )
    expect(stdout).toMatch(
      /^warn +sync +unknown: the server tells its sync_interval to its monitoring only\n +next: pass --monitor-url/m,
    )
    expect(code).toBe(0)
    expect((await doctor(['--monitor-url', 'http://127.0.0.1:1'])).stdout).toMatch(
      /^warn +sync +unknown: http:\/\/127\.0\.0\.1:1 did not tell/m,
    )
  })

  it('says what the default sync setting risks', async () => {
    const httpPort = await freePort()
    const usual = await startTestServer({ config: `http: 127.0.0.1:${httpPort}` })
    try {
      const { stdout } = await runCli(
        ['doctor', '--servers', usual.url, '--monitor-url', `http://127.0.0.1:${httpPort}`],
        { cwd: folder.path },
      )
      expect(stdout).toMatch(/^warn +sync +every 120 s: .*\n +next: set sync_interval/m)
      expect(stdout).toMatch(/^warn +cluster +there is none in namespace carillon yet\n +next: start a node/m)
      expect(stdout).toMatch(/^skipped +journal /m)
    } finally {
      await usual.stop()
    }
  })

  it('names the rights that a user lacks: 4', async () => {
    const { code, stdout } = await doctor([], { ...operator, CARILLON_USER: 'producer' })
    expect(stdout).toMatch(
      /^fail +permissions +SERVER_REFUSED: this user may not publish on carillon\.log\.>, nor subscribe to carillon\.rpc\.\*: grant it/m,
    )
    expect(stdout).toMatch(
      /^warn +isolation +this user hears the answers to everybody in its account; may purge any stream; is in the account of the streams, though it is no node/m,
    )
    expect(stdout).toMatch(/^skipped +nodes /m)
    expect(code).toBe(4)
  })

  it('says that the server does not answer, or refuses, and checks the disk all the same', async () => {
    const gone = await runCli(
      ['doctor', '--servers', 'nats://operator:s3cr3t@127.0.0.1:1', '--connect-timeout', '300ms'],
      { cwd: folder.path },
    )
    expect(gone.stdout).toMatch(/^fail +server +SERVER_UNREACHABLE: .*check the address/)
    expect(gone.stdout).toMatch(/^ok +disk /m)
    expect(gone.code).toBe(3)
    const refused = await doctor([], { CARILLON_USER: 'operator', CARILLON_PASSWORD: 'wr0ng' })
    expect(refused.stdout).toMatch(/^fail +server +SERVER_REFUSED: .*check the credentials/)
    expect(refused.code).toBe(4)
    expect(gone.stdout + gone.stderr + refused.stdout + refused.stderr).not.toMatch(/s3cr3t|wr0ng/)
  })

  it('says that the data folder cannot be written: 7', async () => {
    writeFileSync(folder.file('a-file'), '')
    const { code, stdout } = await doctor(['--data-dir', folder.file('a-file/data')])
    expect(stdout).toMatch(/^fail +disk +STORAGE_FAILED: .*a-file\/data cannot be written: .*give another --data-dir$/m)
    expect(code).toBe(7)
  })

  it('tells programs with --json', async () => {
    const { stdout, code } = await doctor(['--json', '--monitor-url', monitorUrl])
    const report = JSON.parse(stdout) as { ok: boolean; findings: Record<string, unknown>[] }
    expect(report.ok).toBe(true)
    expect(report.findings).toContainEqual({
      check: 'sync',
      verdict: 'ok',
      detail: 'always: what is acknowledged survives a power cut',
    })
    expect(code).toBe(0)
  })

  it('says that the journal is gone: 6', async () => {
    const { connect } = await import('@nats-io/transport-node')
    const nc = await connect({ servers: server.url, user: 'operator', pass: 's3cr3t', inboxPrefix: '_INBOX.operator' })
    await nc.request('$JS.API.STREAM.DELETE.carillon-log')
    await nc.close()
    const { code, stdout } = await doctor()
    expect(stdout).toMatch(/^fail +journal +JOURNAL_REPLACED: the stream carillon-log is gone.*restore it from a copy/m)
    expect(code).toBe(6)
  })
})
