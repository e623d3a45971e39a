/**
 * Makes the checkpoints of the partitions that a node owns, one after another, round by round; and lets go, where it stands by, what the owners have saved.
 *
 * Owns: when a round begins, what is known of the heads. Does not own: the store, nor who owns what.
 *
 * Invariants
 * 1. One round at a time, one partition at a time. A failure of one is told, and tried again in the next round: nothing waits for a checkpoint.
 * 2. Old parts are removed `settleMs` after the head that does without them was stored, and not before.
 */
import { CarillonError } from '../errors.ts'
import type { Partition } from '../protocol/index.ts'
import {
  type CheckpointContext,
  type CheckpointResult,
  followCheckpoint,
  type KnownHead,
  saveCheckpoint,
} from './checkpoint.ts'

export interface CheckpointerOptions extends Omit<CheckpointContext, 'isOwner'> {
  /** The partitions whose rows this store holds and keeps up to date, as of now. */
  readonly hosted: () => readonly { readonly partition: Partition; readonly isOwner: boolean }[]
  /** Brings the positions of idle partitions into the store: else they would hold back what may be trimmed. */
  readonly savePositions: () => Promise<void>
}

/** What this node has saved of a partition that it owns. */
export interface CheckpointStatus {
  readonly partition: Partition
  readonly coveredSeq: number
  /** When it was stored. */
  readonly atMs: number
  /** All segments of the snapshot. */
  readonly bytes: number
}

interface Known {
  head: KnownHead | undefined
  last: Uint8Array | undefined
  /** Where another node saves: what it had covered a round ago. */
  followedSeq: number
}

interface Removal {
  readonly partition: Partition
  readonly place: number
  readonly notBeforeMs: number
}

/** The first round begins earlier, each node's at another time. */
const FIRST_ROUND_SHARE = 0.5

export class Checkpointer {
  readonly #options: CheckpointerOptions
  readonly #known = new Map<Partition, Known>()
  readonly #bytes = { stored: 0, saved: 0 }
  #removals: Removal[] = []
  #cancel: () => void = () => {}
  #running: Promise<void> | undefined
  #isClosed = false

  constructor(options: CheckpointerOptions) {
    this.#options = options
  }

  /** Counted since the start: bytes that went into segments, and checkpoints that were stored. */
  get counts(): { readonly bytesStored: number; readonly saved: number } {
    return { bytesStored: this.#bytes.stored, saved: this.#bytes.saved }
  }

  get status(): readonly CheckpointStatus[] {
    const owned = this.#options.hosted().filter(({ isOwner }) => isOwner)
    return owned.flatMap(({ partition }) => {
      const head = this.#known.get(partition)?.head
      if (head === undefined) return []
      const { coveredSeq, atMs, segments } = head.checkpoint
      return [{ partition, coveredSeq, atMs, bytes: segments.reduce((sum, { bytes }) => sum + bytes, 0) }]
    })
  }

  start(): void {
    const { everyMs } = this.#options.pace
    this.#plan(Math.round(everyMs * (FIRST_ROUND_SHARE + Math.random() * (1 - FIRST_ROUND_SHARE))))
  }

  /** Resolves when nothing of it runs. A checkpoint under way is given up. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancel()
    await this.#running
  }

  /** Saves every owned partition once, now. */
  async round(): Promise<void> {
    while (this.#running !== undefined) await this.#running
    this.#running = this.#round().finally(() => (this.#running = undefined))
    await this.#running
  }

  #plan(inMs: number): void {
    if (this.#isClosed) return
    this.#cancel = this.#options.clock.after(inMs, () => {
      const again = (): void => this.#plan(this.#options.pace.everyMs)
      this.round().then(again, again)
    })
  }

  async #round(): Promise<void> {
    await this.#options.savePositions()
    for (const { partition, isOwner } of this.#options.hosted()) {
      if (this.#isClosed) return
      try {
        if (isOwner) await this.#save(partition)
        else await this.#follow(partition)
      } catch (error) {
        this.#known.delete(partition)
        if (this.#isClosed) return
        this.#options.logger.warn(
          { partition, err: error },
          'a partition could not be saved remotely: it is tried again, and the journal is kept meanwhile',
        )
      }
    }
    await this.#removeOld()
  }

  async #save(partition: Partition): Promise<void> {
    const known = this.#of(partition)
    const context = { ...this.#options, isOwner: (one: Partition) => this.#isOwned(one) }
    const result = await saveCheckpoint(context, partition, known.head, known.last)
    known.last = result.last
    known.head = result.kind === 'lost' ? undefined : result.head
    if (result.kind === 'saved') this.#saved(partition, result)
  }

  #saved(partition: Partition, result: CheckpointResult & { readonly kind: 'saved' }): void {
    const { clock, logger, pace } = this.#options
    const { segment, isWhole, firstPlace, head } = result
    const { coveredSeq } = head.checkpoint
    this.#bytes.saved += 1
    this.#bytes.stored += segment?.bytes ?? 0
    logger.debug({ partition, coveredSeq, ...segment, isWhole }, 'a partition was saved remotely')
    if (isWhole && segment !== undefined)
      this.#removals.push({ partition, place: firstPlace, notBeforeMs: clock.nowMs() + pace.settleMs })
  }

  async #follow(partition: Partition): Promise<void> {
    const known = this.#of(partition)
    known.head = undefined
    known.last = undefined
    known.followedSeq = await followCheckpoint({ ...this.#options, isOwner: () => false }, partition, known.followedSeq)
  }

  async #removeOld(): Promise<void> {
    const nowMs = this.#options.clock.nowMs()
    const due = this.#removals.filter(({ notBeforeMs }) => notBeforeMs <= nowMs)
    this.#removals = this.#removals.filter((removal) => !due.includes(removal))
    for (const { partition, place } of due) {
      if (this.#isClosed) return
      try {
        // Another owner may have stored parts since, but none before that place that a head still names.
        await this.#options.snapshots.removeBefore(partition, place)
      } catch (error) {
        this.#options.logger.warn({ partition, err: error }, 'old parts of a snapshot stay for now')
      }
    }
  }

  #isOwned(partition: Partition): boolean {
    if (this.#isClosed) return false
    return this.#options.hosted().some((hosted) => hosted.partition === partition && hosted.isOwner)
  }

  #of(partition: Partition): Known {
    const known = this.#known.get(partition) ?? { head: undefined, last: undefined, followedSeq: 0 }
    this.#known.set(partition, known)
    return known
  }
}

/** @throws CONFIG_INVALID when a pace is none. */
export function checkEvery(everyMs: number): number {
  if (Number.isFinite(everyMs) && everyMs >= EVERY_MS_MIN) return everyMs
  throw new CarillonError('CONFIG_INVALID', `checkpoints every ${everyMs} ms: give ${EVERY_MS_MIN} ms or more`)
}

const EVERY_MS_MIN = 100
