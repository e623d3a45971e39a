/**
 * Takes calls for remote workers into their work queue.
 *
 * Owns: the calls that are on their way, counted for each activity.
 * Does not own: which calls are pending (rows of the store), nor how one is stored.
 *
 * Invariants
 * 1. A queue that takes nothing, because it is full, holds back its own activity alone: at most `LANE_IN_FLIGHT_MAX` of its calls wait here, the rest in
 *    the store.
 */
import { type ActivityCall, callId } from '../activity/index.ts'
import { parseQueue } from '../contract/activity-queue.ts'
import type { Implementation } from '../contract/implement.ts'
import { encodeToken, type Partition, typeTokenOf } from '../protocol/index.ts'

/** Calls of one activity on their way into its queue. */
const LANE_IN_FLIGHT_MAX = 100
/** Bytes of the inputs of all that are on their way; each activity may have one besides. */
const BYTES_IN_FLIGHT_MAX = 32 * 1024 * 1024

export interface OutgoingCallsOptions {
  readonly implementations: readonly Implementation[]
  /** The identity of the work queue: calls that another one had are sent again. Undefined: there is none, and no call is for it. */
  readonly identity: string | undefined
  /** Stores one in its queue. Rejects only when the engine stops. */
  readonly store: (queue: string, call: ActivityCall) => Promise<void>
  /** The queue has it, and it is still wanted. */
  readonly onStored: (partition: Partition, call: ActivityCall, identity: string) => void
  /** There is room again behind a `start` that said no. */
  readonly onRoom: () => void
  readonly onFailed: (error: unknown) => void
}

/** One activity that remote workers run. */
interface CallLane {
  readonly queue: string
  count: number
  refused: boolean
}

export class OutgoingCalls {
  readonly #options: OutgoingCallsOptions
  readonly #lanes: ReadonlyMap<string, ReadonlyMap<string, CallLane>>
  /** Names of the calls that are on their way and still wanted. */
  readonly #wanted = new Set<string>()
  readonly #tasks = new Set<Promise<void>>()
  #bytes = 0
  #closed = false

  constructor(options: OutgoingCallsOptions) {
    this.#options = options
    const all = options.identity === undefined ? [] : options.implementations
    this.#lanes = new Map(all.map((one) => [encodeToken(one.contract.name), lanesOf(one)] as const))
  }

  /** The lane of a call for a queue; undefined for a local one. */
  laneOf({ key, name }: Pick<ActivityCall, 'key' | 'name'>): object | undefined {
    return this.#lanes.get(typeTokenOf(key))?.get(name)
  }

  /** Whether a type has activities that workers run. */
  hasQueues(typeToken: string): boolean {
    return (this.#lanes.get(typeToken)?.size ?? 0) > 0
  }

  /** Sees to it that the call is stored. False when there is no room: ask again later. */
  start(partition: Partition, call: ActivityCall): boolean {
    const lane = this.#lanes.get(typeTokenOf(call.key))?.get(call.name)
    if (lane === undefined) return false
    if (call.queued === this.#options.identity) return true
    const isFull = lane.count >= LANE_IN_FLIGHT_MAX || (lane.count > 0 && this.#bytes >= BYTES_IN_FLIGHT_MAX)
    if (this.#closed || isFull) {
      lane.refused = true
      return false
    }
    lane.count += 1
    this.#bytes += call.input.length
    this.#wanted.add(callId(call.key, call.id))
    const task: Promise<void> = this.#store(partition, lane, call)
      .catch(this.#options.onFailed)
      .finally(() => {
        this.#tasks.delete(task)
        this.#done(lane, call)
      })
    this.#tasks.add(task)
    return true
  }

  /** Its result has been applied, or is not wanted any more: nothing is to be recorded of it. */
  letGo(key: ActivityCall['key'], id: ActivityCall['id']): void {
    this.#wanted.delete(callId(key, id))
  }

  /** Resolves when none is on its way; what was not stored stays pending. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.all(this.#tasks)
  }

  async #store(partition: Partition, { queue }: CallLane, call: ActivityCall): Promise<void> {
    const { store, onStored, identity = '' } = this.#options
    const id = callId(call.key, call.id)
    try {
      await store(queue, call)
      if (this.#wanted.has(id)) onStored(partition, call, identity)
    } finally {
      this.#wanted.delete(id)
    }
  }

  #done(lane: CallLane, call: ActivityCall): void {
    lane.count -= 1
    this.#bytes -= call.input.length
    if (!lane.refused || this.#closed || lane.count > LANE_IN_FLIGHT_MAX / 2) return
    lane.refused = false
    this.#options.onRoom()
  }
}

function lanesOf({ contract }: Implementation): ReadonlyMap<string, CallLane> {
  const lanes = new Map<string, CallLane>()
  for (const [name, activity] of Object.entries(contract.shape.activities ?? {})) {
    const queue = parseQueue(activity.queue, name)?.name
    if (queue !== undefined) lanes.set(name, { queue, count: 0, refused: false })
  }
  return lanes
}
