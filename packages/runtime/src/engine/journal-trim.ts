/**
 * Trims the journal: what durable snapshots cover of every partition, and the operator does not want to keep.
 *
 * Owns: how far, how much at once, how often. Does not own: who does it; of each log stream it is one node, the owner of its lowest partition.
 *
 * Invariants
 * 1. What is removed is covered by the heads of all partitions as they stand in the snapshot stream, read back from it, and of this very journal. A
 *    partition without a head keeps everything.
 * 2. It was covered `settleMs` ago already: by then the servers have flushed the snapshots to their disks, and standbys that are a little behind have read on.
 * 3. Publishers wait while the server trims, for as long as it has subjects, however little is removed: so it is asked again only after a time in
 *    proportion to what the last call took.
 */
import { CarillonError } from '../errors.ts'
import type { Clock, JournalState, Logger, Snapshots, StoredJournal } from '../ports/index.ts'
import type { Partition } from '../protocol/index.ts'
import { readHead } from './checkpoint.ts'

/** Inputs are kept while one of the two wants them. */
export interface KeptHistory {
  /** Those that were stored less than this ago. Default 0. */
  readonly ageMs?: number | undefined
  /** The newest of so many bytes. Default 0. */
  readonly bytes?: number | undefined
}

export interface JournalTrimOptions {
  readonly journal: StoredJournal
  readonly snapshots: Snapshots
  /** How many partitions the journal has. */
  readonly partitions: number
  readonly keep: KeptHistory
  /** Whether this node does it, as of now. */
  readonly isJanitor: () => boolean
  readonly everyMs: number
  readonly settleMs: number
  readonly clock: Clock
  readonly logger: Logger
}

/** Of one call, where the server is quick. */
const PIECE = 10_000
/** A call that took longer costs what the subjects cost: then all is removed that is due. */
const QUICK_MS = 50
/** The share of its time that a stream may be busy with this: one part in so many. */
const REST = 200
const HEADS_AT_ONCE = 32
/** Looks for a moment in the journal: enough for 2^40 messages. */
const LOOKS_MAX = 40

export class JournalTrim {
  readonly #options: JournalTrimOptions
  /** What all heads covered, and when that was read; the oldest first. */
  #covered: { readonly atMs: number; readonly seq: number }[] = []
  #tookMs = 0
  #notBeforeMs = 0
  #cancel: () => void = () => {}
  #running: Promise<void> | undefined
  #isClosed = false
  /** Messages removed since the start. */
  removed = 0

  constructor(options: JournalTrimOptions) {
    this.#options = options
  }

  start(): void {
    this.#plan(this.#options.everyMs)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancel()
    await this.#running
  }

  #plan(inMs: number): void {
    if (this.#isClosed) return
    this.#cancel = this.#options.clock.after(inMs, () => {
      this.#running = this.#look().finally(() => (this.#running = undefined))
      this.#running.then(
        () => this.#plan(this.#nextMs),
        () => this.#plan(this.#options.everyMs),
      )
    })
  }

  /** Sooner while there is more to remove in small pieces. */
  get #nextMs(): number {
    const restMs = this.#notBeforeMs - this.#options.clock.nowMs()
    return restMs > 0 ? Math.min(restMs, this.#options.everyMs) : this.#options.everyMs
  }

  async #look(): Promise<void> {
    const { isJanitor, logger } = this.#options
    if (!isJanitor()) {
      this.#covered = []
      return
    }
    try {
      await this.#trim()
    } catch (error) {
      if (!this.#isClosed) logger.warn({ err: error }, 'the journal could not be trimmed: it is tried again')
    }
  }

  async #trim(): Promise<void> {
    const { journal, keep, clock, isJanitor, logger } = this.#options
    const state = await journal.state()
    const settled = await this.#settledSeq(state)
    const nowMs = clock.nowMs()
    if (nowMs < this.#notBeforeMs) return
    const firstSeq = Math.min(settled + 1, keptByBytes(state, keep.bytes ?? 0))
    const kept = await keptByAge(journal, state, firstSeq, nowMs - (keep.ageMs ?? 0))
    const backlog = kept - state.firstSeq
    if (backlog <= 0 || !isJanitor()) return
    const toSeq = state.firstSeq + pieceOf(backlog, this.#tookMs)
    const beganMs = performance.now()
    await journal.trim(toSeq)
    this.#tookMs = performance.now() - beganMs
    this.#notBeforeMs = clock.nowMs() + this.#tookMs * REST
    this.removed += toSeq - state.firstSeq
    logger.debug({ firstSeq: toSeq, tookMs: Math.round(this.#tookMs) }, 'the journal was trimmed')
  }

  /** Invariants 1 and 2. */
  async #settledSeq({ identity, lastSeq }: JournalState): Promise<number> {
    const { snapshots, partitions, clock, settleMs } = this.#options
    // Before the heads are read: what they cover then was covered by that time or later.
    const seq = await coveredByAll(snapshots, partitions, identity)
    if (seq > lastSeq)
      throw new CarillonError(
        'JOURNAL_BEHIND',
        `the journal ends at seq ${lastSeq}, but the snapshots of all partitions cover seq ${seq}: acknowledged inputs are missing from it, and nothing is trimmed`,
      )
    const nowMs = clock.nowMs()
    this.#covered.push({ atMs: nowMs, seq })
    while ((this.#covered[1]?.atMs ?? Infinity) <= nowMs - settleMs) this.#covered.shift()
    const [oldest] = this.#covered
    return oldest !== undefined && oldest.atMs <= nowMs - settleMs ? Math.min(oldest.seq, seq) : 0
  }
}

/** What the heads of all partitions cover; 0 where one is missing or of another journal. */
async function coveredByAll(snapshots: Snapshots, partitions: number, identity: string): Promise<number> {
  let covered = Infinity
  for (let at = 0; at < partitions && covered > 0; at += HEADS_AT_ONCE) {
    const numbers = Array.from({ length: Math.min(HEADS_AT_ONCE, partitions - at) }, (_, n) => (at + n) as Partition)
    const heads = await Promise.all(numbers.map((partition) => readHead(snapshots, partition)))
    for (const head of heads)
      covered = Math.min(covered, head?.checkpoint.identity === identity ? head.checkpoint.coveredSeq : 0)
  }
  return covered === Infinity ? 0 : covered
}

/** How much of what is due is removed at once, by what the last call took (invariant 3). */
export function pieceOf(backlog: number, lastTookMs: number): number {
  if (lastTookMs > QUICK_MS) return backlog
  return Math.min(backlog, Math.max(PIECE, Math.ceil(backlog / 4)))
}

/** The first sequence that is kept, so that about so many bytes are. */
function keptByBytes({ firstSeq, messages, bytes }: JournalState, keepBytes: number): number {
  if (keepBytes <= 0) return Infinity
  if (bytes <= keepBytes || messages === 0) return firstSeq
  return firstSeq + Math.floor(messages * (1 - keepBytes / bytes))
}

/** The first sequence up to `endSeq` that was stored at or behind a moment; `endSeq` where none was. */
async function keptByAge(
  journal: StoredJournal,
  { firstSeq }: JournalState,
  endSeq: number,
  sinceMs: number,
): Promise<number> {
  let [low, high] = [firstSeq, Math.max(firstSeq, endSeq)]
  for (let looks = 0; low < high && looks < LOOKS_MAX; looks++) {
    const middle = low + Math.floor((high - low) / 2)
    const timeMs = await journal.timeFrom(middle)
    if (timeMs === undefined || timeMs >= sinceMs) high = middle
    else low = middle + 1
  }
  return low
}
