/** What the production configuration refuses: attempts of users who have a key, each in the name of one of them. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Carillon, connect } from '@carillon/client'
import { type CarillonNode, openNode } from '@carillon/node'
import { silentLogger } from '@carillon/runtime/ports'
import { Subjects } from '@carillon/runtime/protocol'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect as connectNats, errors, type NatsConnection, PermissionViolationError } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { openCluster } from '../src/cluster.ts'
import { startTestServer } from '../src/testing/nats-process.ts'
import { Order, order } from './order.ts'
import { SecuredServer, type UserName } from './secured-server.ts'

const ANSWER_MS = 500

describe('the reply subject of a publish', () => {
  /** What stands in the journal after somebody has signalled by the door, and named subjects for the acknowledgements to go to. */
  async function forge(nc: NatsConnection, replies: readonly string[]): Promise<void> {
    for (const reply of replies) nc.publish('carillon.signal.order.victim.add', '1', { reply })
    // Whatever the server made of the acknowledgements stands before what is acknowledged now.
    for (let i = 0; i < 3; i++) await nc.request('carillon.signal.order.other.add', '1')
  }

  const FORGED = ['start', 'admin.terminate', 'activity.render', 'update.take'].map(
    (kind) =>
      `carillon.log.${new Subjects('carillon', 64).partitionOf('order' as never, 'victim' as never)}.order.victim.${kind}`,
  )

  it('is an input of the journal, where those who signal are in the account of the streams', async () => {
    const users = `{ user: node, password: n }, { user: device, password: d, permissions { publish: ["carillon.signal.>"], subscribe: ["_INBOX.>"] } }`
    const server = await startTestServer({ config: `authorization { users: [ ${users} ] }` })
    try {
      const node = await connectNats({ servers: server.url, user: 'node', pass: 'n' })
      await openCluster(node, { namespace: 'carillon' })
      const device = await connectNats({ servers: server.url, user: 'device', pass: 'd' })
      await forge(device, FORGED)
      const forged = (await subjectsIn(node)).filter((subject) => !subject.includes('.signal.'))
      expect(forged.toSorted()).toEqual(FORGED.toSorted())
      await device.close()
      await node.close()
    } finally {
      await server.stop()
    }
  })

  it.each(['meters', 'shop', 'on-call'] as const)(
    'of %s is none with the accounts of docker/production',
    async (name) => {
      const server = await SecuredServer.start()
      try {
        const node = await server.raw('node-1')
        await openCluster(node, { namespace: 'carillon' })
        const user = await server.raw(name)
        const api = [
          '$JS.API.STREAM.PURGE.carillon-log',
          'carillon.api.STREAM.PURGE.carillon-log',
          '$KV.carillon-cluster.owner.0',
        ]
        // Whom it may not send, it does not get sent for it. A producer may send starts and updates itself.
        const forbidden = name === 'meters' ? FORGED : FORGED.filter((subject) => /admin|activity/.test(subject))
        const tried = name === 'on-call' ? forbidden.filter((subject) => subject.includes('activity')) : forbidden
        await forge(user, [...tried, ...api, 'carillon.node.beat', 'carillon.rpc.0'])
        expect((await subjectsIn(node)).filter((subject) => !subject.includes('.signal.'))).toEqual([])
        const { state } = await (
          await jetstreamManager(node)
        ).streams.info('KV_carillon-cluster', { subjects_filter: '>' })
        expect(Object.keys(state.subjects ?? {})).toEqual(['$KV.carillon-cluster.cluster'])
        await user.close()
        await node.close()
      } finally {
        await server.stop()
      }
    },
  )

  async function subjectsIn(nc: NatsConnection): Promise<string[]> {
    const { state } = await (await jetstreamManager(nc)).streams.info('carillon-log', { subjects_filter: '>' })
    return Object.keys(state.subjects ?? {})
  }
})

