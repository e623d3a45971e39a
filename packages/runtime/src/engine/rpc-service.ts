/** Answers what is asked of a partition: of its owner everything, of any replica reads. Nothing here is durable. */
import { callId } from '../activity/index.ts'
import { validate } from '../contract/schema.ts'
import {
  digestOf,
  type EffectId,
  type Instance,
  statusOf,
  type Suspension,
  tasksOf,
  toPlainError,
} from '../core/index.ts'
import { CarillonError } from '../errors.ts'
import type { Clock, OrderedStore } from '../ports/index.ts'
import {
  copyValue,
  decodeValue,
  DESCRIBED_STATE_BYTES_MAX,
  type Description,
  encodeValue,
  type InstanceKey,
  type InstanceStatus,
  type Outcome,
  parseKey,
  quote,
  RPC_WAIT_MS_MAX,
  type RpcRequest,
  type RpcResponse,
} from '../protocol/index.ts'
import { digestPage, type DigestPagesOptions } from './digest-pages.ts'
import type { ListService } from './list-service.ts'
import type { Mutex } from './mutex.ts'
import type { Partition } from './partition.ts'
import type { Resident } from './resident.ts'

/** How often a waiting request looks again, besides being told. */
const LOOK_AGAIN_MS = 50
/** Requests that wait at once, each with a timer: more are told to ask again later. */
const WAITING_MAX = 10_000
/** Inputs that wait, as far as they are counted: each is a row. */
const COUNT_MAX = 10_000

/** Whom a request is for: the owner of the partition, or any node that follows it. */
export type RpcSide = 'owner' | 'any'

/** What any replica answers: reads, which may be as of a moment ago. */
const READS: ReadonlySet<string> = new Set<RpcRequest['op']>([
  'query',
  'describe',
  'result',
  'list',
  'count',
  'digests',
])

/** One request under way. */
interface Asked {
  readonly partition: Partition
  readonly side: RpcSide
  /** What the answer is as of; undefined where it does not matter. */
  seq: number | undefined
}

/** A request that reads one instance. */
type InstanceRead = Pick<RpcRequest & { op: 'query' }, 'key' | 'minSeq' | 'seen' | 'waitMs'>

export interface RpcServiceOptions extends DigestPagesOptions {
  readonly store: OrderedStore
  readonly clock: Clock
  readonly turns: Mutex
  readonly lists: ListService
  /** Resolves when what the partition has applied by now is in the store. */
  readonly save: (partition: Partition) => Promise<void>
  /** Everything up to here has been applied, in every partition of this engine. */
  readonly appliedSeq: () => number
}

export class RpcService {
  readonly #options: RpcServiceOptions
  readonly #closeWaiters = new Map<InstanceKey, Set<() => void>>()
  /** Whoever waits for the journal to be applied up to a sequence. */
  readonly #seqWaiters = new Map<() => void, number>()
  /** Whoever waits, by what wakes it, and for what. */
  readonly #waiting = new Map<() => void, Asked>()
  /** What this node serves no more. */
  readonly #released = { owner: new WeakSet<Partition>(), any: new WeakSet<Partition>() }
  #isClosed = false

  constructor(options: RpcServiceOptions) {
    this.#options = options
  }

