/** The implementation of a workflow type: what runs on the nodes. */
import { CarillonError } from '../errors.ts'
import { encodeToken, quote } from '../protocol/index.ts'
import type { AttributesToSet } from './attributes.ts'
import type {
  Args,
  Context,
  ContinuedAsNew,
  FieldOf,
  QueryNames,
  QueryOf,
  SignalNames,
  SignalSchema,
  UpdateNames,
  UpdateOf,
} from './context.ts'
import type { Contract, ContractShape } from './contract.ts'
import { type Duration, toMs } from './duration.ts'
import type { Host } from './host.ts'
import { type MailboxPolicy, parseMailbox } from './mailbox.ts'
import { type ErrorPolicy, type OnError, parseOnError } from './on-error.ts'
import type { InputOf, OutputOf } from './schema.ts'
import { type LooseTimer, type TimerHandler, toTimerHandler } from './timer-handler.ts'
import type { TimerSpec } from './timers.ts'

type MaybePromise<T> = T | Promise<T>
type ReadonlyDeep<T> = T extends (...args: never[]) => unknown
  ? T
  : T extends object
    ? { readonly [K in keyof T]: ReadonlyDeep<T[K]> }
    : T

export type StartInput<Shape extends ContractShape, Auto extends boolean> =
  | (Shape extends { readonly input: infer S } ? OutputOf<S> : undefined)
  | (Auto extends true ? undefined : never)

type RunResult<Shape extends ContractShape> = Shape extends { readonly result: infer S } ? InputOf<S> : unknown

// Written out with `?`: through `Partial<…>` the compiler would not infer the state.
type SignalHandlers<Shape extends ContractShape, State, Timers extends string> = {
  readonly [Name in SignalNames<Shape>]?: (
    ctx: Context<Shape, State, Timers>,
    payload: OutputOf<SignalSchema<Shape, Name>>,
  ) => unknown
}

type UpdateRun<Shape extends ContractShape, State, Timers extends string, Name> = (
  ctx: Context<Shape, State, Timers>,
  input: OutputOf<FieldOf<UpdateOf<Shape, Name>, 'input'>>,
) => MaybePromise<UpdateValue<Shape, Name>>
type UpdateValue<Shape extends ContractShape, Name> =
  FieldOf<UpdateOf<Shape, Name>, 'output'> extends undefined ? void : InputOf<FieldOf<UpdateOf<Shape, Name>, 'output'>>

type UpdateHandlers<Shape extends ContractShape, State, Timers extends string> = {
  readonly [Name in UpdateNames<Shape>]:
    | UpdateRun<Shape, State, Timers, Name>
    | {
        /** Refuses by throwing (best: `UpdateRejected`). Sees the state, changes nothing. */
        readonly validate: (
          state: ReadonlyDeep<State>,
          input: OutputOf<FieldOf<UpdateOf<Shape, Name>, 'input'>>,
        ) => void
        readonly run: UpdateRun<Shape, State, Timers, Name>
      }
}

type QueryHandlers<Shape extends ContractShape, State> = {
  readonly [Name in QueryNames<Shape>]: (
    state: ReadonlyDeep<State>,
    ...args: Args<FieldOf<QueryOf<Shape, Name>, 'input'>> extends []
      ? []
      : [input: OutputOf<FieldOf<QueryOf<Shape, Name>, 'input'>>]
  ) => InputOf<FieldOf<QueryOf<Shape, Name>, 'output'>>
}

interface CommonSpec<Shape extends ContractShape, State, Timers extends string, Auto extends boolean> {
  /** The state of a new instance. */
  readonly state: (input: StartInput<Shape, Auto>) => State
  /** True for instances that simply exist: the first signal or update starts one. Its input is undefined then. */
  readonly startOnSignal?: Auto
  /** What a start without `ifClosed`, and with `startOnSignal` a signal or update, does to an instance that has closed; default `restart`. */
  readonly ifClosed?: 'restart' | 'fail'
  /** How long a closed instance is remembered, result and known ids included; then it is as if it had never been. Default: for ever. */
  readonly retention?: Duration
  /** Input ids that each instance remembers, so that a repeat changes nothing; default 10,000, at most 1,000,000. */
  readonly knownIdsMax?: number
  /** What becomes of an input whose handler throws anything but `WorkflowFailure`; default `suspend`. */
  readonly onError?: OnError
  readonly timers?: { readonly [Name in Timers]: TimerSpec<Shape, State, Timers> }
  /**
   * Changes that `ctx.patched` guards, by names of your choice. Each becomes active, for what begins from then on, when a node with this build goes
   * live. One that nothing asks for any more is simply not listed any more.
   */
  readonly patches?: readonly string[]
  /** The version of the state's shape, a whole number from 1 (the default). Raise it when states that are stored do not fit the code any more. */
  readonly version?: number
  /**
   * Makes a state of this version out of one of an older version. It runs when an instance is read back, before anything is applied to it, under the
   * rules of a turn: no I/O, no waiting. It must give what this build would have made of the same inputs. What it throws suspends the instance.
   */
  migrate?(state: unknown, fromVersion: number): NoInfer<State>
}

