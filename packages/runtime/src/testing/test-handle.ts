/** A handle on one instance of a test world. It sends what a client sends, straight into the journal. */
import type { Contract, ContractShape } from '../contract/contract.ts'
import { toMs } from '../contract/duration.ts'
import type {
  Accepted,
  DescribeOptions,
  HistoryEntry,
  HistoryOptions,
  ReadOptions,
  SendOptions,
  StartedUpdate,
  StartOptions,
  StartRules,
  UpdateOptions,
} from '../contract/handle.ts'
import type { Schema } from '../contract/schema.ts'
import { validate } from '../contract/schema.ts'
import { CarillonError, fromErrorData } from '../errors.ts'
import {
  type Description,
  encodeToken,
  type InputKind,
  type InstanceKey,
  type Outcome,
  quote,
  type ReplyPayload,
  type RpcRequest,
  type StartPayload,
  supersededOf,
} from '../protocol/index.ts'
import type { InstanceHandle } from './handle-types.ts'

/** A request about one instance. */
export type KeyedRequest = Extract<RpcRequest, { readonly key: InstanceKey }>

/** What a handle needs of its world. */
export interface HandleWorld {
  nextId(): string
  /** Stores an input; gives its sequence. */
  send(type: string, id: string, kind: InputKind, name: string, payload: unknown, options: SentWith): number
  /** Waits for the outcome of an input, until the time-out in the world's time. */
  outcome(sent: AwaitedInput, timeoutMs: number): Promise<ReplyPayload>
  ask(request: KeyedRequest): Promise<unknown>
  /** The inputs of an instance, as they are in the journal now. */
  history(key: InstanceKey, options: HistoryOptions): AsyncIterableIterator<HistoryEntry>
  /** Lets time go on until the instance has closed. */
  closed(key: InstanceKey, timeoutMs: number, what: string): Promise<Outcome>
}

export interface AwaitedInput {
  readonly inbox: string
  readonly key: InstanceKey
  readonly id: string
  readonly seq: number
  /** The input, in error messages. */
  readonly what: string
}

export interface SentWith {
  readonly id: string
  readonly reply?: string
  readonly traceparent?: string
  readonly tracestate?: string
}

const OUTCOME_TIMEOUT_MS = 30_000
const RESULT_TIMEOUT_MS = 3_600_000

interface Outgoing {
  readonly kind: InputKind
  readonly name: string
  readonly payload: unknown
}

/** Typed from outside as `InstanceHandle`: every call below takes what its contract says. */
export class TestHandle {
  readonly #world: HandleWorld
  readonly #contract: Contract
  readonly #key: InstanceKey
  readonly id: string
  #lastSeq = 0

  /** @throws INVALID_ID */
  static of<Shape extends ContractShape>(
    world: HandleWorld,
    contract: Contract<Shape>,
    id: string,
  ): InstanceHandle<Shape> {
    return new TestHandle(world, contract, id) as unknown as InstanceHandle<Shape>
  }

  private constructor(world: HandleWorld, contract: Contract, id: string) {
    this.#world = world
    this.#contract = contract
    this.#key = `${encodeToken(contract.name, 'workflow type')}.${encodeToken(id, 'instance id')}`
    this.id = id
  }

  get type(): string {
    return this.#contract.name
  }

  get lastSeq(): number {
    return this.#lastSeq
  }

  async start(input: unknown, options: StartOptions = {}): Promise<Accepted> {
    return this.#send(this.#startInput(input, 'fail', options), options)
  }

  async signal(name: string, payload: unknown, options: SendOptions = {}): Promise<Accepted> {
    this.#check('signals', name, payload)
    return this.#send({ kind: 'signal', name, payload }, options)
  }

  async signalWithStart(
    both: { readonly input?: unknown; readonly signal: { readonly name: string; readonly payload?: unknown } },
    options: StartOptions = {},
  ): Promise<Accepted> {
    const { input, signal } = both
    this.#check('signals', signal.name, signal.payload)
    const more = { signal: { name: signal.name, payload: signal.payload } }
    return this.#send(this.#startInput(input, 'use', options, more), options)
  }

  async startUpdate(name: string, payload: unknown, options: UpdateOptions = {}): Promise<StartedUpdate<unknown>> {
    this.#check('updates', name, payload)
    const { id, seq, waitFor } = this.#sendForOutcome({ kind: 'update', name, payload }, options)
    return { id, seq, result: async ({ timeoutMs } = {}) => valueOf((await waitFor(timeoutMs)).outcome) }
  }

  async updateWithStart(
    both: { readonly input?: unknown; readonly update: { readonly name: string; readonly input?: unknown } },
    options: UpdateOptions & StartRules = {},
  ): Promise<unknown> {
    const { input, update } = both
    this.#check('updates', update.name, update.input)
    const start = this.#startInput(input, 'use', options, { update: { name: update.name, input: update.input } })
    const { outcome } = await this.#sendAndWait(start, options)
    return valueOf(outcome)
  }

  async update(name: string, payload: unknown, options: SendOptions = {}): Promise<unknown> {
    this.#check('updates', name, payload)
    const { outcome } = await this.#sendAndWait({ kind: 'update', name, payload }, options)
    return valueOf(outcome)
  }

  async query(name: string, input: unknown, options: ReadOptions = {}): Promise<unknown> {
    this.#check('queries', name, input)
    return this.#world.ask({ op: 'query', key: this.#key, name, input, minSeq: this.#minSeq(options) })
  }