  /** An instance has closed: whoever waits for its result may look. */
  closed(key: InstanceKey): void {
    for (const wake of this.#closeWaiters.get(key) ?? []) wake()
  }

  /** More of the journal has been applied. */
  progressed(): void {
    if (this.#seqWaiters.size === 0) return
    const seq = this.#options.appliedSeq()
    for (const [wake, wanted] of this.#seqWaiters) if (wanted <= seq) wake()
  }

  /** Ends all waits: whoever waited asks the next owner. */
  close(): void {
    this.#isClosed = true
    for (const wake of this.#waiting.keys()) wake()
  }

  /** This side of a partition is served no more: whoever waits, and whoever still comes, is told at once to ask another node. */
  release(partition: Partition, side: RpcSide): void {
    this.#released[side].add(partition)
    for (const [wake, asked] of this.#waiting) if (asked.side === side && asked.partition === partition) wake()
  }

  /** It is served again. */
  admit(partition: Partition, side: RpcSide): void {
    this.#released[side].delete(partition)
  }

  /** Never rejects: errors are part of the answer. */
  async answer(partition: Partition, bytes: Uint8Array, side: RpcSide = 'owner'): Promise<Uint8Array> {
    const asked: Asked = { partition, side, seq: undefined }
    const asOf = (): { readonly seq?: number } => (asked.seq === undefined ? {} : { seq: asked.seq })
    try {
      this.#throwIfReleased(asked)
      const value = await this.#handle(asked, decodeValue(bytes) as RpcRequest)
      return encodeValue({ ok: true, value, ...asOf() } satisfies RpcResponse)
    } catch (error) {
      return encodeValue({ ok: false, error: toPlainError(error, 'QUERY_FAILED'), ...asOf() } satisfies RpcResponse)
    }
  }

  #handle(asked: Asked, request: RpcRequest): Promise<unknown> {
    const { partition, side } = asked
    if (side === 'any' && !READS.has(request.op)) throw new CarillonError('NOT_OWNER', `${request.op} is for the owner`)
    switch (request.op) {
      case 'query':
        return this.#query(asked, request)
      case 'describe':
        return this.#describe(asked, request)
      case 'wanted':
        return this.#wanted(asked, request)
      case 'outcome':
        return this.#outcome(asked, request)
      case 'result':
        return this.#result(asked, request)
      case 'list':
        return this.#saved(asked, request).then(() => this.#options.lists.list(partition, request))
      case 'count':
        return this.#saved(asked, request).then(() => this.#options.lists.count(partition, request))
      case 'digests':
        return this.#saved(asked, request).then(() => digestPage(this.#options, partition, request))
      default:
        if ((request as { op: unknown }).op === 'sealed')
          throw new CarillonError(
            'UNKNOWN_CODEC',
            'the request is sealed, and this node has no codecs: pass them to it',
          )
        throw new CarillonError(
          'UNKNOWN_NAME',
          `this node answers no request ${quote((request as { op: unknown }).op)}`,
        )
    }
  }

  async #query(asked: Asked, request: RpcRequest & { op: 'query' }): Promise<unknown> {
    const { name, input } = request
    return this.#read(asked, request, ({ key, instance, suspension, misfit }) => {
      if (misfit !== undefined && suspension !== undefined) throw unreadableState(key, suspension)
      const { queries, contract } = instance.implementation
      const handler = queries.get(name)
      const declared = contract.shape.queries ?? {}
      if (handler === undefined)
        throw new CarillonError(
          'UNKNOWN_NAME',
          `${instance.type} declares no query ${quote(name)}; it has: ${Object.keys(declared).join(', ') || 'none'}`,
        )
      const checked = validate(declared[name]?.input, input, `the query ${name}`)
      if (instance.data.phase.kind === 'absent')
        throw suspension === undefined ? notFound(key) : suspendedAtBirth(key, suspension)
      // A copy: whatever a query does, it changes nothing.
      const ask = (): unknown => handler(copyValue(instance.data.state), checked)
      const { watch } = asked.partition
      const answer = watch === undefined ? ask() : watch.query(key, name, ask)
      return validate(declared[name]?.output, answer, `the answer of query ${name}`)
    })
  }

  #describe(asked: Asked, request: RpcRequest & { op: 'describe' }): Promise<Description> {
    const { partition } = asked
    return this.#read(asked, request, (resident) =>
      describe(partition, resident, this.#options.store, request.state === true),
    )
  }

