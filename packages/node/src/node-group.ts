/**
 * Several nodes of one cluster as child processes, for demos and benches.
 *
 * Owns: the processes, and the folder of each. Does not own: which of them owns what; they agree on that among themselves.
 *
 * Invariant: a node that ends unasked aborts `failure`.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

import { type NodeProcess, openNodeProcess } from './node-process.ts'

export type NodeCondition = 'starting' | 'up' | 'killed' | 'frozen' | 'draining' | 'stopped'

export interface NodeGroupOptions {
  readonly names: readonly string[]
  readonly servers: readonly string[]
  readonly namespace: string
  readonly partitions: number
  readonly replicas: number
  /** A module that exports the workflows. */
  readonly workflows: string
  /** Each node has its data in a folder of its name, and its log beside it. */
  readonly folder: string
  /** More arguments of `carillon node`. */
  readonly args?: (name: string) => readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly readyTimeoutMs?: number
  readonly signal?: AbortSignal
}

interface Member {
  readonly name: string
  condition: NodeCondition
  process: NodeProcess | undefined
}

export class NodeGroup {
  readonly names: readonly string[]
  readonly #options: NodeGroupOptions
  readonly #failure = new AbortController()
  readonly #members: readonly Member[]
  #isClosing = false

  constructor(options: NodeGroupOptions) {
    this.#options = options
    this.names = options.names
    this.#members = options.names.map((name) => ({ name, condition: 'stopped', process: undefined }))
  }

  get failure(): AbortSignal {
    return this.#failure.signal
  }

  get conditions(): readonly { readonly name: string; readonly condition: NodeCondition }[] {
    return this.#members
  }

  dataDirOf(name: string): string {
    return join(this.#options.folder, name)
  }

  /** Resolves when it applies what comes in. Throws as `openNodeProcess`. */
  async start(name: string): Promise<NodeProcess> {
    const { folder, env, readyTimeoutMs, signal } = this.#options
    const member = this.#member(name)
    member.condition = 'starting'
    mkdirSync(this.dataDirOf(name), { recursive: true })
    const logPath = join(folder, `${name}.log`)
    const node = await openNodeProcess({ args: this.#argsOf(name), logPath, env, readyTimeoutMs, signal })
    member.process = node
    member.condition = 'up'
    this.#watch(member, node)
    return node
  }

  /** The process that was started last. */
  processOf(name: string): NodeProcess {
    const { process } = this.#member(name)
    if (process === undefined) throw new Error(`${name} was never started`)
    return process
  }

  /** SIGKILL. Resolves when the process has ended. */
  async kill(name: string): Promise<void> {
    await this.#enter(name, 'killed').kill9()
  }

  /** SIGSTOP. */
  freeze(name: string): void {
    this.#enter(name, 'frozen').freeze()
  }

  /** SIGCONT. */
  thaw(name: string): void {
    this.#enter(name, 'up').thaw()
  }

  /** SIGTERM. Resolves when it has handed over what it owned and ended. @throws when it did not end in order. */
  async drain(name: string): Promise<void> {
    const node = this.#enter(name, 'draining')
    const exitCode = await node.stop()
    if (exitCode !== 0) throw new Error(`${name} was asked to stop and ended with ${exitCode}:\n${node.logTail()}`)
    this.#member(name).condition = 'stopped'
  }

  /** Ends all of them at once. Resolves when no process is left. */
  async close(): Promise<void> {
    this.#isClosing = true
    await Promise.all(this.#members.flatMap(({ process }) => (process === undefined ? [] : [process.kill9()])))
  }

  #enter(name: string, condition: NodeCondition): NodeProcess {
    const node = this.processOf(name)
    this.#member(name).condition = condition
    return node
  }

  #member(name: string): Member {
    const member = this.#members.find((other) => other.name === name)
    if (member === undefined) throw new Error(`there is no node ${name}`)
    return member
  }

  #watch(member: Member, node: NodeProcess): void {
    node.exited.then(
      (exitCode) => this.#ended(member, node, exitCode),
      () => undefined,
    )
  }

  #ended(member: Member, node: NodeProcess, exitCode: number | null): void {
    if (this.#isClosing || member.process !== node || member.condition !== 'up') return
    const message = `${member.name}, process ${node.pid}, ended by itself with ${exitCode}; its log ends with:\n${node.logTail()}`
    this.#failure.abort(new Error(message))
  }

  #argsOf(name: string): readonly string[] {
    const { servers, namespace, partitions, replicas, workflows, args = () => [] } = this.#options
    const options = {
      servers: servers.join(),
      namespace,
      partitions: String(partitions),
      replicas: String(replicas),
      name,
      'data-dir': this.dataDirOf(name),
      workflows,
    }
    return [...Object.entries(options).flatMap(([option, value]) => [`--${option}`, value]), ...args(name)]
  }
}
