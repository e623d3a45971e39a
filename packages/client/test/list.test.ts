import { codeOf, defineWorkflow } from '@carillon/runtime'
import type { ListRow, RpcRequest } from '@carillon/runtime/protocol'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

import { type Carillon, connect } from '../src/index.ts'
import { PARTITIONS, type ScriptedCluster, startScriptedCluster } from './scripted-cluster.ts'

let cluster: ScriptedCluster
let carillon: Carillon
/** Rows by partition, in the order of their keys. */
let rows: ListRow[][]

beforeAll(async () => {
  cluster = await startScriptedCluster()
  await cluster.serve()
  cluster.script.onRpc = listPage
  carillon = await connect({ servers: cluster.server.url })
})
afterAll(async () => {
  await carillon.close()
  await cluster.stop()
})
afterEach(() => {
  cluster.requests.length = 0
})

function fill(counts: readonly number[]): void {
  rows = counts.map((count, partition) =>
    Array.from({ length: count }, (_, i) => ({
      type: 'loyalty',
      id: `p${partition}-${String(i).padStart(3, '0')}`,
      status: 'running',
      startedMs: 1,
      seq: i,
    })),
  )
}

function listPage(request: RpcRequest, partition: number): unknown {
  if (request.op !== 'list') throw new Error(`${request.op} was not expected`)
  const all = rows[partition] ?? []
  const from = request.after === undefined ? 0 : all.findIndex(({ id }) => `loyalty.${id}` === request.after) + 1
  const page = all.slice(from, from + request.limit)
  return from + page.length < all.length ? { rows: page, next: `loyalty.${page.at(-1)?.id}` } : { rows: page }
}

async function listAll(limit: number): Promise<{ ids: string[]; sizes: number[] }> {
  const ids: string[] = []
  const sizes: number[] = []
  let after: string | undefined
  do {
    const page = await carillon.listPage({ limit, after })
    ids.push(...page.rows.map(({ id }) => id))
    sizes.push(page.rows.length)
    after = page.next
  } while (after !== undefined)
  return { ids, sizes }
}

