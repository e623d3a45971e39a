/** Compensation: what has been done is undone, last first. Types only; core/saga.ts makes it. */

/** The undoing of the steps of one piece of work. It lives with the code that made it. */
export interface Saga<Ctx> {
  /** How many steps would be undone. */
  readonly size: number
  /**
   * Says how to undo a step. Add it when the step is done, or in front of it where undoing what was not done does no harm: a step that failed half-way
   * is undone then too. Use the `ctx` that it is given: no cancel request reaches that one.
   *
   * @throws LIMIT_REACHED beyond 10,000 steps.
   */
  add(undo: (ctx: Ctx) => unknown): void
  /**
   * Undoes the steps, last first, one behind the other, each once; one that fails does not keep the others from being undone. A cancel request does not
   * reach it.
   *
   * @returns the failures in the order in which they came: of activities, children, updates and tasks, time-outs, and every `WorkflowFailure` that was
   * thrown; none when all is undone. Anything else that is thrown is a bug: it ends the compensation and suspends the instance.
   */
  compensate(): Promise<readonly Error[]>
}
