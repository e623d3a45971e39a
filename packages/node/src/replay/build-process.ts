/** One build of workflows in a child process: asked in turn, ended when it hangs. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

import { CarillonError, fromErrorData } from '@carillon/runtime'
import type { LogMessage } from '@carillon/runtime/ports'
import { type ClusterRecord, HEADERS } from '@carillon/runtime/protocol'

import type { BuildComparison, BuildLook, BuildStep, BuildType, PlainMessage } from './build-messages.ts'
import type { BuildRequest, BuildResponse } from './build-worker.ts'

/** So long may a build take for one batch of inputs. Longer means code that never returns. */
const ANSWER_MS_MAX = 60_000
/** The worker lies beside this file, compiled as this one is. Loaders and conditions of this process are those of the child. */
const WORKER = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? './build-worker.ts' : './build-worker.js', import.meta.url),
)
const COPIED_HEADERS = [
  HEADERS.id,
  HEADERS.natsId,
  HEADERS.encoding,
  HEADERS.reply,
  HEADERS.version,
  HEADERS.trace,
] as const

export class BuildProcess {
  readonly #child: ChildProcess
  readonly #files: readonly string[]
  #types: readonly BuildType[] = []
  #last = 'it was loaded'

  private constructor(child: ChildProcess, files: readonly string[]) {
    this.#child = child
    this.#files = files
  }

  /** @throws CONFIG_INVALID, INVALID_DEFINITION as `loadWorkflows`. */
  static async open(
    files: readonly string[],
    cluster: ClusterRecord,
    codecs: string | undefined,
  ): Promise<BuildProcess> {
    const child = fork(WORKER, {
      serialization: 'advanced',
      // Whatever the modules print must not stand between the results.
      stdio: ['ignore', process.stderr, process.stderr, 'ipc'],
    })
    const build = new BuildProcess(child, files)
    try {
      build.#types = (await build.#ask({ op: 'load', files, cluster, codecs })) as readonly BuildType[]
      return build
    } catch (error) {
      await build.close()
      throw error
    }
  }

  get types(): readonly BuildType[] {
    return this.#types
  }

  async begin(type: string, id: string, hashesStates: boolean): Promise<void> {
    await this.#ask({ op: 'begin', type, id, hashesStates })
  }

  async fold(messages: readonly LogMessage[]): Promise<readonly BuildStep[]> {
    const [first] = messages
    if (first === undefined) return []
    this.#last = `it was given the inputs from seq ${first.seq} to ${messages.at(-1)?.seq ?? first.seq}`
    return (await this.#ask({ op: 'fold', messages: messages.map(toPlain) })) as readonly BuildStep[]
  }

  async look(): Promise<BuildLook> {
    return (await this.#ask({ op: 'look' })) as BuildLook
  }

  async compare(state: unknown, version: number): Promise<BuildComparison> {
    return (await this.#ask({ op: 'compare', state, version })) as BuildComparison
  }

  /** Resolves when the process has ended. */
  close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return Promise.resolve()
    const ended = new Promise<void>((resolve) => void this.#child.once('exit', () => resolve()))
    this.#child.kill('SIGKILL')
    return ended
  }

  #ask(request: BuildRequest): Promise<unknown> {
    const child = this.#child
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer)
        child.off('message', onMessage)
        child.off('exit', onExit)
      }
      const onMessage = (response: BuildResponse): void => {
        end()
        if (response.ok) resolve(response.value)
        else reject(fromErrorData(response.error))
      }
      const onExit = (code: number | null, signal: string | null): void => {
        end()
        reject(this.#failure(`ended with ${signal ?? `code ${code}`}`))
      }
      const timer = setTimeout(() => {
        end()
        child.kill('SIGKILL')
        reject(this.#failure(`did not come back within ${ANSWER_MS_MAX} ms`))
      }, ANSWER_MS_MAX)
      child.on('message', onMessage)
      child.on('exit', onExit)
      child.send(request, (error) => {
        if (error !== null) onExit(null, error.message)
      })
    })
  }

  #failure(what: string): CarillonError {
    return new CarillonError(
      'INVALID_DEFINITION',
      `the build ${this.#files.join(', ')} ${what} after ${this.#last}: look for a loop, or for a call that ends the process`,
    )
  }
}

function toPlain(message: LogMessage): PlainMessage {
  const { subject, seq, timeMs, payload } = message
  const headers: Record<string, string> = {}
  for (const name of COPIED_HEADERS) {
    const value = message.header(name)
    if (value !== undefined) headers[name] = value
  }
  return { subject, seq, timeMs, payload, headers }
}
