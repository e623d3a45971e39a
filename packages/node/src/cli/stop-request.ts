/**
 * How a process is asked to stop: SIGINT or SIGTERM once for a drain, a second one for an end at once; and, for a child of `carillon dev`, the
 * end of its parent.
 */
import { constants } from 'node:os'

import { exitCodeOfSignal } from './exit-codes.ts'

const SIGNALS = ['SIGINT', 'SIGTERM'] as const

export interface StopRequestOptions {
  /** Called before the process ends at once, synchronously. */
  readonly onHardStop?: (signal: NodeJS.Signals) => void
  /** The end of the channel to the parent process counts as a request. */
  readonly withParent?: boolean
}

export class StopRequest {
  /** Resolves with what asked. */
  readonly requested: Promise<string>
  #request: (by: string) => void = () => {}
  #by: string | undefined

  constructor({ onHardStop = () => {}, withParent = false }: StopRequestOptions = {}) {
    this.requested = new Promise((resolve) => (this.#request = resolve))
    for (const signal of SIGNALS) {
      process.on(signal, () => {
        if (this.#by === undefined) return this.#ask(signal)
        onHardStop(signal)
        process.exit(exitCodeOfSignal(constants.signals[signal]))
      })
    }
    if (!withParent) return
    process.once('disconnect', () => this.#ask('the end of the parent process'))
    if (!process.connected) this.#ask('the end of the parent process')
  }

  get isRequested(): boolean {
    return this.#by !== undefined
  }

  #ask(by: string): void {
    this.#by ??= by
    this.#request(this.#by)
  }
}
