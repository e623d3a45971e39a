/**
 * One engine of a node, whatever process it is in: when that ends, another one takes its place, and goes on where the data folder is.
 *
 * Owns: which partitions the engine is to have, and in which role; what its processes have been judged for.
 * Does not own: where processes come from.
 *
 * Invariants
 * 1. There is at most one process at the data folder: the next one opens it when the one before has ended.
 * 2. What was asked of the engine is asked again of the next process, until it is so.
 */
import { CarillonError } from '@carillon/runtime'
import type { EngineCounts, HostedPartition, Judgement } from '@carillon/runtime/engine'
import type { Logger } from '@carillon/runtime/ports'
import type { Partition } from '@carillon/runtime/protocol'

import type { RemoteStatus } from '../node-host.ts'
import { CrashJudge } from './crash-judge.ts'
import { type EngineOrder, type EngineRequest, type EngineStatus, placeOfTurn } from './engine-messages.ts'
import type { EngineExit, EngineProcess } from './engine-process.ts'

const JUDGED_QUERY_MS = 60_000
/** Kept of one engine; each has cost a process. */
const JUDGED_MAX = 1000
/** Longer than an engine may take to close. */
const CLOSE_MS_MAX = 20_000

export interface EngineSlotOptions {
  readonly order: Omit<EngineOrder, 'partitions' | 'judgements' | 'isCareful' | 'isProven'>
  readonly turnMsMax: number
  /** A process that has loaded its workflows. */
  readonly take: () => Promise<EngineProcess>
  readonly logger: Logger
  /** Called once when the engine cannot go on, in any process. */
  readonly onFailed: (error: unknown) => void
}

export class EngineSlot {
  /** Resolves when the partitions of the start have caught up. */
  readonly caughtUp: Promise<void>
  readonly #options: EngineSlotOptions
  readonly #crashes: CrashJudge
  readonly #wanted = new Map<Partition, 'standby' | 'owner'>()
  #judged: { readonly judgement: Judgement; readonly atMs: number }[] = []
  /** The process that is open; a new promise while there is none. */
  #ready = new Ready()
  #process: EngineProcess | undefined
  #status: EngineStatus | undefined
  /** Counted by processes that have ended. */
  #past: EngineCounts | undefined
  #pastRemote = { trimmed: 0, checkpointBytes: 0 }
  #restarts = 0
  #isClosing = false
  #reportCaughtUp: () => void = () => {}

