/** What workflow code may send to other instances, or to itself. Types only; core/outgoing.ts makes it. */
import type { Args, FieldOf, SignalNames, SignalSchema, UpdateNames, UpdateOf } from './context.ts'
import type { ContractShape } from './contract.ts'
import type { InputOf, OutputOf } from './schema.ts'

/** One signal by name with its payload; optional where the schema takes `undefined`. */
export type SignalToSend<Shape extends ContractShape> = {
  [Name in SignalNames<Shape>]: Args<SignalSchema<Shape, Name>> extends [payload: infer Payload]
    ? { readonly name: Name; readonly payload: Payload }
    : { readonly name: Name; readonly payload?: Args<SignalSchema<Shape, Name>>[0] }
}[SignalNames<Shape>]

/** What a caller starts an instance with. */
export type StartValue<Shape extends ContractShape> = Shape extends { readonly input: infer S } ? InputOf<S> : undefined

/** What an instance is started with; optional where its contract takes `undefined`. */
export type StartInputToSend<Shape extends ContractShape> =
  undefined extends StartValue<Shape> ? { readonly input?: StartValue<Shape> } : { readonly input: StartValue<Shape> }

/** A start and a signal as one input. */
export type SignalWithStartToSend<Shape extends ContractShape> = {
  readonly signal: SignalToSend<Shape>
} & StartInputToSend<Shape>

/**
 * Another instance, or this one, as workflow code addresses it.
 *
 * What is sent is part of the turn: it becomes an input of the other instance if the turn is kept, once, and there is nothing to await. Sends from
 * one instance to another are applied there in the order of the calls. Only of an update does anything come back.
 */
export interface WorkflowSender<Shape extends ContractShape> {
  readonly type: string
  readonly id: string
  /**
   * Sends a signal.
   *
   * @throws UNKNOWN_NAME, INVALID_PAYLOAD when its contract does not take it. @throws PAYLOAD_TOO_LARGE over 512 KiB.
   * @throws LIMIT_REACHED when the turn sends too much.
   */
  signal<Name extends SignalNames<Shape>>(name: Name, ...payload: Args<SignalSchema<Shape, Name>>): void
  /** Starts the instance unless it runs, and sends it a signal, as ONE input: both happen or neither. Throws as `signal`. */
  signalWithStart(both: SignalWithStartToSend<Shape>): void
  /**
   * Asks the instance to cancel, as `cancel` of a client's handle does. Whether it runs, and what it makes of that, does not come back: of a child
   * `result` tells it.
   *
   * @param reason becomes part of the error; at most 500 characters.
   * @throws INVALID_PAYLOAD when the reason is longer.
   */
  cancel(reason?: string): void
  /**
   * Sends an update, and waits for what its handler returns. While a handler waits, the next inputs of this instance wait too: two instances that
   * update each other from handlers wait for ever.
   *
   * When the scope of its `ctx` is cancelled, the wait ends; the update is not taken back, and its answer is ignored.
   *
   * @throws UPDATE_FAILED when it was refused, or failed; `details` is the error. @throws INVALID_DEFINITION when it goes to this instance itself.
   * Else as `signal`.
   */
  update<Name extends UpdateNames<Shape>>(
    name: Name,
    ...input: Args<FieldOf<UpdateOf<Shape, Name>, 'input'>>
  ): Promise<OutputOf<FieldOf<UpdateOf<Shape, Name>, 'output'>>>
}
