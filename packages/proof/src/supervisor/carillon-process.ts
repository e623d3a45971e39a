/**
 * A `carillon node` or `carillon worker` as an operator would run it: started, killed, frozen, started again.
 *
 * Every end of it has to be expected: the faults say which end they bring about, anything else is a finding. So is every line of its log that is an
 * error, unless the fault allows it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { appendFileSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

import { processTreeOf, sendSignal } from '@carillon/node'

import { CARILLON } from '../paths.ts'
import { holdsWithin } from './wait-until.ts'

export interface CarillonProcessOptions {
  readonly name: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly logFile: string
  /** Told of what ought not to happen. */
  readonly onFinding: (text: string) => void
}

export interface End {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

interface LogLine {
  readonly level: number
  readonly msg?: string
  readonly code?: string
  readonly error?: { readonly code?: string; readonly message?: string }
}

const ERROR_LEVEL = 50
const WARN_LEVEL = 40
const UP = /^the node is ready$|standing by$|^the worker is ready$/
const READY = /^the node is ready$/
const STOPPED_STATE = /^\d+ \(.*\) T /

export class CarillonProcess {
  readonly name: string
  /** How often each warning was logged. */
  readonly warnings = new Map<string, number>()
  readonly #options: CarillonProcessOptions
  #child: ChildProcess | undefined
  #ended: Promise<End> = Promise.resolve({ code: 0, signal: null })
  #frozen: readonly number[] = []
  #isUp = false
  #isReady = false
  #expected: ((end: End) => boolean) | undefined
  #allowed: RegExp | undefined

  constructor(options: CarillonProcessOptions) {
    this.name = options.name
    this.#options = options
  }

  get isRunning(): boolean {
    return this.#child !== undefined
  }

  /** It serves, or stands by. */
  get isUp(): boolean {
    return this.isRunning && this.#isUp
  }

  /** It serves. */
  get isReady(): boolean {
    return this.isRunning && this.#isReady
  }

  get ended(): Promise<End> {
    return this.#ended
  }

  start(): void {
    const { args, env, logFile } = this.#options
    this.#isUp = false
    this.#isReady = false
    this.#expected = undefined
    const child = spawn(process.execPath, ['--max-semi-space-size=64', CARILLON, ...args, '--json'], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: { ...process.env, NODE_OPTIONS: '', ...env },
    })
    this.#child = child
    // No orphan, however this process ends.
    const end = (): void => void child.kill('SIGKILL')
    process.once('exit', end)
    child.once('close', () => process.off('exit', end))
    appendFileSync(logFile, `-- started as ${child.pid}\n`)
    createInterface({ input: child.stderr ?? process.stdin }).on('line', (text) => {
      appendFileSync(logFile, `${text}\n`)
      this.#read(text)
    })
    this.#ended = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        this.#child = undefined
        appendFileSync(logFile, `-- ended with ${signal ?? code}\n`)
        if (this.#expected?.({ code, signal }) !== true)
          this.#options.onFinding(`${this.name} ended with ${signal ?? `code ${code}`}, which no fault asked for`)
        resolve({ code, signal })
      })
    })
  }

  /** Ends it at once, as a crash would. Resolves when it is gone. */
  async kill(): Promise<void> {
    this.expect(({ signal }) => signal === 'SIGKILL')
    const pid = this.#child?.pid
    if (pid !== undefined) for (const one of processTreeOf(pid)) sendSignal(one, 'SIGKILL')
    this.#frozen = []
    await this.#ended
  }

  /** Asks it to drain. Resolves when it is gone. */
  async stop(): Promise<void> {
    const wasUp = this.#isUp
    // Before it has come so far as to listen to it, the signal ends it at once.
    this.expect(({ code, signal }) => code === 0 || (!wasUp && signal === 'SIGTERM'))
    this.#child?.kill('SIGTERM')
    await this.#ended
  }

  /** The next end of it that is one of these is no finding. */
  expect(end: (end: End) => boolean): void {
    this.#expected = end
  }

  /** Until it is forbidden again, error lines that match are no findings. */
  allow(lines: RegExp | undefined): void {
    this.#allowed = lines
  }

  /** Resolves true once the kernel says that it is stopped. */
  freeze(): Promise<boolean> {
    const pid = this.#child?.pid
    // With its engines, as a machine that stands still.
    this.#frozen = pid === undefined ? [] : processTreeOf(pid)
    for (const one of this.#frozen) sendSignal(one, 'SIGSTOP')
    return holdsWithin(2000, () => STOPPED_STATE.test(readFileSync(`/proc/${pid}/stat`, 'utf8')))
  }

  thaw(): void {
    for (const one of this.#frozen) sendSignal(one, 'SIGCONT')
    this.#frozen = []
  }

  #read(text: string): void {
    const line = parseLine(text)
    if (line === undefined) {
      if (this.#allowed?.test(text) !== true) this.#options.onFinding(`${this.name} printed: ${text}`)
      return
    }
    const { level, msg = '' } = line
    if (UP.test(msg)) this.#isUp = true
    if (READY.test(msg)) this.#isReady = true
    if (level === WARN_LEVEL) this.warnings.set(msg, (this.warnings.get(msg) ?? 0) + 1)
    if (level >= ERROR_LEVEL && this.#allowed?.test(text) !== true)
      this.#options.onFinding(`${this.name} logged: ${text}`)
  }
}

function parseLine(text: string): LogLine | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && 'level' in value ? (value as LogLine) : undefined
  } catch {
    return undefined
  }
}
