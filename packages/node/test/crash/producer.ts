/**
 * The load of the kill test: sends every input one to three times, through the client and by plain publishes to the public door, and remembers
 * what it sent, what was acknowledged and what it was told.
 */
import { type Carillon, connect } from '@carillon/client'
import { createInbox, headers as natsHeaders, type NatsConnection } from '@nats-io/transport-node'

import { Ledger, Steps, type TakeAnswer } from './contracts.ts'
import { Dice } from '../../../proof/src/reference/random.ts'

/** Something that was sent, under its id. */
export interface SentOp {
  readonly id: string
  /** `<type>.<id>`. */
  readonly key: string
  readonly kind: 'start' | 'signal' | 'update'
  readonly name: string
  /** The payload's value; or its bytes, where they are meant to be unreadable. */
  readonly payload: unknown
  /** Meant to be refused. */
  readonly isPoison: boolean
  readonly headers?: Readonly<Record<string, string>>
}

export interface Ack {
  readonly id: string
  readonly seq: number
}

/** What a sender was told of an input, in the words of the fold. */
export interface Told {
  readonly id: string
  readonly outcome: { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly code: string }
}

export interface ProducerOptions {
  readonly servers: string
  readonly namespace: string
  readonly seed: number
  readonly ledgers: number
  readonly opsPerSecond: number
  /** How long a sender waits for an outcome, across however many kills. */
  readonly outcomeTimeoutMs: number
}

const TICK_MS = 10
const OPEN_MAX = 400
const WAITING_MAX = 24
const LATER_MAX = 400
const STEPS = 8
const HOT_SHARE = 0.2

export class Producer {
  readonly sent = new Map<string, SentOp>()
  /** Ids of messages whose subject is none of an input. */
  readonly malformed = new Set<string>()
  readonly acks: Ack[] = []
  readonly told: Told[] = []
  readonly problems: string[] = []
  readonly #nc: NatsConnection
  readonly #client: Carillon
  readonly #options: ProducerOptions
  readonly #dice: Dice
  readonly #open = new Set<Promise<void>>()
  #waiting = 0
  #later: { readonly op: SentOp; readonly atMs: number }[] = []
  #number = 0
  #timer: NodeJS.Timeout | undefined
  #owed = 0

  private constructor(nc: NatsConnection, client: Carillon, options: ProducerOptions) {
    this.#nc = nc
    this.#client = client
    this.#options = options
    this.#dice = new Dice(options.seed)
  }

  static async open(nc: NatsConnection, options: ProducerOptions): Promise<Producer> {
    const client = await connect({ servers: options.servers, namespace: options.namespace })
    return new Producer(nc, client, options)
  }

  get client(): Carillon {
    return this.#client
  }

  /** Begins to send. */
  start(): void {
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
  }

