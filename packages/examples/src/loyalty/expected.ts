/**
 * What a feed must lead to, calculated from its text alone.
 *
 * It shares nothing with the programme that it checks: it has its own parser, its own copy of the rules, and its own way of dropping repeats.
 */

/** The rules of the programme, as its terms say. */
const RULES = [
  ['silver', 300],
  ['gold', 1000],
] as const
const CENTS_PER_POINT = 100

export interface ExpectedCustomer {
  readonly balance: number
  /** Points of purchases less returns, spent or not. */
  readonly earned: number
  readonly level: string
  /** Every order that counts, in order, with its points. */
  readonly orders: readonly (readonly [orderId: string, points: number])[]
  /** Levels that the partner is told of, in order. */
  readonly told: readonly string[]
}

export interface Expected {
  readonly lines: number
  /** Lines whose orderId had come before. */
  readonly repeats: number
  readonly customers: ReadonlyMap<string, ExpectedCustomer>
  /** By orderId: the points left, or the refusal. */
  readonly redemptions: ReadonlyMap<string, number | 'refused'>
}

interface Account {
  balance: number
  earned: number
  level: string
  orders: [string, number][]
  told: string[]
}

export function computeExpected(feed: string): Expected {
  const accounts = new Map<string, Account>()
  const redemptions = new Map<string, number | 'refused'>()
  const seen = new Set<string>()
  let lines = 0
  for (const text of feed.split(/\r?\n/)) {
    if (text.trim() === '') continue
    lines += 1
    const line = JSON.parse(text) as Record<string, unknown>
    const orderId = String(line['orderId'])
    if (seen.has(orderId)) continue
    seen.add(orderId)
    const customer = String(line['customer'])
    const account = accounts.get(customer) ?? { balance: 0, earned: 0, level: 'bronze', orders: [], told: [] }
    accounts.set(customer, account)
    if (line['type'] === 'redeem') redemptions.set(orderId, spend(account, orderId, Number(line['points'])))
    else earn(account, orderId, Number(line['amountCents']), line['type'] === 'return')
  }
  return { lines, repeats: lines - seen.size, customers: accounts, redemptions }
}

function spend(account: Account, orderId: string, points: number): number | 'refused' {
  if (points > account.balance) return 'refused'
  account.balance -= points
  account.orders.push([orderId, -points])
  return account.balance
}

function earn(account: Account, orderId: string, amountCents: number, isReturn: boolean): void {
  const whole = (amountCents - (amountCents % CENTS_PER_POINT)) / CENTS_PER_POINT
  const points = isReturn ? 0 - whole : whole
  account.balance += points
  account.earned += points
  account.orders.push([orderId, points])
  if (isReturn) return
  for (const [level, from] of RULES) {
    if (account.earned < from || account.told.includes(level)) continue
    account.told.push(level)
    account.level = level
  }
}
