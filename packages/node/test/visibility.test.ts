/** Lists and counts over a real node with many instances: what they find, what they look at for it, and that a restart keeps it. */
import type { Carillon } from '@carillon/client'
import { defineWorkflow, implement, type } from '@carillon/runtime'
import {
  type CountPage,
  decodeValue,
  encodeValue,
  type ListPage,
  type Partition,
  type RpcRequest,
  type RpcResponse,
  toWireFilter,
} from '@carillon/runtime/protocol'
import { connect as connectNats, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { TestCluster } from './test-cluster.ts'

const Device = defineWorkflow('device', {
  signals: { seen: type<{ site: string; load: number }>(), retire: type<void>() },
  attributes: { site: 'text', load: 'number' },
})
const device = implement(Device, {
  startOnSignal: true,
  state: () => ({}),
  on: {
    seen: (ctx, { site, load }) => ctx.attributes.set({ site, load }),
    retire: (ctx) => ctx.complete(),
  },
})

const PARTITIONS = 8
const MANY = 100_000
/** For all of them to be applied, also on a machine that does much else. */
const LOADED_MS = 150_000
/** Every so many devices one is at another site than the others. */
const RARE = 1000

let cluster: TestCluster
let carillon: Carillon
let nc: NatsConnection
let lastSeq = 0

beforeAll(async () => {
  const workflows = { implementations: [device], activities: [] }
  cluster = await TestCluster.open({ workflows, partitions: PARTITIONS })
  carillon = cluster.carillon
  nc = await connectNats({ servers: cluster.server.url })
  const signals = function* () {
    for (let i = 0; i < MANY; i++)
      yield {
        workflow: Device,
        id: `d${i}`,
        name: 'seen',
        payload: { site: i % RARE === 7 ? 'rare' : 'usual', load: i },
      } as const
  }
  await carillon.signalMany(signals())
  lastSeq = (
    await carillon.workflow(Device, 'd7').signal('retire', undefined, { wait: 'applied', timeoutMs: LOADED_MS })
  ).seq
}, LOADED_MS + 30_000)
afterAll(async () => {
  await nc?.close()
  await cluster?.close()
})

async function ask<Page>(request: RpcRequest): Promise<readonly Page[]> {
  const asked = Array.from({ length: PARTITIONS }, async (_, partition) => {
    const subject = cluster.node.subjects.rpc(partition as Partition)
    const response = decodeValue((await nc.request(subject, encodeValue(request), { timeout: 10_000 })).data)
    const answer = response as RpcResponse
    if (!answer.ok) throw new Error(answer.error.message)
    return answer.value as Page
  })
  return Promise.all(asked)
}

function visited(pages: readonly { readonly visited: number }[]): number {
  return pages.reduce((sum, page) => sum + page.visited, 0)
}

describe('100,000 instances', () => {
  it('are counted by type and status without looking at one', async () => {
    expect(await carillon.count({ minSeq: lastSeq })).toBe(MANY)
    expect(await carillon.count({ contract: Device, groupBy: 'status' })).toEqual([
      { value: 'running', count: MANY - 1 },
      { value: 'completed', count: 1 },
    ])
    expect(visited(await ask<CountPage>({ op: 'count', type: 'device', groupBy: 'status' }))).toBe(0)
  })

  it('are found by attribute and status, and few others are looked at', async () => {
    const rare = { contract: Device, status: 'running', where: { site: 'rare' } } as const
    const loads: (number | undefined)[] = []
    for await (const { attributes } of carillon.list(rare)) loads.push(attributes?.load)
    expect(loads.toSorted((a, b) => (a ?? 0) - (b ?? 0))).toEqual(
      Array.from({ length: MANY / RARE - 1 }, (_, i) => (i + 1) * RARE + 7),
    )
    expect(visited(await ask<ListPage>({ op: 'list', limit: 1000, ...toWireFilter(rare) }))).toBeLessThanOrEqual(200)
    const range = { contract: Device, where: { load: { atLeast: 50_000, below: 50_100 } } }
    expect(await carillon.count(range)).toBe(100)
    expect(visited(await ask<CountPage>({ op: 'count', ...toWireFilter(range) }))).toBe(100)
    expect((await carillon.listPage({ status: 'completed' })).rows).toMatchObject([{ id: 'd7', status: 'completed' }])
    expect(visited(await ask<ListPage>({ op: 'list', limit: 10, status: 'completed' }))).toBe(2)
  })

  it(
    'are all listed, each once, and counted by attribute, also by a node that was started again',
    async () => {
      await cluster.restart()
      const ids = new Set<string>()
      let rows = 0
      for await (const { id } of carillon.list({ contract: Device })) {
        ids.add(id)
        rows += 1
      }
      expect([ids.size, rows]).toEqual([MANY, MANY])
      expect(await carillon.count({ contract: Device, groupBy: { attribute: 'site' } })).toEqual([
        { value: 'usual', count: MANY - MANY / RARE },
        { value: 'rare', count: MANY / RARE },
      ])
      expect(await carillon.count({ status: 'completed', where: { site: 'rare' }, contract: Device })).toBe(1)
    },
    LOADED_MS,
  )
})

it('a partition whose owner gives no answer is named, or left out on request', async () => {
  await cluster.stopNode()
  const refused = carillon.listPage({ timeoutMs: 300 })
  await expect(refused).rejects.toMatchObject({
    code: 'NO_NODE',
    message: expect.stringMatching(/^no node served partition \d+ for the list of partition \d+ within/),
  })
  const missing: number[] = []
  const options = { timeoutMs: 300, onMissing: (partition: number) => void missing.push(partition) }
  expect(await carillon.count(options)).toBe(0)
  expect(missing.toSorted((a, b) => a - b)).toEqual(Array.from({ length: PARTITIONS }, (_, i) => i))
})
