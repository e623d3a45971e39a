/**
 * What nodes tell each other, over core NATS: heartbeats, answers to pings, and requests of operators. Nothing of it is durable.
 *
 * A message that this release cannot read is none: a node of another release, or a stranger on the subject, must not be able to stop one.
 */
import { decodeValue, encodeValue } from './codec.ts'
import { encodeToken } from './ids.ts'
import { PARTITIONS_MAX } from './limits.ts'
import type { Partition } from './partition.ts'

/** Stands first in every message here. Others are ignored. */
export const NODE_VERSION = 1
/** Bytes of one heartbeat: enough for every partition of the largest cluster, below what nats-server takes. */
export const BEAT_BYTES_MAX = 512 * 1024
/** Counters of one heartbeat, and characters of a name of one: readers keep them for every node. */
export const BEAT_COUNTERS_MAX = 64
export const BEAT_COUNTER_CHARS_MAX = 40
/** The part of a node relative to others': a whole number from 1. More would make the ring too large. */
export const WEIGHT_MAX = 100
/** Standbys of a partition at most. */
export const STANDBYS_MAX = 2

/** `catching-up`: applies what it missed; `standby`: follows, muted; `promoting`: is about to be the owner; `owner`: its effects go out. */
export const PARTITION_ROLES = ['catching-up', 'standby', 'promoting', 'owner'] as const
export type PartitionRole = (typeof PARTITION_ROLES)[number]

/** `draining`: gives everything away and takes nothing; `left`: the last beat of a node that stops. */
export const NODE_STATES = ['live', 'draining', 'left'] as const
export type NodeState = (typeof NODE_STATES)[number]

/** One partition that a node hosts. */
export interface BeatPartition {
  readonly partition: Partition
  readonly role: PartitionRole
  /** The highest epoch of its ownership that the node knows of; 0: of none. */
  readonly epoch: number
  /** Everything of the journal up to here is applied. */
  readonly appliedSeq: number
  /** Owners: every send and dead letter of inputs up to here is stored. Others: what the owner said last. */
  readonly effectsDoneSeq: number
}

/** One heartbeat: who lives, and what it hosts. */
export interface NodeBeat {
  /** Its name, unique in the cluster at a time. */
  readonly node: string
  /** Random, made at the start of the process: tells two lives under one name apart. */
  readonly incarnation: string
  readonly state: NodeState
  readonly weight: number
  /** How many standbys a partition is to have; the most that any live node says counts. */
  readonly standbys: number
  /** The release that it runs, for people. */
  readonly build: string
  /** The name of the NATS server that it is connected to. */
  readonly server: string
  /** When it started, milliseconds since 1970 by its own clock. */
  readonly sinceMs: number
  /** Milliseconds since it started, never going back: what rates are counted over. */
  readonly upMs: number
  /** Rises with every beat of one incarnation: a late one is recognised. */
  readonly beat: number
  readonly partitions: readonly BeatPartition[]
  /** Counted since the start (`applied`, …), or as of now (`residents`, …). */
  readonly counters: Readonly<Record<string, number>>
}

/** The answer to a ping and to a discovery request. */
export interface PingAnswer {
  readonly node: string
  readonly incarnation: string
  readonly sinceMs: number
}

/**
 * What an operator asks of one node. `drain`: give all partitions away and take none; `resume`: take part again; `rebalance`: give away now what belongs
 * to others, without waiting until they have been stable for long. Answered with `{ ok: true }` as soon as it is noted (`RpcResponse`); beats show the rest.
 */
export const NODE_REQUESTS = ['drain', 'resume', 'rebalance'] as const
export interface NodeRequest {
  readonly op: (typeof NODE_REQUESTS)[number]
}

export function encodeBeat({ partitions, ...rest }: NodeBeat): Uint8Array<ArrayBuffer> {
  return encodeValue({
    version: NODE_VERSION,
    ...rest,
    partitions: partitions.map(({ partition, role, epoch, appliedSeq, effectsDoneSeq }) => [
      partition,
      PARTITION_ROLES.indexOf(role),
      epoch,
      appliedSeq,
      effectsDoneSeq,
    ]),
  })
}

