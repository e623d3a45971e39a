/** What the handle of a test offers: what the client's does, which this package does not know. */
import type {
  FieldOf,
  QueryNames,
  QueryOf,
  SignalNames,
  SignalSchema,
  UpdateNames,
  UpdateOf,
} from '../contract/context.ts'
import type { ContractShape } from '../contract/contract.ts'
import type {
  Accepted,
  DescribeOptions,
  HistoryEntry,
  HistoryOptions,
  PayloadArgs,
  ReadOptions,
  ResultOf,
  SendOptions,
  SignalWithStart,
  StartArgs,
  StartedUpdate,
  StartOptions,
  StartRules,
  UpdateOptions,
  UpdateResult,
  UpdateWithStart,
} from '../contract/handle.ts'
import type { OutputOf } from '../contract/schema.ts'
import type { Description } from '../protocol/index.ts'

/** One instance, as a test and a producer see it: what the client's `WorkflowHandle` offers to send and to read. Time-outs are in the world's time. */
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
  ): Promise<UpdateResult<Shape, Name>>
  startUpdate<Name extends UpdateNames<Shape>>(
    name: Name,
    ...args: [...PayloadArgs<FieldOf<UpdateOf<Shape, Name>, 'input'>>, options?: UpdateOptions]
  ): Promise<StartedUpdate<UpdateResult<Shape, Name>>>
  updateWithStart<Name extends UpdateNames<Shape>>(
    both: UpdateWithStart<Shape, Name>,
    options?: UpdateOptions & StartRules,
  ): Promise<UpdateResult<Shape, Name>>
  query<Name extends QueryNames<Shape>>(
    name: Name,
    ...args: [...PayloadArgs<FieldOf<QueryOf<Shape, Name>, 'input'>>, options?: ReadOptions]
  ): Promise<OutputOf<FieldOf<QueryOf<Shape, Name>, 'output'>>>
  describe(options?: DescribeOptions): Promise<Description>
  result(options?: ReadOptions): Promise<ResultOf<Shape>>
  /** The inputs of the instance in the journal's order, up to its end at the time of the call. */
  history(options?: HistoryOptions): AsyncIterableIterator<HistoryEntry>
  pause(reason?: string, options?: SendOptions): Promise<Accepted>
  resume(options?: SendOptions): Promise<Accepted>
  /** False when the instance is not suspended at this input. */
  retry(seq: number, options?: UpdateOptions): Promise<boolean>
  /** False when the instance is not suspended at this input. */
  skip(seq: number, options?: UpdateOptions): Promise<boolean>
  terminate(reason?: string, options?: SendOptions): Promise<Accepted>
  cancel(reason?: string, options?: SendOptions): Promise<Accepted>
}