  history(options: HistoryOptions = {}): AsyncIterableIterator<HistoryEntry> {
    return this.#world.history(this.#key, options)
  }

  async describe(options: DescribeOptions = {}): Promise<Description> {
    return (await this.#world.ask({ op: 'describe', key: this.#key, minSeq: this.#minSeq(options) })) as Description
  }

  /** Time goes on by itself until the instance has closed, for at most `timeoutMs` of it (default one hour). */
  async result(options: ReadOptions = {}): Promise<unknown> {
    const timeoutMs = options.timeoutMs ?? RESULT_TIMEOUT_MS
    return valueOf(await this.#world.closed(this.#key, timeoutMs, `the result of ${this.#name}`))
  }

  async resume(options: SendOptions = {}): Promise<Accepted> {
    return this.#send({ kind: 'admin', name: 'resume', payload: undefined }, options)
  }

  async pause(reason?: string, options: SendOptions = {}): Promise<Accepted> {
    return this.#send({ kind: 'admin', name: 'pause', payload: because(reason) }, options)
  }

  async retry(seq: number, options: SendOptions = {}): Promise<boolean> {
    const { outcome } = await this.#sendAndWait({ kind: 'admin', name: 'retry', payload: { seq } }, options)
    return (valueOf(outcome) as { readonly retried: boolean }).retried
  }

  async skip(seq: number, options: SendOptions = {}): Promise<boolean> {
    const { outcome } = await this.#sendAndWait({ kind: 'admin', name: 'skip', payload: { seq } }, options)
    return (valueOf(outcome) as { readonly skipped: boolean }).skipped
  }

  async terminate(reason?: string, options: SendOptions = {}): Promise<Accepted> {
    const payload = reason === undefined ? undefined : { reason }
    return this.#send({ kind: 'admin', name: 'terminate', payload }, options)
  }

  async cancel(reason?: string, options: SendOptions = {}): Promise<Accepted> {
    const payload = reason === undefined ? undefined : { reason }
    return this.#send({ kind: 'cancel', name: '', payload }, options)
  }

  get #name(): string {
    return quote(`${this.type}/${this.id}`)
  }

  #startInput(
    input: unknown,
    ifRunningDefault: 'fail' | 'use',
    { ifRunning = ifRunningDefault, ifClosed, startDelay }: StartRules,
    more: Pick<StartPayload, 'signal' | 'update'> = {},
  ): Outgoing {
    validate(this.#contract.shape.input, input, `the start of ${this.type}`)
    const payload: StartPayload = {
      input,
      ifRunning,
      ...(ifClosed === undefined ? {} : { ifClosed }),
      ...(startDelay === undefined ? {} : { delayMs: toMs(startDelay) }),
      ...more,
    }
    return { kind: 'start', name: '', payload }
  }

  async #send(input: Outgoing, options: SendOptions): Promise<Accepted> {
    if (options.wait !== 'applied') {
      const id = options.id ?? this.#world.nextId()
      return { seq: this.#store(input, { ...traceOf(options), id }), id, duplicate: false }
    }
    const { id, seq, duplicate, outcome } = await this.#sendAndWait(input, options)
    valueOf(outcome)
    return { seq, id, duplicate, ...supersededOf(outcome) }
  }

  async #sendAndWait(input: Outgoing, options: SendOptions): Promise<ReplyPayload & { readonly id: string }> {
    const { id, waitFor } = this.#sendForOutcome(input, options)
    return { ...(await waitFor(options.timeoutMs)), id }
  }

  #sendForOutcome(input: Outgoing, options: SendOptions) {
    const id = options.id ?? this.#world.nextId()
    const inbox = `_INBOX.${this.#world.nextId()}`
    const seq = this.#store(input, { ...traceOf(options), id, reply: inbox })
    const what = `the ${input.kind} ${input.name === '' ? '' : `${quote(input.name)} `}of ${this.#name}`
    const sent = { inbox, key: this.#key, id, seq, what }
    const waitFor = (timeoutMs = OUTCOME_TIMEOUT_MS): Promise<ReplyPayload> => this.#world.outcome(sent, timeoutMs)
    return { id, seq, waitFor }
  }

  #store({ kind, name, payload }: Outgoing, sent: SentWith): number {
    this.#lastSeq = this.#world.send(this.type, this.id, kind, name, payload, sent)
    return this.#lastSeq
  }

  #minSeq(options: ReadOptions): number {
    return Math.max(this.#lastSeq, options.minSeq ?? 0)
  }

  #check(part: 'signals' | 'updates' | 'queries', name: string, payload: unknown): void {
    const declared = this.#contract.shape[part] ?? {}
    if (!Object.hasOwn(declared, name))
      throw new CarillonError(
        'UNKNOWN_NAME',
        `the contract of ${this.type} declares no ${quote(name)} in ${part}; it has: ${Object.keys(declared).join(', ') || 'none'}`,
      )
    const entry = declared[name]
    const schema = part === 'signals' ? (entry as Schema) : (entry as { readonly input?: Schema }).input
    validate(schema, payload, `${quote(name)} of ${this.type}`)
  }
}

function because(reason: string | undefined): { readonly reason: string } | undefined {
  return reason === undefined ? undefined : { reason }
}

function traceOf({ traceparent, tracestate }: SendOptions): Pick<SentWith, 'traceparent' | 'tracestate'> {
  return {
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(tracestate === undefined ? {} : { tracestate }),
  }
}

function valueOf(outcome: Outcome): unknown {
  if (outcome.ok) return outcome.value
  throw fromErrorData(outcome.error)
}
