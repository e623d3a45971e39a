import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { decodeValue, encodeValue } from './codec.ts'
import {
  BEAT_BYTES_MAX,
  type BeatPartition,
  encodeBeat,
  encodeNodeRequest,
  encodePingAnswer,
  NODE_REQUESTS,
  NODE_STATES,
  type NodeBeat,
  parseBeat,
  parseNodeRequest,
  parsePingAnswer,
  PARTITION_ROLES,
} from './node-beat.ts'
import { formatOwner, parseOwner } from './owner-record.ts'
import { PARTITIONS_MAX } from './limits.ts'
import type { Partition } from './partition.ts'
import { Subjects } from './subjects.ts'

const BEAT: NodeBeat = {
  node: 'node a.1',
  incarnation: 'Zk3v',
  state: 'live',
  weight: 1,
  standbys: 1,
  build: '0.1.0',
  server: 'n1',
  sinceMs: 1_700_000_000_000,
  upMs: 12,
  beat: 3,
  partitions: [{ partition: 7 as Partition, role: 'standby', epoch: 4, appliedSeq: 99, effectsDoneSeq: 90 }],
  counters: { applied: 12, lagMs: 0.5 },
}

const raw = (): Record<string, unknown> => decodeValue(encodeBeat(BEAT)) as Record<string, unknown>
const row = (...values: unknown[]): Record<string, unknown> => ({ ...raw(), partitions: [values] })

const beats = fc.record({
  node: fc.stringMatching(/^[a-zé .>*-]{1,20}$/).map((name) => name.normalize('NFC')),
  incarnation: fc.string({ maxLength: 30 }).map((text) => text.toWellFormed()),
  state: fc.constantFrom(...NODE_STATES),
  weight: fc.integer({ min: 1, max: 100 }),
  standbys: fc.integer({ min: 0, max: 2 }),
  build: fc.constant('0.1.0'),
  server: fc.constant('n1'),
  sinceMs: fc.maxSafeNat(),
  upMs: fc.maxSafeNat(),
  beat: fc.maxSafeNat(),
  partitions: fc.uniqueArray(
    fc.record({
      partition: fc.integer({ min: 0, max: 63 }).map((number) => number as Partition),
      role: fc.constantFrom(...PARTITION_ROLES),
      epoch: fc.maxSafeNat(),
      appliedSeq: fc.maxSafeNat(),
      effectsDoneSeq: fc.maxSafeNat(),
    }),
    { selector: ({ partition }) => partition },
  ),
  counters: fc.dictionary(fc.stringMatching(/^[a-z]{1,10}$/), fc.double({ noNaN: true, noDefaultInfinity: true })),
})

describe('heartbeats', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(beats, (beat) => {
        expect(parseBeat(encodeBeat(beat), 64)).toEqual(beat)
      }),
    )
  })

  it('of a node that hosts every partition of the largest cluster fit into one message', () => {
    const seq = Number.MAX_SAFE_INTEGER
    const partitions = Array.from({ length: PARTITIONS_MAX }, (_, partition): BeatPartition => {
      return { partition: partition as Partition, role: 'owner', epoch: 2 ** 31, appliedSeq: seq, effectsDoneSeq: seq }
    })
    const bytes = encodeBeat({ ...BEAT, partitions })
    expect(bytes.length).toBeLessThanOrEqual(BEAT_BYTES_MAX)
    expect(parseBeat(bytes)?.partitions).toHaveLength(PARTITIONS_MAX)
  })

  it('of another version are none, and fields that this release does not know are left out', () => {
    expect(parseBeat(encodeValue({ ...raw(), version: 2 }))).toBeUndefined()
    expect(parseBeat(encodeValue({ ...raw(), colour: 'red' }))).toEqual(BEAT)
  })

  it.each([
    ['no name', { ...raw(), node: '' }],
    ['a name that is no id', { ...raw(), node: 'a\nb' }],
    ['a state that is none', { ...raw(), state: 'asleep' }],
    ['no weight', { ...raw(), weight: 0 }],
    ['a weight without end', { ...raw(), weight: 101 }],
    ['three standbys', { ...raw(), standbys: 3 }],
    ['a text without end', { ...raw(), build: 'x'.repeat(201) }],
    ['no list of partitions', { ...raw(), partitions: {} }],
    ['a partition that there is not', row(64, 0, 1, 1, 1)],
    ['a partition that is none', row(-1, 0, 1, 1, 1)],
    ['a role that is none', row(1, 4, 1, 1, 1)],
    ['an epoch that is none', row(1, 1, 1.5, 1, 1)],
    ['a row that is cut', row(1, 1, 1, 1)],
    [
      'one partition twice',
      {
        ...raw(),
        partitions: [
          [1, 1, 1, 1, 1],
          [1, 1, 1, 1, 1],
        ],
      },
    ],
    ['a counter that is none', { ...raw(), counters: { applied: 'many' } }],
    ['counters without end', { ...raw(), counters: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [i, 1])) }],
    ['no object', [1, 2]],
  ])('are refused with %s', (_, value) => {
    expect(parseBeat(encodeValue(raw()), 64)).toEqual(BEAT)
    expect(parseBeat(encodeValue(value), 64)).toBeUndefined()
  })

  it('made of any bytes break nothing', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void parseBeat(bytes, 64)))
    expect(parseBeat(new Uint8Array(BEAT_BYTES_MAX + 1))).toBeUndefined()
  })
})

describe('answers and requests of nodes', () => {
  it('are read as they were written, and nothing else is', () => {
    const answer = { node: 'a', incarnation: 'x', sinceMs: 1 }
    expect(parsePingAnswer(encodePingAnswer(answer))).toEqual(answer)
    expect(parsePingAnswer(encodeValue({ ...answer, version: 2 }))).toBeUndefined()
    expect(parsePingAnswer(new Uint8Array())).toBeUndefined()
    for (const op of NODE_REQUESTS) expect(parseNodeRequest(encodeNodeRequest({ op }))).toEqual({ op })
    expect(parseNodeRequest(encodeValue({ version: 1, op: 'halt' }))).toBeUndefined()
  })
})

describe('ownership records', () => {
  it('are read as they were written', () => {
    const record = { node: 'Łódź 1', incarnation: 'x', epoch: 12 }
    expect(parseOwner(formatOwner(record))).toEqual(record)
  })

  it.each([
    '',
    'null',
    '{}',
    '[]',
    '{"node":"a","incarnation":"x","epoch":0}',
    '{"node":"","incarnation":"x","epoch":1}',
  ])('are none where the entry says %s', (text) => expect(parseOwner(text)).toBeUndefined())

  it('stand under a key for each partition', () => {
    const subjects = new Subjects('shop', 64)
    expect(subjects.owner(12 as Partition)).toBe('$KV.shop-cluster.owner.12')
    expect(subjects.parseOwner('$KV.shop-cluster.owner.12')).toBe(12)
    for (const other of ['owner.64', 'owner.012', 'owner.', 'owner.1.2', 'cluster'])
      expect(subjects.parseOwner(`$KV.shop-cluster.${other}`)).toBeUndefined()
  })
})
