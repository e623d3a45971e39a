/** Inputs: what the journal holds for an instance, and the payloads that Carillon itself defines. */
import type { ErrorData } from '../errors.ts'
import type { PayloadEncoding } from './payload-encoding.ts'
import type { InputKind } from './subjects.ts'

/** The headers of an input. All are optional. */
export const HEADERS = {
  /** The input id: the idempotency key within its instance. */
  id: 'Carillon-Id',
  /** `json` or `msgpack`, then the codecs that the payload passed, with commas; none means JSON. */
  encoding: 'Carillon-Encoding',
  /** Where the outcome is to be sent (the NATS reply subject is taken by the PubAck). */
  reply: 'Carillon-Reply',
  /** The version of the payload's schema; `1` is what this release writes and reads. */
  version: 'Carillon-Version',
  /** W3C trace context. */
  trace: 'traceparent',
  /** Goes with it. */
  traceState: 'tracestate',
  /** Taken as the input id when `Carillon-Id` is absent: what plain NATS producers already set. */
  natsId: 'Nats-Msg-Id',
  /** On calls for remote workers: `<type token>.<id token>/<effect>`, and the options that were given at the call, as JSON. */
  call: 'Carillon-Call',
  callOptions: 'Carillon-Call-Options',
  /** On dead letters: the code of the reason, and its text. */
  reasonCode: 'Carillon-Reason',
  reasonText: 'Carillon-Reason-Text',
  /** On dead letters: where the input stands in the journal. */
  originSeq: 'Carillon-Seq',
  /** Kind and name of the input, as they stand in its subject, or the whole subject where that names no instance. */
  originSubject: 'Carillon-Subject',
} as const

export const PROTOCOL_VERSION = '1'

/** One message of the journal, addressed and decoded as far as every node needs it. Its payload is decoded when it is applied. */
export interface Input {
  /** Its sequence in the log stream: the total order. */
  readonly seq: number
  /** The server's time of storing, milliseconds since the epoch. */
  readonly timeMs: number
  readonly kind: InputKind
  /** Signal, update, activity, timer or command name, or a child's type; empty for `start` and `cancel`. */
  readonly name: string
  /** The sender's idempotency key, or undefined when it gave none. */
  readonly id: string | undefined
  readonly encoding: PayloadEncoding
  readonly payload: Uint8Array
  /** Inbox that waits for the outcome. */
  readonly reply: string | undefined
  /** W3C trace context, as trace.ts joins it. */
  readonly trace: string | undefined
  /** The version of the payload's schema; an instance that meets one it does not know is suspended, never guessed at. */
  readonly version: string
  /** Never in the journal: what a node has decided about the input before its turn. */
  readonly mark?: Mark
}

/**
 * What was decided about an input before its turn, by a command or by the type's policy. It stands in the tail with the input, so that every replay comes
 * to the same.
 */
export interface Mark {
  /** The life that runs is terminated in front of it, for this reason. */
  readonly terminate?: string
  /** It becomes a dead letter with this error; no user code sees it. */
  readonly dead?: ErrorData
  /** A handler that began before and throws while it is applied ends with its error, and its own input becomes the dead letter. */
  readonly lenient?: true
  /** A command that took effect when it came: how it ended. */
  readonly outcome?: Outcome
}

/** Payload of a `start` input. */
export interface StartPayload {
  readonly input?: unknown
  /**
   * What to do when the instance is running already: refuse (the sender is told ALREADY_STARTED), go on with the one that runs, or terminate that
   * first.
   */
  readonly ifRunning?: 'fail' | 'use' | 'terminate'
  /** What to do when it has run and closed: start a new life, or refuse (the sender is told CLOSED). Default: the type's. */
  readonly ifClosed?: 'restart' | 'fail'
  /** How long a new life waits before it does anything, in milliseconds. */
  readonly delayMs?: number
  /** A signal applied right behind the start, in the same turn: signal-with-start. */
  readonly signal?: { readonly name: string; readonly payload?: unknown }
  /** The instance whose child this is, and its effect that the result answers. Goes with `ifRunning: 'fail'`. */
  readonly parent?: { readonly key: string; readonly effect: string }
  /** An update run right behind the start, in the same turn: update-with-start. Its value is the outcome. Not together with `signal`. */
  readonly update?: { readonly name: string; readonly input?: unknown }
}

/** Payload of the commands `retry` and `skip`: the input at which the instance is suspended. At any other one they do nothing. */
export interface SeqPayload {
  readonly seq: number
}

/** Payload of the command `pause`. */
export interface PausePayload {
  readonly reason?: string
}

/** Payload of the command `terminate`. */
export interface TerminatePayload {
  readonly reason?: string
  /** When a parent sends it: only the child that this effect started obeys. */
  readonly parent?: { readonly key: string; readonly effect: string }
}

/** Payload of an `activity`, `child` or `answer` input: the result of one activity, one child, or one update of another instance. */
export interface ActivityPayload {
  readonly effect: string
  readonly outcome: Outcome
}

/** Payload of a `timer` input. */
export interface TimerPayload {
  readonly effect: string
  /** When it was due, milliseconds since the epoch. */
  readonly dueMs: number
}

/** How something ended. */
export type Outcome =
  | { readonly ok: true; readonly value?: unknown }
  | { readonly ok: false; readonly error: ErrorData }

/** The place of the later signal that stands for the one with this outcome, if there is one. */
export function supersededOf(outcome: Outcome): { readonly supersededBy?: number } {
  const value = outcome.ok ? outcome.value : undefined
  if (typeof value !== 'object' || value === null || !('supersededBy' in value)) return {}
  return typeof value.supersededBy === 'number' ? { supersededBy: value.supersededBy } : {}
}

/** What a waiting sender is told on its reply inbox, msgpack. */
export interface ReplyPayload {
  /** The input that this is the outcome of. */
  readonly seq: number
  /** True when the input's id was known already: this is the outcome of the first one. */
  readonly duplicate: boolean
  readonly outcome: Outcome
}
