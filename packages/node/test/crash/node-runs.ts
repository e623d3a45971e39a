/** Node processes of the kill test: one lives at a time, and the next one waits with its code loaded. */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'

import type { NodeOrders } from './node-main.ts'

export interface NodeEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

const LOADER = fileURLToPath(import.meta.resolve('tsx'))
const MAIN = fileURLToPath(new URL('./node-main.ts', import.meta.url))

export class NodeRun {
  readonly ended: Promise<NodeEnd>
  /** Its code is loaded: it takes orders. */
  readonly loaded: Promise<void>
  /** True when it has caught up, false when it ended before that. */
  readonly live: Promise<boolean>
  /** What it said on stdout, and its log. */
  readonly said: string[] = []
  readonly log: string[] = []
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>

  /** Starts the process; it does nothing until `go`. */
  constructor() {
    this.#child = spawn(process.execPath, ['--conditions=source', '--import', LOADER, MAIN], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, NODE_OPTIONS: '' },
    })
    const child = this.#child
    child.stdin.on('error', () => undefined)
    let isLoaded: () => void = () => undefined
    let isLive: (live: boolean) => void = () => undefined
    this.loaded = new Promise((resolve) => (isLoaded = resolve))
    this.live = new Promise((resolve) => (isLive = resolve))
    this.ended = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        isLoaded()
        isLive(false)
        resolve({ code, signal })
      })
    })
    createInterface({ input: child.stdout }).on('line', (text) => {
      this.said.push(text)
      if (text === 'loaded') isLoaded()
      if (text === 'live') isLive(true)
    })
    createInterface({ input: child.stderr }).on('line', (text) => void this.log.push(text))
  }

  go(orders: NodeOrders): void {
    this.#child.stdin.write(`${JSON.stringify(orders)}\n`)
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }
}