  /** A call that this node has not come to, because it is behind or holds the instance, may well be wanted. */
  async #wanted(asked: Asked, { key, effect }: RpcRequest & { op: 'wanted' }): Promise<boolean> {
    const seq = Number(effect.slice(0, effect.indexOf('.')))
    await this.#applied(asked, Number.isSafeInteger(seq) ? seq : 0, RPC_WAIT_MS_MAX)
    return this.#options.turns.run(async () => {
      const resident = await asked.partition.find(key)
      if (resident === undefined) return false
      const { activities, seq: applied } = resident.instance.data
      return activities.has(effect as EffectId) || applied < seq
    })
  }

  async #outcome(asked: Asked, { key, id, seq, waitMs }: RpcRequest & { op: 'outcome' }): Promise<Outcome> {
    const deadlineMs = this.#options.clock.nowMs() + Math.min(waitMs, RPC_WAIT_MS_MAX)
    await this.#applied(asked, seq, waitMs)
    for (;;) {
      const outcome = await this.#options.turns.run(() => outcomeOf(asked.partition, key, id))
      if (outcome !== undefined) return outcome
      if (!(await this.#pause(asked, deadlineMs)))
        throw new CarillonError('TIMEOUT', `the input ${quote(id)} is accepted but not handled yet: ask again`)
    }
  }

  async #result(asked: Asked, request: RpcRequest & { op: 'result' }): Promise<Outcome> {
    const { key, waitMs } = request
    const deadlineMs = this.#options.clock.nowMs() + Math.min(waitMs, RPC_WAIT_MS_MAX)
    for (;;) {
      const phase = await this.#read(asked, request, ({ instance }) => instance.data.phase)
      if (phase.kind === 'closed') return phase.outcome
      if (!(await this.#pauseUntilClosed(asked, key, deadlineMs)))
        throw new CarillonError('TIMEOUT', 'the instance has not closed yet: ask again')
    }
  }

  /**
   * Reads an instance, as of what the reader has seen of it before, or later.
   *
   * @throws NOT_FOUND when there is none. @throws TIMEOUT when this node has not come so far in time.
   */
  async #read<T>(
    asked: Asked,
    { key, minSeq, seen = 0, waitMs }: InstanceRead,
    read: (resident: Resident) => T,
  ): Promise<T> {
    const deadlineMs = this.#options.clock.nowMs() + Math.min(waitMs ?? RPC_WAIT_MS_MAX, RPC_WAIT_MS_MAX)
    await this.#applied(asked, Math.max(minSeq, seen), waitMs ?? RPC_WAIT_MS_MAX)
    for (;;) {
      const found = await this.#options.turns.run(async () => {
        const resident = await asked.partition.find(key)
        asked.seq = resident?.instance.data.seq ?? asked.partition.position
        if (resident === undefined) throw notFound(key)
        // Inputs that wait at this node have been applied at the one that was asked before: they go on here in a moment.
        if (asked.seq < seen && resident.suspension === undefined) return undefined
        return { value: read(resident) }
      })
      if (found !== undefined) return found.value
      if (!(await this.#pause(asked, deadlineMs)))
        throw new CarillonError('TIMEOUT', `${key} is at seq ${asked.seq} here, not yet at ${seen}: ask again`)
    }
  }

  /** What has been applied is in the store then: lists and counts come from there. */
  async #saved(
    asked: Asked,
    { minSeq = 0, waitMs = RPC_WAIT_MS_MAX }: { minSeq?: number; waitMs?: number },
  ): Promise<void> {
    await this.#applied(asked, minSeq, waitMs)
    await this.#options.save(asked.partition)
    // A node that stops saves no more.
    this.#throwIfReleased(asked)
  }

  async #applied(asked: Asked, seq: number, waitMs: number): Promise<void> {
    const { partition } = asked
    const deadlineMs = this.#options.clock.nowMs() + Math.min(waitMs, RPC_WAIT_MS_MAX)
    // The position of a partition without inputs of late is behind.
    while (partition.position < seq && this.#options.appliedSeq() < seq) {
      const waited = await this.#wait(asked, deadlineMs, (wake) => {
        this.#seqWaiters.set(wake, seq)
        return () => this.#seqWaiters.delete(wake)
      })
      if (waited) continue
      throw new CarillonError(
        'TIMEOUT',
        `partition ${partition.number} has applied seq ${partition.position}, not yet ${seq}: ask again`,
      )
    }
  }

  /** False when the deadline has passed. */
  #pause(asked: Asked, deadlineMs: number): Promise<boolean> {
    return this.#wait(
      asked,
      Math.min(deadlineMs, this.#options.clock.nowMs() + LOOK_AGAIN_MS),
      () => () => undefined,
      deadlineMs,
    )
  }

  #pauseUntilClosed(asked: Asked, key: InstanceKey, deadlineMs: number): Promise<boolean> {
    return this.#wait(asked, deadlineMs, (wake) => {
      const waiters = this.#closeWaiters.get(key) ?? new Set()
      this.#closeWaiters.set(key, waiters.add(wake))
      return () => {
        waiters.delete(wake)
        if (waiters.size === 0) this.#closeWaiters.delete(key)
      }
    })
  }

  /**
   * Waits until woken or until `untilMs`; false when the deadline has passed already.
   *
   * @throws CLOSING, NOT_OWNER when the node serves no more. @throws LIMIT_REACHED when too many wait.
   */
  async #wait(
    asked: Asked,
    untilMs: number,
    listen: (wake: () => void) => () => void,
    deadlineMs = untilMs,
  ): Promise<boolean> {
    const { clock } = this.#options
    if (clock.nowMs() >= deadlineMs) return false
    if (this.#waiting.size >= WAITING_MAX)
      throw new CarillonError('LIMIT_REACHED', `${WAITING_MAX} requests wait at this node already: ask again later`)
    this.#throwIfReleased(asked)
    await this.#untilWoken(asked, untilMs, listen)
    this.#throwIfReleased(asked)
    return true
  }

  #throwIfReleased({ side, partition }: Asked): void {
    if (this.#isClosed) throw new CarillonError('CLOSING', 'this node stops: ask again, the next one answers')
    if (!this.#released[side].has(partition)) return
    throw new CarillonError(
      'NOT_OWNER',
      `another node takes partition ${partition.number}: ask again, its new owner answers`,
    )
  }

  #untilWoken(asked: Asked, untilMs: number, listen: (wake: () => void) => () => void): Promise<void> {
    const { clock } = this.#options
    return new Promise((resolve) => {
      const wake = (): void => {
        cancel()
        forget()
        this.#waiting.delete(wake)
        resolve()
      }
      const forget = listen(wake)
      const cancel = clock.after(untilMs - clock.nowMs(), wake)
      this.#waiting.set(wake, asked)
    })
  }
}

