/** A demo as a process of its own, for its tests: started over the beginning of the feed, and looked after. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { provideNatsServer } from '../../../../scripts/nats-server.mjs'
import { firstLines, writeFeed } from './testing.ts'

const run = promisify(execFile)

export class DemoProcess {
  output = ''
  readonly #folder: string
  readonly #child: ChildProcess
  readonly #closed: Promise<unknown[]>

  private constructor(folder: string, child: ChildProcess) {
    this.#folder = folder
    this.#child = child
    this.#closed = once(child, 'close')
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (this.output += text))
    }
  }

  /** Runs `program` over the first lines of the feed. */
  static async start(program: string, lines: number, args: readonly string[]): Promise<DemoProcess> {
    const folder = await mkdtemp(join(tmpdir(), 'carillon-demo-test-'))
    const temporary = join(folder, 'tmp')
    await mkdir(temporary)
    const feed = join(folder, 'feed.ndjson')
    await writeFeed(feed, await firstLines(lines))
    const { path } = await provideNatsServer()
    const all = ['--conditions=source', '--import', 'tsx', program, '--feed', feed, ...args]
    const child = spawn(process.execPath, all, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, CARILLON_NATS_SERVER: path, TMPDIR: temporary },
    })
    return new DemoProcess(temporary, child)
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Waits for its end, and gives the exit code. */
  async end(): Promise<number | null> {
    const [exitCode] = (await this.#closed) as [number | null]
    return exitCode
  }

  /** Processes that work in the demo's folder: nats-servers and nodes have it among their arguments. */
  async processes(): Promise<readonly string[]> {
    const { stdout } = await run('ps', ['-eo', 'pid,args'])
    return stdout.split('\n').filter((line) => line.includes(this.#folder))
  }

  /** What the demo has left in its temporary folder. */
  async leftovers(): Promise<readonly string[]> {
    return (await readdir(this.#folder)).filter((name) => name.startsWith('carillon-demo-'))
  }

  async close(): Promise<void> {
    this.signal('SIGKILL')
    await this.#closed
    await rm(join(this.#folder, '..'), { recursive: true, force: true })
  }
}
