/** Trimming, over the journal and the snapshots in memory. */
import { beforeEach, describe, expect, it } from 'vitest'

import { type JournalState, silentLogger, type StoredJournal } from '../ports/index.ts'
import type { Partition } from '../protocol/index.ts'
import { MemorySnapshots } from '../testing/memory-snapshots.ts'
import { VirtualClock } from '../testing/virtual-clock.ts'
import { encodeCheckpoint } from './checkpoint-head.ts'
import { JournalTrim, type KeptHistory, pieceOf } from './journal-trim.ts'

const IDENTITY = 'journal-1'
const SETTLE_MS = 5000
const EVERY_MS = 1000

/** Messages of 100 B, one a second, the first at second 0. */
class Journal implements StoredJournal {
  firstSeq = 1
  lastSeq = 1000
  identity = IDENTITY
  readonly startMs: number
  readonly calls: number[] = []

  constructor(startMs: number) {
    this.startMs = startMs
  }

  state(): Promise<JournalState> {
    const { identity, firstSeq, lastSeq } = this
    const messages = lastSeq - firstSeq + 1
    return Promise.resolve({ identity, firstSeq, lastSeq, messages, bytes: messages * 100 })
  }

  timeFrom(seq: number): Promise<number | undefined> {
    const found = Math.max(seq, this.firstSeq)
    return Promise.resolve(found > this.lastSeq ? undefined : this.startMs + found * 1000)
  }

  trim(firstSeq: number): Promise<void> {
    this.calls.push(firstSeq)
    this.firstSeq = firstSeq
    return Promise.resolve()
  }
}

let clock: VirtualClock
let journal: Journal
let snapshots: MemorySnapshots
let isJanitor: boolean
const revisions = new Map<number, number>()

beforeEach(() => {
  clock = new VirtualClock()
  // The last message was stored now.
  journal = new Journal(clock.nowMs() - 1000 * 1000)
  snapshots = new MemorySnapshots()
  isJanitor = true
  revisions.clear()
})

async function cover(partition: number, coveredSeq: number, identity = IDENTITY): Promise<void> {
  const checkpoint = { partition: partition as Partition, identity, coveredSeq, atMs: 0, writer: 'n', segments: [] }
  const revision = await snapshots.replaceHead(
    partition as Partition,
    encodeCheckpoint(checkpoint),
    revisions.get(partition) ?? 0,
  )
  revisions.set(partition, revision ?? 0)
}

async function trimFor(ms: number, keep: KeptHistory = {}): Promise<void> {
  const trim = new JournalTrim({
    journal,
    snapshots,
    partitions: 3,
    keep,
    isJanitor: () => isJanitor,
    everyMs: EVERY_MS,
    settleMs: SETTLE_MS,
    clock,
    logger: silentLogger,
  })
  trim.start()
  for (let past = 0; past < ms; past += 100) {
    await clock.advance(100)
    for (let round = 0; round < 50; round++) await clock.yield()
  }
  await trim.close()
}

describe('trimming', () => {
  it('law 7: goes up to what the snapshots of all partitions cover, and not further', async () => {
    await cover(0, 900)
    await cover(1, 400)
    await trimFor(20_000)
    expect(journal.firstSeq).toBe(1)
    await cover(2, 700)
    await trimFor(20_000)
    expect(journal.firstSeq).toBe(401)
  })

  it('waits until the servers have flushed what is covered', async () => {
    for (const partition of [0, 1, 2]) await cover(partition, 500)
    await trimFor(SETTLE_MS)
    expect(journal.firstSeq).toBe(1)
    await trimFor(SETTLE_MS + 3 * EVERY_MS)
    expect(journal.firstSeq).toBe(501)
  })

  it('goes by what was covered then, and never by more than is covered now', async () => {
    for (const partition of [0, 1, 2]) await cover(partition, 500)
    const trimming = trimFor(SETTLE_MS + 10 * EVERY_MS)
    // A head that was lost by a power cut, and an older one is there again.
    await clock.yield()
    await cover(1, 120)
    await trimming
    expect(journal.firstSeq).toBe(121)
  })

  it('does nothing for snapshots of another journal', async () => {
    for (const partition of [0, 1, 2]) await cover(partition, 500, partition === 1 ? 'journal-0' : IDENTITY)
    await trimFor(20_000)
    expect(journal.firstSeq).toBe(1)
  })

  it('does nothing where the journal ends before what is covered', async () => {
    for (const partition of [0, 1, 2]) await cover(partition, 1001)
    await trimFor(20_000)
    expect(journal.calls).toEqual([])
  })

  it('is done by one node', async () => {
    for (const partition of [0, 1, 2]) await cover(partition, 500)
    isJanitor = false
    await trimFor(20_000)
    expect(journal.calls).toEqual([])
  })

  it('keeps inputs of the age that is wanted', async () => {
    for (const partition of [0, 1, 2]) await cover(partition, 1000)
    await trimFor(10_000, { ageMs: 200_000 })
    // Seconds pass meanwhile.
    expect(journal.firstSeq).toBeGreaterThanOrEqual(800)
    expect(journal.firstSeq).toBeLessThanOrEqual(810)
  })

  it('keeps inputs of the bytes that are wanted, and while one of the two wants them', async () => {
    for (const partition of [0, 1, 2]) await cover(partition, 1000)
    await trimFor(10_000, { bytes: 60_000, ageMs: 1000 })
    expect(journal.firstSeq).toBe(401)
    await trimFor(10_000, { bytes: 1000, ageMs: 500_000 })
    expect(journal.firstSeq).toBeGreaterThanOrEqual(510)
    expect(journal.firstSeq).toBeLessThanOrEqual(530)
  })

  it('removes small pieces where the server is quick, all that is due where it is not', () => {
    expect(pieceOf(500, 5)).toBe(500)
    expect(pieceOf(30_000, 5)).toBe(10_000)
    expect(pieceOf(1_000_000, 5)).toBe(250_000)
    expect(pieceOf(1_000_000, 400)).toBe(1_000_000)
  })
})