/** Undefined for what is no heartbeat that this release can read. `partitions`: how many the cluster has. */
export function parseBeat(bytes: Uint8Array, partitions: number = PARTITIONS_MAX): NodeBeat | undefined {
  const raw = parseMessage(bytes)
  if (raw === undefined) return undefined
  const { node, incarnation, state, weight, standbys, build, server, sinceMs, upMs, beat, counters } = raw
  const hosted = parsePartitions(raw['partitions'], partitions)
  const counted = parseCounters(counters)
  const isValid =
    isName(node) &&
    isText(incarnation) &&
    isOneOf(state, NODE_STATES) &&
    isWhole(weight, 1, WEIGHT_MAX) &&
    isWhole(standbys, 0, STANDBYS_MAX) &&
    isText(build) &&
    isText(server) &&
    isWhole(sinceMs, 0) &&
    isWhole(upMs, 0) &&
    isWhole(beat, 0)
  if (!isValid || hosted === undefined || counted === undefined) return undefined
  return {
    node,
    incarnation,
    state,
    weight,
    standbys,
    build,
    server,
    sinceMs,
    upMs,
    beat,
    partitions: hosted,
    counters: counted,
  }
}

export function encodePingAnswer(answer: PingAnswer): Uint8Array<ArrayBuffer> {
  return encodeValue({ version: NODE_VERSION, ...answer })
}

/** Undefined for what is no answer that this release can read. */
export function parsePingAnswer(bytes: Uint8Array): PingAnswer | undefined {
  const { node, incarnation, sinceMs } = parseMessage(bytes) ?? {}
  return isName(node) && isText(incarnation) && isWhole(sinceMs, 0) ? { node, incarnation, sinceMs } : undefined
}

export function encodeNodeRequest(request: NodeRequest): Uint8Array<ArrayBuffer> {
  return encodeValue({ version: NODE_VERSION, ...request })
}

/** Undefined for what is no request that this release can read. */
export function parseNodeRequest(bytes: Uint8Array): NodeRequest | undefined {
  const { op } = parseMessage(bytes) ?? {}
  return isOneOf(op, NODE_REQUESTS) ? { op } : undefined
}

function parseMessage(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  if (bytes.length > BEAT_BYTES_MAX) return undefined
  let value: unknown
  try {
    value = decodeValue(bytes)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const raw = value as Record<string, unknown>
  return raw['version'] === NODE_VERSION ? raw : undefined
}

/** Undefined unless every row is whole, and no partition occurs twice. */
function parsePartitions(value: unknown, count: number): BeatPartition[] | undefined {
  if (!Array.isArray(value) || value.length > count) return undefined
  const seen = new Set<number>()
  const parsed: BeatPartition[] = []
  for (const row of value as unknown[]) {
    if (!Array.isArray(row)) return undefined
    const [partition, code, epoch, appliedSeq, effectsDoneSeq] = row as unknown[]
    const role = typeof code === 'number' ? PARTITION_ROLES[code] : undefined
    const isValid =
      isWhole(partition, 0, count - 1) && isWhole(epoch, 0) && isWhole(appliedSeq, 0) && isWhole(effectsDoneSeq, 0)
    if (!isValid || role === undefined || seen.has(partition)) return undefined
    seen.add(partition)
    parsed.push({ partition: partition as Partition, role, epoch, appliedSeq, effectsDoneSeq })
  }
  return parsed
}

function parseCounters(value: unknown): Readonly<Record<string, number>> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const entries = Object.entries(value)
  if (entries.length > BEAT_COUNTERS_MAX) return undefined
  const isValid = entries.every(
    ([name, count]) => name.length <= BEAT_COUNTER_CHARS_MAX && typeof count === 'number' && Number.isFinite(count),
  )
  return isValid ? Object.fromEntries(entries as [string, number][]) : undefined
}

function isName(value: unknown): value is string {
  if (typeof value !== 'string') return false
  try {
    encodeToken(value, 'node name')
    return true
  } catch {
    return false
  }
}

/** Texts that are compared and shown, and never become a subject. */
function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= 200
}

function isWhole(value: unknown, min: number, max = Number.MAX_SAFE_INTEGER): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
}

function isOneOf<T extends string>(value: unknown, all: readonly T[]): value is T {
  return (all as readonly unknown[]).includes(value)
}
