import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Carillon, connect } from '@carillon/client'
import { type CarillonNode, type NatsProcess, openNatsProcess, openNode } from '@carillon/node'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import { provideNatsServer } from '../../../../scripts/nats-server.mjs'
import { readActual } from './demo/actual.ts'
import { compare } from './demo/compare.ts'
import { computeExpected } from './expected.ts'
import { readFeed } from './feed.ts'
import {
  createLoyalty,
  createLoyaltyActivities,
  type Delivery,
  type FeedEvent,
  FilePartner,
  Loyalty,
  MONTHLY,
  readPartner,
  replay,
  type Schedule,
  type Statement,
} from './index.ts'
import { firstLines, silentLogger, writeFeed } from './testing.ts'

let folder: string
let nats: NatsProcess
let partner: FilePartner
let node: CarillonNode | undefined
let carillon: Carillon

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'carillon-loyalty-'))
  const { path } = await provideNatsServer()
  nats = await openNatsProcess({ path, storeDir: join(folder, 'nats') })
  partner = await FilePartner.open({ path: join(folder, 'partner.ndjson') })
})

afterEach(async () => {
  await carillon.close()
  await node?.close()
  await partner.close()
  await nats.kill9()
  await rm(folder, { recursive: true, force: true })
})

async function startProgramme(statements: Schedule = MONTHLY): Promise<void> {
  node = await openNode({
    servers: nats.url,
    dataDir: join(folder, 'node'),
    workflows: { implementations: [createLoyalty({ statements })], activities: [createLoyaltyActivities(partner)] },
    logger: silentLogger,
  })
  carillon = await connect({ servers: nats.url })
}

function delivered(kind: Delivery['kind'], count: number): Promise<readonly Delivery[]> {
  return vi.waitFor(
    async () => {
      const { accepted } = await readPartner(join(folder, 'partner.ndjson'))
      const found = accepted.filter((delivery) => delivery.kind === kind)
      expect(found.length).toBeGreaterThanOrEqual(count)
      return found
    },
    { timeout: 10_000 },
  )
}

function purchase(orderId: string, amountCents: number): FeedEvent {
  return { orderId, customer: 'ann', type: 'purchase', amountCents }
}

describe('the loyalty programme on a real node', () => {
  it('comes out as calculated over the file, for each customer of a feed with repeats', async () => {
    await startProgramme()
    const path = join(folder, 'feed.ndjson')
    const text = await firstLines(1500)
    await writeFeed(path, text)
    const expected = computeExpected(text)
    const replayed = await replay(carillon, readFeed(path), { sampleEvery: 10 })
    const signal = AbortSignal.timeout(20_000)
    const customers = expected.customers.keys()
    const actual = await readActual(carillon, {
      customers,
      replayed,
      partnerPath: join(folder, 'partner.ndjson'),
      signal,
    })
    const { differences, ordersApplied } = compare(expected, actual)
    expect(differences).toEqual([])
    expect(expected.repeats).toBeGreaterThan(10)
    expect(ordersApplied).toBeGreaterThan(1000)
    expect(replayed.redemptions.length).toBeGreaterThan(10)
  })

  it('tells the partner of two levels, in order, when one purchase reaches both', async () => {
    await startProgramme()
    await replay(carillon, [purchase('o1', 120_000), purchase('o1', 120_000)])
    const levels = await delivered('level', 2)
    expect(levels.map(({ customer, body }) => [customer, body])).toEqual([
      ['ann', { level: 'silver' }],
      ['ann', { level: 'gold' }],
    ])
    const status = await carillon.workflow(Loyalty, 'ann').query('status')
    expect(status).toMatchObject({ points: 1200, level: 'gold', entries: [{ orderId: 'o1', points: 1200 }] })
  })

  it('keeps a level when purchases are returned, and lets the balance go below zero', async () => {
    await startProgramme()
    const ann = carillon.workflow(Loyalty, 'ann')
    await ann.signal('purchase', { orderId: 'o1', amountCents: 40_000 })
    await ann.update('redeem', { orderId: 'o2', points: 350 })
    await ann.signal('return', { orderId: 'o3', amountCents: 40_000 }, { wait: 'applied' })
    expect(await ann.query('status')).toMatchObject({ points: -350, level: 'silver' })
  })

  it('refuses to redeem more than there is, and gives a repeat the first answer', async () => {
    await startProgramme()
    const ann = carillon.workflow(Loyalty, 'ann')
    await ann.signal('purchase', { orderId: 'o1', amountCents: 5_000 })
    const refused = ann.update('redeem', { orderId: 'o2', points: 80 }, { id: 'o2' })
    await expect(refused).rejects.toMatchObject({ code: 'UPDATE_REJECTED', message: expect.stringContaining('80') })
    expect(await ann.update('redeem', { orderId: 'o3', points: 20 }, { id: 'o3' })).toEqual({ left: 30 })
    await ann.signal('purchase', { orderId: 'o4', amountCents: 10_000 })
    expect(await ann.update('redeem', { orderId: 'o3', points: 20 }, { id: 'o3' })).toEqual({ left: 30 })
    await expect(ann.update('redeem', { orderId: 'o2', points: 80 }, { id: 'o2' })).rejects.toMatchObject({
      code: 'UPDATE_REJECTED',
    })
    expect((await ann.query('status')).points).toBe(130)
  })

  it('sends a statement every month, with each order in exactly one', async () => {
    await startProgramme({ every: '200 ms' })
    const ann = carillon.workflow(Loyalty, 'ann')
    await ann.signal('purchase', { orderId: 'o1', amountCents: 1_000 }, { wait: 'applied' })
    await delivered('statement', 1)
    await ann.signal('purchase', { orderId: 'o2', amountCents: 2_000 }, { wait: 'applied' })
    await delivered('statement', 4)
    const statements = (await delivered('statement', 4)).map(({ body }) => body as Statement)
    expect(statements.map(({ number }) => number)).toEqual(statements.map((_, i) => i + 1))
    expect(statements.flatMap(({ entries }) => entries.map(({ orderId }) => orderId))).toEqual(['o1', 'o2'])
    expect(statements.at(-1)?.points).toBe(30)
  })

  it('sends a statement early when it is full', async () => {
    await startProgramme()
    await replay(
      carillon,
      Array.from({ length: 501 }, (_, i) => purchase(`o${i}`, 100)),
    )
    const [statement] = await delivered('statement', 1)
    expect((statement!.body as Statement).entries).toHaveLength(500)
    const status = await carillon.workflow(Loyalty, 'ann').query('status')
    expect(status).toMatchObject({ statements: 1, entries: [{ orderId: 'o500', points: 1 }] })
  })

  it('completes with the balance when the customer leaves', async () => {
    await startProgramme()
    const ann = carillon.workflow(Loyalty, 'ann')
    await ann.signal('purchase', { orderId: 'o1', amountCents: 2_500 })
    await ann.signal('close')
    expect(await ann.result({ timeoutMs: 10_000 })).toEqual({ points: 25 })
  })
})