describe('list', () => {
  it.each([
    ['evenly', [3, 3, 3, 3, 3, 3, 3, 3]],
    ['in one partition', [0, 0, 0, 40, 0, 0, 0, 0]],
    ['unevenly', [10, 0, 1, 25, 0, 7, 0, 2]],
    ['nowhere', [0, 0, 0, 0, 0, 0, 0, 0]],
  ])(
    'gives every instance once, in order, whatever the size of a page, when they are spread %s',
    async (_how, counts) => {
      fill(counts)
      for (const limit of [1, 4, 7, 1000]) {
        const { ids, sizes } = await listAll(limit)
        expect(ids).toEqual(rows.flat().map(({ id }) => id))
        expect(Math.max(...sizes)).toBeLessThanOrEqual(limit)
      }
    },
  )

  it('hands the filters to every partition', async () => {
    fill([])
    expect(await carillon.listPage({ type: 'loyalty', status: 'suspended' })).toEqual({ rows: [], next: undefined })
    expect(cluster.requests).toEqual(
      Array.from({ length: PARTITIONS }, () => ({
        op: 'list',
        type: 'loyalty',
        status: 'suspended',
        limit: 100,
        waitMs: 2000,
      })),
    )
  })

  it('refuses a limit or a cursor that is none', async () => {
    for (const options of [
      { limit: 0 },
      { limit: 1001 },
      { limit: 1.5 },
      { after: 'x' },
      { after: String(PARTITIONS) },
      { after: '' },
    ]) {
      expect(await carillon.listPage(options).catch(codeOf)).toBe('CONFIG_INVALID')
    }
  })

  it('gives the rows one by one, as many as are asked for', async () => {
    fill([3, 0, 1200, 0, 2, 0, 0, 1])
    const all: string[] = []
    for await (const { id } of carillon.list()) all.push(id)
    expect(all).toEqual(rows.flat().map(({ id }) => id))
    const some: string[] = []
    for await (const { id } of carillon.list({ limit: 1005 })) some.push(id)
    expect(some).toEqual(all.slice(0, 1005))
    expect(await carillon.list({ limit: 0 }).next().catch(codeOf)).toBe('CONFIG_INVALID')
  })

  it('hands attributes and times to every partition as conditions', async () => {
    fill([])
    const where = { level: 'gold', points: { atLeast: 5, below: undefined }, due: { above: new Date(7) } }
    await carillon.listPage({ type: 'loyalty', where, startedAfter: new Date(5), closedBefore: 9, minSeq: 4 })
    expect(cluster.requests).toHaveLength(PARTITIONS)
    expect(cluster.requests[0]).toEqual({
      op: 'list',
      type: 'loyalty',
      startedAfter: 5,
      closedBefore: 9,
      where: [
        { attribute: 'level', op: 'is', value: 'gold' },
        { attribute: 'points', op: 'atLeast', value: 5 },
        { attribute: 'due', op: 'above', value: new Date(7) },
      ],
      minSeq: 4,
      limit: 100,
      waitMs: 2000,
    })
  })

  it.each([
    ['attributes of no type', { where: { level: 'gold' } }],
    ['a condition that is none', { type: 'loyalty', where: { level: { like: 'g' } } }],
    ['a time that is none', { startedAfter: new Date(Number.NaN) }],
    ['a type that is not the contract’s', { type: 'other', contract: defineWorkflow('loyalty', {}) }],
  ])('refuses %s', async (_what, options) => {
    expect(await carillon.listPage(options).catch(codeOf)).toBe('CONFIG_INVALID')
    expect(await carillon.count(options).catch(codeOf)).toBe('CONFIG_INVALID')
  })

  it('names a partition that gives no answer, or leaves it out on request', async () => {
    fill([1, 2, 1, 1, 1, 1, 1, 1])
    cluster.script.onRpc = (request, partition) =>
      partition === 1 ? new Promise(() => {}) : request.op === 'list' ? listPage(request, partition) : undefined
    try {
      await expect(carillon.listPage({ timeoutMs: 300 })).rejects.toMatchObject({
        code: 'TIMEOUT',
        message: expect.stringContaining('the list of partition 1') as string,
      })
      const missing: number[] = []
      const ids: string[] = []
      const options = { timeoutMs: 300, onMissing: (partition: number) => void missing.push(partition) }
      for await (const { id } of carillon.list(options)) ids.push(id)
      expect(ids).toEqual(rows.flatMap((row, i) => (i === 1 ? [] : row.map(({ id }) => id))))
      expect(missing).toEqual([1])
    } finally {
      cluster.script.onRpc = listPage
    }
  })
})

describe('count', () => {
  it('goes on where a partition has more, and adds up the groups of all, the largest first', async () => {
    cluster.script.onRpc = (request, partition) => {
      if (request.op !== 'count') throw new Error(`${request.op} was not expected`)
      const at = request.after === undefined ? 0 : Number(request.after)
      const groups = [{ value: partition % 2 === 0 ? 'running' : 'failed', count: partition + 1 }]
      return at < partition % 3 ? { groups, next: String(at + 1), visited: 1 } : { groups, visited: 1 }
    }
    try {
      const sum = (parity: number): number =>
        Array.from({ length: PARTITIONS }, (_, p) => (p % 2 === parity ? (p + 1) * ((p % 3) + 1) : 0)).reduce(
          (a, b) => a + b,
        )
      const groups = [
        { value: 'running', count: sum(0) },
        { value: 'failed', count: sum(1) },
      ].sort((a, b) => b.count - a.count)
      expect(await carillon.count({ groupBy: 'status' })).toEqual(groups)
      expect(await carillon.count({ type: 'loyalty' })).toBe(sum(0) + sum(1))
    } finally {
      cluster.script.onRpc = listPage
    }
  })
})
