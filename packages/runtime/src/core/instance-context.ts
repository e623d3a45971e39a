/** The `ctx` of one instance: turns calls of workflow code into effects and waits. */
import {
  type ActivityCalls,
  type Context,
  CONTINUED_AS_NEW,
  type ContinuedAsNew,
  type InstanceLog,
  type Received,
} from '../contract/context.ts'
import type { Attributes } from '../contract/attributes.ts'
import type { ActivityOptions, Contract, ContractShape } from '../contract/contract.ts'
import type { Duration } from '../contract/duration.ts'
import type { Children } from '../contract/children.ts'
import { endOf, type Moment, type Timeout, toMomentMs } from '../contract/moment.ts'
import type { WorkflowSender } from '../contract/outgoing.ts'
import type { Saga } from '../contract/saga.ts'
import { validate } from '../contract/schema.ts'
import type { TimerControl } from '../contract/timers.ts'
import type { WaitTimer } from '../contract/wait-timer.ts'
import type { Task } from '../contract/tasks.ts'
import { CarillonError } from '../errors.ts'
import { copyValue, encodeValue, type Input, parseKey, PAYLOAD_BYTES_MAX, quote } from '../protocol/index.ts'
import { attributesOf } from './attributes.ts'
import { childrenOf } from './children.ts'
import type { Instance } from './instance.ts'
import { INSTANCE_LIMITS } from './instance-data.ts'
import { interceptReceived } from './intercepted.ts'
import { payloadOf } from './payload-of.ts'
import { toPlainError } from './plain-error.ts'
import { isPatched } from './patched.ts'
import { parseRenewal } from './renewal.ts'
import { createSaga } from './saga.ts'
import { bindScope, Scope } from './scope.ts'
import { senderTo } from './sender.ts'
import { dropSleep, startSleep } from './sleeps.ts'
import { openTask } from './tasks.ts'
import { timerControls } from './timer-control.ts'
import { createWaitTimer, sleepUntil } from './wait-timer.ts'
import { promised } from './waits.ts'

type Level = 'debug' | 'info' | 'warn' | 'error'

export class InstanceContext implements Context {
  readonly #instance: Instance
  /** The input of the concurrent handler that this is for; undefined for all others, of which one runs at a time. */
  readonly #seq: number | undefined
  /** Undefined where nothing can cancel. */
  readonly #scope: Scope | undefined
  /** The input with which the coroutine began; where it is undefined, nobody may ask. */
  readonly #beganSeq: number | undefined
  #activities: ActivityCalls<object> | undefined
  #timers: Readonly<Record<string, TimerControl>> | undefined
  #log: InstanceLog | undefined
  #children: Children | undefined
  #attributes: Attributes | undefined

  constructor(instance: Instance, seq?: number, scope?: Scope, beganSeq = seq) {
    this.#beganSeq = beganSeq
    this.#instance = instance
    this.#seq = seq
    this.#scope = scope
    if (scope !== undefined) bindScope(this, scope)
  }

  get type(): string {
    return this.#instance.type
  }

  get id(): string {
    return this.#instance.id
  }

  get state(): unknown {
    this.#instance.requireTurn()
    return this.#instance.data.state
  }

  set state(value: unknown) {
    this.#instance.requireTurn()
    this.#instance.data.state = value
  }

  get activities(): ActivityCalls<object> {
    this.#activities ??= this.#makeActivities()
    return this.#activities
  }

  get timers(): Readonly<Record<string, TimerControl>> {
    this.#timers ??= timerControls(this.#instance)
    return this.#timers
  }

  get log(): InstanceLog {
    const line = (level: Level) => (message: string, fields?: Readonly<Record<string, unknown>>) =>
      this.#writeLog(level, message, fields)
    this.#log ??= { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') }
    return this.#log
  }

  get attributes(): Attributes {
    this.#attributes ??= attributesOf(this.#instance)
    return this.#attributes
  }

  get children(): Children {
    this.#children ??= childrenOf(this.#instance, this.#scope)
    return this.#children
  }

