import type { NodeBeat, OwnerRecord, Partition, PartitionRole } from '@carillon/runtime/protocol'
import { describe, expect, it } from 'vitest'

import { leftOf, misplacedOf } from './cluster-move.ts'
import { Screen } from './cluster-screen.ts'
import { type ClusterFacts, type HeardNode, snapshotOf } from './cluster-snapshot.ts'
import type { VerifyReport } from './cluster-verify.ts'
import { formatReport } from './cluster-verify-text.ts'
import { alarmsOf, formatCluster, formatRanges } from './cluster-view.ts'

type Row = readonly [partition: number, role: PartitionRole, appliedSeq: number, epoch?: number]

function node(
  name: string,
  rows: readonly Row[],
  change: Partial<NodeBeat> = {},
  heard: Partial<HeardNode> = {},
): HeardNode {
  const beat: NodeBeat = {
    node: name,
    incarnation: `${name}-1`,
    state: 'live',
    weight: 1,
    standbys: 1,
    build: '0.1.0',
    server: 'nats-1',
    sinceMs: Date.UTC(2026, 0, 1),
    upMs: 5000,
    beat: 20,
    partitions: rows.map(([partition, role, appliedSeq, epoch = 1]) => ({
      partition: partition as Partition,
      role,
      epoch,
      appliedSeq,
      effectsDoneSeq: 0,
    })),
    counters: { applied: 700 },
    ...change,
  }
  return { beat, silentMs: 40, earlier: undefined, ...heard }
}

function facts(
  nodes: readonly HeardNode[],
  owners: readonly (string | undefined)[],
  change: Partial<ClusterFacts> = {},
): ClusterFacts {
  const records = owners.flatMap((owner, partition): [Partition, OwnerRecord][] =>
    owner === undefined ? [] : [[partition as Partition, { node: owner, incarnation: `${owner}-1`, epoch: 1 }]],
  )
  return {
    namespace: 'carillon',
    partitions: owners.length,
    timeMs: Date.UTC(2026, 0, 1, 12, 30, 15),
    nodes,
    owners: new Map(records),
    lastSeq: 1000,
    acceptedPerSecond: 250,
    ideal: owners.map((owner) => owner ?? 'a'),
    ...change,
  }
}

const A = node('a', [
  [0, 'owner', 1000],
  [1, 'owner', 990],
  [2, 'standby', 900],
])
const B = node('b', [
  [0, 'standby', 995],
  [1, 'standby', 950],
  [2, 'owner', 1000],
])

