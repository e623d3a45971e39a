/** A typed handle on one instance. It holds no resources: make as many as you like. */
import {
  type Accepted,
  type ClientCall,
  type ContractShape,
  type DescribeOptions,
  type FieldOf,
  type HistoryEntry,
  type HistoryOptions,
  type OutputOf,
  type PayloadArgs,
  type QueryNames,
  type QueryOf,
  type ReadOptions,
  type ResultOf,
  type SendOptions,
  type SignalNames,
  type SignalSchema,
  type SignalWithStart,
  type StartArgs,
  type StartedUpdate,
  type StartOptions,
  type StartRules,
  toMs,
  type UpdateNames,
  type UpdateOf,
  type UpdateOptions,
  type UpdateResult,
  type UpdateWithStart,
  validate,
} from '@carillon/runtime'
import { type Description, type RpcRequest, type StartPayload, supersededOf } from '@carillon/runtime/protocol'

import { Deadline } from './deadline.ts'
import { readHistory } from './history.ts'
import type { OutgoingInput } from './input-sender.ts'
import { callOf, inputOf } from './intercepted.ts'
import { OUTCOME_TIMEOUT_MS, READ_TIMEOUT_MS, RESULT_TIMEOUT_MS } from './limits.ts'
import { lastSeqOf } from './journal-end.ts'
import { isOutcome } from './reply-inbox.ts'
import type { Session } from './session.ts'
import { startedUpdate, valueOf } from './started-update.ts'
import { formatTarget, payloadSchema, type Target } from './target.ts'

const RESULT_HOLD_MS = 5_000
/** What a history asks a node may take so long. */
const DESCRIBE_MS = 5_000
/** How long a node may hold a read that it has not come to yet. */
const READ_HOLD_MS = 2_000

/** How far a node must have come to answer a read, and how long it may take for that. */
type ReadSince = Pick<RpcRequest & { op: 'query' }, 'minSeq' | 'seen' | 'waitMs'>

/** One instance, as a producer sees it. Inputs that one handle sends are stored in the order of the calls. */
export class WorkflowHandle<Shape extends ContractShape = ContractShape> {
  readonly #session: Session
  readonly #target: Target
  #lastSeq = 0
  /** Its reads have seen the instance as of this input of its own. */
  #seenSeq = 0

  /** Made by `Carillon.workflow`. */
  constructor(session: Session, target: Target) {
    this.#session = session
    this.#target = target
  }

  get type(): string {
    return this.#target.type
  }

  get id(): string {
    return this.#target.id
  }

