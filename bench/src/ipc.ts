/** Commands to child processes and their answers, one at a time. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

import type { Answer, Command } from './bench-types.ts'

/** In a child: answers every command. */
export function serveCommands(handle: (command: Command) => Promise<unknown>): void {
  process.on('message', (command: Command) => {
    const answer = command.do === 'cpu' ? Promise.resolve(cpuMs()) : handle(command)
    answer.then(
      (value) => process.send?.({ ok: true, value } satisfies Answer),
      (error: unknown) =>
        process.send?.({
          ok: false,
          error: error instanceof Error ? (error.stack ?? error.message) : String(error),
        } satisfies Answer),
    )
  })
  // The bench is gone: nobody needs the answers.
  process.on('disconnect', () => process.exit(0))
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** A large young generation, as `carillon node` has it: what lives until the next commit is then not copied twice. */
const NODE_FLAGS = ['--max-semi-space-size=64', '--expose-gc']

/** A child process that obeys commands. */
export class Child {
  readonly #process: ChildProcess
  readonly #name: string

  constructor(name: 'producer' | 'consumer') {
    this.#name = name
    const file = fileURLToPath(new URL(`./${name}${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url))
    const profile = process.env['CARILLON_BENCH_PROFILE'] === name ? ['--cpu-prof', '--cpu-prof-dir=.profiles'] : []
    this.#process = fork(file, {
      execArgv: [...process.execArgv, ...NODE_FLAGS, ...profile],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
  }

  ask<T = unknown>(command: Command): Promise<T> {
    return new Promise((resolve, reject) => {
      const onExit = (code: number | null): void =>
        reject(new Error(`the ${this.#name} ended with ${code} during ${command.do}`))
      this.#process.once('exit', onExit)
      this.#process.once('message', (answer: Answer) => {
        this.#process.off('exit', onExit)
        if (answer.ok) resolve(answer.value as T)
        else reject(new Error(`${this.#name}, ${command.do}: ${answer.error ?? ''}`))
      })
      this.#process.send(command)
    })
  }

  /** Lets it end by itself. */
  async end(): Promise<void> {
    const ended = new Promise<void>((resolve) => void this.#process.once('exit', () => resolve()))
    this.#process.disconnect()
    await ended
  }

  kill(): Promise<void> {
    const ended = new Promise<void>((resolve) => void this.#process.once('exit', () => resolve()))
    this.#process.kill('SIGKILL')
    return ended
  }
}
