import { CarillonError, codeOf } from '@carillon/runtime'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import { type Carillon, connect } from '../src/index.ts'
import { Loyalty } from './loyalty.ts'
import { type ScriptedCluster, startScriptedCluster, stillWaiting, until } from './scripted-cluster.ts'

let cluster: ScriptedCluster
let carillon: Carillon

beforeAll(async () => {
  cluster = await startScriptedCluster()
})
afterAll(() => cluster.stop())
beforeEach(async () => {
  cluster.inputs.length = 0
  cluster.requests.length = 0
  delete cluster.script.onRpc
  delete cluster.script.onInput
  await cluster.serve()
  carillon = await connect({ servers: cluster.server.url })
})
afterEach(async () => {
  await carillon.close()
  await cluster.leave()
})

const codeFrom = (call: Promise<unknown>): Promise<unknown> => call.then(() => 'no error', codeOf)

describe('accepted inputs', () => {
  it('puts a signal on the subject of its instance, in msgpack, with its id', async () => {
    const accepted = await carillon
      .workflow(Loyalty, 'customer 42/ü')
      .signal('purchase', { orderId: 'o1', amount: 30 }, { id: 'o1' })
    await until('the input is seen', () => cluster.inputs.length === 1)
    expect(accepted).toEqual({ seq: expect.any(Number), id: 'o1', duplicate: false })
    expect(cluster.inputs[0]).toMatchObject({
      kind: 'signal',
      name: 'purchase',
      id: 'o1',
      encoding: 'msgpack',
      payload: { orderId: 'o1', amount: 30 },
      reply: undefined,
    })
    expect(cluster.inputs[0]?.subject).toMatch(/^carillon\.log\.\d\.loyalty\.customer=2042=2F=C3=BC\.signal\.purchase$/)
  })

  it('makes up a different id for each input that has none', async () => {
    const handle = carillon.workflow(Loyalty, 'ids')
    const all = await Promise.all(Array.from({ length: 20 }, () => handle.signal('close')))
    expect(new Set(all.map(({ id }) => id)).size).toBe(20)
  })

  it('stores the inputs of one handle in the order of the calls, across kinds', async () => {
    const handle = carillon.workflow(Loyalty, 'ordered')
    const all = await Promise.all([
      handle.start({ email: 'a@b' }),
      handle.signal('note', 1),
      handle.resume(),
      handle.signal('note', 2),
    ])
    expect(all.map(({ seq }) => seq)).toEqual(all.map(({ seq }) => seq).toSorted((a, b) => a - b))
    const entries = []
    for await (const entry of handle.history()) entries.push([entry.kind, entry.name, entry.payload])
    expect(entries).toEqual([
      ['start', '', { input: { email: 'a@b' }, ifRunning: 'fail' }],
      ['signal', 'note', 1],
      ['admin', 'resume', undefined],
      ['signal', 'note', 2],
    ])
  })

  it('sends start and signal as one input', async () => {
    const handle = carillon.workflow(Loyalty, 'both')
    await handle.signalWithStart({
      input: { email: 'a@b' },
      signal: { name: 'purchase', payload: { orderId: 'o', amount: 1 } },
    })
    await until('the input is seen', () => cluster.inputs.length === 1)
    expect(cluster.inputs[0]).toMatchObject({
      kind: 'start',
      payload: {
        input: { email: 'a@b' },
        ifRunning: 'use',
        signal: { name: 'purchase', payload: { orderId: 'o', amount: 1 } },
      },
    })
  })

  it('sends start and update as one input, with the rules of the start, and gives what the update returns', async () => {
    cluster.script.onInput = ({ reply }) => cluster.reply(reply, 7, { ok: true, value: { left: 7 } })
    const handle = carillon.workflow(Loyalty, 'both')
    const redeemed = await handle.updateWithStart(
      { input: { email: 'a@b' }, update: { name: 'redeem', input: { points: 3 } } },
      { ifClosed: 'fail', startDelay: '2 seconds', id: 'u' },
    )
    expect(redeemed).toEqual({ left: 7 })
    expect(cluster.inputs[0]).toMatchObject({
      kind: 'start',
      id: 'u',
      payload: {
        input: { email: 'a@b' },
        ifRunning: 'use',
        ifClosed: 'fail',
        delayMs: 2000,
        update: { name: 'redeem', input: { points: 3 } },
      },
    })
    expect(
      await codeFrom(
        handle.updateWithStart({ input: { email: 'a@b' }, update: { name: 'redeem', input: { points: 0.5 } } }),
      ),
    ).toBe('INVALID_PAYLOAD')
    expect(await codeFrom(handle.start({ email: 'a@b' }, { startDelay: -1 }))).toBe('INVALID_DURATION')
    expect(cluster.inputs).toHaveLength(1)
  })

  it('sends a request to cancel with its reason', async () => {
    await carillon.workflow(Loyalty, 'ended').cancel('changed my mind')
    await until('the input is seen', () => cluster.inputs.length === 1)
    expect(cluster.inputs[0]).toMatchObject({ kind: 'cancel', payload: { reason: 'changed my mind' } })
  })

  it('sends the command to terminate with its reason', async () => {
    await carillon.workflow(Loyalty, 'ended').terminate('no longer needed')
    await until('the input is seen', () => cluster.inputs.length === 1)
    expect(cluster.inputs[0]).toMatchObject({
      kind: 'admin',
      name: 'terminate',
      payload: { reason: 'no longer needed' },
    })
  })

  it('hands trace context on, and refuses what is none', async () => {
    const handle = carillon.workflow(Loyalty, 'traced')
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    await handle.signal('close', undefined, { traceparent })
    await until('the input is seen', () => cluster.inputs.length === 1)
    expect(cluster.inputs[0]?.traceparent).toBe(traceparent)
    expect(await codeFrom(handle.signal('close', undefined, { traceparent: 'x\r\nNats-Rollup: all' }))).toBe(
      'INVALID_ID',
    )
  })

  it('sends nothing that cannot be valid', async () => {
    const handle = carillon.workflow(Loyalty, 'checked')
    const circular: Record<string, unknown> = {}
    circular['self'] = circular
    const loose = carillon.workflow('loyalty', 'checked')
    expect(await codeFrom(handle.signal('purchase', { orderId: 'o', amount: -1 }))).toBe('INVALID_PAYLOAD')
    expect(await codeFrom(handle.update('redeem', { points: 0.5 }))).toBe('INVALID_PAYLOAD')
    expect(await codeFrom(handle.signal('note', circular))).toBe('INVALID_PAYLOAD')
    expect(await codeFrom(handle.signal('note', () => 1))).toBe('INVALID_PAYLOAD')
    expect(await codeFrom(handle.signal('note', 'x'.repeat(600_000)))).toBe('PAYLOAD_TOO_LARGE')
    expect(await codeFrom(handle.query('orders', { limit: 1, extra: 'x'.repeat(600_000) } as { limit: number }))).toBe(
      'PAYLOAD_TOO_LARGE',
    )
    expect(await codeFrom(loose.signal('no\r\nsuch', 1))).toBe('INVALID_ID')
    expect(await codeFrom((handle as unknown as typeof loose).signal('toString', 1))).toBe('UNKNOWN_NAME')
    for (const id of ['', ' padded ', 'a\r\nb', 'x'.repeat(201), '\ud800'])
      expect(await codeFrom(handle.signal('close', undefined, { id }))).toBe('INVALID_ID')
    for (const id of ['', 'a\nb', 'e\u0301', 'x'.repeat(201)])
      expect(() => carillon.workflow(Loyalty, id)).toThrow(CarillonError)
    for (const id of ['a.b', '*', '>', '..', '__proto__']) expect(carillon.workflow(Loyalty, id).id).toBe(id)
    await cluster.nc.flush()
    expect(cluster.inputs).toEqual([])
  })
})

