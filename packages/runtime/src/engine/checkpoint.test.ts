/** Checkpoints and restores of rows: what the fold makes of them is in fold.test.ts. */
import * as fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'

import { compression, createCodecs } from '../codecs/index.ts'
import {
  decodeSummary,
  dueKey,
  effectKey,
  encodeRecord,
  patchKey,
  positionKey,
  recordKey,
  restoringKey,
  tailKey,
  timerKey,
  blockKey,
  trackedKey,
} from '../core/index.ts'
import {
  type LogBounds,
  type OrderedStore,
  PART_BYTES_MAX,
  silentLogger,
  systemClock,
  type Table,
  TABLES,
  type Write,
} from '../ports/index.ts'
import { encodeValue, type InstanceKey, type Partition, type Token } from '../protocol/index.ts'
import { checkIndex } from '../testing/check-index.ts'
import { MemorySnapshots, type MemorySnapshotsOptions } from '../testing/memory-snapshots.ts'
import { MemoryDisk, MemoryStore } from '../testing/memory-store.ts'
import { VirtualClock } from '../testing/virtual-clock.ts'
import { readChanges, TrackedStore } from './change-log.ts'
import { Checkpointer } from './checkpointer.ts'
import { type CheckpointContext, followCheckpoint, readHead, saveCheckpoint } from './checkpoint.ts'
import { type Frame, SegmentReader, SegmentWriter } from './checkpoint-segment.ts'
import { CHECKPOINT_PACE } from './checkpoint-pace.ts'
import { CodecStore } from './codec-store.ts'
import { decideRestore, type RestoreContext, restorePartition, restoreWhereNeeded } from './restore.ts'
import { StatusCounts } from './status-counts.ts'

const P = 5 as Partition
const OTHER = 6 as Partition
const IDENTITY = 'journal-1'
const BOUNDS: LogBounds = { identity: IDENTITY, firstSeq: 1, lastSeq: 1_000_000 }

/** A node: its disk, and what it writes through. */
class Node {
  readonly disk: MemoryDisk
  readonly store: MemoryStore
  readonly tracked: TrackedStore
  readonly name: string

  constructor(name: string, disk = new MemoryDisk()) {
    this.name = name
    this.disk = disk
    this.store = new MemoryStore({ disk })
    this.tracked = new TrackedStore(this.store)
  }

  /** A batch as the engine makes it. */
  async commit(position: number, ...writes: Write[]): Promise<void> {
    const moved: Write = { table: 'meta', key: positionKey(P), value: encodeValue(position) }
    await this.tracked.commit([...writes, moved])
  }

