/** A process of our own that obeys commands, one at a time. */
import { type ChildProcess, fork } from 'node:child_process'

import type { Answer } from '../processes/serve-commands.ts'

export class Child {
  readonly #process: ChildProcess
  readonly #name: string
  #last: Promise<unknown> = Promise.resolve()

  constructor(name: string, file: string) {
    this.#name = name
    this.#process = fork(file, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  }

  /** Rejects when the process ends first, or answers with an error. */
  ask<T = void>(name: string, value?: unknown): Promise<T> {
    const answer = this.#last.then(() => this.#ask<T>(name, value))
    this.#last = answer.catch(() => undefined)
    return answer
  }

  async end(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const ended = new Promise<void>((resolve) => void this.#process.once('exit', () => resolve()))
    this.#process.kill('SIGKILL')
    await ended
  }

  #ask<T>(name: string, value: unknown): Promise<T> {
    return new Promise((resolve, reject) => {
      const onExit = (code: number | null): void =>
        reject(new Error(`the ${this.#name} ended with ${code} during ${name}`))
      this.#process.once('exit', onExit)
      this.#process.once('message', (answer: Answer) => {
        this.#process.off('exit', onExit)
        if (answer.ok) resolve(answer.value as T)
        else reject(new Error(`the ${this.#name}, told to ${name}: ${answer.error}`))
      })
      this.#process.send({ name, value })
    })
  }
}