describe('outcomes', () => {
  it('gives what the handler of an update returned', async () => {
    cluster.script.onInput = ({ reply }) => cluster.reply(reply, 7, { ok: true, value: { left: 3 } })
    expect(await carillon.workflow(Loyalty, 'u').update('redeem', { points: 2 })).toEqual({ left: 3 })
    expect(cluster.requests).toEqual([])
  })

  it('tells of an update that it is accepted, and asks for its outcome when that is wanted', async () => {
    const outcomes = [
      { ok: true, value: { left: 3 } },
      { ok: false, error: { code: 'UPDATE_REJECTED', message: 'not enough points' } },
    ]
    cluster.script.onRpc = () => outcomes.shift()
    const started = await carillon.workflow(Loyalty, 'u').startUpdate('redeem', { points: 2 }, { id: 'u-1' })
    expect(started).toMatchObject({ id: 'u-1', seq: expect.any(Number) as number })
    await until('the input is seen', () => cluster.inputs.length === 1)
    expect(cluster.inputs.map(({ kind, reply }) => [kind, reply])).toEqual([['update', undefined]])
    expect(await started.result()).toEqual({ left: 3 })
    await expect(started.result()).rejects.toMatchObject({ code: 'UPDATE_REJECTED' })
    expect(cluster.requests).toMatchObject([
      { op: 'outcome', id: 'u-1', seq: started.seq },
      { op: 'outcome', id: 'u-1', seq: started.seq },
    ])
  })

  it('rejects with the error of the handler, and its code', async () => {
    const error = { code: 'UPDATE_REJECTED', message: 'not enough points', details: { have: 1 } }
    cluster.script.onInput = ({ reply }) => cluster.reply(reply, 7, { ok: false, error })
    await expect(carillon.workflow(Loyalty, 'u').update('redeem', { points: 2 })).rejects.toMatchObject(error)
    await expect(carillon.workflow(Loyalty, 'u').signal('close', undefined, { wait: 'applied' })).rejects.toMatchObject(
      error,
    )
  })

  it('tells a waiting sender that its input was a duplicate', async () => {
    cluster.script.onInput = ({ reply }) => cluster.reply(reply, 7, { ok: true }, true)
    expect(await carillon.workflow(Loyalty, 'u').signal('close', undefined, { wait: 'applied', id: 'once' })).toEqual({
      seq: 7,
      id: 'once',
      duplicate: true,
    })
  })

  it('keeps the outcomes of concurrent senders apart', async () => {
    cluster.script.onInput = ({ reply, payload }) => {
      const { points } = payload as { points: number }
      setTimeout(() => cluster.reply(reply, points, { ok: true, value: { left: points } }), points % 7)
    }
    const handle = carillon.workflow(Loyalty, 'many')
    const all = await Promise.all(
      Array.from({ length: 200 }, (_, points) => handle.update('redeem', { points: points + 1 })),
    )
    expect(all).toEqual(Array.from({ length: 200 }, (_, points) => ({ left: points + 1 })))
  })

  it('asks the owner for the outcome when no reply comes, until it knows', async () => {
    let asked = 0
    cluster.script.onRpc = (request) => {
      asked += 1
      if (request.op !== 'outcome' || asked < 3) return stillWaiting()
      return { ok: true, value: { left: 9 } }
    }
    expect(await carillon.workflow(Loyalty, 'lost').update('redeem', { points: 1 }, { id: 'r1' })).toEqual({ left: 9 })
    expect(cluster.requests.at(-1)).toMatchObject({
      op: 'outcome',
      key: 'loyalty.lost',
      id: 'r1',
      seq: expect.any(Number),
    })
  })

  it('takes the outcome from a node that comes back', async () => {
    await cluster.leave()
    const update = carillon.workflow(Loyalty, 'away').update('redeem', { points: 1 })
    await until('the input is seen', () => cluster.inputs.length === 1)
    cluster.script.onRpc = () => ({ ok: true, value: { left: 4 } })
    await cluster.serve()
    expect(await update).toEqual({ left: 4 })
  })

  it('takes a late reply while it asks', async () => {
    cluster.script.onRpc = () => {
      cluster.reply(cluster.inputs[0]?.reply, 5, { ok: true, value: { left: 1 } })
      return stillWaiting()
    }
    expect(await carillon.workflow(Loyalty, 'late').update('redeem', { points: 1 })).toEqual({ left: 1 })
  })

  it('says that an accepted input will be applied when time is up', async () => {
    cluster.script.onRpc = stillWaiting
    const update = carillon.workflow(Loyalty, 'slow').update('redeem', { points: 1 }, { timeoutMs: 300, id: 'r2' })
    await expect(update).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringMatching(/accepted at seq \d+ .* will be applied.*"r2"/),
      details: { id: 'r2' },
    })
  })

  it('says NO_NODE when time is up and nobody serves the partition', async () => {
    await cluster.leave()
    expect(
      await codeFrom(carillon.workflow(Loyalty, 'slow').update('redeem', { points: 1 }, { timeoutMs: 1300 })),
    ).toBe('NO_NODE')
  })

  it('ignores what is no reply', async () => {
    cluster.script.onInput = ({ reply }) => {
      if (reply === undefined) return
      for (const bytes of ['', 'x', '{}', '\u00c1\u00c1']) cluster.nc.publish(reply, bytes)
      cluster.reply(reply, 3, { ok: true, value: { left: 1 } })
    }
    expect(await carillon.workflow(Loyalty, 'noise').update('redeem', { points: 1 })).toEqual({ left: 1 })
  })
})