  /** Rows of the fold, as text. */
  rows(): readonly string[] {
    return TABLES.flatMap((table) =>
      [...this.store.range(table, { from: '', to: '~' })]
        .filter(({ key }) => table !== 'meta' || !/^(changed|tracked|position|count)\//u.test(key))
        .filter(() => table !== 'index')
        .map(({ key, value }) => `${table} ${key} ${Buffer.from(value).toString('hex').slice(0, 80)} ${value.length}`),
    )
  }
}

let snapshots: MemorySnapshots
let node: Node

beforeEach(() => {
  snapshots = new MemorySnapshots()
  node = new Node('first')
})

function contextOf(of: Node, changes: Partial<CheckpointContext> = {}): CheckpointContext {
  return {
    store: of.store,
    snapshots,
    identity: IDENTITY,
    writer: of.name,
    clock: systemClock,
    logger: silentLogger,
    pace: { ...CHECKPOINT_PACE, bytesPerS: Infinity, messagesPerS: Infinity, restMs: 0 },
    reach: () => {},
    isOwner: () => true,
    ...changes,
  }
}

async function save(of: Node, changes: Partial<CheckpointContext> = {}): ReturnType<typeof saveCheckpoint> {
  return saveCheckpoint(contextOf(of, changes), P, undefined, undefined)
}

function restoreOf(of: Node, decoded: OrderedStore = of.store, bounds = BOUNDS): RestoreContext {
  return {
    store: of.store,
    decoded,
    snapshots,
    log: { bounds: () => Promise.resolve(bounds) },
    clock: systemClock,
    logger: silentLogger,
  }
}

async function restored(): Promise<Node> {
  const fresh = new Node('fresh')
  const head = await readHead(snapshots, P)
  if (head === undefined) throw new Error('there is no head')
  await restorePartition(restoreOf(fresh), head.checkpoint)
  return fresh
}

function put(table: Table, key: string, value: Uint8Array = Uint8Array.of(7)): Write {
  return { table, key, value }
}

function remove(table: Table, key: string): Write {
  return { table, key, value: undefined }
}

/** An instance with a row of every kind. */
function instance(key: InstanceKey, seq: number, stateBytes = 10): Write[] {
  const summary = { startedMs: 1, coveredSeq: seq, standing: undefined, closedMs: undefined, attributes: undefined }
  return [
    put(
      'record',
      recordKey(P, key),
      encodeRecord({ ...summary, status: 'failed' }, new Uint8Array(stateBytes).fill(seq)),
    ),
    put('tail', tailKey(P, key, seq)),
    put('ids', blockKey(P, key, 1)),
    put('timer', timerKey(P, key, 1000 + seq, `${seq}.0`)),
    put('effect', effectKey(P, `${seq}.1`, key)),
    put('meta', dueKey(P, key)),
  ]
}

describe('a checkpoint', () => {
  it('restores every row of every instance, and of none', async () => {
    await node.commit(
      3,
      ...instance('a.1', 1),
      ...instance('a.10', 2),
      put('effect', effectKey(P, '3.0', undefined)),
      put('meta', patchKey(P, 'a' as Token, 'later' as Token), encodeValue(2)),
    )
    await save(node)
    const fresh = await restored()
    expect(fresh.rows()).toEqual(node.rows())
    expect(fresh.rows()).toHaveLength(2 * 6 + 2)
    expect(checkIndex(fresh.store, P).size).toBe(2)
    expect(new StatusCounts(fresh.store, P).of('a', 'failed')).toBe(2)
  })

  it('adds what has changed: instances, those that are gone, effects that are done', async () => {
    await node.commit(10, ...instance('a.1', 1), ...instance('a.2', 2), ...instance('a.3', 3), ...instance('a.4', 4))
    const whole = await save(node)
    await node.commit(
      11,
      remove('effect', effectKey(P, '1.1', 'a.1')),
      remove('timer', timerKey(P, 'a.1', 1001, '1.0')),
    )
    await node.commit(12, ...[...instance('a.2', 2)].map(({ table, key }) => remove(table, key)))
    await node.commit(13, put('tail', tailKey(P, 'a.3', 13)))
    const added = await save(node)
    expect(whole).toMatchObject({ kind: 'saved', isWhole: true, segment: { instances: 4 } })
    expect(added).toMatchObject({ kind: 'saved', isWhole: false })
    expect((await restored()).rows()).toEqual(node.rows())
  })

  it('saves an effect that is done although the position is the same, and the same changes not twice', async () => {
    await node.commit(10, ...instance('a.1', 1))
    const first = await save(node)
    await node.tracked.commit([remove('effect', effectKey(P, '1.1', 'a.1'))])
    const second = await saveCheckpoint(contextOf(node), P, undefined, first.last)
    expect(second).toMatchObject({ kind: 'saved', head: { checkpoint: { coveredSeq: 10 } } })
    expect((await restored()).rows()).toEqual(node.rows())
    expect(await saveCheckpoint(contextOf(node), P, undefined, second.last)).toMatchObject({ kind: 'kept' })
  })

  it('of an idle partition moves what is covered, and stores nothing else', async () => {
    await node.commit(10, ...instance('a.1', 1))
    await save(node)
    await node.commit(11, ...instance('a.1', 1))
    await save(node)
    await node.commit(12)
    // What was committed last before a checkpoint is saved once more.
    await save(node)
    const before = snapshots.partNames
    await node.commit(900)
    expect(await save(node)).toMatchObject({
      kind: 'saved',
      segment: undefined,
      head: { checkpoint: { coveredSeq: 900 } },
    })
    expect(snapshots.partNames).toEqual(before)
    expect((await restored()).rows()).toEqual(node.rows())
  })

  it('of another partition leaves this one alone', async () => {
    await node.commit(10, ...instance('a.1', 1))
    await node.tracked.commit([
      put(
        'record',
        recordKey(OTHER, 'a.7'),
        encodeRecord(
          {
            status: 'running',
            startedMs: 1,
            coveredSeq: 1,
            standing: undefined,
            closedMs: undefined,
            attributes: undefined,
          },
          new Uint8Array(3),
        ),
      ),
    ])
    expect(readChanges(node.store, P, 10).keys).toEqual(new Set(['a.1']))
    expect(readChanges(node.store, OTHER, 0).keys).toEqual(new Set(['a.7']))
    await save(node)
    expect((await restored()).rows().join()).not.toContain('a.7')
  })

  it('keeps instances of any size, in parts', async () => {
    const large = instance('a.1', 1, 8 * 1024 * 1024)
    await node.commit(
      9,
      ...large,
      ...Array.from({ length: 40 }, (_, n) => put('tail', tailKey(P, 'a.1', n), new Uint8Array(500_000).fill(n))),
    )
    const result = await save(node)
    expect(result.kind === 'saved' && result.segment?.parts).toBeGreaterThan(28_000_000 / PART_BYTES_MAX)
    expect((await restored()).rows()).toEqual(node.rows())
  })

  it('keeps rows in the codecs that they have passed', async () => {
    const codecs = createCodecs([compression({ aboveBytes: 1 })])
    const encoded = new CodecStore(node.tracked, codecs)
    const of: Write[] = instance('a.1', 1, 5000)
    await encoded.commit([...of, put('meta', positionKey(P), encodeValue(4))])
    await save(node)
    const fresh = new Node('fresh')
    const head = await readHead(snapshots, P)
    await restorePartition(restoreOf(fresh, new CodecStore(fresh.store, codecs)), head?.checkpoint as never)
    expect(fresh.rows()).toEqual(node.rows())
    expect(fresh.store.get('record', recordKey(P, 'a.1'))?.length).toBeLessThan(1000)
    expect(checkIndex(new CodecStore(fresh.store, codecs), P).size).toBe(1)
  })

  it('begins anew after many segments, and when they repeat more than there is', async () => {
    await node.commit(1, ...instance('a.1', 1, 600_000))
    let isWhole = 0
    let savedAll = 0
    for (let seq = 2; seq < 300; seq++) {
      await node.commit(seq, ...(seq < 20 ? instance('a.1', seq, 600_000) : instance('a.2', seq)))
      const result = await save(node)
      if (result.kind === 'saved' && result.isWhole) isWhole += 1
      savedAll += 1
    }
    expect(savedAll).toBe(298)
    expect(isWhole).toBeGreaterThan(3)
    expect(isWhole).toBeLessThan(15)
    expect((await readHead(snapshots, P))?.checkpoint.segments.length).toBeLessThanOrEqual(128)
    expect((await restored()).rows()).toEqual(node.rows())
  })
})

describe('law 7', () => {
  it('a late checkpoint of a node that lost the partition is refused, and leaves nothing behind', async () => {
    const second = new Node('second')
    await node.commit(10, ...instance('a.1', 1))
    await save(node)
    await second.commit(12, ...instance('a.1', 1), ...instance('a.2', 12))
    await node.commit(11, ...instance('a.1', 11))
    // The stale one has stored its part when the other one saves.
    const gated = new MemorySnapshotsGate()
    snapshots = gated.snapshots
    await save(node)
    gated.before = async (what) => {
      if (what !== 'head') return
      gated.before = async () => {}
      expect(await save(second)).toMatchObject({ kind: 'saved', head: { checkpoint: { coveredSeq: 12 } } })
    }
    await node.commit(13, ...instance('a.1', 13))
    expect(await save(node)).toMatchObject({ kind: 'lost' })
    expect((await readHead(snapshots, P))?.checkpoint).toMatchObject({ coveredSeq: 12, writer: 'second' })
    const named = (await readHead(snapshots, P))?.checkpoint.segments.map(({ name }) => name) ?? []
    expect(new Set(snapshots.partNames.map((name) => name.split('/')[1]))).toEqual(new Set(named))
    expect((await restored()).rows()).toEqual(second.rows())
  })

  it('a node that is behind what is saved saves nothing', async () => {
    const second = new Node('second')
    await node.commit(20, ...instance('a.1', 1))
    await save(node)
    await second.commit(15, ...instance('a.1', 15))
    expect(await save(second)).toMatchObject({ kind: 'kept', head: { checkpoint: { coveredSeq: 20 } } })
  })

  it('a node that is not the owner any more when its parts are stored stores no head', async () => {
    await node.commit(20, ...instance('a.1', 1))
    expect(await save(node, { isOwner: () => false })).toMatchObject({ kind: 'lost' })
    expect(await readHead(snapshots, P)).toBeUndefined()
    expect(snapshots.partNames).toEqual([])
  })

  it('gives up in the middle when the partition is not its own any more, and leaves nothing behind', async () => {
    await node.commit(20, ...instance('a.1', 1, 20 * PART_BYTES_MAX))
    let looks = 0
    let parts = 0
    const gated = new MemorySnapshotsGate()
    snapshots = gated.snapshots
    gated.before = (what) => void (parts += what === 'part' ? 1 : 0)
    expect(await save(node, { isOwner: () => ++looks < 5 })).toMatchObject({ kind: 'lost' })
    expect(parts).toBeGreaterThan(0)
    expect(parts).toBeLessThan(10)
    expect(snapshots.partNames).toEqual([])
    expect(await readHead(snapshots, P)).toBeUndefined()
  })

  it('a snapshot of another journal is neither continued nor replaced', async () => {
    await node.commit(20, ...instance('a.1', 1))
    await save(node)
    await node.commit(21, ...instance('a.1', 1))
    await expect(save(node, { identity: 'journal-2' })).rejects.toMatchObject({ code: 'JOURNAL_REPLACED' })
    expect((await readHead(snapshots, P))?.checkpoint.coveredSeq).toBe(20)
  })
})

/** Lets a test come between. */
class MemorySnapshotsGate {
  before: NonNullable<MemorySnapshotsOptions['gate']> = () => {}
  readonly snapshots = new MemorySnapshots({ gate: (what, partition) => this.before(what, partition) })
}

describe('the change log', () => {
  it('lets another owner continue with what has changed in its own store', async () => {
    const second = new Node('second')
    for (const one of [node, second])
      await one.commit(10, ...instance('a.1', 1), ...instance('a.2', 2), ...instance('a.3', 3))
    await save(node)
    for (const one of [node, second]) await one.commit(11, ...instance('a.2', 11))
    await save(node)
    const followed = await followCheckpoint(contextOf(second), P, 0)
    expect(followed).toBe(11)
    await followCheckpoint(contextOf(second), P, followed)
    await second.commit(12, ...instance('a.3', 12))
    const result = await save(second)
    expect(result).toMatchObject({ kind: 'saved', isWhole: false })
    // Those of its last commit before, and what is new.
    expect(result.kind === 'saved' && result.segment?.instances).toBe(2)
    expect((await restored()).rows()).toEqual(second.rows())
  })

  it('of a store that was written without it, makes the first checkpoint a whole one', async () => {
    await node.commit(10, ...instance('a.1', 1))
    await save(node)
    const old = new Node('old')
    await old.store.commit([
      ...instance('a.1', 1),
      ...instance('a.2', 12),
      put('meta', positionKey(P), encodeValue(12)),
    ])
    expect(await save(old)).toMatchObject({ kind: 'saved', isWhole: true })
    expect((await restored()).rows()).toEqual(old.rows())
  })

  it('of a store that has let go more than is saved, makes the checkpoint a whole one', async () => {
    await node.commit(10, ...instance('a.1', 1))
    const second = new Node('second')
    await second.commit(10, ...instance('a.1', 1))
    await second.commit(11, ...instance('a.2', 11))
    await second.commit(12)
    await save(node)
    // It had heard of a checkpoint that was lost since, as by a power cut of the servers.
    await followCheckpoint(contextOf(second), P, 12)
    expect(readChanges(second.store, P, 12).keys.size).toBe(0)
    expect(await save(second)).toMatchObject({ kind: 'saved', isWhole: true })
    expect((await restored()).rows()).toEqual(second.rows())
  })

  it('is bounded where nothing is saved for long', async () => {
    const key = (n: number): InstanceKey => `a.${n % 50}`
    for (let seq = 1; seq <= 2500; seq++) await node.commit(seq, put('tail', tailKey(P, key(seq), seq)))
    await followCheckpoint(contextOf(node), P, 0)
    const { rows, keys } = readChanges(node.store, P, 2500)
    expect(rows).toBeLessThan(10)
    expect(keys.size).toBe(50)
    await save(node)
    expect((await restored()).rows()).toEqual(node.rows())
  })

  it('survives the process, in one transaction with what changed', async () => {
    await node.commit(10, ...instance('a.1', 1))
    await save(node)
    await node.commit(11, ...instance('a.2', 11))
    node.store.crash()
    const again = new Node('first', node.disk)
    expect(await save(again)).toMatchObject({ kind: 'saved', isWhole: false })
    expect((await restored()).rows()).toEqual(again.rows())
  })
})

describe('a restore', () => {
  const head = (coveredSeq: number, identity = IDENTITY): Parameters<typeof decideRestore>[0]['head'] => ({
    partition: P,
    identity,
    coveredSeq,
    atMs: 0,
    writer: 'x',
    segments: [],
  })
  const ask = { partition: P, position: 0, isHalf: false, head: undefined, bounds: BOUNDS }

  it.each([
    ['a new cluster', {}, 'keep'],
    ['a store that the journal reaches', { position: 500, bounds: { ...BOUNDS, firstSeq: 501 } }, 'keep'],
    ['the same, with a snapshot far ahead', { position: 500, head: head(900_000) }, 'keep'],
    ['an empty store and a small snapshot', { head: head(9_999) }, 'keep'],
    ['an empty store and a snapshot far ahead', { head: head(10_000) }, 'restore'],
    ['an empty store and a trimmed journal', { head: head(60), bounds: { ...BOUNDS, firstSeq: 61 } }, 'restore'],
    [
      'a store behind a trimmed journal',
      { position: 40, head: head(60), bounds: { ...BOUNDS, firstSeq: 42 } },
      'restore',
    ],
    [
      'a store behind an emptied journal',
      { position: 40, head: head(99), bounds: { identity: IDENTITY, firstSeq: 100, lastSeq: 99 } },
      'restore',
    ],
    ['half of a restore', { isHalf: true, head: head(60) }, 'restore'],
    ['half of a restore whose snapshot is gone, and a whole journal', { isHalf: true }, 'empty'],
    ['a store with data, and a snapshot of another journal', { position: 5, head: head(60, 'other') }, 'keep'],
  ] as const)('with %s decides what to do', (_, question, decision) => {
    expect(decideRestore({ ...ask, ...question })).toBe(decision)
  })

  it.each([
    [
      'a trimmed journal and no snapshot',
      { bounds: { ...BOUNDS, firstSeq: 2 } },
      'JOURNAL_BEHIND',
      'no remote snapshot',
    ],
    [
      'a gap between snapshot and journal',
      { head: head(60), bounds: { ...BOUNDS, firstSeq: 62 } },
      'JOURNAL_BEHIND',
      'up to seq 60 only',
    ],
    [
      'half of a restore, a trimmed journal and no snapshot',
      { isHalf: true, bounds: { ...BOUNDS, firstSeq: 2 } },
      'JOURNAL_BEHIND',
      'no remote snapshot',
    ],
    [
      'a journal that ends before what is saved',
      { position: 5, head: head(61), bounds: { ...BOUNDS, lastSeq: 60 } },
      'JOURNAL_BEHIND',
      'ends at seq 60',
    ],
    ['a snapshot of another journal', { head: head(60, 'other') }, 'JOURNAL_REPLACED', 'created other'],
  ] as const)('law 8: with %s stops', (_, question, code, text) => {
    expect(() => decideRestore({ ...ask, ...question })).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(text) as string }),
    )
  })

  it('replaces what an outdated store has of the partition, and of no other', async () => {
    await node.commit(60, ...instance('a.1', 50), ...instance('b.2', 60))
    await save(node)
    const old = new Node('old')
    await old.commit(40, ...instance('a.1', 40), ...instance('a.9', 39))
    await old.tracked.commit([put('tail', tailKey(OTHER, 'a.7', 1)), put('meta', positionKey(OTHER), encodeValue(3))])
    const bounds = { ...BOUNDS, firstSeq: 55 }
    expect(await restoreWhereNeeded(restoreOf(old, old.store, bounds), P, bounds)).toBe('restored')
    expect(old.rows().filter((row) => !row.includes('a.7'))).toEqual(node.rows())
    expect(old.rows().some((row) => row.includes('a.7'))).toBe(true)
    expect(readChanges(old.store, P, 60)).toMatchObject({ sinceSeq: 60, rows: 0 })
    expect(await restoreWhereNeeded(restoreOf(old, old.store, bounds), P, bounds)).toBe('kept')
  })

  it.each([
    ['a part is missing', () => undefined],
    [
      'a bit of a part has changed',
      (bytes: Uint8Array) => bytes.with(bytes.length >> 1, (bytes[bytes.length >> 1] ?? 0) ^ 1),
    ],
    ['a part is cut', (bytes: Uint8Array) => bytes.slice(0, -10)],
  ])('when %s builds upon the journal where that is whole, and stops where it is not', async (_, change) => {
    await node.commit(60, ...instance('a.1', 50, 3 * PART_BYTES_MAX))
    await save(node)
    snapshots.damage(snapshots.partNames[2] ?? '', change)
    const fresh = new Node('fresh')
    const trimmed = { ...BOUNDS, firstSeq: 30 }
    await expect(restoreWhereNeeded(restoreOf(fresh), P, trimmed)).rejects.toMatchObject({ code: 'SNAPSHOT_DAMAGED' })
    expect(fresh.store.get('meta', restoringKey(P))).toBeDefined()
    expect(fresh.store.get('meta', positionKey(P))).toBeUndefined()
    // The half stays marked; with a whole journal it is removed.
    expect(await restoreWhereNeeded(restoreOf(fresh), P, BOUNDS)).toBe('emptied')
    expect(fresh.rows()).toEqual([])
  })

  it('asks again where the journal ends when the snapshot is newer than the answer', async () => {
    await node.commit(60, ...instance('a.1', 50))
    await save(node)
    const fresh = new Node('fresh')
    const early = { identity: IDENTITY, firstSeq: 30, lastSeq: 58 }
    expect(await restoreWhereNeeded(restoreOf(fresh, fresh.store, { ...early, lastSeq: 61 }), P, early)).toBe(
      'restored',
    )
  })
})

