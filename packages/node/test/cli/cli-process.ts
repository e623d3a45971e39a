/** The real `carillon` command as child processes. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { fileURLToPath, pathToFileURL } from 'node:url'

const BIN = fileURLToPath(new URL('../../bin/carillon.js', import.meta.url))
const LOADER = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
/** A machine that does much else starts a process in ten seconds. */
const EXIT_MS_MAX = 40_000
const LINE_MS_MAX = 40_000
const LOOK_MS = 20

export interface CliOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** What stands on stdin. */
  readonly input?: string
  /** Runs the command by another program, for example a shell that sets limits. The command follows its arguments. */
  readonly by?: readonly [string, ...string[]]
}

export interface CliEnd {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

const running = new Set<CliProcess>()

/** One run of the command. */
export class CliProcess {
  stdout = ''
  stderr = ''
  readonly exited: Promise<number>
  readonly #child: ChildProcess

  constructor(args: readonly string[], { cwd, env = {}, input, by }: CliOptions = {}) {
    const command = [process.execPath, '--conditions=source', '--import', LOADER, BIN, ...args]
    const [program = '', ...rest] = by === undefined ? command : [...by, ...command]
    const own = Object.entries(process.env).filter(
      ([name]) => !name.startsWith('CARILLON_') || name === 'CARILLON_NATS_SERVER',
    )
    this.#child = spawn(program, rest, {
      cwd,
      // A spare process costs a second of the machine, and few tests need it.
      env: { ...Object.fromEntries(own), CARILLON_SPARE: '0', ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text))
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text))
    this.#child.stdin?.on('error', () => undefined)
    this.#child.stdin?.end(input ?? '')
    running.add(this)
    this.exited = new Promise((resolve, reject) => {
      this.#child.once('error', reject)
      this.#child.once('close', (code, signal) => {
        running.delete(this)
        resolve(code ?? 128 + constants.signals[signal ?? 'SIGKILL'])
      })
    })
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Waits for the end. */
  async end(): Promise<CliEnd> {
    const timer = setTimeout(() => this.signal('SIGKILL'), EXIT_MS_MAX)
    const code = await this.exited
    clearTimeout(timer)
    return { code, stdout: this.stdout, stderr: this.stderr }
  }

  /** Waits until a text stands on stdout or stderr, `count` times. */
  async says(text: string, count = 1): Promise<void> {
    await until(
      () => countOf(this.stdout + this.stderr, text) >= count,
      `${text} (${count} times) in ${this.stdout}${this.stderr}`,
    )
  }

  /** Asks it to stop, and waits. */
  async stop(): Promise<CliEnd> {
    this.signal('SIGTERM')
    return this.end()
  }
}

/** Starts the command. */
export function startCli(args: readonly string[], options?: CliOptions): CliProcess {
  return new CliProcess(args, options)
}

/** Runs the command to its end. */
export function runCli(args: readonly string[], options?: CliOptions): Promise<CliEnd> {
  return startCli(args, options).end()
}

/** Ends what a failed test left running. */
export async function endAll(): Promise<void> {
  for (const cli of running) cli.signal('SIGKILL')
  await Promise.all([...running].map((cli) => cli.exited))
}

/** Asks what a test left running to stop, and waits. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map((cli) => cli.stop()))
}

/** Waits for a condition. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string),
  ms = LINE_MS_MAX,
): Promise<void> {
  const deadline = performance.now() + ms
  while (!(await condition())) {
    if (performance.now() > deadline)
      throw new Error(`not within ${ms} ms: ${typeof what === 'string' ? what : what()}`)
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

/** The one line of an error, checked to be one. */
export function errorLine({ stderr }: CliEnd): string {
  const lines = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{"level"'))
  if (lines.length !== 1) throw new Error(`${lines.length} lines that are no log lines, in: ${stderr}`)
  return lines[0] ?? ''
}

function countOf(text: string, part: string): number {
  return text.split(part).length - 1
}
