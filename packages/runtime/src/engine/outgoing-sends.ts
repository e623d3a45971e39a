/**
 * Takes what instances send to each other into the journal.
 *
 * Owns: the sends that are on their way, in a lane for each pair of sender and target.
 * Does not own: which sends are pending (rows of the store), nor how one is stored.
 *
 * Invariants
 * 1. Of one lane, the next send leaves when the journal has the one before it. So the journal always holds a beginning of what an instance sent to
 *    another; after a crash the lane is sent again from its first pending one, and the receiver drops what it knows.
 * 2. At most `inFlightMax` sends and `bytesInFlightMax` bytes are in memory; `start` says no beyond that.
 */
import type { InstanceKey, Partition } from '../protocol/index.ts'
import type { OutgoingSend } from './pending-effect.ts'

export interface OutgoingSendsOptions {
  readonly inFlightMax: number
  readonly bytesInFlightMax: number
  /** Stores one in the journal, and records that. Rejects only when the engine stops. */
  readonly store: (partition: Partition, send: OutgoingSend) => Promise<void>
  /** There is room again behind a `start` that said no. */
  readonly onRoom: () => void
  readonly onFailed: (error: unknown) => void
}

type LaneName = `${InstanceKey}>${InstanceKey}`

interface Waiting {
  readonly partition: Partition
  readonly send: OutgoingSend
}

export class OutgoingSends {
  readonly #options: OutgoingSendsOptions
  readonly #lanes = new Map<LaneName, Waiting[]>()
  readonly #tasks = new Set<Promise<void>>()
  #count = 0
  #bytes = 0
  #refused = false
  #closed = false

  constructor(options: OutgoingSendsOptions) {
    this.#options = options
  }

  /** Sees to it that it is stored, behind those of its lane. False when there is no room: ask again later. */
  start(partition: Partition, send: OutgoingSend): boolean {
    if (this.#closed || !this.#hasRoom) {
      this.#refused = true
      return false
    }
    this.#count += 1
    this.#bytes += send.payload.length
    const name: LaneName = `${send.key}>${send.target}`
    const lane = this.#lanes.get(name)
    if (lane !== undefined) {
      lane.push({ partition, send })
      return true
    }
    const opened = [{ partition, send }]
    this.#lanes.set(name, opened)
    const task: Promise<void> = this.#work(name, opened)
      .catch(this.#options.onFailed)
      .finally(() => this.#tasks.delete(task))
    this.#tasks.add(task)
    return true
  }

  /** Resolves when none is on its way; those behind stay pending. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.all(this.#tasks)
  }

  get #hasRoom(): boolean {
    return this.#count < this.#options.inFlightMax && this.#bytes < this.#options.bytesInFlightMax
  }

  async #work(name: LaneName, lane: Waiting[]): Promise<void> {
    for (let next = lane[0]; next !== undefined && !this.#closed; next = lane[0]) {
      await this.#options.store(next.partition, next.send)
      lane.shift()
      this.#count -= 1
      this.#bytes -= next.send.payload.length
      this.#tellRoom()
    }
    // In one go with the look that found nothing: a send that comes next opens the lane again.
    this.#lanes.delete(name)
  }

  /** Not for every place that is free: a look into the store takes several. */
  #tellRoom(): void {
    const { inFlightMax, bytesInFlightMax, onRoom } = this.#options
    if (!this.#refused || this.#closed) return
    if (this.#count > inFlightMax / 2 || this.#bytes > bytesInFlightMax / 2) return
    this.#refused = false
    onRoom()
  }
}
