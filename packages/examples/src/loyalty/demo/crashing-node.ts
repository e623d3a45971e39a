/**
 * A node that is killed once and started again, and how long it took until a signal was applied once more.
 *
 * Owns: the node's process, whichever it is at the moment.
 *
 * Invariants
 * 1. The time is taken from the call of SIGKILL until the sender of a signal hears that it was applied; only signals that were sent after the
 *    process had ended count, so no answer of the old process is taken for one of the new.
 * 2. A node that ends unasked, or does not come back, aborts `failure`.
 */
import type { NodeProcess } from '@carillon/node'

type Phase =
  | { readonly kind: 'running' }
  | { readonly kind: 'dying'; readonly killedMs: number }
  | { readonly kind: 'down'; readonly killedMs: number; readonly endedMs: number }
  | { readonly kind: 'recovered'; readonly killToAppliedMs: number }

export class CrashingNode {
  readonly #start: () => Promise<NodeProcess>
  readonly #failure = new AbortController()
  #node: NodeProcess
  #phase: Phase = { kind: 'running' }
  #crash: Promise<void> | undefined
  #isClosing = false

  private constructor(node: NodeProcess, start: () => Promise<NodeProcess>) {
    this.#start = start
    this.#node = node
    this.#watch(node)
  }

  static async open(start: () => Promise<NodeProcess>): Promise<CrashingNode> {
    return new CrashingNode(await start(), start)
  }

  get process(): Pick<NodeProcess, 'pid' | 'readyMs'> {
    return this.#node
  }

  get failure(): AbortSignal {
    return this.#failure.signal
  }

  get hasCrashed(): boolean {
    return this.#crash !== undefined
  }

  /** Milliseconds; undefined until a signal has been applied after the crash. */
  get killToAppliedMs(): number | undefined {
    return this.#phase.kind === 'recovered' ? this.#phase.killToAppliedMs : undefined
  }

  /** In a word or two, for people. */
  get condition(): string {
    if (this.#phase.kind === 'running') return 'node up'
    if (this.#phase.kind === 'recovered') return 'node up again'
    return `node down for ${((performance.now() - this.#phase.killedMs) / 1000).toFixed(1)} s`
  }

  /** Kills the node, and starts it again at once. Resolves when it applies what comes in. */
  crash(): Promise<void> {
    this.#crash ??= this.#killAndStart().catch((error: unknown) => this.#failure.abort(error))
    return this.#crash
  }

  /** Tells that a signal was sent at one moment and known to be applied at another, by `performance.now()`. */
  applied(sentMs: number, appliedMs: number): void {
    if (this.#phase.kind !== 'down' || sentMs < this.#phase.endedMs) return
    this.#phase = { kind: 'recovered', killToAppliedMs: appliedMs - this.#phase.killedMs }
  }

  /** Ends the node; resolves when no process of it is left. */
  async close(): Promise<void> {
    this.#isClosing = true
    await this.#crash
    await this.#node.stop()
  }

  async #killAndStart(): Promise<void> {
    const killedMs = performance.now()
    this.#phase = { kind: 'dying', killedMs }
    await this.#node.kill9()
    this.#phase = { kind: 'down', killedMs, endedMs: performance.now() }
    this.#node = await this.#start()
    this.#watch(this.#node)
  }

  #watch(node: NodeProcess): void {
    node.exited.then(
      () => this.#ended(node),
      () => undefined,
    )
  }

  #ended(node: NodeProcess): void {
    const { kind } = this.#phase
    if (this.#isClosing || this.#node !== node || kind === 'dying' || kind === 'down') return
    const message = `the node, process ${node.pid}, ended by itself; its log ends with:\n${node.logTail()}`
    this.#failure.abort(new Error(message))
  }
}
