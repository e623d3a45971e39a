import { codeOf } from '@carillon/runtime'
import { connect as connectNats } from '@nats-io/transport-node'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { startTestServer } from '../../node/src/testing/nats-process.ts'
import { connect, type ConnectOptions } from '../src/index.ts'
import { Loyalty } from './loyalty.ts'
import { clusterRecord, putRecord, type ScriptedCluster, startScriptedCluster, until } from './scripted-cluster.ts'

let cluster: ScriptedCluster

beforeAll(async () => {
  cluster = await startScriptedCluster()
})
afterAll(() => cluster.stop())

/** The error with which connecting fails. */
async function failure(options: ConnectOptions): Promise<Error & { readonly code?: unknown }> {
  const client = await connect({ timeoutMs: 400, ...options }).catch((error: unknown) => error as Error)
  if (client instanceof Error) return client
  await client.close()
  throw new Error('it connected')
}

describe('connect', () => {
  it('reads what the nodes have agreed on', async () => {
    await using carillon = await connect({ servers: ['nats://127.0.0.1:1', cluster.server.url] })
    expect(carillon.cluster).toMatchObject({ clusterId: 'c-1', partitions: 8, door: 'relay' })
  })

  it('waits for the first node to create the cluster', async () => {
    const connecting = connect({ servers: cluster.server.url, namespace: 'later' })
    await putRecord(cluster.nc, 'later', clusterRecord({ namespace: 'later' }))
    await using carillon = await connecting
    expect(carillon.cluster.namespace).toBe('later')
  })

  it('says which namespace holds no cluster', async () => {
    const error = await failure({ servers: cluster.server.url, namespace: 'elsewhere' })
    expect(error).toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(/no Carillon cluster in namespace elsewhere: start a node first/),
    })
    expect(await failure({ servers: cluster.server.url, namespace: 'no.t' })).toMatchObject({ code: 'INVALID_ID' })
  })

  it.each([
    ['of a later format', clusterRecord({ namespace: 'odd', formatVersion: 2 }), /has format 2/],
    ['of another namespace', clusterRecord(), /names the namespace "carillon"/],
    ['without partitions', clusterRecord({ namespace: 'odd', partitions: 0 }), /has 0 partitions/],
    ['with an unknown door', clusterRecord({ namespace: 'odd', door: 'trap' }), /has the door "trap"/],
    ['that is no JSON', '{', /not a JSON object/],
  ])('refuses a record %s', async (_what, record, message) => {
    await putRecord(cluster.nc, 'odd', record)
    expect(await failure({ servers: cluster.server.url, namespace: 'odd' })).toMatchObject({
      code: 'CLUSTER_MISMATCH',
      message: expect.stringMatching(message),
    })
  })

  it('says that no server answers, without the credentials of the URL', async () => {
    for (const servers of ['nats://bob:s3cret@127.0.0.1:1', 'bob:s3cret@127.0.0.1:1', ['nats://s3cret@127.0.0.1:1']]) {
      const error = await failure({ servers })
      expect(error.code).toBe('SERVER_UNREACHABLE')
      expect(error.message).toContain('127.0.0.1:1')
      expect(`${error.message} ${error.stack} ${JSON.stringify(error)}`).not.toMatch(/s3cret|bob/)
    }
  })

  it('gives up on a server that says nothing', async () => {
    const sockets: Socket[] = []
    const mute = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1')
    await once(mute, 'listening')
    const { port } = mute.address() as AddressInfo
    expect(await failure({ servers: `127.0.0.1:${port}` })).toMatchObject({ code: 'SERVER_UNREACHABLE' })
    // The NATS client leaves a socket open on which it never got a greeting.
    for (const socket of sockets) socket.destroy()
    mute.close()
  })

  it('refuses options that cannot work, at once and without their secrets', async () => {
    for (const servers of [
      '',
      [],
      'nats://bob:s3cret@',
      'nats://bob:s3cret@host:99999',
      'nats://bob:p/s3cret@host',
      'nats://bob:%s3cret%@host',
      ['nats://a:s3cret@h', 'nats://b:s3cret@h'],
    ]) {
      const error = await failure({ servers })
      expect(error.code).toBe('CONFIG_INVALID')
      expect(error.message).not.toMatch(/s3cret|bob/)
    }
    expect(await failure({ servers: cluster.server.url, timeoutMs: 0 })).toMatchObject({ code: 'CONFIG_INVALID' })
    expect(await failure({ servers: cluster.server.url, nats: { inboxPrefix: 'replies' } })).toMatchObject({
      code: 'CONFIG_INVALID',
    })
  })

  it('lets outcomes come to an inbox under the prefix that this user may subscribe to', async () => {
    await using carillon = await connect({ servers: cluster.server.url, nats: { inboxPrefix: '_INBOX.shop-7' } })
    cluster.script.onInput = ({ reply }) =>
      cluster.reply(reply, 1, { ok: true, value: reply?.replace(/\.[^.]+\.[^.]+$/, '') })
    expect(await carillon.workflow('loyalty', 'x').update('where', undefined)).toBe('_INBOX.shop-7')
    delete cluster.script.onInput
  })

  it('gives up when aborted', async () => {
    const reason = new Error('not any more')
    for (const options of [
      { servers: 'nats://127.0.0.1:1' },
      { servers: cluster.server.url, namespace: 'elsewhere' },
    ]) {
      expect(await failure({ ...options, timeoutMs: 60_000, signal: AbortSignal.abort(reason) })).toBe(reason)
    }
  })
})