describe('a segment', () => {
  it('gives back the frames that were put into it, wherever the parts are cut', () => {
    const frame = fc.oneof(
      fc.record({
        kind: fc.constant('replaced' as const),
        key: fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 20 }),
      }),
      fc.record({
        kind: fc.constant('row' as const),
        table: fc.constantFrom('meta', 'record', 'tail', 'ids', 'timer', 'effect'),
        row: fc.record({
          key: fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 60 }),
          value: fc.oneof(
            { weight: 5, arbitrary: fc.uint8Array({ maxLength: 100 }) },
            {
              weight: 1,
              arbitrary: fc
                .integer({ min: 0, max: 3 * PART_BYTES_MAX })
                .map((length) => new Uint8Array(length).fill(length & 255)),
            },
          ),
        }),
      }),
    ) as fc.Arbitrary<Frame>
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 30 }), (frames) => {
        const writer = new SegmentWriter('s')
        const parts: Uint8Array[] = []
        for (const one of frames) {
          writer.add(one)
          parts.push(...writer.takeFull())
        }
        const last = writer.end()
        if (last !== undefined) parts.push(last)
        const reader = new SegmentReader('s')
        const read = parts.flatMap((part) => [...reader.read(part)])
        reader.end()
        expect(read).toHaveLength(frames.length)
        for (const [at, one] of frames.entries()) {
          const back = read[at]
          expect(back?.kind).toBe(one.kind)
          if (back?.kind === 'row' && one.kind === 'row') {
            expect([back.table, back.row.key]).toEqual([one.table, one.row.key])
            expect(Buffer.from(back.row.value).equals(one.row.value)).toBe(true)
          } else if (back?.kind === 'replaced' && one.kind === 'replaced') expect(back.key).toBe(one.key)
        }
        expect([writer.parts, writer.bytes]).toEqual([parts.length, parts.reduce((sum, part) => sum + part.length, 0)])
      }),
      { numRuns: 60 },
    )
  })
})

