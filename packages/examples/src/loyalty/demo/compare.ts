/** Compares what came out with what must: order by order, level by level, statement by statement. */
import type { Statement } from '../contract.ts'
import type { Expected, ExpectedCustomer } from '../expected.ts'
import type { Actual } from './actual.ts'

export interface Comparison {
  /** Whatever is not as it must be, a line for each. */
  readonly differences: readonly string[]
  /** Orders, notifications, statements and answers that are missing. */
  readonly lost: number
  /** Those that took effect more than once. */
  readonly doubled: number
  /** Orders that were looked for, one by one. */
  readonly ordersCompared: number
  /** Orders that were applied, repeats included if there were any. */
  readonly ordersApplied: number
}

class Findings {
  readonly differences: string[] = []
  lost = 0
  doubled = 0
  ordersCompared = 0
  ordersApplied = 0

  note(difference: string): void {
    this.differences.push(difference)
  }

  /** Each of `wanted` once, in this order, and nothing else. */
  compareLists(what: string, wanted: readonly string[], found: readonly string[]): void {
    const counts = countEach(found)
    const before = this.differences.length
    for (const item of wanted) {
      const times = counts.get(item) ?? 0
      counts.delete(item)
      if (times === 1) continue
      if (times === 0) this.lost += 1
      else this.doubled += times - 1
      this.note(`${what}: ${item} is there ${times} times`)
    }
    for (const item of counts.keys()) this.note(`${what}: ${item} is there, and must not be`)
    if (this.differences.length === before && wanted.some((item, i) => item !== found[i]))
      this.note(`${what}: not in order`)
  }

  compareValues(what: string, wanted: string | number, found: string | number | undefined): void {
    if (wanted !== found) this.note(`${what}: ${found ?? 'nothing'} instead of ${wanted}`)
  }
}

export function compare(expected: Expected, actual: Actual): Comparison {
  const findings = new Findings()
  for (const [customer, wanted] of expected.customers) compareCustomer(findings, customer, wanted, actual)
  for (const customer of actual.statuses.keys()) {
    if (!expected.customers.has(customer)) findings.note(`${customer}: is not in the feed`)
  }
  compareRedemptions(findings, expected, actual)
  findings.compareValues('lines of the feed that were accepted', expected.lines, actual.lines)
  return findings
}

function compareCustomer(findings: Findings, customer: string, wanted: ExpectedCustomer, actual: Actual): void {
  const status = actual.statuses.get(customer)
  const statements = actual.statements.get(customer) ?? []
  const numbers = Array.from({ length: status?.statements ?? 0 }, (_, i) => String(i + 1))
  const inOrder = [...statements].sort((a, b) => a.number - b.number)
  const found = [...inOrder.flatMap(({ entries }) => entries), ...(status?.entries ?? [])]
  const orders = wanted.orders.map(([orderId, points]) => `${orderId} ${points}`)
  findings.ordersCompared += orders.length
  findings.ordersApplied += found.length
  findings.compareLists(
    `${customer}, orders`,
    orders,
    found.map(({ orderId, points }) => `${orderId} ${points}`),
  )
  findings.compareLists(
    `${customer}, statements`,
    numbers,
    statements.map(({ number }) => String(number)),
  )
  compareBalances(findings, customer, inOrder)
  findings.compareLists(`${customer}, notifications`, wanted.told, actual.told.get(customer) ?? [])
  findings.compareValues(`${customer}, points`, wanted.balance, status?.points)
  findings.compareValues(`${customer}, level`, wanted.level, status?.level)
}

/** Each statement's points are those of all entries up to it. */
function compareBalances(findings: Findings, customer: string, statements: readonly Statement[]): void {
  let balance = 0
  for (const { number, points, entries } of statements) {
    for (const entry of entries) balance += entry.points
    findings.compareValues(`${customer}, points of statement ${number}`, balance, points)
  }
}

/** A line that the feed repeats is answered as the first one was. */
function compareRedemptions(findings: Findings, { redemptions }: Expected, actual: Actual): void {
  const answered = new Set<string>()
  for (const { orderId, left } of actual.redemptions) {
    answered.add(orderId)
    findings.compareValues(`the answer to ${orderId}`, redemptions.get(orderId) ?? 'none', left)
  }
  for (const orderId of redemptions.keys()) {
    if (answered.has(orderId)) continue
    findings.lost += 1
    findings.note(`the answer to ${orderId}: nothing`)
  }
}

function countEach(items: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1)
  return counts
}