describe('with a key of docker/production', () => {
  let server: SecuredServer
  let dir: string
  let node: CarillonNode
  let shop: Carillon
  const connections = new Map<UserName, NatsConnection>()

  beforeAll(async () => {
    server = await SecuredServer.start()
    dir = await mkdtemp(join(tmpdir(), 'carillon-attacks-'))
    node = await openNode({
      ...server.as('node-1'),
      dataDir: join(dir, 'node-1'),
      workflows: { implementations: [order], activities: [] },
      logger: silentLogger,
    })
    shop = await connect(server.as('shop'))
    await shop.workflow(Order, 'a').start({ total: 1 })
    for (const name of ['node-1', 'shop', 'meters', 'pdf', 'on-call'] as const)
      connections.set(name, await server.raw(name))
  }, 60_000)

  afterAll(async () => {
    await Promise.all([...connections.values()].map((nc) => nc.close()))
    await shop?.close()
    await node?.close()
    await server?.stop()
    await rm(dir, { recursive: true, force: true })
  })

  const as = (name: UserName): NatsConnection => {
    const nc = connections.get(name)
    if (nc === undefined) throw new Error(`${name} is not connected`)
    return nc
  }

  const everybodyElse = ['shop', 'meters', 'pdf', 'on-call'] as const

  it.each(everybodyElse)('%s cannot store what only nodes, or only others, may', async (name) => {
    const log = 'carillon.log.0.order.a'
    const mayNot = ['timer.x', 'child.x', 'answer.x', 'activity.other']
    if (name !== 'on-call') mayNot.push('admin.terminate', 'admin.resume')
    if (name !== 'on-call' && name !== 'shop') mayNot.push('start', 'signal.add', 'update.take', 'cancel')
    if (name !== 'pdf') mayNot.push('activity.render')
    for (const kind of mayNot) expect([kind, await verdictOf(as(name), `${log}.${kind}`)]).toEqual([kind, 'refused'])
    for (const subject of [
      'carillon.log.0.order.$type.patch.x',
      'carillon.dead.0.order.a',
      'carillon.snap.0.order.a',
      'carillon.task.pdf.order.render',
    ])
      expect([subject, await verdictOf(as(name), subject)]).toEqual([subject, 'refused'])
  })

  it.each(everybodyElse)('%s cannot purge, delete, change or make streams and consumers', async (name) => {
    for (const prefix of ['$JS.API', 'carillon.api'])
      for (const what of [
        'STREAM.PURGE.carillon-log',
        'STREAM.DELETE.carillon-log',
        'STREAM.UPDATE.carillon-log',
        'STREAM.CREATE.mine',
        'STREAM.MSG.DELETE.carillon-log',
        'STREAM.SNAPSHOT.carillon-log',
        'STREAM.LEADER.STEPDOWN.carillon-log',
        'CONSUMER.CREATE.carillon-log.mine',
        'CONSUMER.CREATE.carillon-task.mine.carillon.task.>',
        'CONSUMER.DELETE.carillon-task.pdf==order==render',
      ])
        expect([what, await verdictOf(as(name), `${prefix}.${what}`)]).toEqual([what, 'refused'])
  })

  it.each(['shop', 'meters', 'pdf'] as const)('%s cannot read the journal, nor what others are told', async (name) => {
    for (const prefix of ['$JS.API', 'carillon.api'])
      for (const what of [
        'STREAM.MSG.GET.carillon-log',
        'DIRECT.GET.carillon-log',
        'DIRECT.GET.carillon-log.carillon.log.0.order.a.start',
        'STREAM.INFO.carillon-log',
      ])
        expect([what, await verdictOf(as(name), `${prefix}.${what}`, '{"seq":1}')]).toEqual([what, 'refused'])
    for (const subject of [
      '>',
      'carillon.>',
      'carillon.log.>',
      'carillon.rpc.*',
      '_INBOX.>',
      '_INBOX.*.>',
      '_INBOX.on-call.>',
      '_INBOX.node-1.>',
      '_R_.>',
      '$KV.carillon-cluster.>',
    ])
      expect([subject, await subscriptionVerdict(as(name), subject)]).toEqual([subject, 'refused'])
  })

  it.each(everybodyElse)(
    '%s cannot pass for a node: no heartbeats, no ownership, no answers in its name',
    async (name) => {
      for (const subject of [
        'carillon.node.beat',
        'carillon.node.active',
        '$KV.carillon-cluster.owner.0',
        '$KV.carillon-cluster.active',
        '$KV.carillon-cluster.cluster',
      ])
        expect([subject, await verdictOf(as(name), subject, 'forged')]).toEqual([subject, 'refused'])
      for (const subject of ['carillon.rpc.*', 'carillon.rpc.any.*', 'carillon.node.ping.*', 'carillon.node.ask.*'])
        expect([subject, await subscriptionVerdict(as(name), subject)]).toEqual([subject, 'refused'])
      expect(await shop.workflow(Order, 'a').query('state')).toMatchObject({ total: 1 })
    },
  )

  it('a worker gets the calls of its own activities only', async () => {
    for (const what of [
      'CONSUMER.MSG.NEXT.carillon-task.gpu==media==render',
      'CONSUMER.INFO.carillon-task.gpu==media==render',
    ])
      expect([what, await verdictOf(as('pdf'), `carillon.api.${what}`)]).toEqual([what, 'refused'])
    expect(await verdictOf(as('pdf'), '$JS.ACK.carillon-task.gpu==media==render.1.1.1.1.0')).toBe('refused')
    expect(await subscriptionVerdict(as('pdf'), 'carillon.let-go.media')).toBe('refused')
  })

  it('a node cannot delete a stream, nor touch one that is not of its namespace', async () => {
    for (const what of [
      'STREAM.DELETE.carillon-log',
      'STREAM.MSG.DELETE.carillon-log',
      'STREAM.PURGE.carillon-dead',
      'STREAM.CREATE.other',
      'STREAM.INFO.other',
      'STREAM.SNAPSHOT.carillon-log',
    ])
      expect([what, await verdictOf(as('node-1'), `$JS.API.${what}`)]).toEqual([what, 'refused'])
    expect(await subscriptionVerdict(as('node-1'), '_INBOX.shop.>')).toBe('refused')
  })

  it('not even a maintainer takes a single input out of the journal, or the calls out of a queue', async () => {
    const backup = await server.raw('backup')
    const answer = await backup.request('$JS.API.STREAM.MSG.DELETE.carillon-log', '{"seq":1}', { timeout: 5000 })
    expect(answer.json()).toMatchObject({ error: { description: expect.stringContaining('delete not permitted') } })
    const purged = await backup.request('$JS.API.STREAM.PURGE.carillon-task', undefined, { timeout: 5000 })
    expect(purged.json()).toMatchObject({ error: { description: expect.stringContaining('purge not permitted') } })
    await backup.close()
  })

  it('a subscription to its own subject in another account hears nothing of the others', async () => {
    const heard: string[] = []
    as('meters').subscribe('_INBOX.meters.>', { callback: (_, { subject }) => void heard.push(subject) })
    await as('meters').flush()
    // A producer names the inbox of somebody else for its acknowledgement, and for its outcome.
    as('shop').publish('carillon.signal.order.a.add', '1', { reply: '_INBOX.meters.1' })
    await shop.workflow(Order, 'a').signal('add', 1, { wait: 'applied' })
    await as('meters').flush()
    expect(heard).toEqual([])
  })
})

type Verdict = 'refused' | 'answered' | 'unheard' | 'silent'

/** What becomes of a request: refused by the server, answered, heard by nobody in this account, or nothing. */
async function verdictOf(nc: NatsConnection, subject: string, body = '{}'): Promise<Verdict> {
  try {
    await nc.request(subject, body, { timeout: ANSWER_MS })
    return 'answered'
  } catch (error) {
    if (isViolation(error)) return 'refused'
    return error instanceof errors.RequestError && error.isNoResponders() ? 'unheard' : 'silent'
  }
}

async function subscriptionVerdict(nc: NatsConnection, subject: string): Promise<Verdict> {
  let verdict: Verdict = 'silent'
  const subscription = nc.subscribe(subject, {
    callback: (error) => {
      if (error !== null && isViolation(error)) verdict = 'refused'
    },
  })
  await nc.flush()
  if (!subscription.isClosed()) subscription.unsubscribe()
  return verdict
}

function isViolation(error: unknown): boolean {
  if (error instanceof PermissionViolationError) return true
  return error instanceof Error && error.cause instanceof PermissionViolationError
}
