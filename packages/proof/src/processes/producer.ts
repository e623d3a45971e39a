/**
 * A producer of the fault run: sends inputs at a given pace, each under one id until it is acknowledged, many of them again, now or much later.
 *
 * Commands: `open` with `ProducerOptions`, `start`, `pause` (resolves when everything sent was answered), `close`.
 */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

import { type Carillon, connect } from '@carillon/client'
import { codeOf } from '@carillon/runtime'
import { headers as natsHeaders, type NatsConnection, connect as connectNats } from '@nats-io/transport-node'

import { FILES, type Sent } from '../histories.ts'
import { Dice } from '../reference/random.ts'
import { Ledger } from '../workloads/contracts.ts'
import { LineFile } from './line-file.ts'
import { everyInstance, type Made, makeOp, makePoison } from './make-op.ts'
import { serveCommands } from './serve-commands.ts'

export interface ProducerOptions {
  readonly number: number
  readonly servers: string
  readonly namespace: string
  readonly folder: string
  readonly seed: number
  readonly opsPerSecond: number
  /** Of 1: inputs that are meant to be refused. */
  readonly poisonShare: number
}

const TICK_MS = 10
/** Inputs under way at once: beyond it the pace drops. */
const OPEN_MAX = 300
const UPDATES_MAX = 20
const AGAIN_AT_ONCE = 0.15
const AGAIN_LATER = 0.15
const AGAIN_LATER_MS_MAX = 40_000
const LATER_MAX = 2000
const DOOR_SHARE = 0.25
const RETRY_MS = 200
const DOOR_TIMEOUT_MS = 1500
const UPDATE_TIMEOUT_MS = 10_000

class Producer {
  readonly #options: ProducerOptions
  readonly #nc: NatsConnection
  readonly #client: Carillon
  readonly #dice: Dice
  readonly #file: LineFile
  readonly #open = new Set<Promise<void>>()
  readonly #turns = new Map<string, number>()
  #later: { readonly made: Made; readonly atMs: number }[] = []
  #timer: NodeJS.Timeout | undefined
  #number = 0
  #owed = 0
  #updates = 0
  #acked = 0

  constructor(options: ProducerOptions, nc: NatsConnection, client: Carillon) {
    this.#options = options
    this.#nc = nc
    this.#client = client
    this.#dice = new Dice(options.seed)
    this.#file = new LineFile(join(options.folder, FILES.producer(options.number)))
  }

