import { codeOf } from '@carillon/runtime'
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
      Array.from({ length: PARTITIONS }, () => ({ op: 'list', type: 'loyalty', status: 'suspended', limit: 100 })),
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
})