  constructor(options: EngineSlotOptions) {
    this.#options = options
    this.#crashes = new CrashJudge(options.turnMsMax)
    this.caughtUp = new Promise((resolve) => (this.#reportCaughtUp = resolve))
  }

  /** Opens the engine in its first process. Throws what that one says. */
  async start(process: EngineProcess, partitions: readonly Partition[]): Promise<void> {
    for (const partition of partitions) this.#wanted.set(partition, 'owner')
    const opened = this.#ready
    this.#keep(process).catch((error: unknown) => this.#fail(error))
    await opened.promise
  }

  get status(): EngineStatus | undefined {
    return this.#process?.status ?? this.#status
  }

  get hosted(): readonly HostedPartition[] {
    return (this.status?.hosted ?? []).filter(({ partition }) => this.#wanted.has(partition))
  }

  /** Over all of its processes. */
  get counts(): EngineCounts | undefined {
    return addCounts(this.#past, this.#process?.status?.counts)
  }

  get remote(): RemoteStatus {
    const past = this.#pastRemote
    const { checkpoints = [], trimmed = 0, checkpointBytes = 0 } = this.#process?.status?.remote ?? {}
    return {
      checkpoints,
      trimmed: past.trimmed + trimmed,
      checkpointBytes: past.checkpointBytes + checkpointBytes,
    }
  }

  /** How often another process has taken its place. */
  get restarts(): number {
    return this.#restarts
  }

  async follow(partition: Partition): Promise<void> {
    if (!this.#wanted.has(partition)) this.#wanted.set(partition, 'standby')
    await this.#ask({ op: 'follow', partition })
  }

  async promote(partition: Partition): Promise<void> {
    await this.follow(partition)
    this.#wanted.set(partition, 'owner')
    await this.#ask({ op: 'promote', partition })
  }

  async demote(partition: Partition): Promise<void> {
    if (this.#wanted.has(partition)) this.#wanted.set(partition, 'standby')
    await this.#ask({ op: 'demote', partition })
  }

  async drop(partition: Partition): Promise<void> {
    await this.#ask({ op: 'drop', partition })
    this.#wanted.delete(partition)
  }

  effectsDone(partition: Partition, seq: number): void {
    // A hint: the next one comes soon.
    this.#process?.ask({ op: 'effects-done', partition, seq }).catch(() => undefined)
  }

  async close(): Promise<void> {
    this.#isClosing = true
    const process = this.#process
    if (process === undefined) return
    const timer = setTimeout(() => process.kill(), CLOSE_MS_MAX)
    // It ends itself when it has closed; one that ends before was about to.
    await process.ask({ op: 'close' }).catch((error: unknown) => {
      if (!process.hasEnded) this.#options.logger.error({ error }, 'an engine could not close')
      process.kill()
    })
    await process.exited
    clearTimeout(timer)
  }

  /** One process after the other, until the end. */
  async #keep(first: EngineProcess): Promise<void> {
    let before: Before = 'none'
    for (let process = first; ; process = await this.#options.take()) {
      const exit = await this.#live(process, before)
      if (this.#isClosing) return
      before = this.#judge(exit)
      this.#restarts += 1
    }
  }

  /** Opens a process, and resolves when it has ended. */
  async #live(process: EngineProcess, before: Before): Promise<EngineExit> {
    this.#process = process
    process.onFailed = (error) => this.#fail(error)
    process.onCaughtUp = this.#reportCaughtUp
    const ended = process.exited.then((exit) => {
      this.#forgetSettled(process.status?.settled ?? [])
      this.#past = addCounts(this.#past, process.status?.counts)
      this.#pastRemote = this.remote
      this.#status = process.status ?? this.#status
      this.#process = undefined
      if (this.#ready.isSettled) this.#ready = new Ready()
      return exit
    })
    try {
      await process.ask({ op: 'open', order: this.#order(before) })
    } catch (error) {
      if (process.hasEnded) return ended
      process.kill()
      await ended
      throw error
    }
    for (const [partition, role] of this.#wanted)
      if (role === 'standby') process.ask({ op: 'follow', partition }).catch(() => undefined)
    this.#ready.resolve(process)
    return ended
  }

  #order(before: Before): EngineOrder {
    const nowMs = performance.now()
    this.#judged = this.#judged
      .slice(-JUDGED_MAX)
      .filter(({ judgement: { kind }, atMs }) => kind !== 'query' || nowMs - atMs < JUDGED_QUERY_MS)
    return {
      ...this.#options.order,
      partitions: [...this.#wanted].filter(([, role]) => role === 'owner').map(([partition]) => partition),
      judgements: this.#judged.map(({ judgement }) => judgement),
      isCareful: before === 'crashed',
      isProven: before === 'judged',
    }
  }

  /** A judged turn is left out once: it is told to the next process, and to those after it until one has committed what follows from it. */
  #forgetSettled(settled: readonly string[]): void {
    const places = new Set(settled)
    this.#judged = this.#judged.filter(
      ({ judgement }) => judgement.kind !== 'turn' || !places.has(placeOfTurn(judgement)),
    )
  }

  #judge(exit: EngineExit): Before {
    const { logger, order } = this.#options
    const verdict = this.#crashes.judge(exit, performance.now())
    if (verdict.kind === 'hopeless')
      throw new CarillonError(
        'ENGINE_LOST',
        `the process of the engine at ${order.dataDir} has ended again and again, the last time with ${exit.how}: look at the log for what it did before`,
      )
    if (verdict.kind === 'unexplained') {
      logger.error(
        { how: exit.how, word: exit.word },
        'the process of an engine has ended: another one takes its place',
      )
      return 'crashed'
    }
    const { judgement } = verdict
    this.#judged.push({ judgement, atMs: performance.now() })
    const { kind, code, reason, ...what } = judgement
    logger.error({ code, kind, ...what }, `workflow code is judged, and another process takes its place: ${reason}`)
    return judgement.code === 'TURN_ENDLESS' ? 'judged' : 'crashed'
  }

  async #ask(request: EngineRequest): Promise<void> {
    for (;;) {
      const process = await this.#ready.promise
      try {
        await process.ask(request)
        return
      } catch (error) {
        if (!process.hasEnded) throw error
        await process.exited
        if (this.#isClosing) throw error
      }
    }
  }

  #fail(error: unknown): void {
    this.#ready.reject(error)
    this.#options.onFailed(error)
  }
}

/** How the process before has ended. */
type Before = 'none' | 'judged' | 'crashed'

class Ready {
  readonly promise: Promise<EngineProcess>
  resolve: (process: EngineProcess) => void = () => {}
  reject: (error: unknown) => void = () => {}
  isSettled = false

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = (process) => {
        this.isSettled = true
        resolve(process)
      }
      this.reject = (error) => {
        this.isSettled = true
        reject(error instanceof Error ? error : new Error(String(error)))
      }
    })
    this.promise.catch(() => {})
  }
}

export function addCounts(past: EngineCounts | undefined, more: EngineCounts | undefined): EngineCounts | undefined {
  if (past === undefined || more === undefined) return past ?? more
  const sum = { ...past }
  for (const name of Object.keys(sum) as (keyof EngineCounts)[]) sum[name] += more[name]
  return sum
}
