/** Reads instances: some of them all the time, all of them at quiet moments. */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

import { type AnyShape, type Carillon, connect, type WorkflowHandle } from '@carillon/client'
import type { Description } from '@carillon/runtime/protocol'

import { FILES, type Look } from '../histories.ts'
import { LineFile } from '../processes/line-file.ts'
import { EVERY_KEY } from '../processes/make-op.ts'
import { Dice } from '../reference/random.ts'

const EVERY_MS = 60
const TRAFFIC_TIMEOUT_MS = 2000
const AT_ONCE = 40
const FROM = ['owner', 'any'] as const
type From = (typeof FROM)[number]

export class Looker {
  readonly #client: Carillon
  readonly #file: LineFile
  readonly #dice: Dice
  /** By who may answer: what one handle shows never goes back, whichever nodes answer it. */
  readonly #handles: Readonly<Record<From, Map<string, WorkflowHandle<AnyShape>>>> = {
    owner: new Map(),
    any: new Map(),
  }
  /** Reads under faults that got no answer: not wrong, but told. */
  unanswered = 0
  answered = 0
  #round = 0
  #isLooking = false
  #running: Promise<void> = Promise.resolve()

  private constructor(client: Carillon, folder: string, seed: number) {
    this.#client = client
    this.#file = new LineFile(join(folder, FILES.looks))
    this.#dice = new Dice(seed)
  }

  static async open(servers: string, namespace: string, folder: string, seed: number): Promise<Looker> {
    const client = await connect({ servers, namespace, timeoutMs: 30_000, nats: { reconnectTimeWait: 100 } })
    return new Looker(client, folder, seed)
  }

  start(round: number): void {
    this.#round = round
    this.#isLooking = true
    this.#running = this.#run()
  }

  async pause(): Promise<void> {
    this.#isLooking = false
    await this.#running
  }

  /** Every instance, applied up to `minSeq`, by its owner and by any of the nodes that apply it. Rejects when one gives no answer. */
  async all(minSeq: number, timeoutMs: number): Promise<void> {
    const looks = FROM.flatMap((from) => EVERY_KEY.map((key) => ({ key, from })))
    const work = Array.from({ length: AT_ONCE }, async () => {
      for (let look = looks.pop(); look !== undefined; look = looks.pop())
        await this.#look(look.key, look.from, 'quiet', minSeq, timeoutMs)
    })
    await Promise.all(work)
    await this.#file.flush()
  }

  async close(): Promise<void> {
    await this.pause()
    await this.#file.close()
    await this.#client.close()
  }

  async #run(): Promise<void> {
    while (this.#isLooking) {
      const key = this.#dice.pick(EVERY_KEY)
      const from = this.#dice.pick(FROM)
      await this.#look(key, from, 'traffic', this.#handleOf(key, from).lastSeq, TRAFFIC_TIMEOUT_MS).then(
        () => (this.answered += 1),
        () => (this.unanswered += 1),
      )
      await delay(EVERY_MS)
    }
  }

  async #look(key: string, from: From, when: Look['when'], minSeq: number, timeoutMs: number): Promise<void> {
    const description = await this.#handleOf(key, from).describe({ minSeq, timeoutMs, state: true, from })
    this.#file.write({ ...viewed(description), key, when, minSeq, round: this.#round, reader: from })
  }

  #handleOf(key: string, from: From): WorkflowHandle<AnyShape> {
    const known = this.#handles[from].get(key)
    if (known !== undefined) return known
    const [type = '', id = ''] = key.split('.')
    const handle = this.#client.workflow(type, id)
    this.#handles[from].set(key, handle)
    return handle
  }
}

function viewed({
  seq,
  digest,
  status,
  state,
  timeMs,
  queued,
  knownIds,
  activities,
  timers,
}: Description): Pick<Look, 'seq' | 'digest' | 'status' | 'view'> {
  const view = {
    state: state?.value,
    timeMs,
    queued,
    knownIds,
    activities: activities.length,
    timers: timers.length,
  }
  return { seq, digest, status, view }
}
