/** Answers what is asked of a partition's owner: queries, describe, outcomes, results, lists. Nothing here is durable. */
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

export interface RpcServiceOptions {
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
  /** Whoever waits, by what wakes it, and for which partition. */
  readonly #waiting = new Map<() => void, Partition>()
  readonly #released = new WeakSet<Partition>()
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

  /** Ends the waits at a partition: whoever waited asks its next owner. */
  release(partition: Partition): void {
    this.#released.add(partition)
    for (const [wake, waitsFor] of this.#waiting) if (waitsFor === partition) wake()
  }

  /** Requests of a partition may wait again. */
  admit(partition: Partition): void {
    this.#released.delete(partition)
  }

  /** Ends all waits: whoever waited asks the next owner. */
  close(): void {
    this.#isClosed = true
    for (const wake of this.#waiting.keys()) wake()
  }

  /** Never rejects: errors are part of the answer. */
  async answer(partition: Partition, bytes: Uint8Array): Promise<Uint8Array> {
    let response: RpcResponse
    try {
      response = { ok: true, value: await this.#handle(partition, decodeValue(bytes) as RpcRequest) }
      return encodeValue(response)
    } catch (error) {
      return encodeValue({ ok: false, error: toPlainError(error, 'QUERY_FAILED') })
    }
  }

  #handle(partition: Partition, request: RpcRequest): Promise<unknown> {
    switch (request.op) {
      case 'query':
        return this.#query(partition, request)
      case 'describe':
        return this.#describe(partition, request)
      case 'wanted':
        return this.#wanted(partition, request)
      case 'outcome':
        return this.#outcome(partition, request)
      case 'result':
        return this.#result(partition, request)
      case 'list':
        return this.#saved(partition, request.minSeq).then(() => this.#options.lists.list(partition, request))
      case 'count':
        return this.#saved(partition, request.minSeq).then(() => this.#options.lists.count(partition, request))
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

  async #query(partition: Partition, { key, name, input, minSeq }: RpcRequest & { op: 'query' }): Promise<unknown> {
    await this.#applied(partition, minSeq, RPC_WAIT_MS_MAX)
    return this.#options.turns.run(async () => {
      const { instance, suspension, misfit } = await requireInstance(partition, key)
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
      const answer = handler(copyValue(instance.data.state), checked)
      return validate(declared[name]?.output, answer, `the answer of query ${name}`)
    })
  }

  async #describe(partition: Partition, { key, minSeq, state }: RpcRequest & { op: 'describe' }): Promise<Description> {
    await this.#applied(partition, minSeq, RPC_WAIT_MS_MAX)
    return this.#options.turns.run(async () =>
      describe(partition, await requireInstance(partition, key), this.#options.store, state === true),
    )
  }

  async #wanted(partition: Partition, { key, effect }: RpcRequest & { op: 'wanted' }): Promise<boolean> {
    return this.#options.turns.run(async () => {
      const resident = await partition.find(key)
      return resident?.instance.data.activities.has(effect as EffectId) ?? false
    })
  }

  async #outcome(partition: Partition, { key, id, seq, waitMs }: RpcRequest & { op: 'outcome' }): Promise<Outcome> {
    const deadlineMs = this.#options.clock.nowMs() + Math.min(waitMs, RPC_WAIT_MS_MAX)
    await this.#applied(partition, seq, waitMs)
    for (;;) {
      const outcome = await this.#options.turns.run(() => outcomeOf(partition, key, id))
      if (outcome !== undefined) return outcome
      if (!(await this.#pause(partition, deadlineMs)))
        throw new CarillonError('TIMEOUT', `the input ${quote(id)} is accepted but not handled yet: ask again`)
    }
  }

  async #result(partition: Partition, { key, minSeq, waitMs }: RpcRequest & { op: 'result' }): Promise<Outcome> {
    const deadlineMs = this.#options.clock.nowMs() + Math.min(waitMs, RPC_WAIT_MS_MAX)
    await this.#applied(partition, minSeq, waitMs)
    for (;;) {
      const phase = await this.#options.turns.run(
        async () => (await requireInstance(partition, key)).instance.data.phase,
      )
      if (phase.kind === 'closed') return phase.outcome
      if (!(await this.#pauseUntilClosed(partition, key, deadlineMs)))
        throw new CarillonError('TIMEOUT', 'the instance has not closed yet: ask again')
    }
  }

  /** What has been applied is in the store then: lists and counts come from there. */
  async #saved(partition: Partition, minSeq = 0): Promise<void> {
    await this.#applied(partition, minSeq, RPC_WAIT_MS_MAX)
    await this.#options.save(partition)
  }

  async #applied(partition: Partition, seq: number, waitMs: number): Promise<void> {
    const deadlineMs = this.#options.clock.nowMs() + Math.min(waitMs, RPC_WAIT_MS_MAX)
    // The position of a partition without inputs of late is behind.
    while (partition.position < seq && this.#options.appliedSeq() < seq) {
      const waited = await this.#wait(partition, deadlineMs, (wake) => {
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
  #pause(partition: Partition, deadlineMs: number): Promise<boolean> {
    return this.#wait(
      partition,
      Math.min(deadlineMs, this.#options.clock.nowMs() + LOOK_AGAIN_MS),
      () => () => undefined,
      deadlineMs,
    )
  }

  #pauseUntilClosed(partition: Partition, key: InstanceKey, deadlineMs: number): Promise<boolean> {
    return this.#wait(partition, deadlineMs, (wake) => {
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
   * @throws CLOSING when the node stops. @throws NOT_OWNER when another node takes the partition. @throws LIMIT_REACHED when too many wait.
   */
  async #wait(
    partition: Partition,
    untilMs: number,
    listen: (wake: () => void) => () => void,
    deadlineMs = untilMs,
  ): Promise<boolean> {
    const { clock } = this.#options
    if (clock.nowMs() >= deadlineMs) return false
    if (this.#waiting.size >= WAITING_MAX)
      throw new CarillonError('LIMIT_REACHED', `${WAITING_MAX} requests wait at this node already: ask again later`)
    if (!this.#isClosed && !this.#released.has(partition)) await this.#untilWoken(partition, untilMs, listen)
    if (this.#isClosed) throw new CarillonError('CLOSING', 'this node stops: ask again, the next one answers')
    if (this.#released.has(partition))
      throw new CarillonError(
        'NOT_OWNER',
        `another node takes partition ${partition.number}: ask again, its new owner answers`,
      )
    return true
  }

  #untilWoken(partition: Partition, untilMs: number, listen: (wake: () => void) => () => void): Promise<void> {
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
      this.#waiting.set(wake, partition)
    })
  }
}

async function requireInstance(partition: Partition, key: InstanceKey): Promise<Resident> {
  const resident = await partition.find(key)
  if (resident === undefined) throw notFound(key)
  return resident
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
