/**
 * Requests to the nodes of a partition, over core NATS: nothing here is durable.
 *
 * A request goes to `Subjects.rpc(partition)` for the owner, or, for reads, to `Subjects.rpcAny(partition)` for any node that follows it, msgpack (`encodeValue`) both ways. A request with `waitMs` is answered by then at the latest, with
 * TIMEOUT if nothing came; callers ask again.
 */
import type { AttributeValue } from '../contract/attributes.ts'
import type { ErrorData } from '../errors.ts'
import type { DigestSample } from './digest-message.ts'
import type { Outcome } from './input.ts'
import type { Group, WireFilter } from './instance-filter.ts'
import type { InstanceKey } from './subjects.ts'

/** The longest a node holds one request, in milliseconds. */
export const RPC_WAIT_MS_MAX = 20_000
/** A state that `describe` gives: the answer must fit into a message. */
export const DESCRIBED_STATE_BYTES_MAX = 512 * 1024
/** Instances of one page of `digests` at most. */
export const DIGESTS_LIMIT_MAX = 1000
/** Rows of one page of `list` at most. */
export const LIST_LIMIT_MAX = 1000

/** What an instance may be. Records and the index of the store keep them by their place here: a new one comes last. */
export const INSTANCE_STATUSES = ['running', 'suspended', 'completed', 'failed', 'paused'] as const
export type InstanceStatus = (typeof INSTANCE_STATUSES)[number]

/**
 * `minSeq`: the node answers once it has applied the journal up to there (0: at once), so a client reads its own writes. `seen`: once the instance is as
 * of that input of its own or a later one, so a client that asks another node never goes back behind what the one before has answered. `waitMs`: how
 * long it may take for that; default `RPC_WAIT_MS_MAX`.
 */
export type RpcRequest =
  | {
      readonly op: 'query'
      readonly key: InstanceKey
      readonly name: string
      readonly input?: unknown
      readonly minSeq: number
      readonly seen?: number
      readonly waitMs?: number
    }
  /** Answers a `Description`; with `state: true` the state in it, unless it is large. */
  | {
      readonly op: 'describe'
      readonly key: InstanceKey
      readonly minSeq: number
      readonly seen?: number
      readonly waitMs?: number
      readonly state?: boolean
    }
  /** The outcome of the input with this id, stored at `seq`: for senders whose reply was lost. Answers an `Outcome`. */
  | {
      readonly op: 'outcome'
      readonly key: InstanceKey
      readonly id: string
      readonly seq: number
      readonly waitMs: number
    }
  /** The result of the instance, once it has closed. Answers an `Outcome`; NOT_FOUND at once when there is no such instance. */
  | {
      readonly op: 'result'
      readonly key: InstanceKey
      readonly minSeq: number
      readonly seen?: number
      readonly waitMs: number
    }
  /** Whether the instance still waits for the result of this call of an activity. Answers a boolean. */
  | { readonly op: 'wanted'; readonly key: InstanceKey; readonly effect: string }
  /** Instances of this partition in the order of their keys. Answers a `ListPage`. */
  | ({
      readonly op: 'list'
      readonly after?: string
      readonly limit: number
      readonly minSeq?: number
      readonly waitMs?: number
    } & WireFilter)
  /** How many instances of this partition there are. Answers a `CountPage`. */
  | ({
      readonly op: 'count'
      readonly groupBy?: 'type' | 'status' | { readonly attribute: string }
      readonly after?: string
      readonly minSeq?: number
      readonly waitMs?: number
    } & WireFilter)
  /**
   * Digests of the instances of this partition, in the order of their keys: those behind `after` and up to `until`, or those of `keys`. Answers a
   * `DigestPage`.
   */
  | {
      readonly op: 'digests'
      readonly keys?: readonly InstanceKey[]
      readonly after?: InstanceKey
      readonly until?: InstanceKey
      readonly limit: number
      readonly minSeq?: number
      readonly waitMs?: number
    }

