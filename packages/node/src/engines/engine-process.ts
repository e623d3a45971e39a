/**
 * One engine in a process of its own, as its node sees it: asked, listened to, and read after its end.
 *
 * Owns: the child process. Does not own: what it is for (engine-processes.ts).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { totalmem } from 'node:os'
import type { Readable } from 'node:stream'

import { CarillonError, fromErrorData } from '@carillon/runtime'

import {
  type EngineCall,
  type EngineMessage,
  type EngineRequest,
  type EngineStatus,
  GUARD_FD,
} from './engine-messages.ts'
import { type GuardWord, lastWord } from './guard-words.ts'
import { programOf } from './program-of.ts'

/** Inputs live until the next commit, and a large young generation does not copy them over and over (a fifth less CPU under load). */
const SEMI_SPACE_MB = 64
/** Of the heap of one engine: what does not fit costs its process, and not the machine. Beyond it collections take too long. */
const HEAP_MB_MAX = 4096
const HEAP_MB_MIN = 256
/** The last words of a guard. */
const WORD_CHARS_MAX = 16 * 1024
const DEBUGGER = /^--inspect/
const HEAP = /--max[-_]old[-_]space[-_]size/

export interface EngineExit {
  /** For people: a signal, or a code. */
  readonly how: string
  readonly word: GuardWord | undefined
}

export interface EngineProcessOptions {
  /** The open file that locks the data folder. */
  readonly lockDescriptor: number
  /** Engines that share the machine's memory. */
  readonly engines: number
}

export class EngineProcess {
  /** Resolves when it has ended, and with the last word of its guard. */
  readonly exited: Promise<EngineExit>
  status: EngineStatus | undefined
  onCaughtUp: () => void = () => {}
  onFailed: (error: unknown) => void = () => {}
  readonly #child: ChildProcess
  readonly #asked = new Map<number, { resolve: (value: unknown) => void; reject: (error: unknown) => void }>()
  #nextId = 1
  #words = ''
  #hasEnded = false

  constructor({ lockDescriptor, engines }: EngineProcessOptions) {
    const inherited = process.execArgv.filter((flag) => !DEBUGGER.test(flag))
    this.#child = spawn(
      process.execPath,
      [...inherited, ...memoryFlags(engines), programOf(import.meta.url, 'engine-main')],
      { stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe', lockDescriptor], serialization: 'advanced' },
    )
    this.#child.on('message', (message: EngineMessage) => this.#heard(message))
    const words = this.#child.stdio[GUARD_FD] as Readable
    words.setEncoding('utf8').on('data', (text: string) => (this.#words = (this.#words + text).slice(-WORD_CHARS_MAX)))
    this.exited = new Promise((resolve) => {
      const end = (how: string): void => {
        this.#hasEnded = true
        for (const { reject } of this.#asked.values()) reject(gone(how))
        this.#asked.clear()
        resolve({ how, word: lastWord(this.#words) })
      }
      this.#child.once('error', (error) => end(error.message))
      this.#child.once('close', (code, signal) => end(signal ?? `code ${code}`))
    })
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** Rejects with what the engine answers, and with CLOSING when its process ends before. */
  ask(request: EngineRequest): Promise<unknown> {
    if (this.#hasEnded) return Promise.reject(gone('already'))
    const call: EngineCall = { id: this.#nextId++, request }
    return new Promise((resolve, reject) => {
      this.#asked.set(call.id, { resolve, reject })
      // What could not be sent is told by the end of the process.
      this.#child.send(call, () => undefined)
    })
  }

  /** Ends it at once. Nothing that it has committed is lost. */
  kill(): void {
    this.#child.kill('SIGKILL')
  }

  #heard(message: EngineMessage): void {
    switch (message.kind) {
      case 'answer':
        this.#asked.get(message.id)?.resolve(message.value)
        this.#asked.delete(message.id)
        return
      case 'refusal':
        this.#asked.get(message.id)?.reject(fromErrorData(message.error))
        this.#asked.delete(message.id)
        return
      case 'status':
        this.status = message.status
        return
      case 'caught-up':
        return this.onCaughtUp()
      case 'failed':
        return this.onFailed(fromErrorData(message.error))
    }
  }
}

function memoryFlags(engines: number): readonly string[] {
  const isGiven = [...process.execArgv, process.env['NODE_OPTIONS'] ?? ''].some((flag) => HEAP.test(flag))
  const memoryMb = (process.constrainedMemory() || totalmem()) / 2 ** 20
  const heapMb = Math.floor(Math.min(HEAP_MB_MAX, Math.max(HEAP_MB_MIN, memoryMb / 2 / engines)))
  return [`--max-semi-space-size=${SEMI_SPACE_MB}`, ...(isGiven ? [] : [`--max-old-space-size=${heapMb}`])]
}

function gone(how: string): CarillonError {
  return new CarillonError('CLOSING', `the process of the engine has ended (${how}): another one takes its place`)
}
