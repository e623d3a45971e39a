import { type Carillon, connect } from '@carillon/client'
import { CarillonError, codeOf } from '@carillon/runtime'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import { Loyalty } from './loyalty.ts'
import { type ScriptedCluster, startScriptedCluster, stillWaiting } from './scripted-cluster.ts'

let cluster: ScriptedCluster
let carillon: Carillon
beforeAll(async () => {
  cluster = await startScriptedCluster()
  await cluster.serve()
  carillon = await connect({ servers: cluster.server.url })
})
afterAll(async () => {
  await carillon.close()
  await cluster.stop()
})
beforeEach(() => {
  cluster.requests.length = 0
  cluster.asked.length = 0
  for (const key of Object.keys(cluster.script)) delete cluster.script[key as keyof typeof cluster.script]
})

describe('reads from any node', () => {
  it('are answered by a node that is not the owner, as of what the handle has sent or later', async () => {
    const leave = await cluster.serveAny()
    cluster.script.onAny = () => ({ points: 7 })
    const handle = carillon.workflow(Loyalty, 'any')
    const { seq } = await handle.signal('close')
    expect(await handle.query('status', undefined, { from: 'any' })).toEqual({ points: 7 })
    expect(cluster.asked).toEqual([
      { op: 'query', key: 'loyalty.any', name: 'status', minSeq: seq, waitMs: expect.any(Number) },
    ])
    expect(cluster.requests).toHaveLength(1)
    await leave()
  })

  it.each([
    ['nobody has a copy', undefined],
    ['it is behind', stillWaiting],
    [
      'it stops',
      () => {
        throw new CarillonError('CLOSING', 'this node stops')
      },
    ],
    [
      'it runs another build',
      () => {
        throw new CarillonError('UNKNOWN_NAME', 'loyalty declares no query status')
      },
    ],
    ['it hangs', () => new Promise(() => undefined)],
  ])('are answered by the owner when %s', async (why, onAny) => {
    const leave = onAny === undefined ? undefined : await cluster.serveAny()
    if (onAny !== undefined) cluster.script.onAny = onAny
    cluster.script.onRpc = () => ({ points: 8 })
    const beganMs = performance.now()
    const reader = await connect({ servers: cluster.server.url })
    expect(await reader.workflow(Loyalty, why).query('status', undefined, { from: 'any' })).toEqual({ points: 8 })
    await reader.close()
    expect(performance.now() - beganMs).toBeLessThan(2000)
    await leave?.()
  })

  it('are for the owner alone for a while when one hung, so that not every third read waits for it', async () => {
    const leave = await cluster.serveAny()
    cluster.script.onAny = () => new Promise(() => undefined)
    cluster.script.onRpc = () => ({ points: 9 })
    const reader = await connect({ servers: cluster.server.url, readsFrom: 'any' })
    const handle = reader.workflow(Loyalty, 'rests')
    await handle.query('status')
    const beganMs = performance.now()
    for (let i = 0; i < 20; i++) await handle.query('status')
    expect(performance.now() - beganMs).toBeLessThan(400)
    expect(cluster.asked).toHaveLength(1)
    await reader.close()
    await leave()
  })

  it('are what a client does that was told so, lists and counts as well', async () => {
    const leave = await cluster.serveAny()
    cluster.script.onAny = ({ op }) => (op === 'count' ? { groups: [], visited: 0 } : { rows: [], visited: 0 })
    const reader = await connect({ servers: cluster.server.url, readsFrom: 'any' })
    await reader.listPage()
    await reader.count()
    await reader.workflow(Loyalty, 'told').describe()
    expect(new Set(cluster.asked.map(({ op }) => op))).toEqual(new Set(['list', 'count', 'describe']))
    expect(cluster.requests).toEqual(cluster.asked)
    expect(await connect({ servers: cluster.server.url, readsFrom: 'node-1' as never }).catch(codeOf)).toBe(
      'CONFIG_INVALID',
    )
    await reader.listPage({ from: 'owner' })
    expect(cluster.requests.length).toBeGreaterThan(cluster.asked.length)
    await reader.close()
    await leave()
  })
})

describe('reads of one handle', () => {
  it('G7: never go back behind what one of them has shown, whichever node answers', async () => {
    const handle = carillon.workflow(Loyalty, 'seen')
    cluster.script.seq = 40
    cluster.script.onRpc = () => ({ points: 1 })
    await handle.query('status')
    cluster.script.onRpc = () => {
      throw new CarillonError('NOT_FOUND', 'it is forgotten')
    }
    cluster.script.seq = 50
    await expect(handle.query('status')).rejects.toMatchObject({ code: 'NOT_FOUND' })
    cluster.script.onRpc = () => ({ points: 2 })
    await handle.query('status')
    expect(cluster.requests.map((request) => ('seen' in request ? request.seen : undefined))).toEqual([
      undefined,
      40,
      50,
    ])
    expect(handle.lastSeq).toBe(50)
  })

  it('are asked a second time when the first one hangs, because its node may be gone', async () => {
    let asked = 0
    cluster.script.onRpc = () => (++asked === 1 ? new Promise(() => undefined) : { points: 3 })
    const beganMs = performance.now()
    expect(await carillon.workflow(Loyalty, 'hangs').query('status')).toEqual({ points: 3 })
    expect(performance.now() - beganMs).toBeLessThan(2000)
  })
})
