/**
 * One run of the kill test: load on a node that is killed again and again, then quiet, then the comparison.
 *
 * The seed decides the load, the limits of each node and the schedule of the kills. It cannot decide the timing of processes, so a run with the
 * same seed is the same plan, not the same execution.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

import type { AnyShape, ReadOptions, WorkflowHandle } from '@carillon/client'
import { hasCode } from '@carillon/runtime'
import { type EngineLimits, type Failpoint, COMMIT_FAILPOINTS } from '@carillon/runtime/engine'
import { connect, type NatsConnection } from '@nats-io/transport-node'

import { startTestServer } from '../../src/testing/nats-process.ts'
import { checkLists } from './check-lists.ts'
import { Checks, type Attempt, type Seen } from './checks.ts'
import { Fold } from './fold.ts'
import type { FoldInput } from '../../../proof/src/reference/fold-input.ts'
import { type JournalMessage, readStream } from './journal.ts'
import { logFindings } from './node-log.ts'
import type { NodeOrders } from './node-main.ts'
import { NodeRun } from './node-runs.ts'
import type { PlantedBug } from './planted-bugs.ts'
import { Producer } from './producer.ts'
import { Dice } from '../../../proof/src/reference/random.ts'

export interface CrashRunOptions {
  readonly seed: number
  /** Kills at random moments. */
  readonly randomKills: number
  /** Kills at each named point. */
  readonly killsPerFailpoint: number
  readonly ledgers: number
  readonly opsPerSecond: number
  readonly bug?: PlantedBug
  /** How long the node may take to come to rest, and a sender to hear of an outcome. */
  readonly quietTimeoutMs?: number
}

export interface CrashReport {
  readonly findings: readonly string[]
  readonly kills: Readonly<Record<string, number>>
  readonly counts: Readonly<Record<string, number>>
}

type Kill =
  | { readonly kind: 'random'; readonly from: 'go' | 'live'; readonly delayMs: number }
  | { readonly kind: 'failpoint'; readonly point: Failpoint; readonly count: number }

const NAMESPACE = 'crash'
const PARTITIONS = 16
/** How often a point is reached in a second of load differs: kills come within a second or two. */
const COUNT_MAX: Readonly<Record<(typeof COMMIT_FAILPOINTS)[number], number>> = {
  'after-apply': 300,
  'before-commit': 20,
  'in-commit': 20,
  'after-commit': 20,
  'after-emit': 60,
  'before-append': 40,
  'after-append': 40,
}
const ROUND_TIMEOUT_MS = 20_000
const LOOK_TIMEOUT_MS = 20_000
const QUIET_TIMEOUT_MS = 120_000

export async function runCrashes(options: CrashRunOptions): Promise<CrashReport> {
  const server = await startTestServer()
  const directory = await mkdtemp(join(tmpdir(), 'carillon-crash-'))
  const nc = await connect({ servers: server.url })
  const run = new CrashRun(options, nc, server.url, directory)
  try {
    return await run.run()
  } finally {
    await run.close()
    await nc.close()
    await server.stop()
    await rm(directory, { recursive: true, force: true })
  }
}

class CrashRun {
  readonly #options: CrashRunOptions
  readonly #nc: NatsConnection
  readonly #servers: string
  readonly #directory: string
  readonly #dice: Dice
  readonly #checks = new Checks()
  readonly #kills: Record<string, number> = {}
  readonly #messages = new Map<number, JournalMessage>()
  readonly #inputs = new Map<number, FoldInput>()
  readonly #fold = new Fold(NAMESPACE, PARTITIONS)
  readonly #runs = new Set<NodeRun>()
  #seen: ReadonlyMap<string, Seen> = new Map()
  #next: NodeRun | undefined
  #producer: Producer | undefined

  constructor(options: CrashRunOptions, nc: NatsConnection, servers: string, directory: string) {
    this.#options = options
    this.#nc = nc
    this.#servers = servers
    this.#directory = directory
    this.#dice = new Dice(options.seed)
  }

