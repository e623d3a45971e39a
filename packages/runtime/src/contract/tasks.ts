/** Tasks: what somebody outside does and reports by a token: a person, a webhook, another system. Types only; core/tasks.ts makes them. */
import type { Duration } from './duration.ts'
import type { Timeout } from './moment.ts'
import type { Schema } from './schema.ts'

export interface TaskContract {
  /** What whoever does it needs to know. It is shown with the open tasks of the instance. */
  readonly input?: Schema
  /** What it is completed with. */
  readonly output?: Schema
}

export interface TaskOptions {
  /** The task is closed after this, and its result rejects with TIMEOUT. Default: it stays open until the instance closes. */
  readonly deadline?: Timeout
  /** The longest time between two heartbeats by the token, the first from now; else the result rejects with TIMEOUT. Default: none are asked for. */
  readonly heartbeat?: Duration
}

/** A task that is open, or was. */
export interface Task<Output> {
  /** Names the task and gives the right to complete it: send it to whoever shall do so, and to nobody else. */
  readonly token: string
  /** When its deadline is, milliseconds since the epoch; undefined without one. */
  readonly dueMs: number | undefined
  /** False once it was completed, failed, let go, or its time was over. */
  readonly isOpen: boolean
  /**
   * What it was completed with. Nobody needs to await it.
   *
   * @throws TASK_FAILED when it was failed by the token; `details` is the error. @throws TIMEOUT when its deadline passed, or no heartbeat came.
   * @throws CANCELLED when the scope around it was cancelled.
   */
  readonly result: Promise<Output>
}