describe('a snapshot', () => {
  it('says who owns and stands by for every partition, and how far behind each is', () => {
    const { partitions, nodes, summary } = snapshotOf(facts([B, A], ['a', 'a', 'b']))
    expect(partitions).toMatchObject([
      { state: 'served', owner: 'a', lag: 0, replicas: [{ node: 'b', role: 'standby', behind: 5 }] },
      { state: 'served', owner: 'a', lag: 10, replicas: [{ node: 'b', behind: 40 }] },
      { state: 'served', owner: 'b', lag: 0, replicas: [{ node: 'a', behind: 100 }] },
    ])
    expect(nodes).toMatchObject([
      { node: 'a', state: 'live', owns: 2, standsBy: 1, lag: 100, since: '2026-01-01T00:00:00.000Z' },
      { node: 'b', owns: 1, standsBy: 2, lag: 50 },
    ])
    expect(summary).toEqual({
      nodes: 2,
      partitions: 3,
      served: 3,
      standbys: 1,
      exposed: 0,
      misplaced: 0,
      lag: 10,
      acceptedPerSecond: 250,
      differing: 0,
    })
  })

  it('tells a node that is silent, one that drains, and one that has left', () => {
    const silent = node('b', [[1, 'owner', 10]], {}, { silentMs: 2500 })
    const left = node('c', [], { state: 'left' }, { silentMs: 3000 })
    const longGone = node('d', [], { state: 'left' }, { silentMs: 60_000 })
    const drains = node('a', [[0, 'owner', 10]], { state: 'draining' })
    const { nodes, partitions, summary } = snapshotOf(facts([drains, silent, left, longGone], ['a', 'b']))
    expect(nodes.map((one) => [one.node, one.state])).toEqual([
      ['a', 'draining'],
      ['b', 'silent'],
      ['c', 'left'],
    ])
    expect(partitions.map(({ state }) => state)).toEqual(['served', 'silent'])
    // There is nobody left who could stand by.
    expect(summary).toMatchObject({ nodes: 1, standbys: 0, exposed: 0 })
  })

  it('believes the record, not a node that still thinks it is the owner', () => {
    const stale = node('a', [[0, 'owner', 5, 1]])
    const next = node('b', [[0, 'promoting', 7, 2]])
    const { partitions } = snapshotOf(facts([stale, next], ['b']))
    expect(partitions).toMatchObject([
      { state: 'moving', owner: 'b', appliedSeq: 7, replicas: [{ node: 'a', role: 'owner' }] },
    ])
    const earlierLife = node('b', [[0, 'owner', 7, 1]], { incarnation: 'b-0' })
    expect(snapshotOf(facts([earlierLife], ['b'])).partitions[0]?.state).toBe('silent')
  })

  it('counts rates between two heartbeats of one life, and only then', () => {
    const earlier = { ...A.beat, upMs: 3000, counters: { applied: 200 } }
    const rates = (heard: HeardNode): unknown => snapshotOf(facts([heard], ['a', 'a', 'a'])).nodes[0]?.appliedPerSecond
    expect(rates({ ...A, earlier })).toBe(250)
    expect(rates({ ...A, earlier: { ...earlier, upMs: 4900 } })).toBe(null)
    expect(rates(A)).toBe(null)
  })

  it('says what it does not know', () => {
    const { summary, lastSeq, partitions } = snapshotOf(
      facts([A], ['a', 'a', 'b'], { owners: undefined, lastSeq: undefined, acceptedPerSecond: undefined, ideal: [] }),
    )
    expect([lastSeq, summary.lag, summary.acceptedPerSecond]).toEqual([null, null, null])
    expect(partitions).toMatchObject([
      { state: 'served', owner: 'a', lag: null, ideal: null },
      { state: 'served', owner: 'a' },
      { state: 'unowned', owner: null, appliedSeq: null },
    ])
  })
})

describe('the view', () => {
  it('has a line for each node, and one for partitions that are alike', () => {
    const lines = formatCluster(snapshotOf(facts([A, B], ['a', 'a', 'b'])), { columns: 120, rows: Infinity })
    expect(lines).toEqual([
      'carillon  2 nodes  3 of 3 partitions served  journal 1000  lag 10  250/s accepted  12:30:15',
      '',
      'NODE  STATE  OWNS  STANDBY  LAG  APPLIED/S  UP                   BUILD  SERVER',
      'a     live   2     1        100             2026-01-01T00:00:00  0.1.0  nats-1',
      'b     live   1     2        50              2026-01-01T00:00:00  0.1.0  nats-1',
      '',
      'OWNER  STATE   COUNT  LAG  STANDBYS  PARTITIONS',
      'a      served  2      10   b         0-1',
      'b      served  1      0    a         2',
    ])
  })

  it('has a line for each partition when that is asked for', () => {
    const lines = formatCluster(snapshotOf(facts([A, B], ['a', 'a', 'b'])), { columns: 120, rows: Infinity, all: true })
    expect(lines.slice(-4)).toEqual([
      'PARTITION  STATE   OWNER  EPOCH  LAG  REPLICAS',
      '0          served  a      1      0    b -5',
      '1          served  a      1      10   b -40',
      '2          served  b      1      0    a -100',
    ])
  })

  it('fits into the terminal, and says what is left out', () => {
    const lines = formatCluster(snapshotOf(facts([A, B], ['a', 'a', 'b'])), { columns: 20, rows: 5 })
    expect(lines).toHaveLength(5)
    expect(lines.at(-1)).toBe('… 5 more lines')
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(20)
  })

  it('shows nothing of a name that a terminal would obey', () => {
    const evil = node('a\u001b[2J\n', [[0, 'owner', 1]], { server: 'x\u001b[31m' })
    const text = formatCluster(snapshotOf(facts([evil], ['a'])), { columns: 200, rows: Infinity }).join('\n')
    expect(text).not.toContain('\u001b')
  })

  it('says first what somebody should look at', () => {
    const alarming = node('b', [], { counters: { digestsDiffering: 2, digestsCompared: 9 } })
    const c = node('c', [[1, 'owner', 4]], {}, { silentMs: 9000 })
    expect(alarmsOf(snapshotOf(facts([A, alarming, c], ['a', 'c', undefined, undefined])))).toEqual([
      '! partitions without an owner: 2-3',
      '! partitions whose owner is silent: 1',
      '! 3 partitions have fewer than 1 standbys that have caught up',
      '! b has found 2 states that differ from their owner’s: see its log, then carillon cluster verify',
    ])
    expect(alarmsOf(snapshotOf(facts([A, B], ['a', 'a', 'b'])))).toEqual([])
  })

  it('writes numbers in a row as ranges', () => {
    expect(formatRanges([0, 1, 2, 5, 7, 8])).toBe('0-2, 5, 7-8')
    expect(formatRanges([])).toBe('')
  })
})