  get parent(): { readonly type: string; readonly id: string } | undefined {
    const { parent } = this.#instance.data
    return parent === undefined ? undefined : parseKey(parent.key)
  }

  workflow<Other extends ContractShape>(contract: Contract<Other>, id: string): WorkflowSender<Other> {
    return senderTo(this.#instance, contract, id, this.#scope)
  }

  task(name: string, ...args: readonly unknown[]): Task<never> {
    return openTask(this.#instance, name, args, this.#scope) as Task<never>
  }

  now(): number {
    return this.#instance.requireTurn().nowMs
  }

  random(): number {
    return this.#instance.requireTurn().random.float()
  }

  uuid(): string {
    return this.#instance.requireTurn().random.uuid()
  }

  sleep(duration: Duration): Promise<void> {
    return promised(() => {
      this.#requireUncancelled()
      return this.#instance.waits.forEffect(startSleep(this.#instance, duration), this.#scope) as Promise<void>
    })
  }

  sleepUntil(moment: Moment | (() => Moment)): Promise<void> {
    return promised(() => {
      if (typeof moment === 'function') return sleepUntil(this, moment)
      this.#requireUncancelled()
      if (toMomentMs(moment) <= this.now()) return Promise.resolve()
      return this.#instance.waits.forEffect(startSleep(this.#instance, { until: moment }), this.#scope) as Promise<void>
    })
  }

  timer(duration: Duration): WaitTimer {
    this.#requireUncancelled()
    return createWaitTimer(this.#instance, this.#scope, duration)
  }

  condition(predicate: () => boolean, timeout?: Timeout): Promise<boolean> {
    const instance = this.#instance
    return promised(() => {
      instance.requireTurn()
      this.#requireUncancelled()
      if (predicate()) return Promise.resolve(true)
      const expiry = timeout === undefined ? undefined : startSleep(instance, timeout)
      return instance.waits.forCondition(predicate, expiry, this.#scope)
    })
  }

  async receive(...names: string[]): Promise<Received<object, never>> {
    const instance = this.#instance
    instance.requireTurn()
    const declared = instance.implementation.contract.shape.signals ?? {}
    for (const name of names) {
      if (!Object.hasOwn(declared, name))
        throw new CarillonError('UNKNOWN_NAME', `${instance.type} declares no signal ${quote(name)} to receive`)
      if (instance.implementation.signals.has(name))
        throw new CarillonError(
          'INVALID_DEFINITION',
          `the signal ${quote(name)} of ${instance.type} has a handler, so receive never gets it`,
        )
    }
    this.#requireUncancelled()
    const wanted = new Set(names)
    const { mailbox } = instance.data
    const index = mailbox.findIndex((waiting) => wanted.size === 0 || wanted.has(waiting.name))
    const input =
      index === -1 ? await instance.waits.forSignal(wanted, this.#scope) : (mailbox.splice(index, 1)[0] as Input)
    // Validated when it came in; decoding it again gives the same.
    let payload = validate(declared[input.name], payloadOf(instance, input), `the signal ${input.name}`)
    if (instance.implementation.host?.handle !== undefined) {
      const received = await interceptReceived(instance, this, input, payload)
      if (received === undefined) return this.receive(...names)
      payload = received.payload
    }
    instance.finish(input, { ok: true })
    return { name: input.name, payload } as never
  }

  complete(result?: unknown): void {
    const { shape, name } = this.#instance.implementation.contract
    this.#instance.requestClose({ ok: true, value: validate(shape.result, result, `the result of ${name}`) }, this.#seq)
  }

  fail(error: Error | string): void {
    this.#instance.requestClose({ ok: false, error: toPlainError(error, 'WORKFLOW_FAILED') }, this.#seq)
  }

  continueAsNew(input?: unknown, options?: { readonly state?: unknown }): ContinuedAsNew {
    this.#instance.requireTurn()
    this.#instance.requestRenewal(parseRenewal(this.#instance, input, options), this.#seq)
    return CONTINUED_AS_NEW
  }

  patched(patch: string): boolean {
    const { seq } = this.#instance.requireTurn()
    return isPatched(this.#instance, patch, this.#beganSeq ?? seq)
  }

  get cancelled(): boolean {
    this.#instance.requireTurn()
    return this.#instance.isCancelled
  }

  async scope<T>(
    fn: (ctx: Context) => Promise<T> | T,
    { timeout, cancellable = true }: { readonly timeout?: Timeout; readonly cancellable?: boolean } = {},
  ): Promise<T> {
    const instance = this.#instance
    instance.requireTurn()
    if (cancellable) this.#requireUncancelled()
    const scope = new Scope(this.#scope, !cancellable)
    const expiry = timeout === undefined ? undefined : startSleep(instance, timeout)
    const withinMs = timeout === undefined ? 0 : endOf(timeout, this.now()) - this.now()
    if (expiry !== undefined)
      instance.waits.forEffect(expiry, undefined).then(
        () => scope.cancel(instance, new CarillonError('TIMEOUT', `the scope was not done within ${withinMs} ms`)),
        () => {},
      )
    try {
      return await fn(new InstanceContext(instance, this.#seq, scope, this.#beganSeq))
    } finally {
      if (expiry !== undefined) dropSleep(instance, expiry)
    }
  }

  saga(): Saga<Context> {
    this.#instance.requireTurn()
    return createSaga(this)
  }

  #requireUncancelled(): void {
    if (this.#scope?.error !== undefined) throw this.#scope.error
  }

  #makeActivities(): ActivityCalls<object> {
    const { contract } = this.#instance.implementation
    const calls = Object.entries(contract.shape.activities ?? {}).map(([name, { input: schema }]) => {
      const call =
        schema === undefined
          ? (options?: ActivityOptions) => this.#callActivity(name, undefined, options)
          : (input: unknown, options?: ActivityOptions) =>
              this.#callActivity(name, validate(schema, input, `the activity ${name}`), options)
      return [name, call] as const
    })
    return Object.fromEntries(calls)
  }

  #callActivity(name: string, payload: unknown, options: ActivityOptions | undefined): Promise<unknown> {
    const around = this.#instance.implementation.host?.activity
    if (around === undefined) return this.#startActivity(name, payload, options)
    return around({ name, payload, options, ctx: this }, (changed) => this.#startActivity(name, changed, options))
  }

  #startActivity(name: string, input: unknown, options: ActivityOptions | undefined): Promise<unknown> {
    const instance = this.#instance
    const turn = instance.requireTurn()
    if (this.#scope?.error !== undefined) return Promise.reject(this.#scope.error)
    checkLimit('activities', instance.data.activities.size, INSTANCE_LIMITS.activities)
    const bytes = encodeValue(input)
    if (bytes.length > PAYLOAD_BYTES_MAX)
      throw new CarillonError(
        'PAYLOAD_TOO_LARGE',
        `the input of the activity ${name} has ${bytes.length} bytes, over ${PAYLOAD_BYTES_MAX}: pass a reference instead`,
      )
    const id = turn.nextEffectId()
    instance.data.activities.set(id, name)
    instance.emit({ kind: 'activity', id, name, input: bytes, options: copyValue(options) })
    return instance.waits.forEffect(id, this.#scope)
  }

  #writeLog(level: Level, message: string, fields: Readonly<Record<string, unknown>> | undefined): void {
    const { effects } = this.#instance.requireTurn()
    const lines = effects.reduce((count, { kind }) => count + (kind === 'log' ? 1 : 0), 0)
    if (lines > INSTANCE_LIMITS.logLines) return
    const last = lines === INSTANCE_LIMITS.logLines
    effects.push({
      kind: 'log',
      level,
      message: last ? `more than ${INSTANCE_LIMITS.logLines} log lines in one turn: the rest is dropped` : message,
      fields: last ? undefined : fields,
    })
  }
}

function checkLimit(what: string, count: number, max: number): void {
  if (count >= max)
    throw new CarillonError(
      'LIMIT_REACHED',
      `the instance has ${count} ${what} open, the most there may be: end some first`,
    )
}
