/** What really came out: asked of every instance, and read from the partner's file. */
import { setTimeout as delay } from 'node:timers/promises'

import type { Carillon } from '@carillon/client'

import { Loyalty, type Statement, type Status } from '../contract.ts'
import { type Delivery, type PartnerBook, readPartner } from '../partner.ts'
import type { Redemption, ReplayResult } from '../producer.ts'

export interface Actual {
  /** Lines of the feed that were accepted. */
  readonly lines: number
  readonly statuses: ReadonlyMap<string, Status>
  /** Levels that the partner was told of, by customer: one entry for each key. */
  readonly told: ReadonlyMap<string, readonly string[]>
  /** Statements that the partner has, by customer: one for each key, up to the last one in `statuses`. */
  readonly statements: ReadonlyMap<string, readonly Statement[]>
  readonly redemptions: readonly Redemption[]
  readonly partner: PartnerBook
}

export interface ReadActualOptions {
  readonly customers: Iterable<string>
  /** The statuses include every input that it sent. */
  readonly replayed: ReplayResult
  readonly partnerPath: string
  readonly signal: AbortSignal
}

const AT_ONCE = 50
const DELIVERED_WITHIN_MS = 15_000
const LOOK_EVERY_MS = 100

export async function readActual(carillon: Carillon, options: ReadActualOptions): Promise<Actual> {
  const ids = new Set([...options.customers, ...(await listCustomers(carillon))])
  const statuses = await readStatuses(carillon, [...ids], options.replayed.throughSeq)
  const partner = await readWhenDelivered(statuses, options)
  const statements = groupByCustomer(partner.accepted, 'statement', (delivery) => delivery.body as Statement)
  return {
    lines: options.replayed.lines,
    statuses,
    told: groupByCustomer(partner.accepted, 'level', (delivery) => (delivery.body as { level: string }).level),
    statements: new Map([...statements].map(([id, list]) => [id, upTo(list, statuses.get(id)?.statements ?? 0)])),
    redemptions: options.replayed.redemptions,
    partner,
  }
}

/** Instances that nobody expected would be here only. */
async function listCustomers(carillon: Carillon): Promise<readonly string[]> {
  const ids: string[] = []
  for await (const { id } of carillon.list({ contract: Loyalty })) ids.push(id)
  return ids
}

async function readStatuses(
  carillon: Carillon,
  ids: readonly string[],
  minSeq: number,
): Promise<ReadonlyMap<string, Status>> {
  const statuses = new Map<string, Status>()
  for (let start = 0; start < ids.length; start += AT_ONCE) {
    const read = ids.slice(start, start + AT_ONCE).map(async (id) => {
      statuses.set(id, await carillon.workflow(Loyalty, id).query('status', undefined, { minSeq }))
    })
    await Promise.all(read)
  }
  return statuses
}

/** Activities run after their turn, so the last deliveries may be on their way. When time is up, what is missing is missing. */
async function readWhenDelivered(
  statuses: ReadonlyMap<string, Status>,
  { partnerPath, signal }: ReadActualOptions,
): Promise<PartnerBook> {
  const deadlineMs = performance.now() + DELIVERED_WITHIN_MS
  for (;;) {
    const book = await readPartner(partnerPath)
    if (hasAll(book.accepted, statuses) || performance.now() > deadlineMs) return book
    await delay(LOOK_EVERY_MS, undefined, { signal })
  }
}

function hasAll(accepted: readonly Delivery[], statuses: ReadonlyMap<string, Status>): boolean {
  const levels = groupByCustomer(accepted, 'level', (delivery) => (delivery.body as { level: string }).level)
  const numbers = groupByCustomer(accepted, 'statement', (delivery) => (delivery.body as Statement).number)
  return [...statuses].every(([id, { level, statements }]) => {
    const isTold = level === 'bronze' || (levels.get(id)?.includes(level) ?? false)
    return isTold && (statements === 0 || (numbers.get(id)?.includes(statements) ?? false))
  })
}

/** The timer goes on while we read: later statements belong to no status that we have. */
function upTo(statements: readonly Statement[], last: number): readonly Statement[] {
  return statements.filter(({ number }) => number <= last)
}

function groupByCustomer<T>(
  deliveries: readonly Delivery[],
  kind: Delivery['kind'],
  pick: (delivery: Delivery) => T,
): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>()
  for (const delivery of deliveries) {
    if (delivery.kind !== kind) continue
    const group = groups.get(delivery.customer) ?? []
    group.push(pick(delivery))
    groups.set(delivery.customer, group)
  }
  return groups
}
