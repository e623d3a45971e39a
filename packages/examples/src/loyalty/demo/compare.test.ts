import { expect, it } from 'vitest'

import type { Level, Statement, Status } from '../contract.ts'
import { computeExpected } from '../expected.ts'
import type { Actual } from './actual.ts'
import { compare } from './compare.ts'

const FEED = [
  { orderId: 'o1', customer: 'ann', type: 'purchase', amountCents: 35_050 },
  { orderId: 'o2', customer: 'ann', type: 'redeem', points: 100 },
  { orderId: 'o1', customer: 'ann', type: 'purchase', amountCents: 35_050 },
  { orderId: 'o3', customer: 'ann', type: 'return', amountCents: 35_050 },
  { orderId: 'o4', customer: 'bob', type: 'redeem', points: 1 },
]
  .map((line) => JSON.stringify(line))
  .join('\n')

interface Parts {
  ann: { points: number; level: Level; statements: number; entries: { orderId: string; points: number }[] }
  statements: {
    number: number
    asOf: string
    level: Level
    points: number
    entries: { orderId: string; points: number }[]
  }[]
  told: string[]
  redemptions: { orderId: string; left: number | 'refused' }[]
  lines: number
}

/** What comes out of a run in which nothing went wrong, but for what `spoil` does to it. */
function compareSpoilt(spoil: (parts: Parts) => void): ReturnType<typeof compare> {
  const parts: Parts = {
    ann: { points: -100, level: 'silver', statements: 1, entries: [{ orderId: 'o3', points: -350 }] },
    statements: [
      {
        number: 1,
        asOf: '2026-03-01T08:00:00.000Z',
        level: 'silver',
        points: 250,
        entries: [
          { orderId: 'o1', points: 350 },
          { orderId: 'o2', points: -100 },
        ],
      },
    ],
    told: ['silver'],
    redemptions: [
      { orderId: 'o2', left: 250 },
      { orderId: 'o4', left: 'refused' },
    ],
    lines: 5,
  }
  spoil(parts)
  const bob: Status = { points: 0, level: 'bronze', statements: 0, entries: [] }
  const actual: Actual = {
    lines: parts.lines,
    statuses: new Map<string, Status>([
      ['ann', parts.ann],
      ['bob', bob],
    ]),
    told: new Map([['ann', parts.told]]),
    statements: new Map<string, readonly Statement[]>([['ann', parts.statements]]),
    redemptions: parts.redemptions,
    partner: { accepted: [], repeated: 0, torn: 0 },
  }
  return compare(computeExpected(FEED), actual)
}

it('finds nothing where all is equal', () => {
  const { differences, lost, doubled, ordersCompared } = compareSpoilt(() => undefined)
  expect({ differences, lost, doubled, ordersCompared }).toEqual({
    differences: [],
    lost: 0,
    doubled: 0,
    ordersCompared: 3,
  })
})

it.each<[string, (parts: Parts) => void, { lost?: number; doubled?: number }]>([
  ['a lost order', ({ ann }) => ann.entries.pop(), { lost: 1 }],
  ['a doubled order', ({ ann }) => ann.entries.push({ orderId: 'o1', points: 350 }), { doubled: 1 }],
  [
    'an order that is in two statements',
    ({ statements }) => statements.push({ ...statements[0]!, number: 2 }),
    { doubled: 2 },
  ],
  ['orders out of order', ({ statements }) => statements[0]!.entries.reverse(), {}],
  ['an order with other points', ({ ann }) => (ann.entries[0]!.points = -351), { lost: 1 }],
  ['an order that nobody made', ({ ann }) => ann.entries.push({ orderId: 'o9', points: 0 }), {}],
  ['a lost notification', ({ told }) => told.pop(), { lost: 1 }],
  ['a doubled notification', ({ told }) => told.push('silver'), { doubled: 1 }],
  ['a notification too many', ({ told }) => told.push('gold'), {}],
  ['a lost statement', ({ statements }) => statements.pop(), { lost: 3 }],
  ['a statement with other points', ({ statements }) => (statements[0]!.points = 251), {}],
  ['another balance', ({ ann }) => (ann.points = 0), {}],
  ['another level', ({ ann }) => (ann.level = 'gold'), {}],
  ['another answer', ({ redemptions }) => (redemptions[0]!.left = 251), {}],
  ['an answer that never came', ({ redemptions }) => redemptions.pop(), { lost: 1 }],
  ['a line that was not accepted', (parts) => (parts.lines = 4), {}],
])('finds %s', (_, spoil, { lost = 0, doubled = 0 }) => {
  const found = compareSpoilt(spoil)
  expect(found.differences).not.toEqual([])
  expect({ lost: found.lost, doubled: found.doubled }).toEqual({ lost, doubled })
})
