/** The end of the demo in words and a table. */
import type { Expected } from '../expected.ts'
import type { Actual } from './actual.ts'
import type { Comparison } from './compare.ts'

const CUSTOMERS_SHOWN = 10
const DIFFERENCES_SHOWN = 20

export interface ReportInput {
  readonly expected: Expected
  readonly actual: Actual
  readonly comparison: Comparison
}

export function formatReport({ expected, actual, comparison }: ReportInput): string {
  return [
    '',
    ...customerTable(expected, actual),
    '',
    ...table(countRows(expected, actual, comparison), ['what', 'expected', 'found']),
    '',
    ...comparison.differences.slice(0, DIFFERENCES_SHOWN).map((difference) => `  different: ${difference}`),
  ].join('\n')
}

function customerTable(expected: Expected, actual: Actual): readonly string[] {
  const top = [...actual.statuses].sort(([, a], [, b]) => b.points - a.points).slice(0, CUSTOMERS_SHOWN)
  const rows = top.map(([id, status]) => {
    const wanted = expected.customers.get(id)
    const orders = (actual.statements.get(id) ?? []).reduce(
      (sum, { entries }) => sum + entries.length,
      status.entries.length,
    )
    const told = actual.told.get(id) ?? []
    return [
      id,
      status.level,
      status.points,
      wanted?.balance ?? '-',
      orders,
      wanted?.orders.length ?? '-',
      told.join(' ') || '-',
      status.statements,
    ]
  })
  return table(rows, ['customer', 'level', 'points', 'expected', 'orders', 'expected', 'notified', 'statements'])
}

export type Row = readonly (string | number)[]

function countRows(expected: Expected, actual: Actual, comparison: Comparison): readonly Row[] {
  const wanted = [...expected.customers.values()]
  const found = [...actual.statuses.values()]
  const levels = ['bronze', 'silver', 'gold'].map((level): Row => [
    `customers at ${level}`,
    wanted.filter((customer) => customer.level === level).length,
    found.filter((status) => status.level === level).length,
  ])
  const isRefused = (left: unknown): boolean => left === 'refused'
  const answers = new Map(actual.redemptions.map(({ orderId, left }) => [orderId, left]))
  const refused = [...answers.values()].filter(isRefused).length
  const statements = found.reduce((sum, status) => sum + status.statements, 0)
  return [
    ['lines of the feed accepted', expected.lines, actual.lines],
    ['orders applied', comparison.ordersCompared, comparison.ordersApplied],
    ['repeated lines dropped', expected.repeats, actual.lines - comparison.ordersApplied - refused],
    ['redemptions', expected.redemptions.size, answers.size],
    ['redemptions refused', [...expected.redemptions.values()].filter(isRefused).length, refused],
    ['customers', wanted.length, found.length],
    ...levels,
    ['levels notified to the partner', sumOf(wanted.map(({ told }) => told.length)), countOf(actual.told)],
    ['monthly statements', statements, countOf(actual.statements)],
    ['deliveries repeated by the crash, dropped by key', '-', actual.partner.repeated],
  ]
}

function countOf(groups: ReadonlyMap<string, readonly unknown[]>): number {
  return sumOf([...groups.values()].map((group) => group.length))
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0)
}

/** Texts to the left, numbers to the right. */
export function table(rows: readonly Row[], head: readonly string[]): readonly string[] {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => String(row[i] ?? '').length)))
  const isNumber = head.map((_, i) => rows.some((row) => typeof row[i] === 'number'))
  const line = (row: Row): string =>
    row
      .map((cell, i) => (isNumber[i] ? String(cell).padStart(widths[i] ?? 0) : String(cell).padEnd(widths[i] ?? 0)))
      .join('  ')
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].map(
    (text) => `  ${text.trimEnd()}`,
  )
}