describe('reads', () => {
  it('ask for at least what the handle has sent', async () => {
    cluster.script.onRpc = () => ({ points: 1 })
    const handle = carillon.workflow(Loyalty, 'own')
    const { seq } = await handle.signal('close')
    expect(await handle.query('status')).toEqual({ points: 1 })
    await handle.query('status', undefined, { minSeq: seq + 5 })
    await handle.describe()
    expect(cluster.requests).toEqual([
      { op: 'query', key: 'loyalty.own', name: 'status', minSeq: seq, waitMs: 2000 },
      { op: 'query', key: 'loyalty.own', name: 'status', minSeq: seq + 5, waitMs: 2000 },
      { op: 'describe', key: 'loyalty.own', minSeq: seq, waitMs: 2000 },
    ])
  })

  it('that are linearizable ask for at least what anybody has stored before the call', async () => {
    cluster.script.onRpc = () => ({ points: 1 })
    const handle = carillon.workflow(Loyalty, 'foreign')
    const read = { consistency: 'linearizable' } as const
    await handle.query('status', undefined, read)
    const { seq } = await carillon.workflow(Loyalty, 'foreign').signal('close')
    await carillon.workflow(Loyalty, 'other').signal('close')
    await handle.query('status', undefined, { ...read, minSeq: 1 })
    await handle.describe()
    expect(cluster.requests).toEqual([
      { op: 'query', key: 'loyalty.foreign', name: 'status', minSeq: 0, waitMs: 2000 },
      { op: 'query', key: 'loyalty.foreign', name: 'status', minSeq: seq, waitMs: 2000 },
      { op: 'describe', key: 'loyalty.foreign', minSeq: seq, waitMs: 2000 },
    ])
  })

  it('go on until the new owner of the partition answers', async () => {
    let asked = 0
    cluster.script.onRpc = () => {
      asked += 1
      if (asked < 3) throw new CarillonError('NOT_OWNER', 'the partition has moved')
      return { points: 2 }
    }
    expect(await carillon.workflow(Loyalty, 'moved').query('status')).toEqual({ points: 2 })
  })

  it('give up at once on errors that asking again does not change', async () => {
    cluster.script.onRpc = () => {
      throw new CarillonError('NOT_FOUND', 'no such instance')
    }
    expect(await codeFrom(carillon.workflow(Loyalty, 'none').query('status'))).toBe('NOT_FOUND')
    expect(cluster.requests.length).toBe(1)
  })

  it('end with NO_NODE or TIMEOUT when time is up', async () => {
    const handle = carillon.workflow(Loyalty, 'quiet')
    cluster.script.onRpc = () => new Promise(() => undefined)
    expect(await codeFrom(handle.query('status', undefined, { timeoutMs: 200 }))).toBe('TIMEOUT')
    await cluster.leave()
    expect(await codeFrom(handle.query('status', undefined, { timeoutMs: 200 }))).toBe('NO_NODE')
    expect(await codeFrom(handle.query('status', undefined, { timeoutMs: -1 }))).toBe('CONFIG_INVALID')
  })

  it('wait for the result, and reject with the failure of the workflow', async () => {
    let asked = 0
    cluster.script.onRpc = (request) => {
      asked += 1
      if (asked === 1) return stillWaiting()
      if (request.op === 'result' && request.key === 'loyalty.good') return { ok: true, value: { points: 8 } }
      return { ok: false, error: { code: 'WORKFLOW_FAILED', message: 'bankrupt' } }
    }
    expect(await carillon.workflow(Loyalty, 'good').result()).toEqual({ points: 8 })
    await expect(carillon.workflow(Loyalty, 'bad').result()).rejects.toMatchObject({
      code: 'WORKFLOW_FAILED',
      message: 'bankrupt',
    })
  })
})