type Answers<Shape extends ContractShape, State, Timers extends string> = ([UpdateNames<Shape>] extends [never]
  ? { readonly updates?: undefined }
  : { readonly updates: UpdateHandlers<Shape, State, Timers> }) &
  ([QueryNames<Shape>] extends [never]
    ? { readonly queries?: undefined }
    : { readonly queries: QueryHandlers<Shape, State> })

/** Every signal needs a handler, unless there is a `run` that can receive it. */
type Complete<Shape extends ContractShape> = [SignalNames<Shape>] extends [never]
  ? unknown
  : { readonly run: object } | { readonly on: Readonly<Record<SignalNames<Shape>, object>> }

/** What an implementation holds. */
export type Spec<Shape extends ContractShape, State, Timers extends string, Auto extends boolean> = CommonSpec<
  Shape,
  State,
  Timers,
  Auto
> &
  Answers<Shape, State, Timers> & {
    /** Handlers of signals. Signals without one wait, in one ordered mailbox, for `ctx.receive` in `run`. */
    readonly on?: SignalHandlers<Shape, State, Timers>
    /**
     * Signals whose handlers start at once, even while other handlers wait; several may be in progress. For what must not wait its turn: pause,
     * cancel, approve.
     */
    readonly concurrent?: readonly SignalNames<Shape>[]
    /** The attributes of a new instance, and of each new life behind a close. Default: none are set. */
    readonly attributes?: (input: StartInput<Shape, Auto>) => AttributesToSet<Shape>
    /** How many inputs of a signal may wait, for their handler's turn or for `ctx.receive`, and which gives way to one more. Default: no bound. */
    readonly mailbox?: { readonly [Name in SignalNames<Shape>]?: MailboxPolicy }
    /** The instance's main function, if it has one. When it returns, the instance completes with what it returned, or continues as new. */
    readonly run?: (
      ctx: Context<Shape, State, Timers>,
      input: StartInput<Shape, Auto>,
    ) => Promise<RunResult<Shape> | ContinuedAsNew>
  } & Complete<Shape>

type Handler = (ctx: Context, payload: unknown) => unknown

export interface UpdateHandler {
  readonly validate: ((state: unknown, input: unknown) => void) | undefined
  readonly run: Handler
}

const implementation = Symbol.for('carillon.implementation')

/** An implementation as the core runs it. `implement` is the only maker. */
export interface Implementation {
  readonly [implementation]: true
  readonly contract: Contract
  readonly createState: (input: unknown) => unknown
  readonly createAttributes: ((input: unknown) => AttributesToSet) | undefined
  readonly startOnSignal: boolean
  readonly ifClosed: 'restart' | 'fail'
  /** Undefined: for ever. */
  readonly retentionMs: number | undefined
  readonly knownIdsMax: number
  /** Undefined when it declares none. */
  readonly patches: ReadonlySet<string> | undefined
  /** Since which sequences patches are active, in the partition that runs this; undefined: from the start, as without any node. */
  readonly active: ReadonlyMap<string, number> | undefined
  /** Of the state. */
  readonly version: number
  readonly migrate: ((state: unknown, fromVersion: number) => unknown) | undefined
  readonly onError: ErrorPolicy
  readonly signals: ReadonlyMap<string, Handler>
  /** Names among `signals`. */
  readonly concurrent: ReadonlySet<string>
  /** By signal; undefined where the type bounds none. */
  readonly mailbox: ReadonlyMap<string, MailboxPolicy> | undefined
  readonly updates: ReadonlyMap<string, UpdateHandler>
  readonly queries: ReadonlyMap<string, (state: unknown, input: unknown) => unknown>
  readonly timers: ReadonlyMap<string, TimerHandler>
  readonly main: ((ctx: Context, input: unknown) => unknown) | undefined
  /** What the tokens of tasks are made with: `withTaskSecret`. */
  readonly taskSecret?: string
  /** What the node puts around it; undefined for nothing. */
  readonly host: Host | undefined
}

export const KNOWN_IDS_DEFAULT = 10_000
export const KNOWN_IDS_MAX = 1_000_000
/** Declared at once: each becomes an input in every partition. */
const PATCHES_MAX = 100
/** More would be a date or a hash, and no count of changes. */
const STATE_VERSION_MAX = 1_000_000

/**
 * Implements a contract.
 *
 * @throws INVALID_DEFINITION when a handler is missing, is not a function, or has no counterpart in the contract.
 */
export function implement<
  Shape extends ContractShape,
  State,
  Timers extends string = never,
  Auto extends boolean = false,