describe('a screen', () => {
  it('draws over what was there, without scrolling, and gives the terminal back', () => {
    const written: string[] = []
    const screen = new Screen({ columns: 0, rows: undefined, write: (text) => written.push(text) })
    expect(screen.size).toEqual({ columns: 80, rows: 24 })
    screen.draw(['one', 'two'])
    screen.close()
    screen.close()
    screen.draw(['late'])
    expect(written).toEqual([
      '\u001b[?1049h\u001b[?25l',
      '\u001b[Hone\u001b[K\r\ntwo\u001b[K\u001b[J',
      '\u001b[?25h\u001b[?1049l',
    ])
  })
})

describe('what verify found', () => {
  it('is told with what differs first, and what was left out', () => {
    const report: VerifyReport = {
      version: 1,
      ok: false,
      instances: 10,
      equal: 7,
      bySample: 1,
      moving: 1,
      incomparable: 1,
      refolded: 3,
      notRefolded: { 'they have not begun': 2 },
      differingCount: 101,
      differing: [
        {
          type: 't',
          id: 'x\u001b[2J',
          partition: 4,
          replicas: [
            { node: 'a', build: '1', seq: 5, digest: 'd1' },
            { node: 'b', build: '2', seq: null, digest: null },
          ],
          journal: { seq: 5, digest: 'd2' },
        },
      ],
      alone: [1, 2, 3],
      failed: [{ partition: 9, reason: 'no node serves it' }],
    }
    expect(formatReport(report)).toEqual([
      '! t/x?[2J differs, partition 4',
      '    a (1): d1 as of seq 5',
      '    b (2): has no such instance',
      '    the journal: d2 as of seq 5',
      '… and 100 more that differ',
      '! partition 9 was not looked at: no node serves it',
      'on one node only, so not compared: partitions 1-3',
      '1 took inputs faster than they could be compared: try again',
      '1 are of types or versions of states that not all nodes have',
      '2 were not folded again: they have not begun',
      '10 instances: 7 equal (1 of them busy ones, by digests behind the same input), 3 as the journal makes them, 101 differ',
    ])
  })
})

describe('waiting for a move', () => {
  it('a node is drained when it owns nothing, by the record and by its own word, and all is served', () => {
    const rest = (nodes: readonly HeardNode[], owners: readonly string[]): number =>
      leftOf('a', snapshotOf(facts(nodes, owners))).partitions.length
    expect(rest([A, B], ['a', 'a', 'b'])).toBe(2)
    // Its successors are named, and do not serve yet.
    expect(rest([A, B], ['b', 'b', 'b'])).toBe(2)
    const late = node(
      'b',
      [0, 1, 2].map((p): Row => [p, 'owner', 1000]),
    )
    expect(rest([A, late], ['b', 'b', 'b'])).toBe(1)
    const drained = node('a', [], { state: 'draining' })
    expect(rest([drained, late], ['b', 'b', 'b'])).toBe(0)
    expect(rest([late], ['b', 'b', 'b'])).toBe(0)
  })

  it('a cluster is balanced when every partition is served where it belongs', () => {
    const all = facts([A, B], ['a', 'a', 'b'], { ideal: ['a', 'b', 'b'] })
    expect(misplacedOf(snapshotOf(all))).toEqual({ partitions: [1], text: '1 partitions to move: 1' })
    expect(misplacedOf(snapshotOf(facts([A, B], ['a', 'a', 'b']))).partitions).toEqual([])
  })
})