async function outcomeOf(partition: Partition, key: InstanceKey, id: string): Promise<Outcome | undefined> {
  const resident = await partition.find(key)
  const known = resident?.instance.data.known.get(id)
  if (known?.outcome !== undefined) return known.outcome
  if (resident?.suspension !== undefined) {
    const { seq, error } = resident.suspension
    return {
      ok: false,
      error: {
        code: 'SUSPENDED',
        message: `accepted, but the instance is suspended at seq ${seq}: ${error.message}`,
        details: error,
      },
    }
  }
  // It waits, or what it left is not known before that is over.
  if (resident?.standing !== undefined) return undefined
  if (resident === undefined || known === undefined) {
    // The journal is applied behind the input, yet it left no trace here: it was dead-lettered, or so many came since that it is forgotten.
    return {
      ok: false,
      error: {
        code: 'NOT_FOUND',
        message: `the input ${quote(id)} was not applied by ${key}: look among the dead letters (carillon dead list)`,
      },
    }
  }
  return undefined
}

function notFound(key: InstanceKey): CarillonError {
  const { type, id } = parseKey(key)
  return new CarillonError(
    'NOT_FOUND',
    `there is no instance ${type}/${id}: start it, or signal it if its type starts on a signal`,
  )
}

function suspendedAtBirth(key: InstanceKey, { seq, error }: Suspension): CarillonError {
  const { type, id } = parseKey(key)
  return new CarillonError(
    'SUSPENDED',
    `${type}/${id} has no state yet: it is suspended at its first input, seq ${seq}: ${error.message}`,
    { details: error },
  )
}

function unreadableState(key: InstanceKey, { error }: Suspension): CarillonError {
  const { type, id } = parseKey(key)
  return new CarillonError(
    'SUSPENDED',
    `${type}/${id} is suspended, and its state is not of this build: ${error.message}`,
    {
      details: error,
    },
  )
}

function describe(partition: Partition, resident: Resident, store: OrderedStore, withState: boolean): Description {
  const { instance, suspension, standing } = resident
  const { data, type, id } = instance
  const paused = pauseOf(partition, resident)
  const status = suspension !== undefined ? 'suspended' : paused === undefined ? statusOf(data.phase) : 'paused'
  return {
    type,
    id,
    status: status as InstanceStatus,
    partition: partition.number,
    incarnation: data.incarnation,
    startedMs: data.phase.kind === 'absent' ? 0 : data.phase.startedMs,
    seq: data.seq,
    timeMs: data.timeMs,
    digest: digestOf(data),
    activities: [...data.activities].map(([effect, name]) => ({ name, callId: callId(instance.key, effect) })),
    timers: timersOf(instance),
    ...(instance.tasks.size === 0 ? {} : { tasks: tasksOf(instance) }),
    mailbox: data.mailbox.length,
    queued: instance.queued + (standing === undefined ? 0 : resident.countWaiting(store, COUNT_MAX)),
    knownIds: data.known.size,
    stateVersion: data.stateVersion,
    ...(withState ? stateOf(instance) : {}),
    ...(data.attributes === undefined ? {} : { attributes: data.attributes }),
    ...(instance.waitingSince === undefined ? {} : { waitingSince: instance.waitingSince }),
    ...(suspension === undefined ? {} : { suspended: describeSuspension(suspension) }),
    ...(paused === undefined ? {} : { paused }),
    ...(data.phase.kind === 'closed'
      ? { closed: { seq: data.phase.seq, timeMs: data.phase.timeMs, outcome: data.phase.outcome } }
      : {}),
  }
}

function stateOf({ data }: Instance): Pick<Description, 'state'> {
  const { length } = encodeValue(data.state)
  return length > DESCRIBED_STATE_BYTES_MAX ? {} : { state: { value: data.state } }
}

function describeSuspension({ seq, error, retry }: Suspension): NonNullable<Description['suspended']> {
  return retry === undefined ? { seq, error } : { seq, error, retry: { tries: retry.tries, dueMs: retry.dueMs } }
}

/** A closed instance is not paused with its type, unless inputs wait for it. */
function pauseOf(partition: Partition, { key, standing, instance }: Resident): Description['paused'] {
  if (standing?.pause !== undefined) return { by: 'command', ...standing.pause }
  const isIdle = standing === undefined && instance.data.phase.kind !== 'running'
  return partition.isHeld(key) && !isIdle ? { by: 'type' } : undefined
}

function timersOf({ data }: Instance): Description['timers'] {
  const named = [...data.timers].map(([name, { dueMs }]) => ({ name, dueMs }))
  const sleeps = [...data.sleeps.values()].map((dueMs) => ({ name: 'sleep', dueMs }))
  return [...named, ...sleeps]
}
