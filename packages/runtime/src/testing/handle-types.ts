/** What the handle of a test takes and gives: shaped as the client's, which this package does not know. */
import type {
  Args,
  FieldOf,
  QueryNames,
  QueryOf,
  SignalNames,
  SignalSchema,
  UpdateNames,
  UpdateOf,
} from '../contract/context.ts'
import type { ContractShape } from '../contract/contract.ts'
import type { Duration } from '../contract/duration.ts'
import type { InputOf, OutputOf } from '../contract/schema.ts'
import type { Description } from '../protocol/index.ts'

export interface SendOptions {
  /** The idempotency key. Made up from the world's seed when absent. */
  readonly id?: string | undefined
  /** `accepted` (the default) resolves when the input is in the journal, `applied` when its handler is done, or rejects with its error. */
  readonly wait?: 'accepted' | 'applied' | undefined
  /** How long `applied` waits, in the world's time; default 30,000. */
  readonly timeoutMs?: number | undefined
  readonly traceparent?: string | undefined
}

/** What a start does to an instance that runs already or has closed, and when its life begins. */
export interface StartRules {
  readonly ifRunning?: 'fail' | 'use' | 'terminate' | undefined
  readonly ifClosed?: 'restart' | 'fail' | undefined
  readonly startDelay?: Duration | undefined
}

export interface StartOptions extends SendOptions, StartRules {}

export interface UpdateOptions {
  readonly id?: string | undefined
  readonly timeoutMs?: number | undefined
  readonly traceparent?: string | undefined
}

export interface ReadOptions {
  readonly minSeq?: number | undefined
  /** Reads of a test world see everything that was sent, whichever is asked for. */
  readonly consistency?: 'session' | 'linearizable' | undefined
  /** In the world's time. */
  readonly timeoutMs?: number | undefined
}

export interface Accepted {
  readonly seq: number
  readonly id: string
  readonly duplicate: boolean
}

type PayloadArgs<S> = Args<S> extends [] ? [payload?: undefined] : Args<S>
type StartArgs<Shape extends ContractShape> = Shape extends { readonly input: infer S }
  ? PayloadArgs<S>
  : [input?: undefined]

type NamedSignal<Shape extends ContractShape> = {
  [Name in SignalNames<Shape>]: undefined extends InputOf<SignalSchema<Shape, Name>>
    ? { readonly name: Name; readonly payload?: InputOf<SignalSchema<Shape, Name>> }
    : [InputOf<SignalSchema<Shape, Name>>] extends [void]
      ? { readonly name: Name; readonly payload?: undefined }
      : { readonly name: Name; readonly payload: InputOf<SignalSchema<Shape, Name>> }
}[SignalNames<Shape>]

type SignalWithStart<Shape extends ContractShape> = {
  readonly signal: NamedSignal<Shape>
} & (StartArgs<Shape> extends [input: infer Input]
  ? { readonly input: Input }
  : { readonly input?: StartArgs<Shape>[0] })

type UpdateWithStart<Shape extends ContractShape, Name extends UpdateNames<Shape>> = {
  readonly update: { readonly name: Name; readonly input?: PayloadArgs<FieldOf<UpdateOf<Shape, Name>, 'input'>>[0] }
} & (StartArgs<Shape> extends [input: infer Input]
  ? { readonly input: Input }
  : { readonly input?: StartArgs<Shape>[0] })

/** One instance, as a test and a producer see it: what the client's `WorkflowHandle` offers to send and to read. */
export interface InstanceHandle<Shape extends ContractShape = ContractShape> {
  readonly type: string
  readonly id: string
  /** The highest sequence that this handle has seen: its reads see the journal at least up to there. */
  readonly lastSeq: number
  start(...args: [...StartArgs<Shape>, options?: StartOptions]): Promise<Accepted>
  signal<Name extends SignalNames<Shape>>(
    name: Name,
    ...args: [...PayloadArgs<SignalSchema<Shape, Name>>, options?: SendOptions]
  ): Promise<Accepted>
  signalWithStart(both: SignalWithStart<Shape>, options?: StartOptions): Promise<Accepted>
  update<Name extends UpdateNames<Shape>>(
    name: Name,
    ...args: [...PayloadArgs<FieldOf<UpdateOf<Shape, Name>, 'input'>>, options?: UpdateOptions]
  ): Promise<OutputOf<FieldOf<UpdateOf<Shape, Name>, 'output'>>>
  updateWithStart<Name extends UpdateNames<Shape>>(
    both: UpdateWithStart<Shape, Name>,
    options?: UpdateOptions & StartRules,
  ): Promise<OutputOf<FieldOf<UpdateOf<Shape, Name>, 'output'>>>
  query<Name extends QueryNames<Shape>>(
    name: Name,
    ...args: [...PayloadArgs<FieldOf<QueryOf<Shape, Name>, 'input'>>, options?: ReadOptions]
  ): Promise<OutputOf<FieldOf<QueryOf<Shape, Name>, 'output'>>>
  describe(options?: ReadOptions): Promise<Description>
  result(options?: ReadOptions): Promise<Shape extends { readonly result: infer S } ? OutputOf<S> : unknown>
  pause(reason?: string, options?: SendOptions): Promise<Accepted>
  resume(options?: SendOptions): Promise<Accepted>
  /** False when the instance is not suspended at this input. */
  retry(seq: number, options?: UpdateOptions): Promise<boolean>
  /** False when the instance is not suspended at this input. */
  skip(seq: number, options?: UpdateOptions): Promise<boolean>
  terminate(reason?: string, options?: SendOptions): Promise<Accepted>
  cancel(reason?: string, options?: SendOptions): Promise<Accepted>
}
