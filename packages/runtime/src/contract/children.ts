/** Instances that workflow code starts and hears the end of. Types only; core/children.ts makes it. */
import type { Contract, ContractShape } from './contract.ts'
import type { StartValue, WorkflowSender } from './outgoing.ts'
import type { OutputOf } from './schema.ts'

/**
 * What becomes of a child that runs when its parent closes: it is closed as failed with TERMINATED, is asked to cancel, so that it can clean up, or
 * goes on alone.
 */
export type ParentClosePolicy = 'terminate' | 'cancel' | 'abandon'

export interface ChildOptions {
  /** Default: `terminate`. */
  readonly onParentClose?: ParentClosePolicy
}

export type ChildResult<Shape extends ContractShape> = Shape extends { readonly result: infer S }
  ? OutputOf<S>
  : unknown

/** A child of this instance. It can be sent to like any other instance. */
export interface ChildHandle<Shape extends ContractShape> extends WorkflowSender<Shape> {
  /**
   * Waits until the child has closed, and gives its result; at once where that is known. It may be called again.
   *
   * @param within the `ctx` of the scope that this wait is to be in; default: the `ctx` that the child was started with. When that is cancelled, only the
   * wait ends: the child goes on, stays a child, and may be waited for again.
   * @throws CHILD_FAILED when it failed, was terminated, or could not be started; `details` is the error that it closed with.
   * @throws CANCELLED, TIMEOUT when the scope is cancelled.
   */
  result(within?: { readonly cancelled: boolean }): Promise<ChildResult<Shape>>
}

type ChildInput<Shape extends ContractShape> =
  undefined extends StartValue<Shape>
    ? [input?: StartValue<Shape>, options?: ChildOptions]
    : [input: StartValue<Shape>, options?: ChildOptions]

export interface Children {
  /**
   * Starts an instance as a child of this one. Like a signal, the start is part of the turn; there is nothing to await but its result.
   *
   * An instance of that id that runs already is left as it is: `result` rejects.
   *
   * @throws INVALID_ID, INVALID_PAYLOAD, PAYLOAD_TOO_LARGE when it cannot be sent. @throws LIMIT_REACHED when 10,000 children have not closed.
   */
  start<Shape extends ContractShape>(
    contract: Contract<Shape>,
    id: string,
    ...input: ChildInput<Shape>
  ): ChildHandle<Shape>
}
