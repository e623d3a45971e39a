import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { describe, expect, it, type TestContext, vi } from 'vitest'

import { provideNatsServer } from '../../../../scripts/nats-server.mjs'
import { exampleNames } from './examples.ts'

const LOADER = import.meta.resolve('tsx')
const MAIN = fileURLToPath(new URL('main.ts', import.meta.url))

interface Run {
  readonly child: ChildProcess
  /** What it has said so far, on both streams. */
  output(): string
  /** Waits for the end; its exit code. */
  end(): Promise<number | null>
  expectNothingLeft(): Promise<void>
}

/** As `npm run example` does once everything is in place, but over the sources. */
async function start({ onTestFinished }: Pick<TestContext, 'onTestFinished'>, ...args: string[]): Promise<Run> {
  const temporary = await mkdtemp(join(tmpdir(), 'carillon-examples-test-'))
  const { path } = await provideNatsServer()
  const child = spawn(process.execPath, ['--conditions=source', '--import', LOADER, MAIN, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, CARILLON_NATS_SERVER: path, TMPDIR: temporary },
  })
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await rm(temporary, { recursive: true, force: true })
  })
  const closed = once(child, 'close') as Promise<[number | null]>
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => (output += text))
  return {
    child,
    output: () => output,
    end: async () => (await closed)[0],
    async expectNothingLeft() {
      await vi.waitFor(async () => expect(await processes(temporary)).toEqual([]), { timeout: 10_000 })
      expect((await readdir(temporary)).filter((name) => name.startsWith('carillon-'))).toEqual([])
    },
  }
}

async function processes(word: string): Promise<readonly string[]> {
  const { stdout } = await promisify(execFile)('ps', ['-eo', 'pid,ppid,args'])
  return stdout.split('\n').filter((line) => line.includes(word))
}

// What one waits for, another may use: most of an example is waiting.
describe.concurrent('npm run example', { timeout: 90_000 }, () => {
  it.for(exampleNames())('%s comes to its end as it must, and leaves nothing behind', async (name, context) => {
    const run = await start(context, name)
    const code = await run.end()
    expect(run.output()).toContain(`${name}: all as it must be`)
    expect(code).toBe(0)
    await run.expectNothingLeft()
  })

  it('fails when the producer does', async (context) => {
    const run = await start(context, 'iot-device')
    await vi.waitFor(() => expect(run.output()).toContain('$ tsx'), { timeout: 60_000 })
    const ofRun = (await processes(String(run.child.pid))).find((line) => line.includes('producer.ts'))
    process.kill(Number.parseInt(ofRun ?? '', 10), 'SIGKILL')
    expect(await run.end()).toBe(1)
    expect(run.output()).toContain('iot-device: FAILED')
    await run.expectNothingLeft()
  })

  it('leaves nothing behind when it is stopped', async (context) => {
    const run = await start(context, 'human-tasks', '--stay', '0')
    await vi.waitFor(() => expect(run.output()).toContain('the task inbox is at'), { timeout: 60_000 })
    run.child.kill('SIGINT')
    expect(await run.end()).toBe(130)
    await run.expectNothingLeft()
  })

  it('says which examples there are', async (context) => {
    const run = await start(context, 'nonsense')
    expect(await run.end()).toBe(2)
    for (const name of exampleNames()) expect(run.output()).toContain(name)
  })
})