  /** Sends no new inputs, and resolves when everything sent was answered. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    for (const { op } of this.#later.splice(0)) this.#send(op)
    while (this.#open.size > 0) await Promise.all(this.#open)
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#client.close()
  }

  #tick(): void {
    this.#owed = Math.min(this.#owed + (this.#options.opsPerSecond * TICK_MS) / 1000, 50)
    for (; this.#owed >= 1 && this.#open.size < OPEN_MAX; this.#owed -= 1) this.#next()
    const nowMs = Date.now()
    const due = this.#later.filter(({ atMs }) => atMs <= nowMs)
    if (due.length === 0) return
    this.#later = this.#later.filter(({ atMs }) => atMs > nowMs)
    for (const { op } of due) this.#send(op)
  }

  #next(): void {
    const dice = this.#dice
    const op = this.#make()
    this.sent.set(op.id, op)
    this.#send(op)
    if (dice.chance(0.25)) this.#send(op)
    if (dice.chance(0.25) && this.#later.length < LATER_MAX)
      this.#later.push({ op, atMs: Date.now() + dice.between(50, dice.chance(0.2) ? 30_000 : 1500) })
    if (dice.chance(0.005)) this.#sendMalformed()
  }

  #make(): SentOp {
    const dice = this.#dice
    this.#number += 1
    const id = `op-${this.#number}`
    const isHot = dice.chance(HOT_SHARE)
    const ledger = `ledger.l${isHot ? 0 : dice.between(1, this.#options.ledgers - 1)}`
    const roll = dice.roll()
    if (roll < 0.8) return { id, key: ledger, kind: 'signal', name: 'put', payload: { op: id }, isPoison: false }
    if (roll < 0.87 && this.#waiting < WAITING_MAX)
      return {
        id,
        key: ledger,
        kind: 'update',
        name: 'take',
        payload: { op: id, amount: dice.between(1, 9) },
        isPoison: false,
      }
    if (roll < 0.97) return this.#makeSteps(id)
    if (roll < 0.975)
      return {
        id,
        key: `stuck.s${dice.between(1, 3)}`,
        kind: 'signal',
        name: dice.chance(0.1) ? 'bug' : 'put',
        payload: { op: id },
        isPoison: false,
      }
    return this.#makePoison(id, ledger)
  }

  #makeSteps(id: string): SentOp {
    const dice = this.#dice
    const key = `steps.m${dice.between(1, STEPS)}`
    const input = { limit: dice.between(5, 20) }
    const roll = dice.roll()
    if (roll < 0.1)
      return {
        id,
        key,
        kind: 'start',
        name: '',
        payload: { input, ifRunning: dice.pick(['fail', 'use']) },
        isPoison: false,
      }
    if (roll < 0.2)
      return {
        id,
        key,
        kind: 'start',
        name: '',
        payload: { input, ifRunning: 'use', signal: { name: 'item', payload: { op: id } } },
        isPoison: false,
      }
    return { id, key, kind: 'signal', name: roll < 0.75 ? 'item' : 'credit', payload: { op: id }, isPoison: false }
  }

  #makePoison(id: string, ledger: string): SentOp {
    const dice = this.#dice
    const base = { id, key: ledger, kind: 'signal', name: 'put', isPoison: true } as const
    switch (dice.between(0, 5)) {
      case 0:
        return { ...base, name: 'nonesuch', payload: { op: id } }
      case 1:
        return { ...base, payload: { wrong: id } }
      case 2:
        return {
          ...base,
          payload: Uint8Array.from([0xc1, 0xff, dice.between(0, 255)]),
          headers: { 'Carillon-Encoding': 'msgpack' },
        }
      case 3:
        return { ...base, payload: new TextEncoder().encode(`{"op":"${id}`) }
      case 4:
        return { ...base, payload: { op: id }, headers: { 'Carillon-Encoding': 'xml' } }
      default:
        return { ...base, key: `nosuch.x${dice.between(1, 3)}`, payload: { op: id } }
    }
  }

  #send(op: SentOp): void {
    const task = this.#sendOne(op)
      .catch(
        (error: unknown) => void this.problems.push(`${op.id} (${op.kind} ${op.name} of ${op.key}): ${String(error)}`),
      )
      .finally(() => this.#open.delete(task))
    this.#open.add(task)
  }

  #sendOne(op: SentOp): Promise<void> {
    const byDoor =
      op.kind === 'signal' && (op.payload instanceof Uint8Array || op.headers !== undefined || this.#dice.chance(0.4))
    if (byDoor) return this.#sendByDoor(op)
    if (op.kind === 'update') return this.#update(op)
    return op.kind === 'start' ? this.#start(op) : this.#signal(op)
  }

  /** As any NATS client would: one JSON publish with a message id. */
  async #sendByDoor({ id, key, name, payload, headers: more = {} }: SentOp): Promise<void> {
    const headers = natsHeaders()
    headers.set(this.#dice.chance(0.6) ? 'Nats-Msg-Id' : 'Carillon-Id', id)
    for (const [header, value] of Object.entries(more)) headers.set(header, value)
    const bytes = payload instanceof Uint8Array ? payload : new TextEncoder().encode(JSON.stringify(payload))
    const reply = await this.#nc.request(`${this.#options.namespace}.signal.${key}.${name}`, bytes, {
      headers,
      timeout: 10_000,
    })
    const ack = reply.json<{ seq?: number; error?: { description: string } }>()
    if (ack.seq === undefined) throw new Error(`the door refused it: ${ack.error?.description}`)
    this.acks.push({ id, seq: ack.seq })
  }

  async #signal({ id, key, name, payload, isPoison }: SentOp): Promise<void> {
    const [type = '', instance = ''] = key.split('.')
    const handle = this.#client.workflow(type, instance)
    const waits = type === 'ledger' && !isPoison && this.#waiting < WAITING_MAX && this.#dice.chance(0.05)
    if (!waits) return void this.acks.push(await handle.signal(name, payload, { id }))
    await this.#tell(id, async () => {
      this.acks.push(
        await handle.signal(name, payload, { id, wait: 'applied', timeoutMs: this.#options.outcomeTimeoutMs }),
      )
      return undefined
    })
  }

  async #start({ id, key, payload }: SentOp): Promise<void> {
    const { input, ifRunning, signal } = payload as {
      input: { limit: number }
      ifRunning: 'fail' | 'use'
      signal?: { name: 'item'; payload: { op: string } }
    }
    const handle = this.#client.workflow(Steps, key.split('.')[1] as string)
    if (signal !== undefined) return void this.acks.push(await handle.signalWithStart({ input, signal }, { id }))
    if (this.#waiting >= WAITING_MAX) return void this.acks.push(await handle.start(input, { id, ifRunning }))
    await this.#tell(id, async () => {
      this.acks.push(
        await handle.start(input, { id, ifRunning, wait: 'applied', timeoutMs: this.#options.outcomeTimeoutMs }),
      )
      return undefined
    })
  }

  /** Few wait at a time: a node that is down answers none. */
  async #update({ id, key, payload }: SentOp): Promise<void> {
    if (this.#waiting >= 2 * WAITING_MAX) return
    const handle = this.#client.workflow(Ledger, key.split('.')[1] as string)
    await this.#tell(id, async (): Promise<TakeAnswer> =>
      handle.update('take', payload as never, { id, timeoutMs: this.#options.outcomeTimeoutMs }),
    )
  }

  async #tell(id: string, ask: () => Promise<unknown>): Promise<void> {
    this.#waiting += 1
    try {
      const value = await ask()
      this.told.push({ id, outcome: { ok: true, value } })
    } catch (error) {
      const code = (error as { code?: string }).code
      if (code !== 'UPDATE_REJECTED' && code !== 'ALREADY_STARTED') throw error
      this.told.push({ id, outcome: { ok: false, code } })
    } finally {
      this.#waiting -= 1
    }
  }

  #sendMalformed(): void {
    const id = `malformed-${++this.#number}`
    this.malformed.add(id)
    const headers = natsHeaders()
    headers.set('Carillon-Id', id)
    const subject = `${this.#options.namespace}.log.${this.#dice.pick(['0.ledger.l1.nokind.put', 'x.ledger.l1.signal.put', '1.lone'])}`
    this.#nc.publish(subject, Uint8Array.from([1]), { headers, reply: createInbox() })
  }
}