  /** The highest sequence that this handle has seen: its reads see the journal at least up to there. 0 at first. */
  get lastSeq(): number {
    return Math.max(this.#lastSeq, this.#seenSeq)
  }

  /**
   * Starts the instance.
   *
   * @throws INVALID_PAYLOAD, INVALID_ID, PAYLOAD_TOO_LARGE: nothing was sent. @throws NOT_ACKNOWLEDGED when it may or may not be stored: send it
   * again with the same id. @throws ALREADY_STARTED with `wait: 'applied'`, and what `signal` throws then.
   */
  async start(...args: [...StartArgs<Shape>, options?: StartOptions]): Promise<Accepted> {
    const [input, options = {}] = args as readonly unknown[] as [unknown, StartOptions?]
    return this.#send(this.#startInput(input, 'fail', options, {}), options)
  }

  /**
   * Sends a signal: durable when this resolves.
   *
   * @throws as `start`. @throws TIMEOUT or NO_NODE, with `wait: 'applied'`, when the accepted signal was not applied in time: it will be.
   * @throws what its handler made of it, with `wait: 'applied'`: HANDLER_FAILED, SUSPENDED, NOT_FOUND, CLOSED.
   */
  async signal<Name extends SignalNames<Shape>>(
    name: Name,
    ...args: [...PayloadArgs<SignalSchema<Shape, Name>>, options?: SendOptions]
  ): Promise<Accepted> {
    const [payload, options = {}] = args as readonly unknown[] as [unknown, SendOptions?]
    validate(payloadSchema(this.#target, 'signal', name), payload, `signal ${name} of ${this.type}`)
    return this.#send({ target: this.#target, kind: 'signal', name, payload }, options)
  }

  /** Starts the instance unless it runs, and sends it a signal, as ONE input: both happen or neither. Throws as `signal`. */
  async signalWithStart(both: SignalWithStart<Shape>, options: StartOptions = {}): Promise<Accepted> {
    const { input, signal } = both as {
      readonly input?: unknown
      readonly signal: { readonly name: string; readonly payload?: unknown }
    }
    validate(
      payloadSchema(this.#target, 'signal', signal.name),
      signal.payload,
      `signal ${signal.name} of ${this.type}`,
    )
    return this.#send(this.#startInput(input, 'use', options, { signal }), options)
  }

  /**
   * Sends an update and gives what its handler returns.
   *
   * @throws UPDATE_REJECTED when its validator refuses. @throws as `signal` with `wait: 'applied'`.
   */
  async update<Name extends UpdateNames<Shape>>(
    name: Name,
    ...args: [...PayloadArgs<FieldOf<UpdateOf<Shape, Name>, 'input'>>, options?: UpdateOptions]
  ): Promise<UpdateResult<Shape, Name>> {
    const [payload, options = {}] = args as readonly unknown[] as [unknown, UpdateOptions?]
    validate(payloadSchema(this.#target, 'update', name), payload, `update ${name} of ${this.type}`)
    const input = {
      target: this.#target,
      kind: 'update',
      name,
      payload,
      id: options.id,
      traceparent: options.traceparent,
      tracestate: options.tracestate,
    } as const
    return (await this.#outcomeOf(input, options)) as UpdateResult<Shape, Name>
  }

  /**
   * Sends an update, and resolves when it is accepted: it is durable, and will be applied. What came of it is asked for later, once or again.
   * Throws as `signal`.
   */
  async startUpdate<Name extends UpdateNames<Shape>>(
    name: Name,
    ...args: [...PayloadArgs<FieldOf<UpdateOf<Shape, Name>, 'input'>>, options?: UpdateOptions]
  ): Promise<StartedUpdate<UpdateResult<Shape, Name>>> {
    const [payload, options = {}] = args as readonly unknown[] as [unknown, UpdateOptions?]
    validate(payloadSchema(this.#target, 'update', name), payload, `update ${name} of ${this.type}`)
    const input = { target: this.#target, kind: 'update', name, payload } as const
    const { seq, id } = await this.#send(input, options)
    return startedUpdate(this.#session, this.#target, { name, id, seq })
  }

  /**
   * Starts the instance unless it runs, and sends it an update, as ONE input; gives what the update's handler returns. An update that its contract
   * refuses starts nothing; one that its validator refuses leaves the instance started. Throws as `update`.
   */
  async updateWithStart<Name extends UpdateNames<Shape>>(
    both: UpdateWithStart<Shape, Name>,
    options: UpdateOptions & StartRules = {},
  ): Promise<UpdateResult<Shape, Name>> {
    const { input, update } = both as {
      readonly input?: unknown
      readonly update: { readonly name: string; readonly input?: unknown }
    }
    validate(payloadSchema(this.#target, 'update', update.name), update.input, `update ${update.name} of ${this.type}`)
    const start = this.#startInput(input, 'use', options, { update })
    return (await this.#outcomeOf(
      { ...start, id: options.id, traceparent: options.traceparent, tracestate: options.tracestate },
      options,
    )) as UpdateResult<Shape, Name>
  }

  /**
   * Reads from the instance. It sees at least what this handle has sent before; with `consistency: 'linearizable'`, all that anybody has.
   *
   * @throws NOT_FOUND when there is no such instance. @throws QUERY_FAILED when the query throws. @throws TIMEOUT or NO_NODE when no answer came.
   */
  async query<Name extends QueryNames<Shape>>(
    name: Name,
    ...args: [...PayloadArgs<FieldOf<QueryOf<Shape, Name>, 'input'>>, options?: ReadOptions]
  ): Promise<OutputOf<FieldOf<QueryOf<Shape, Name>, 'output'>>> {
    const [input, options = {}] = args as readonly unknown[] as [unknown, ReadOptions?]
    validate(payloadSchema(this.#target, 'query', name), input, `query ${name} of ${this.type}`)
    const ask = (since: ReadSince, payload: unknown) =>
      ({ op: 'query', key: this.#target.key, name, input: payload, ...since }) as const
    return (await this.#read({ kind: 'query', name, payload: input }, options, ask)) as OutputOf<
      FieldOf<QueryOf<Shape, Name>, 'output'>
    >
  }

  /** What is known of the instance. Throws as `query`. */
  async describe(options: DescribeOptions = {}): Promise<Description> {
    const { state = false } = options
    const ask = (since: ReadSince) =>
      ({ op: 'describe', key: this.#target.key, ...since, ...(state ? { state } : {}) }) as const
    return (await this.#read({ kind: 'describe', name: '' }, options, ask)) as Description
  }

  /**
   * Waits until the instance has closed, and gives its result.
   *
   * @param options.timeoutMs default one hour.
   * @throws WORKFLOW_FAILED when it failed. @throws NOT_FOUND when there is no such instance. @throws TIMEOUT or NO_NODE when it is not known in time.
   */
  async result(options: ReadOptions = {}): Promise<ResultOf<Shape>> {
    const deadline = new Deadline(options.timeoutMs ?? RESULT_TIMEOUT_MS)
    const minSeq = await this.#minSeq(options, deadline)
    const { key, partition } = this.#target
    const call = {
      partition,
      what: `the result of ${formatTarget(this.#target)}`,
      deadline,
      holdMs: RESULT_HOLD_MS,
      request: (waitMs: number) => ({ op: 'result', key, ...this.#since(minSeq), waitMs }) as const,
      saw: (seq: number) => this.#sawInstance(seq),
    }
    const read = (): Promise<unknown> => this.#session.track(() => this.#session.rpc.call(call))
    const outcome = await this.#around({ kind: 'result', name: '', payload: undefined }, read)
    return (isOutcome(outcome) ? valueOf(outcome) : outcome) as ResultOf<Shape>
  }

  /**
   * The inputs of the instance in the journal's order, up to its end at the time of the call.
   *
   * @throws HISTORY_TRIMMED when the journal is not kept as far back as `from`, and inputs of the instance may be gone; not with `partial`.
   */
  history(options: HistoryOptions = {}): AsyncIterableIterator<HistoryEntry> {
    return readHistory(this.#session, this.#target, options, () => this.describe({ timeoutMs: DESCRIBE_MS }))
  }

  /**
   * Lets the instance take no inputs: they wait, in order, until `resume`. Queries are answered.
   *
   * @param reason is shown by `describe`; at most 500 characters.
   * @throws as `signal`. @throws CLOSED or NOT_FOUND, with `wait: 'applied'`, when it does not run.
   */
  async pause(reason?: string, options: SendOptions = {}): Promise<Accepted> {
    const payload = reason === undefined ? undefined : { reason }
    return this.#send({ target: this.#target, kind: 'admin', name: 'pause', payload }, options)
  }

  /** Tries the input again at which the instance is suspended. False when it is not suspended at this one. Throws as `update`. */
  async retry(seq: number, options: UpdateOptions = {}): Promise<boolean> {
    return ((await this.#seqCommand('retry', seq, options)) as { readonly retried: boolean }).retried
  }

  /**
   * Leaves out the input at which the instance is suspended: it becomes a dead letter, and those behind it are applied. False when the instance is not
   * suspended at this one, so doing it again is safe. Throws as `update`.
   */
  async skip(seq: number, options: UpdateOptions = {}): Promise<boolean> {
    return ((await this.#seqCommand('skip', seq, options)) as { readonly skipped: boolean }).skipped
  }

  /** Lets an instance go on that is paused, or suspended: at the input that suspended it. Throws as `signal`. */
  async resume(options: SendOptions = {}): Promise<Accepted> {
    return this.#send({ target: this.#target, kind: 'admin', name: 'resume', payload: undefined }, options)
  }

  /**
   * Ends the instance at once, as failed with TERMINATED: handlers in progress do not come to their end, inputs that wait behind them become dead
   * letters.
   *
   * @param reason becomes part of the outcome; at most 500 characters.
   * @throws as `signal`. @throws CLOSED or NOT_FOUND, with `wait: 'applied'`, when it does not run.
   */
  async terminate(reason?: string, options: SendOptions = {}): Promise<Accepted> {
    const payload = reason === undefined ? undefined : { reason }
    return this.#send({ target: this.#target, kind: 'admin', name: 'terminate', payload }, options)
  }

  /**
   * Asks the instance to cancel: what its `run` waits for rejects with CANCELLED, so that it can clean up and end. Without a `run` the instance closes as
   * failed once the handlers in progress are done.
   *
   * @param reason becomes part of the error; at most 500 characters.
   * @throws as `signal`. @throws CLOSED or NOT_FOUND, with `wait: 'applied'`, when it does not run. Its end is told by `result`.
   */
  async cancel(reason?: string, options: SendOptions = {}): Promise<Accepted> {
    const payload = reason === undefined ? undefined : { reason }
    return this.#send({ target: this.#target, kind: 'cancel', payload }, options)
  }

  #seqCommand(name: 'retry' | 'skip', seq: number, options: UpdateOptions): Promise<unknown> {
    const { id, traceparent } = options
    return this.#outcomeOf({ target: this.#target, kind: 'admin', name, payload: { seq }, id, traceparent }, options)
  }

  #startInput(
    input: unknown,
    ifRunningDefault: 'fail' | 'use',
    { ifRunning = ifRunningDefault, ifClosed, startDelay }: StartRules,
    more: Pick<StartPayload, 'signal' | 'update'>,
  ): OutgoingInput {
    const { shape } = this.#target
    if (shape !== undefined) validate(shape.input, input, `the start of ${this.type}`)
    const payload: StartPayload = {
      input,
      ifRunning,
      ...(ifClosed === undefined ? {} : { ifClosed }),
      ...(startDelay === undefined ? {} : { delayMs: toMs(startDelay) }),
      ...more,
    }
    return { target: this.#target, kind: 'start', payload }
  }

  async #outcomeOf(input: OutgoingInput, { timeoutMs }: UpdateOptions): Promise<unknown> {
    const { intercept } = this.#session
    const send = async (whole: OutgoingInput): Promise<unknown> => {
      const applied = await this.#session.sendAndWait(whole, timeoutMs ?? OUTCOME_TIMEOUT_MS)
      this.#saw(applied.seq)
      return valueOf(applied.outcome)
    }
    return intercept === undefined ? send(input) : intercept(callOf(input), (call) => send(inputOf(input, call)))
  }

  #send(input: OutgoingInput, options: SendOptions): Promise<Accepted> {
    const { id, traceparent, tracestate } = options
    const whole = { ...input, id, traceparent, tracestate }
    const { intercept } = this.#session
    if (intercept === undefined) return this.#sendNow(whole, options)
    return intercept(callOf(whole), (call) => this.#sendNow(inputOf(whole, call), options)) as Promise<Accepted>
  }

  async #sendNow(input: OutgoingInput, { wait, timeoutMs }: SendOptions): Promise<Accepted> {
    if (wait === 'applied') {
      const applied = await this.#session.sendAndWait(input, timeoutMs ?? OUTCOME_TIMEOUT_MS)
      this.#saw(applied.seq)
      valueOf(applied.outcome)
      return { seq: applied.seq, id: applied.id, duplicate: applied.duplicate, ...supersededOf(applied.outcome) }
    }
    const sent = this.#session.send(input)
    const seq = await sent.seq
    this.#saw(seq)
    return { seq, id: sent.id, duplicate: false }
  }

  async #read(
    { kind, name, payload }: Pick<ClientCall, 'kind' | 'name'> & { readonly payload?: unknown },
    options: ReadOptions,
    ask: (since: ReadSince, payload: unknown) => RpcRequest,
  ): Promise<unknown> {
    const deadline = new Deadline(options.timeoutMs ?? READ_TIMEOUT_MS)
    const what = `${name === '' ? kind : `${kind} ${name}`} of ${formatTarget(this.#target)}`
    return this.#around({ kind, name, payload }, async (changed) => {
      const minSeq = await this.#minSeq(options, deadline)
      const call = {
        partition: this.#target.partition,
        what,
        deadline,
        holdMs: READ_HOLD_MS,
        request: (waitMs: number) => ask({ ...this.#since(minSeq), waitMs }, changed),
        from: options.from ?? this.#session.readsFrom,
        isRead: true,
        saw: (seq: number) => this.#sawInstance(seq),
      }
      return this.#session.track(() => this.#session.rpc.call(call))
    })
  }

  /** A read, behind the interceptors. */
  #around(
    read: Pick<ClientCall, 'kind' | 'name' | 'payload'>,
    run: (payload: unknown) => Promise<unknown>,
  ): Promise<unknown> {
    const { intercept } = this.#session
    if (intercept === undefined) return run(read.payload)
    const { type, id } = this.#target
    const none = { inputId: undefined, traceparent: undefined, tracestate: undefined }
    return intercept({ ...read, type, id, ...none }, ({ payload }) => run(payload))
  }

  async #minSeq({ consistency, minSeq = 0 }: ReadOptions, deadline: Deadline): Promise<number> {
    if (consistency === 'linearizable')
      this.#saw(await this.#session.track(() => lastSeqOf(this.#session, this.#target, deadline)))
    return Math.max(this.#lastSeq, minSeq)
  }

  #since(minSeq: number): Omit<ReadSince, 'waitMs'> {
    return this.#seenSeq === 0 ? { minSeq } : { minSeq, seen: this.#seenSeq }
  }

  #saw(seq: number): void {
    this.#lastSeq = Math.max(this.#lastSeq, seq)
  }

  #sawInstance(seq: number): void {
    this.#seenSeq = Math.max(this.#seenSeq, seq)
  }
}