describe('history', () => {
  it('gives the inputs of one instance from a sequence on, at most so many, over several requests', async () => {
    const handle = carillon.workflow(Loyalty, 'long')
    const other = carillon.workflow(Loyalty, 'longer')
    const sent = await Promise.all(
      Array.from({ length: 600 }, (_, i) => (i % 2 === 0 ? handle : other).signal('note', i)),
    )
    // The journal holds what was sent: twice where an acknowledgement was late.
    const all = new Map<string | undefined, unknown>()
    for await (const { id, payload } of handle.history()) all.set(id, payload)
    expect([...all.values()]).toEqual(Array.from({ length: 300 }, (_, i) => i * 2))
    const some = []
    for await (const entry of handle.history({ from: sent[10]!.seq, limit: 3 })) some.push(entry)
    expect(some.map(({ payload }) => payload)).toEqual([10, 12, 14])
    expect(some[0]).toMatchObject({
      seq: sent[10]!.seq,
      id: sent[10]!.id,
      kind: 'signal',
      name: 'note',
      time: expect.any(Date),
    })
  })

  it('shows inputs of plain NATS clients, and those that cannot be read', async () => {
    const handle = carillon.workflow(Loyalty, 'plain')
    const { seq } = await handle.signal('close')
    await until('the input is seen', () => cluster.inputs.length === 1)
    const subject = cluster.inputs[0]!.subject
    await cluster.nc.request(subject, '{"a":1}')
    await cluster.nc.request(subject, '{')
    const entries = []
    for await (const entry of handle.history({ from: seq + 1 })) entries.push(entry)
    expect(entries.map(({ id, payload }) => [id, payload])).toEqual([
      [undefined, { a: 1 }],
      [undefined, undefined],
    ])
    expect(entries[1]?.unreadable).toMatch(/cannot be read/)
  })

  it('is empty for an instance that never was', async () => {
    for await (const entry of carillon.workflow(Loyalty, 'never').history()) expect.fail(String(entry.seq))
  })
})