describe('a server with users', () => {
  it('takes the credentials of the URL, and of the options', async () => {
    const server = await startTestServer({ config: 'authorization { user: "bob", password: "s3:cr@et" }' })
    const nc = await connectNats({ servers: server.url, user: 'bob', pass: 's3:cr@et' })
    await putRecord(nc, 'carillon', clusterRecord())
    await nc.close()
    const address = server.url.replace('nats://', '')
    await using _byUrl = await connect({ servers: `nats://bob:s3%3Acr%40et@${address}` })
    await using _byOptions = await connect({ servers: address, nats: { user: 'bob', pass: 's3:cr@et' } })
    const error = await failure({ servers: `nats://bob:wr0ng@${address}` })
    expect(error.code).toBe('SERVER_REFUSED')
    expect(error.message).not.toMatch(/wr0ng|bob/)
    await server.stop()
  })
})

describe('a server without JetStream', () => {
  it('is told apart from a missing cluster', async () => {
    const server = await startTestServer({ config: 'accounts { PLAIN: { users: [{ user: "p", password: "p" }] } }' })
    const error = await failure({ servers: server.url.replace('nats://', 'nats://p:p@') })
    expect(error).toMatchObject({
      code: 'JETSTREAM_UNAVAILABLE',
      message: expect.stringMatching(/enable it for this account/),
    })
    await server.stop()
  })
})

describe('close', () => {
  it('waits for what was sent, ends what waits for an outcome, and takes nothing more', async () => {
    const carillon = await connect({ servers: cluster.server.url })
    const handle = carillon.workflow(Loyalty, 'closing')
    const update = handle.update('redeem', { points: 1 }).then(() => 'no error', codeOf)
    const result = handle.result().then(() => 'no error', codeOf)
    const signals = Array.from({ length: 50 }, () => handle.signal('close'))
    await carillon.close()
    await carillon.close()
    expect((await Promise.all(signals)).every(({ seq }) => seq > 0)).toBe(true)
    expect([await update, await result]).toEqual(['CLOSING', 'CLOSING'])
    for (const call of [
      handle.signal('close'),
      handle.query('status'),
      handle.update('reset'),
      handle.history().next(),
      carillon.listPage(),
      carillon.signalMany([]),
    ]) {
      expect(await call.then(() => 'no error', codeOf)).toBe('CLOSING')
    }
  })

  it('leaves no socket behind', async () => {
    const open = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length
    await until('only the socket of the scripted cluster is open', () => open() === 1)
    const carillon = await connect({ servers: cluster.server.url })
    await carillon.workflow(Loyalty, 'c').signal('close')
    expect(open()).toBe(2)
    await carillon.close()
    await until('its socket is gone', () => open() === 1)
  })
})

describe('a lost connection', () => {
  it(
    'comes back by itself: signals, updates and reads that were under way go through',
    { timeout: 60_000 },
    async () => {
      const own = await startScriptedCluster()
      await own.serve()
      own.script.onRpc = (request) => (request.op === 'outcome' ? { ok: true, value: { left: 1 } } : { points: 1 })
      const carillon = await connect({ servers: own.server.url })
      const handle = carillon.workflow(Loyalty, 'steady')
      await handle.signal('note', 'before')
      await own.server.kill9()
      const [signal, update, query] = [
        handle.signal('note', 'during', { id: 'd1' }),
        handle.update('redeem', { points: 1 }),
        handle.query('status'),
      ]
      await own.server.restart()
      expect(await signal).toMatchObject({ id: 'd1' })
      expect(await update).toEqual({ left: 1 })
      expect(await query).toEqual({ points: 1 })
      const notes = []
      for await (const { name, payload } of handle.history()) if (name === 'note') notes.push(payload)
      expect(notes).toEqual(['before', 'during'])
      await carillon.close()
      await own.stop()
    },
  )
})