  /** One input to every instance: from then on each exists. */
  async begin(): Promise<void> {
    for (const make of everyInstance()) this.#sendNew(make(this.#nextId()))
    await this.#answered()
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS)
  }

  async pause(): Promise<{ readonly acked: number }> {
    clearInterval(this.#timer)
    this.#timer = undefined
    await this.#answered()
    await this.#file.flush()
    return { acked: this.#acked }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#file.close()
    await this.#client.close()
    await this.#nc.close()
  }

  async #answered(): Promise<void> {
    while (this.#open.size > 0) await Promise.all(this.#open)
  }

  #tick(): void {
    const dice = this.#dice
    this.#owed = Math.min(this.#owed + (this.#options.opsPerSecond * TICK_MS) / 1000, 20)
    for (; this.#owed >= 1 && this.#open.size < OPEN_MAX; this.#owed -= 1) {
      const id = this.#nextId()
      this.#sendNew(dice.chance(this.#options.poisonShare) ? makePoison(id, dice) : makeOp(id, dice))
    }
    const nowMs = Date.now()
    const due = this.#later.filter(({ atMs }) => atMs <= nowMs)
    if (due.length === 0) return
    this.#later = this.#later.filter(({ atMs }) => atMs > nowMs)
    for (const { made } of due) this.#send(made, true)
  }

  #nextId(): string {
    return `p${this.#options.number}-${(this.#number += 1)}`
  }

  #sendNew(made: Made): void {
    const dice = this.#dice
    if (made.kind === 'update' && this.#updates >= UPDATES_MAX) return
    const byDoor = made.kind === 'signal' && (made.raw !== undefined || dice.chance(DOOR_SHARE))
    this.#file.write(this.#sentLine(made, !byDoor && made.kind === 'signal'))
    this.#send(made, false, byDoor)
    if (made.kind === 'update' || made.subject !== undefined) return
    if (dice.chance(AGAIN_AT_ONCE)) this.#send(made, true)
    if (dice.chance(AGAIN_LATER) && this.#later.length < LATER_MAX)
      this.#later.push({ made, atMs: Date.now() + dice.between(20, dice.chance(0.3) ? AGAIN_LATER_MS_MAX : 2000) })
  }

  #sentLine(made: Made, inOrder: boolean): Sent {
    const { id, key, kind, name, payload, raw, isPoison } = made
    const turn = inOrder ? (this.#turns.get(key) ?? 0) + 1 : undefined
    if (turn !== undefined) this.#turns.set(key, turn)
    return {
      what: 'sent',
      id,
      ...(made.subject === undefined ? { key } : {}),
      kind,
      name,
      ...(raw === undefined ? { payload } : { bytes: Buffer.from(raw.bytes).toString('base64') }),
      isPoison,
      ...(turn === undefined ? {} : { turn }),
    }
  }

  #send(made: Made, again: boolean, byDoor = made.raw !== undefined || this.#dice.chance(DOOR_SHARE)): void {
    const task = (made.kind === 'update' ? this.#update(made) : this.#signal(made, again, byDoor)).finally(() =>
      this.#open.delete(task),
    )
    this.#open.add(task)
  }

  /** Again and again with the same id, until it is acknowledged. */
  async #signal(made: Made, again: boolean, byDoor: boolean): Promise<void> {
    for (let attempts = 0; ; attempts++) {
      try {
        const seq = await (byDoor ? this.#publish(made) : this.#call(made))
        this.#acked += 1
        return this.#file.write({ what: 'acked', id: made.id, seq, again: again || attempts > 0 })
      } catch {
        await delay(RETRY_MS)
      }
    }
  }

  async #call({ id, key, name, payload }: Made): Promise<number> {
    const [type = '', instance = ''] = key.split('.')
    return (await this.#client.workflow(type, instance).signal(name, payload, { id })).seq
  }

  /** As any NATS client would. */
  async #publish({ id, key, name, payload, raw, subject }: Made): Promise<number> {
    const headers = natsHeaders()
    headers.set(raw === undefined && id.endsWith('3') ? 'Nats-Msg-Id' : 'Carillon-Id', id)
    if (raw?.encoding !== undefined) headers.set('Carillon-Encoding', raw.encoding)
    const { namespace } = this.#options
    const to = subject === undefined ? `${namespace}.signal.${key}.${name}` : `${namespace}.log.${subject}`
    const bytes = raw?.bytes ?? new TextEncoder().encode(JSON.stringify(payload))
    const reply = await this.#nc.request(to, bytes, { headers, timeout: DOOR_TIMEOUT_MS })
    const ack = reply.json<{ seq?: number; error?: { description: string } }>()
    // 0: a message with its Nats-Msg-Id is being stored just now, and may be lost yet.
    if (ack.seq === undefined || ack.seq === 0)
      throw new Error(`the door did not take it: ${ack.error?.description ?? 'no sequence'}`)
    return ack.seq
  }

  async #update({ id, key, payload }: Made): Promise<void> {
    this.#updates += 1
    const handle = this.#client.workflow(Ledger, key.split('.')[1] ?? '')
    for (;;) {
      try {
        const value = await handle.update('take', payload as never, { id, timeoutMs: UPDATE_TIMEOUT_MS })
        this.#updates -= 1
        this.#acked += 1
        return this.#file.write({ what: 'told', id, outcome: { ok: true, value } })
      } catch (error) {
        const code = codeOf(error)
        if (code === 'NOT_FOUND' || code === 'HANDLER_FAILED' || code === 'INVALID_PAYLOAD') {
          this.#updates -= 1
          return this.#file.write({ what: 'told', id, outcome: { ok: false, code } })
        }
        await delay(RETRY_MS)
      }
    }
  }
}

let producer: Producer | undefined

serveCommands(async ({ name, value }) => {
  if (name === 'open') {
    const options = value as ProducerOptions
    const { servers, namespace } = options
    const nc = await connectNats({ servers: servers.split(','), maxReconnectAttempts: -1, reconnectTimeWait: 100 })
    producer = new Producer(
      options,
      nc,
      await connect({ servers, namespace, timeoutMs: 30_000, nats: { reconnectTimeWait: 100 } }),
    )
    return
  }
  if (producer === undefined) throw new Error(`${name} came before open`)
  if (name === 'begin') return producer.begin()
  if (name === 'start') return producer.start()
  if (name === 'pause') return producer.pause()
  if (name === 'close') return producer.close()
  throw new Error(`a producer knows no command ${name}`)
})
