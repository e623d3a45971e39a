import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { afterEach, beforeEach, expect, it, vi } from 'vitest'

import { provideNatsServer } from '../../../../scripts/nats-server.mjs'
import { firstLines, writeFeed } from './testing.ts'

const run = promisify(execFile)
const DEMO = fileURLToPath(new URL('demo.ts', import.meta.url))
let folder: string
let temporary: string
let demo: ChildProcess
let output: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'carillon-demo-test-'))
  temporary = join(folder, 'tmp')
  await mkdir(temporary)
})

afterEach(async () => {
  demo.kill('SIGKILL')
  await rm(folder, { recursive: true, force: true })
})

async function startDemo(lines: number): Promise<void> {
  const feed = join(folder, 'feed.ndjson')
  await writeFeed(feed, await firstLines(lines))
  const { path } = await provideNatsServer()
  const args = ['--feed', feed, '--lines-per-second', '400', '--statements', '* * * * * *', '--spread', '500 ms']
  demo = spawn(process.execPath, ['--conditions=source', '--import', 'tsx', DEMO, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, CARILLON_NATS_SERVER: path, TMPDIR: temporary },
  })
  output = ''
  for (const stream of [demo.stdout, demo.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => (output += text))
  }
}

/** Processes that work in the demo's folder: nats-server and nodes have it among their arguments. */
async function processes(): Promise<readonly string[]> {
  const { stdout } = await run('ps', ['-eo', 'pid,args'])
  return stdout.split('\n').filter((line) => line.includes(temporary))
}

async function expectNothingLeft(): Promise<void> {
  expect(await processes()).toEqual([])
  expect((await readdir(temporary)).filter((name) => name.startsWith('carillon-demo-'))).toEqual([])
}

it(
  'loses and doubles nothing when the node is killed, says so, and leaves nothing behind',
  { timeout: 90_000 },
  async () => {
    await startDemo(1600)
    const [exitCode] = (await once(demo, 'close')) as [number | null]
    expect(output).toContain('is killed with SIGKILL')
    expect(output).toMatch(/from the kill to the next applied signal: \d+ ms/)
    expect(output).toContain('equal: yes, lost: 0, doubled: 0')
    expect(exitCode).toBe(0)
    await expectNothingLeft()
  },
)

it('leaves nothing behind when it is stopped while the node is down', { timeout: 90_000 }, async () => {
  await startDemo(1600)
  await vi.waitFor(() => expect(output).toContain('is killed with SIGKILL'), { timeout: 60_000 })
  demo.kill('SIGINT')
  const [exitCode] = (await once(demo, 'close')) as [number | null]
  expect(exitCode).toBe(130)
  await expectNothingLeft()
})

it('takes its node and its nats-server with it when it is killed itself', { timeout: 90_000 }, async () => {
  await startDemo(1600)
  await vi.waitFor(() => expect(output).toContain('lines accepted'), { timeout: 60_000 })
  expect((await processes()).length).toBeGreaterThanOrEqual(2)
  demo.kill('SIGKILL')
  await once(demo, 'close')
  await vi.waitFor(async () => expect(await processes()).toEqual([]), { timeout: 10_000 })
})
