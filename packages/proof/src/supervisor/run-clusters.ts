/** The fault run: one cluster after the other, some rounds in each. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

import type { CheckReport, Owed } from '../checker/checker.ts'
import type { Finding } from '../checker/findings.ts'
import { Dice } from '../reference/random.ts'
import { Cluster } from './cluster.ts'
import type { Fault } from './faults.ts'
import { Deck } from './plan.ts'
import { within } from './wait-until.ts'

export interface RunOptions {
  readonly natsServer: string
  readonly seed: number
  readonly rounds: number
  readonly roundsPerCluster: number
  /** Of the clusters, in turn. */
  readonly servers: readonly (1 | 3)[]
  /** Names; all without any. */
  readonly faults: readonly string[]
  readonly opsPerSecond: number
  readonly poisonShare: number
  /** All deadlines are so many times longer: for a machine that does other work as well. */
  readonly patience: number
  readonly bug?: string | undefined
  /** Not begun after it. Milliseconds. */
  readonly msMax?: number | undefined
  /** Histories and logs stay also where nothing was found. */
  readonly keep?: boolean | undefined
  readonly log: (line: string) => void
}

export interface Violation extends Finding {
  readonly cluster: number
  readonly round: number
  readonly fault: string
  /** Where the histories are. */
  readonly folder: string
}

export interface RunReport {
  readonly rounds: number
  readonly clusters: number
  /** How often each fault was brought about. */
  readonly faults: Readonly<Record<string, number>>
  readonly violations: readonly Violation[]
  /** Sums over all clusters: what was looked at, what the reference met, inputs and acknowledgements. */
  readonly looked: Readonly<Record<string, number>>
  readonly met: Readonly<Record<string, number>>
  readonly acknowledged: number
  readonly inputs: number
  readonly warnings: Readonly<Record<string, number>>
  readonly unansweredReads: number
  readonly answeredReads: number
  readonly settleMs: readonly number[]
  readonly ms: number
}

/** After a fault is healed, everything settles within this: the stated time of the liveness phase. */
const SETTLE_MS_MAX = 30_000
const ANSWERED_MS_MAX = 45_000
const FAULT_MS_MAX = 120_000
/** Where a bug is planted, nothing is worth waiting for so long. */
const SETTLE_BROKEN_MS_MAX = 6000
const DRAIN_MS_MAX = 30_000
const LOOK_MS_MAX = 20_000
const CALM_MS = 1500

/** Stops at the first cluster with a violation when a bug is planted: then it is found. */
export async function runClusters(options: RunOptions): Promise<RunReport> {
  const beganMs = performance.now()
  const deck = new Deck(new Dice(options.seed), options.faults)
  const total = new Total()
  for (let cluster = 0; total.rounds < options.rounds; cluster++) {
    const isLate = options.msMax !== undefined && performance.now() - beganMs > options.msMax
    if (isLate || (options.bug !== undefined && total.violations.length > 0)) break
    const rounds = Math.min(options.roundsPerCluster, options.rounds - total.rounds)
    await runCluster(options, { cluster, rounds, deck, total })
  }
  return total.report(performance.now() - beganMs)
}

interface ClusterPlan {
  readonly cluster: number
  readonly rounds: number
  readonly deck: Deck
  readonly total: Total
}

async function runCluster(options: RunOptions, { cluster: number, rounds, deck, total }: ClusterPlan): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), `carillon-proof-${options.seed}-${number}-`))
  const seed = options.seed + 1000 * (number + 1)
  const servers = options.servers[number % options.servers.length] ?? 1
  const dice = new Dice(seed)
  const before = total.violations.length
  const cluster = await Cluster.open({ ...options, servers, folder, seed })
  total.clusters += 1
  try {
    const run = new ClusterRun(cluster, { ...options, total, number, dice })
    await run.calm()
    for (let round = 1; round <= rounds && total.violations.length === before; round++) {
      const fault = deck.deal((one) => (one.servers ?? servers) === servers && one.isPossible?.(cluster) !== false)
      await run.round(round, fault)
    }
    if (total.violations.length === before) await run.end(rounds + 1)
  } finally {
    await cluster.close()
    total.closed(cluster)
    if (total.violations.length === before && options.keep !== true) await rm(folder, { recursive: true, force: true })
  }
}

class ClusterRun {
  readonly #cluster: Cluster
  readonly #total: Total
  readonly #number: number
  readonly #dice: Dice
  readonly #log: (line: string) => void
  readonly #settleMsMax: number
  readonly #patience: number
  #last: CheckReport | undefined

  constructor(cluster: Cluster, options: RunOptions & { total: Total; number: number; dice: Dice }) {
    this.#cluster = cluster
    this.#total = options.total
    this.#number = options.number
    this.#dice = options.dice
    this.#log = options.log
    this.#patience = options.patience
    this.#settleMsMax = options.patience * (options.bug === undefined ? SETTLE_MS_MAX : SETTLE_BROKEN_MS_MAX)
  }

  /** Traffic while nothing is broken. */
  async calm(): Promise<void> {
    await this.#cluster.checker.ask('calm')
    this.#go(0)
    await delay(CALM_MS)
    await this.#settleAndCheck(0, 'nothing')
  }