/** A digest of an instance, and what it is as of. */
export interface DigestRow {
  readonly key: InstanceKey
  /** The last input of the instance that it is as of; 0 for an absent one. */
  readonly seq: number
  /** The partition had been applied up to here. */
  readonly atSeq: number
  /** Empty where the node does not run the type. */
  readonly digest: string
  readonly stateVersion: number
  /** Inputs that this node has read wait for the end of a pause, or at a suspension. */
  readonly waits: boolean
}

export interface DigestPage {
  readonly rows: readonly DigestRow[]
  /** Of the instances that were asked for by key: the digests that the node has taken lately, each right behind an input. */
  readonly samples: readonly DigestSample[]
  /** Pass as `after`; absent on the last page. */
  readonly next?: InstanceKey
}

/** `seq`: what is said of an instance is as of this sequence; absent where it says nothing of one. */
export type RpcResponse =
  | { readonly ok: true; readonly value?: unknown; readonly seq?: number }
  | { readonly ok: false; readonly error: ErrorData; readonly seq?: number }

export interface ListRow {
  readonly type: string
  readonly id: string
  readonly status: InstanceStatus
  readonly startedMs: number
  /** When it closed; absent while it has not. */
  readonly closedMs?: number
  /** Sequence of the last input that was saved. */
  readonly seq: number
  /** Absent when none is set. */
  readonly attributes?: Readonly<Record<string, AttributeValue>>
}

export interface ListPage {
  readonly rows: readonly ListRow[]
  /** Pass as `after` for the next page; absent on the last page of the partition. */
  readonly next?: string
  /** Rows of the store that it took. */
  readonly visited: number
}

export interface CountPage {
  /** Without `groupBy` one group with the value true, or none. */
  readonly groups: readonly Group[]
  /** Pass as `after` to go on counting; absent when all are counted. */
  readonly next?: string
  readonly visited: number
}

export interface OpenTaskRow {
  readonly name: string
  readonly token: string
  readonly dueMs?: number
  readonly input?: unknown
}

/** What is known of one instance. */
export interface Description {
  readonly type: string
  readonly id: string
  readonly status: InstanceStatus
  readonly partition: number
  /** 1 for the first life of this id; every start after a close adds one. */
  readonly incarnation: number
  readonly startedMs: number
  /** Sequence and time of the last applied input. */
  readonly seq: number
  readonly timeMs: number
  /** SHA-256 over state, position and known ids, cut to 16 bytes, hex. Equal on every node that has applied the same inputs. */
  readonly digest: string
  readonly activities: readonly { readonly name: string; readonly callId: string }[]
  readonly timers: readonly { readonly name: string; readonly dueMs: number }[]
  /** Tasks that are open; absent without any. Their tokens give the right to complete them. */
  readonly tasks?: readonly OpenTaskRow[]
  /** Signals that wait for `receive`. */
  readonly mailbox: number
  /** Inputs that wait: behind the handler in progress, at the input that suspended the instance, or for the end of a pause (counted up to 10,000). */
  readonly queued: number
  readonly knownIds: number
  /** The version of the build that the state is of. */
  readonly stateVersion: number
  /** Present when it was asked for and has at most `DESCRIBED_STATE_BYTES_MAX`; wrapped, because a state may be anything. */
  readonly state?: { readonly value: unknown }
  /** Absent when none is set. */
  readonly attributes?: Readonly<Record<string, AttributeValue>>
  /** Present while a handler or `run` is not over: the input with which the oldest of them began. */
  readonly waitingSince?: number
  /** Present when suspended: the input that the instance stands at, and why. */
  readonly suspended?: {
    readonly seq: number
    readonly error: ErrorData
    /** When it is tried again by itself, and for the so many-th time. */
    readonly retry?: { readonly tries: number; readonly dueMs: number }
  }
  /** Present when paused, by a command or with its type. */
  readonly paused?:
    | { readonly by: 'command'; readonly seq: number; readonly timeMs: number; readonly reason?: string }
    | { readonly by: 'type' }
  /** Present when closed. */
  readonly closed?: { readonly seq: number; readonly timeMs: number; readonly outcome: Outcome }
}
