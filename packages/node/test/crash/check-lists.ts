/** Compares lists and counts, which come from the index and the counts of the store, with what the instances say of themselves. */
import type { Carillon } from '@carillon/client'
import { encodeToken } from '@carillon/runtime/protocol'

import type { Checks, Seen } from './checks.ts'
import { Ledger, type LedgerState, type StepsState } from './contracts.ts'

export async function checkLists(
  client: Carillon,
  checks: Checks,
  seen: ReadonlyMap<string, Seen>,
  minSeq: number,
): Promise<void> {
  const all = [...seen].map(([key, { description, state }]) => ({ key, status: description.status, state }))
  const statuses = new Map<string, number>()
  for (const { status } of all) statuses.set(status, (statuses.get(status) ?? 0) + 1)
  const counted = await client.count({ groupBy: 'status', minSeq })
  checks.listed('the count by status', new Map(counted.map(({ value, count }) => [String(value), count])), statuses)

  const rows = new Map<string, unknown>()
  for await (const { type, id, status, attributes } of client.list({ minSeq }))
    rows.set(`${encodeToken(type)}.${encodeToken(id)}`, [status, attributes])
  const wanted = all.map(({ key, status, state }): [string, unknown] => [key, [status, attributesOf(key, state)]])
  checks.listed('the list of all', rows, new Map(wanted))

  const ledgers = all.flatMap(({ key, status, state }) => (isLedger(key) ? [{ key, status, n: ledgerOf(state) }] : []))
  const sizes = ledgers.map(({ n }) => n).sort((a, b) => a - b)
  const [low = 1, high = 1] = [0.3, 0.6].map((part) => Math.max(1, sizes[Math.floor(sizes.length * part)] ?? 1))
  const between = new Set<string>()
  const range = { contract: Ledger, minSeq, where: { n: { atLeast: low, below: high } } }
  for await (const { id } of client.list(range)) between.add(`ledger.${encodeToken(id)}`)
  const inside = ledgers.filter(({ n }) => n >= low && n < high)
  checks.listed(`the ledgers from ${low} to ${high}`, between, new Set(inside.map(({ key }) => key)))
  // A count reads the rows of the index alone: one too many is not looked up.
  const count = await client.count(range)
  checks.listed(
    `the count from ${low} to ${high}`,
    new Map([['ledgers', count]]),
    new Map([['ledgers', inside.length]]),
  )
}

function isLedger(key: string): boolean {
  return key.startsWith('ledger.')
}

function ledgerOf(state: unknown): number {
  return (state as LedgerState | undefined)?.n ?? 0
}

/** What the handlers have set: see workflows.ts. */
function attributesOf(key: string, state: unknown): unknown {
  if (key.startsWith('stuck.')) return undefined
  const { n = 0, recent } = (state ?? {}) as Partial<LedgerState & StepsState>
  if (n === 0) return undefined
  return recent === undefined ? { n } : { n, recent: [...new Set(recent)].sort() }
}