  async run(): Promise<CrashReport> {
    try {
      await this.#run()
    } catch (error) {
      this.#checks.find(`the run ended early: ${error instanceof Error ? error.message : String(error)}`)
    }
    if (this.#checks.findings.length > 0 && this.#options.bug === undefined) await this.#keepJournal()
    return {
      findings: this.#checks.findings,
      kills: this.#kills,
      counts: { ...this.#checks.counts, ...this.#fold.counts },
    }
  }

  async close(): Promise<void> {
    for (const run of this.#runs) run.kill('SIGKILL')
    await Promise.all([...this.#runs].map((run) => run.ended))
    await this.#producer?.close()
  }

  async #run(): Promise<void> {
    const { seed, ledgers, opsPerSecond, quietTimeoutMs: outcomeTimeoutMs = QUIET_TIMEOUT_MS } = this.#options
    await this.#stop(await this.#live(undefined))
    const producer = await Producer.open(this.#nc, {
      servers: this.#servers,
      namespace: NAMESPACE,
      seed: seed + 1,
      ledgers,
      opsPerSecond,
      outcomeTimeoutMs,
    })
    this.#producer = producer
    producer.start()
    for (const kill of this.#schedule()) await this.#round(kill)
    const node = await this.#live(undefined)
    await producer.stop()
    await this.#quiet()
    await this.#compare(producer)
    await this.#stop(node)
    if (this.#checks.findings.length === 0) await this.#compareRestarts(producer)
    for (const problem of producer.problems) this.#checks.find(`a sender failed: ${problem}`)
  }

  /** For whoever looks for the cause. */
  async #keepJournal(): Promise<void> {
    const path = join(tmpdir(), `carillon-crash-${this.#options.seed}.jsonl`)
    const lines = [...this.#messages.values()].map((message) => {
      const { seq, timeMs, subject, payload } = message
      const headers = Object.fromEntries(
        ['Carillon-Id', 'Nats-Msg-Id', 'Carillon-Encoding'].map((name) => [name, message.header(name)]),
      )
      return JSON.stringify({ seq, timeMs, subject, headers, payload: Buffer.from(payload).toString('base64') })
    })
    await writeFile(path, `${lines.join('\n')}\n`)
    this.#checks.find(`the journal is in ${path}`)
  }

  #schedule(): Kill[] {
    const { randomKills, killsPerFailpoint } = this.#options
    const dice = this.#dice
    const random = Array.from({ length: randomKills }, (): Kill =>
      dice.chance(0.3)
        ? { kind: 'random', from: 'go', delayMs: dice.between(0, 700) }
        : { kind: 'random', from: 'live', delayMs: dice.between(0, 600) },
    )
    const named = COMMIT_FAILPOINTS.flatMap((point) =>
      Array.from({ length: killsPerFailpoint }, (): Kill => ({
        kind: 'failpoint',
        point,
        count: dice.between(1, COUNT_MAX[point]),
      })),
    )
    return dice.shuffle([...random, ...named])
  }

  async #round(kill: Kill): Promise<void> {
    const run = await this.#begin(kill.kind === 'failpoint' ? kill : undefined)
    const what = kill.kind === 'failpoint' ? kill.point : 'random'
    if (kill.kind === 'random') {
      if (kill.from === 'live') await Promise.race([run.live, delay(ROUND_TIMEOUT_MS)])
      await delay(kill.delayMs)
      run.kill('SIGKILL')
    }
    const end = await Promise.race([run.ended, delay(ROUND_TIMEOUT_MS)])
    if (end === undefined) {
      this.#checks.find(`the kill at ${JSON.stringify(kill)} did not happen within ${ROUND_TIMEOUT_MS} ms`)
      run.kill('SIGKILL')
      await run.ended
    } else if (end.signal !== 'SIGKILL')
      this.#checks.find(
        `a node ended with ${end.signal ?? `code ${end.code}`} instead of the kill ${JSON.stringify(kill)}: ${run.log.slice(-3).join(' | ')}`,
      )
    else if (kill.kind === 'random' || run.said.includes(`failpoint ${kill.point}`))
      this.#kills[what] = (this.#kills[what] ?? 0) + 1
    this.#ended(run)
  }

