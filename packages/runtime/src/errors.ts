/** The errors of Carillon: one class, a stable code, and what a caller can do about it. */

/** What to do with a failed operation: give up, try again, ask another node, stop the partition, suspend the instance, end the process. */
export type Disposition = 'terminal' | 'retry' | 'reroute' | 'stop' | 'suspend' | 'fatal'

/** Every code with its disposition. docs/errors.md has a section per code, and a test keeps the two in step. */
export const ERROR_CODES = {
  INVALID_ID: 'terminal',
  INVALID_PAYLOAD: 'terminal',
  PAYLOAD_TOO_LARGE: 'terminal',
  INVALID_DEFINITION: 'terminal',
  INVALID_DURATION: 'terminal',
  INVALID_ATTRIBUTE: 'terminal',
  INVALID_CRON: 'terminal',
  UNKNOWN_TYPE: 'terminal',
  UNKNOWN_NAME: 'terminal',
  UNKNOWN_VERSION: 'suspend',
  MIGRATION_FAILED: 'suspend',
  UNKNOWN_CODEC: 'suspend',
  CODEC_REQUIRED: 'terminal',
  NOT_FOUND: 'terminal',
  ALREADY_STARTED: 'terminal',
  CLOSED: 'terminal',
  UNRECEIVED: 'terminal',
  TERMINATED: 'terminal',
  CANCELLED: 'terminal',
  WORKFLOW_FAILED: 'terminal',
  UPDATE_REJECTED: 'terminal',
  INPUT_REJECTED: 'terminal',
  HANDLER_FAILED: 'terminal',
  QUERY_FAILED: 'terminal',
  ACTIVITY_FAILED: 'terminal',
  CHILD_FAILED: 'terminal',
  TASK_FAILED: 'terminal',
  UPDATE_FAILED: 'terminal',
  SUSPENDED: 'suspend',
  NONDETERMINISTIC: 'suspend',
  OUTSIDE_TURN: 'terminal',
  LOST_COROUTINE: 'suspend',
  TURN_ENDLESS: 'suspend',
  TURN_CRASHED: 'suspend',
  INVALID_STATE: 'suspend',
  LIMIT_REACHED: 'terminal',
  MAILBOX_FULL: 'terminal',
  NOT_ACKNOWLEDGED: 'retry',
  TIMEOUT: 'retry',
  NO_NODE: 'retry',
  NOT_OWNER: 'reroute',
  CLOSING: 'reroute',
  HISTORY_TRIMMED: 'terminal',
  JOURNAL_BEHIND: 'stop',
  JOURNAL_REPLACED: 'stop',
  SNAPSHOT_DAMAGED: 'retry',
  STORAGE_FAILED: 'fatal',
  DATA_IN_USE: 'fatal',
  FOREIGN_DATA: 'fatal',
  ENGINE_LOST: 'fatal',
  SERVER_UNREACHABLE: 'fatal',
  SERVER_REFUSED: 'fatal',
  SERVER_TOO_OLD: 'fatal',
  JETSTREAM_UNAVAILABLE: 'fatal',
  CLUSTER_MISMATCH: 'fatal',
  CONFIG_INVALID: 'fatal',
  NODE_NAME_IN_USE: 'fatal',
} as const satisfies Record<string, Disposition>

export type ErrorCode = keyof typeof ERROR_CODES

/** An error as it travels in a payload: to a waiting sender, into a record, over rpc. */
export interface ErrorData {
  readonly code: string
  readonly message: string
  /** Whatever the thrower attached, as plain data. */
  readonly details?: unknown
}

/** The one operating error of Carillon. Branch on `code`, never on the class: another copy of this package may have thrown it. */
export class CarillonError extends Error {
  override readonly name = 'CarillonError'
  readonly code: ErrorCode
  readonly details: unknown

  constructor(
    code: ErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly details?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.details = options.details
  }

  get disposition(): Disposition {
    return ERROR_CODES[this.code]
  }
}

/** What user code throws on purpose, with plain data to go with it. */
abstract class Thrown extends Error {
  readonly details: unknown

  constructor(message: string, details?: unknown) {
    super(message)
    this.details = details
  }
}

/** Thrown by workflow code to fail its instance on purpose. Anything else that is thrown is taken for a bug and suspends the instance. */
export class WorkflowFailure extends Thrown {
  override readonly name = 'WorkflowFailure'
  readonly code = 'WORKFLOW_FAILED'
}

/** Thrown by an update's validator or handler, before anything has changed, to refuse the update. The instance goes on untouched. */
export class UpdateRejected extends Thrown {
  override readonly name = 'UpdateRejected'
  readonly code = 'UPDATE_REJECTED'
}

/**
 * Thrown by an interceptor or a handler, before anything has changed, to refuse an input: it becomes a dead letter, its sender is told, and the
 * instance goes on untouched.
 */
export class InputRejected extends Thrown {
  override readonly name = 'InputRejected'
  readonly code = 'INPUT_REJECTED'
}

/** Thrown by an activity to say that trying again is useless. */
export class NonRetryable extends Thrown {
  override readonly name = 'NonRetryable'
  readonly code = 'ACTIVITY_FAILED'
}

/** Whether an error carries this code, whichever copy of the package made it. */
export function hasCode(error: unknown, code: ErrorCode): boolean {
  return codeOf(error) === code
}

/** The code of an error, or undefined. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** An error as plain data. Anything without a known code gets `fallback`. */
export function toErrorData(error: unknown, fallback: ErrorCode): ErrorData {
  const code = codeOf(error)
  const known = code !== undefined && code in ERROR_CODES ? code : fallback
  const message = error instanceof Error ? error.message : String(error)
  const details = typeof error === 'object' && error !== null && 'details' in error ? error.details : undefined
  return details === undefined ? { code: known, message } : { code: known, message, details }
}

/** Plain data back as an error. */
export function fromErrorData(data: ErrorData): CarillonError {
  const code = data.code in ERROR_CODES ? (data.code as ErrorCode) : 'HANDLER_FAILED'
  return new CarillonError(code, data.message, data.details === undefined ? {} : { details: data.details })
}