describe('the checkpointer', () => {
  it('saves what it owns every now and then, lets old parts go later, and is not stopped by a failure', async () => {
    const clock = new VirtualClock()
    const gated = new MemorySnapshotsGate()
    snapshots = gated.snapshots
    const warnings: string[] = []
    const checkpointer = new Checkpointer({
      ...contextOf(node, { clock }),
      logger: { ...silentLogger, warn: (_, text) => void warnings.push(text) },
      pace: {
        ...CHECKPOINT_PACE,
        bytesPerS: Infinity,
        messagesPerS: Infinity,
        restMs: 0,
        everyMs: 1000,
        settleMs: 5000,
      },
      savePositions: () => Promise.resolve(),
      hosted: () => [
        { partition: P, isOwner: true },
        { partition: OTHER, isOwner: false },
      ],
    })
    const rounds = async (count: number): Promise<void> => {
      for (let at = 0; at < count; at++) {
        await clock.advance(1000)
        for (let wait = 0; wait < 20; wait++) await clock.yield()
      }
    }
    await node.commit(10, ...instance('a.1', 10))
    checkpointer.start()
    await rounds(2)
    expect(checkpointer.status).toMatchObject([{ partition: P, coveredSeq: 10 }])
    gated.before = () => {
      throw new Error('no leader')
    }
    await node.commit(20, ...instance('a.1', 20))
    await rounds(2)
    expect(warnings.length).toBeGreaterThan(0)
    gated.before = () => {}
    await rounds(2)
    expect((await readHead(snapshots, P))?.checkpoint.coveredSeq).toBe(20)
    // A store that has lost count begins anew.
    await node.store.commit([put('meta', trackedKey(P), encodeValue(25)), put('meta', positionKey(P), encodeValue(25))])
    await rounds(2)
    const before = snapshots.partNames.length
    expect(before).toBeGreaterThan(1)
    await rounds(6)
    expect(snapshots.partNames).toHaveLength(1)
    expect((await restored()).rows()).toEqual(node.rows())
    await checkpointer.close()
    await node.commit(30, ...instance('a.1', 30))
    await rounds(3)
    expect((await readHead(snapshots, P))?.checkpoint.coveredSeq).toBe(25)
    expect(decodeSummary(node.store.get('record', recordKey(P, 'a.1')) as Uint8Array).coveredSeq).toBe(30)
  })
})