  async round(round: number, fault: Fault): Promise<void> {
    const beganMs = performance.now()
    this.#go(round)
    await delay(this.#dice.between(300, 1000))
    try {
      await within(FAULT_MS_MAX * this.#patience, fault.name, fault.inject(this.#cluster, this.#dice))
      this.#total.seen(fault.name)
    } catch (error) {
      this.#found({ check: 'process', text: `${fault.name}: ${String(error)}` })
    }
    await delay(this.#dice.between(0, 500))
    const settledMs = await this.#settleAndCheck(round, fault.name)
    this.#total.rounds += 1
    const ms = Math.round(performance.now() - beganMs)
    this.#log(
      `cluster ${this.#number} round ${round}: ${fault.name}, ${ms} ms, settled in ${settledMs} ms, ${this.#last?.inputs ?? 0} inputs, ${this.#total.violations.length} violations`,
    )
  }

  /** The last look: nodes that are asked to end do so in order. */
  async end(round: number): Promise<void> {
    for (const node of this.#cluster.nodes)
      await within(DRAIN_MS_MAX * this.#patience, `the drain of ${node.name}`, node.stop())
    this.#take(round, 'drain of all')
  }

  #go(round: number): void {
    for (const producer of this.#cluster.producers)
      producer.ask('start').catch((error: unknown) => this.#found({ check: 'process', text: String(error) }))
    this.#cluster.looker.start(round)
  }

  /** Gives how long it took to settle. */
  async #settleAndCheck(round: number, fault: string): Promise<number> {
    const { producers, looker, recorder, checker } = this.#cluster
    await looker.pause()
    const beganMs = performance.now()
    try {
      await within(
        ANSWERED_MS_MAX,
        'an answer to every producer',
        Promise.all(producers.map((one) => one.ask('pause'))),
      )
      await this.#settle()
      const lookMs = LOOK_MS_MAX * this.#patience
      await within(lookMs, 'a look at every instance', looker.all(await recorder.catchUp(), lookMs))
    } catch (error) {
      this.#found({ check: 'progress', text: String(error) })
    }
    const settledMs = Math.round(performance.now() - beganMs)
    this.#total.settleMs.push(settledMs)
    await recorder.catchUp().catch(() => 0)
    await this.#cluster.owners.flush()
    this.#last = await checker.ask<CheckReport>('check', round)
    this.#take(round, fault)
    return settledMs
  }

  /** Until nothing is owed: activities, sends, dead letters, timers that are due. @throws when it takes too long. */
  async #settle(): Promise<void> {
    const { recorder, checker } = this.#cluster
    const endMs = performance.now() + this.#settleMsMax
    for (;;) {
      await recorder.catchUp().catch(() => 0)
      const owed = await checker.ask<Owed>('owed', Date.now())
      if (owed.count === 0) return
      if (performance.now() > endMs)
        throw new Error(`after ${this.#settleMsMax} ms ${owed.count} are still owed: ${owed.first.join(', ')}`)
      await delay(50)
    }
  }

  #found(finding: Finding): void {
    this.#cluster.findings.push(finding)
  }

  /** What the checker and the processes found becomes violations of this round. */
  #take(round: number, fault: string): void {
    const { findings, folder } = this.#cluster
    for (const finding of [...findings.splice(0), ...(this.#last?.findings ?? [])]) {
      this.#total.violations.push({ ...finding, cluster: this.#number, round, fault, folder })
      this.#log(`VIOLATED ${finding.check} (cluster ${this.#number}, round ${round}, ${fault}): ${finding.text}`)
    }
    if (this.#last !== undefined) this.#total.checked(this.#number, this.#last)
    this.#last = this.#last === undefined ? undefined : { ...this.#last, findings: [] }
  }
}

class Total {
  rounds = 0
  clusters = 0
  readonly violations: Violation[] = []
  readonly settleMs: number[] = []
  readonly #faults: Record<string, number> = {}
  readonly #reports = new Map<number, CheckReport>()
  readonly #warnings: Record<string, number> = {}
  #unanswered = 0
  #answered = 0

  seen(fault: string): void {
    this.#faults[fault] = (this.#faults[fault] ?? 0) + 1
  }

  checked(cluster: number, report: CheckReport): void {
    this.#reports.set(cluster, report)
  }

  closed({ nodes, worker, looker }: Cluster): void {
    for (const { warnings } of [...nodes, worker])
      for (const [text, count] of warnings) this.#warnings[text] = (this.#warnings[text] ?? 0) + count
    this.#unanswered += looker.unanswered
    this.#answered += looker.answered
  }

  report(ms: number): RunReport {
    const reports = [...this.#reports.values()]
    return {
      rounds: this.rounds,
      clusters: this.clusters,
      faults: this.#faults,
      violations: this.violations,
      looked: sumOf(reports.map(({ looked }) => looked)),
      met: sumOf(reports.map(({ met }) => met)),
      acknowledged: reports.reduce((sum, { acknowledged }) => sum + acknowledged, 0),
      inputs: reports.reduce((sum, { inputs }) => sum + inputs, 0),
      warnings: this.#warnings,
      unansweredReads: this.#unanswered,
      answeredReads: this.#answered,
      settleMs: this.settleMs,
      ms,
    }
  }
}

function sumOf(all: readonly object[]): Record<string, number> {
  const sum: Record<string, number> = {}
  for (const one of all)
    for (const [name, count] of Object.entries(one as Record<string, number>)) sum[name] = (sum[name] ?? 0) + count
  return sum
}