>(contract: Contract<Shape>, spec: Spec<Shape, State, Timers, Auto>): Implementation {
  const loose = spec as unknown as LooseSpec
  const { shape, name } = contract
  const refuse = (message: string): never => {
    throw new CarillonError('INVALID_DEFINITION', `the implementation of ${name} ${message}`)
  }
  const known = loose.knownIdsMax ?? KNOWN_IDS_DEFAULT
  if (!Number.isInteger(known) || known < 1 || known > KNOWN_IDS_MAX)
    refuse(`has knownIdsMax ${known}: give a whole number from 1 to ${KNOWN_IDS_MAX}`)
  if (typeof loose.state !== 'function') refuse('has no state function')
  const version = checkVersion(loose, refuse)
  const signals = handlerMap(loose.on, shape.signals, 'signal', loose.run === undefined, refuse)
  const updates = handlerMap(loose.updates, shape.updates, 'update', true, refuse)
  const queries = handlerMap(loose.queries, shape.queries, 'query', true, refuse)
  for (const key of loose.concurrent ?? [])
    if (!signals.has(key)) refuse(`declares the signal ${key} concurrent, but has no handler for it in on`)
  return Object.freeze({
    [implementation]: true as const,
    contract,
    createState: loose.state,
    createAttributes: loose.attributes,
    startOnSignal: loose.startOnSignal ?? false,
    ifClosed: loose.ifClosed ?? 'restart',
    retentionMs: loose.retention === undefined ? undefined : toMs(loose.retention),
    knownIdsMax: known,
    patches: checkPatches(loose.patches, refuse),
    active: undefined,
    version,
    migrate: loose.migrate?.bind(loose),
    onError: parseOnError(loose.onError, refuse),
    signals: signals as ReadonlyMap<string, Handler>,
    concurrent: new Set(loose.concurrent),
    mailbox: parseMailbox(loose.mailbox, shape.signals, refuse),
    updates: new Map([...updates].map(([key, value]) => [key, toUpdateHandler(value as Handler | UpdateHandler)])),
    queries: queries as Implementation['queries'],
    timers: new Map(
      Object.entries(loose.timers ?? {}).map(([key, timer]) => [key, toTimerHandler(key, timer, refuse)]),
    ),
    main: loose.run,
    host: undefined,
  })
}

/** The implementation as a cluster runs it: its tasks have tokens that nobody outside can make. */
export function withTaskSecret(implementation: Implementation, secret: string): Implementation {
  return Object.freeze({ ...implementation, taskSecret: secret })
}

/** Whether a value is an implementation, whichever copy of this package made it. */
export function isImplementation(value: unknown): value is Implementation {
  return typeof value === 'object' && value !== null && implementation in value
}

interface LooseSpec {
  readonly state: (input: unknown) => unknown
  readonly attributes?: (input: unknown) => AttributesToSet
  readonly startOnSignal?: boolean
  readonly ifClosed?: 'restart' | 'fail'
  readonly retention?: Duration
  readonly knownIdsMax?: number
  readonly patches?: readonly string[]
  readonly version?: number
  readonly migrate?: (state: unknown, fromVersion: number) => unknown
  readonly onError?: OnError
  readonly on?: Readonly<Record<string, unknown>>
  readonly concurrent?: readonly string[]
  readonly mailbox?: Readonly<Record<string, unknown>>
  readonly updates?: Readonly<Record<string, unknown>>
  readonly queries?: Readonly<Record<string, unknown>>
  readonly timers?: Readonly<Record<string, LooseTimer>>
  readonly run?: (ctx: Context, input: unknown) => unknown
}

function checkPatches(
  patches: readonly string[] = [],
  refuse: (message: string) => never,
): ReadonlySet<string> | undefined {
  if (patches.length > PATCHES_MAX) refuse(`declares ${patches.length} patches, over ${PATCHES_MAX}: remove the oldest`)
  for (const patch of patches) checkPatch(patch, refuse)
  return patches.length === 0 ? undefined : new Set(patches)
}

function checkPatch(patch: string, refuse: (message: string) => never): void {
  try {
    encodeToken(patch, 'patch')
  } catch (error) {
    refuse(`declares the patch ${quote(patch)}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function checkVersion({ version = 1, migrate }: LooseSpec, refuse: (message: string) => never): number {
  if (!Number.isInteger(version) || version < 1 || version > STATE_VERSION_MAX)
    refuse(`has version ${version}: give a whole number from 1 to ${STATE_VERSION_MAX}`)
  if (version > 1 && typeof migrate !== 'function')
    refuse(`has version ${version} and no migrate: add one, so that states of older versions can be read`)
  if (version === 1 && migrate !== undefined) refuse('has migrate, but version 1: raise the version')
  return version
}

function handlerMap(
  given: Readonly<Record<string, unknown>> | undefined,
  declared: Readonly<Record<string, unknown>> | undefined,
  what: string,
  complete: boolean,
  refuse: (message: string) => never,
): ReadonlyMap<string, unknown> {
  const handlers = new Map(Object.entries(given ?? {}).filter(([, handler]) => handler !== undefined))
  const names = new Set(Object.keys(declared ?? {}))
  for (const key of handlers.keys())
    if (!names.has(key)) refuse(`handles the ${what} ${key}, which its contract does not declare`)
  if (complete)
    for (const key of names) if (!handlers.has(key)) refuse(`has no handler for the ${what} ${key}: add one`)
  return handlers
}

function toUpdateHandler(handler: Handler | UpdateHandler): UpdateHandler {
  return typeof handler === 'function' ? { validate: undefined, run: handler } : handler
}
