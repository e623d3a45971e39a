import { type ClientCall, type ClientInterceptor } from '@carillon/runtime'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import { type Carillon, connect } from '../src/index.ts'
import { Loyalty } from './loyalty.ts'
import { type ScriptedCluster, startScriptedCluster, until } from './scripted-cluster.ts'

const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

describe('interceptors of a client', () => {
  let cluster: ScriptedCluster
  let carillon: Carillon
  let calls: ClientCall[]
  let change: (call: ClientCall) => ClientCall
  let order: string[]

  const named =
    (label: string): ClientInterceptor =>
    async (call, next) => {
      order.push(`${label} ${call.kind}`)
      const result = await next(call)
      order.push(`${label} done`)
      return result
    }
  const changing: ClientInterceptor = (call, next) => {
    calls.push(call)
    return next(change(call))
  }

  beforeAll(async () => {
    cluster = await startScriptedCluster()
    await cluster.serve()
    carillon = await connect({ servers: cluster.server.url, interceptors: [named('outer'), named('inner'), changing] })
  })
  afterAll(async () => {
    await carillon.close()
    await cluster.stop()
  })
  beforeEach(() => {
    calls = []
    order = []
    change = (call) => call
    cluster.inputs.length = 0
    cluster.requests.length = 0
  })

  it('stand around each call, the first outermost, and see what comes of it', async () => {
    await carillon.workflow(Loyalty, 'a').signal('purchase', { orderId: 'o', amount: 1 }, { id: 'i' })
    expect(order).toEqual(['outer signal', 'inner signal', 'inner done', 'outer done'])
    expect(calls).toMatchObject([
      {
        kind: 'signal',
        type: 'loyalty',
        id: 'a',
        name: 'purchase',
        payload: { orderId: 'o', amount: 1 },
        inputId: 'i',
      },
    ])
  })

  it('may change payload, input id and trace context, but not whom it is for', async () => {
    change = (call) => ({
      ...call,
      id: 'other',
      payload: { orderId: 'x', amount: 2 },
      inputId: 'mine',
      traceparent: TRACE,
    })
    const { id } = await carillon.workflow(Loyalty, 'a').signal('purchase', { orderId: 'o', amount: 1 })
    expect(id).toBe('mine')
    await until('the input', () => cluster.inputs.some(({ id }) => id === 'mine'))
    expect(cluster.inputs.filter(({ id }) => id === 'mine')).toMatchObject([
      {
        id: 'mine',
        payload: { orderId: 'x', amount: 2 },
        traceparent: TRACE,
        subject: expect.stringContaining('.loyalty.a.'),
      },
    ])
  })

  it('stand around starts, updates, commands and reads', async () => {
    const handle = carillon.workflow(Loyalty, 'b')
    cluster.script.onInput = ({ reply }) => cluster.reply(reply, 1, { ok: true, value: { left: 3 } })
    cluster.script.onRpc = ({ op }) => (op === 'result' ? { ok: true, value: 'done' } : op)
    change = (call) => (call.kind === 'query' ? { ...call, payload: 'changed' } : call)
    await handle.start({ email: 'a@b' })
    expect(await handle.update('redeem', { points: 1 })).toEqual({ left: 3 })
    await handle.cancel('enough')
    await handle.resume()
    expect(await handle.query('status')).toBe('query')
    await handle.describe()
    expect(await handle.result()).toBe('done')
    expect(calls.map(({ kind, name }) => `${kind} ${name}`.trim())).toEqual([
      'start',
      'update redeem',
      'cancel',
      'admin resume',
      'query status',
      'describe',
      'result',
    ])
    expect(cluster.requests.find(({ op }) => op === 'query')).toMatchObject({ input: 'changed' })
  })

  it('stand around the signals of signalMany, in order', async () => {
    const items = [1, 2, 3].map((amount) => ({
      workflow: Loyalty,
      id: 'many',
      name: 'purchase' as const,
      payload: { orderId: `o-${amount}`, amount },
    }))
    expect(await carillon.signalMany(items)).toMatchObject({ accepted: 3 })
    expect(calls).toHaveLength(3)
    await until('the inputs', () => cluster.inputs.filter(({ subject }) => subject.includes('.many.')).length === 3)
    const arrived = cluster.inputs.filter(({ subject }) => subject.includes('.many.'))
    expect(arrived.map(({ payload }) => payload)).toEqual(items.map(({ payload }) => payload))
  })

  it('refuse a call by throwing: nothing is sent', async () => {
    change = () => {
      throw new Error('not today')
    }
    await expect(carillon.workflow(Loyalty, 'c').signal('close')).rejects.toThrow('not today')
    expect(cluster.inputs.filter(({ subject }) => subject.includes('.c.'))).toEqual([])
  })
})