  /** Waits until the journal asks for nothing more: activities, timers and dead letters have all come. */
  async #quiet(): Promise<void> {
    const deadline = Date.now() + (this.#options.quietTimeoutMs ?? QUIET_TIMEOUT_MS)
    while (Date.now() < deadline) {
      await this.#readOn()
      const letters = new Set(
        (await readStream(this.#nc, `${NAMESPACE}-dead`)).map((letter) => letter.header('Nats-Msg-Id')),
      )
      if (this.#fold.isSettled && [...this.#fold.deadLetters.keys()].every((name) => letters.has(name))) return
      await delay(100)
    }
    const keys = this.#fold.unsettled.map(
      ({ key, openCalls, openTimers }) => `${key} (${openCalls} activities, ${openTimers} timers)`,
    )
    this.#checks.find(`the node never came to rest; it still owes: ${keys.slice(0, 5).join(', ') || 'dead letters'}`)
  }

  async #readOn(): Promise<void> {
    for (const message of await readStream(this.#nc, `${NAMESPACE}-log`, this.#fold.lastSeq + 1)) {
      this.#messages.set(message.seq, message)
      this.#inputs.set(message.seq, this.#fold.apply(message))
    }
  }

  async #compare(producer: Producer): Promise<void> {
    const [checks, fold] = [this.#checks, this.#fold]
    this.#seen = await this.#look(producer)
    checks.acknowledged(producer, this.#inputs)
    checks.sent(producer, this.#inputs, this.#messages)
    checks.instances(fold, this.#seen)
    await checkLists(producer.client, checks, this.#seen, fold.lastSeq)
    checks.outcomes(fold, producer)
    checks.deadLetters(fold, producer, await readStream(this.#nc, `${NAMESPACE}-dead`), this.#messages)
    checks.activities(fold, await this.#attempts())
  }

  /** Once more from the disk, and once from the journal alone: the same instances, and nothing is asked for again. */
  async #compareRestarts(producer: Producer): Promise<void> {
    const restarted = await this.#live(undefined)
    this.#checks.same('after a clean restart', this.#seen, await this.#look(producer))
    await checkLists(producer.client, this.#checks, this.#seen, this.#fold.lastSeq)
    await this.#stop(restarted)
    await rm(this.#dataDir, { recursive: true })
    const rebuilt = await this.#live(undefined)
    this.#checks.same('rebuilt from the journal alone', this.#seen, await this.#look(producer))
    await checkLists(producer.client, this.#checks, this.#seen, this.#fold.lastSeq)
    await this.#stop(rebuilt)
    const before = this.#fold.lastSeq
    await this.#readOn()
    if (this.#fold.lastSeq !== before)
      this.#checks.find(`the journal grew from ${before} to ${this.#fold.lastSeq} although nobody sent anything`)
  }

  async #look(producer: Producer): Promise<Map<string, Seen>> {
    const seen = new Map<string, Seen>()
    const options = { minSeq: this.#fold.lastSeq, timeoutMs: this.#options.quietTimeoutMs ?? LOOK_TIMEOUT_MS }
    await Promise.all(
      [...this.#fold.instances.keys()].map(async (key) => {
        const [type = '', id = ''] = key.split('.')
        const handle = producer.client.workflow(type, id)
        try {
          const description = await handle.describe(options)
          seen.set(key, { description, state: await stateOf(handle, options) })
        } catch (error) {
          this.#checks.find(`${key} could not be looked at: ${String(error)}`)
        }
      }),
    )
    return seen
  }

  async #attempts(): Promise<readonly Attempt[]> {
    const text = await readFile(this.#sinkFile, 'utf8').catch(() => '')
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Attempt)
  }

  async #live(failpoint: NodeOrders['failpoint']): Promise<NodeRun> {
    const run = await this.#begin(failpoint)
    if (!(await run.live)) throw new Error(`a node did not come up:\n${run.log.slice(-10).join('\n')}`)
    return run
  }

  async #begin(failpoint: NodeOrders['failpoint']): Promise<NodeRun> {
    const run = this.#next ?? this.#spawn()
    this.#next = this.#spawn()
    await run.loaded
    run.go({
      servers: this.#servers,
      namespace: NAMESPACE,
      partitions: PARTITIONS,
      dataDir: this.#dataDir,
      sinkFile: this.#sinkFile,
      limits: this.#limits(),
      failpoint,
      bug: this.#options.bug,
    })
    return run
  }

  #spawn(): NodeRun {
    const run = new NodeRun()
    this.#runs.add(run)
    return run
  }

  /** Small bounds are where waiting, dropping and refilling happen. */
  #limits(): Partial<EngineLimits> {
    const dice = this.#dice
    return {
      commitEveryMs: dice.pick([2, 10, 50]),
      residentsMax: dice.pick([8, 50_000]),
      activitiesMax: dice.pick([3, 100]),
      activityQueueMax: dice.pick([2, 10_000]),
      timersInFlightMax: dice.pick([1, 1000]),
      deadInFlightMax: dice.pick([1, 1000]),
    }
  }

  async #stop(run: NodeRun): Promise<void> {
    run.kill('SIGTERM')
    const { code, signal } = await run.ended
    if (code !== 0)
      this.#checks.find(
        `a node that was told to stop ended with ${signal ?? `code ${code}`}: ${run.log.slice(-3).join(' | ')}`,
      )
    this.#ended(run)
  }

  #ended(run: NodeRun): void {
    this.#runs.delete(run)
    for (const finding of logFindings(run.log)) this.#checks.find(finding)
  }

  get #dataDir(): string {
    return join(this.#directory, 'node')
  }

  get #sinkFile(): string {
    return join(this.#directory, 'sink.jsonl')
  }
}

/** Undefined for an instance that is suspended at its first input: it has no state. */
async function stateOf(handle: WorkflowHandle<AnyShape>, options: ReadOptions): Promise<unknown> {
  try {
    return await handle.query('all', options)
  } catch (error) {
    if (hasCode(error, 'SUSPENDED')) return undefined
    throw error
  }
}
