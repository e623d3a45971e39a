/**
 * Three nats-servers with the production configuration lose leaders, stand still and start again, while a producer signals and two nodes apply: all go on by
 * themselves, nothing is lost, doubled or out of order, and no partition moves because a leader of JetStream is gone.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Carillon, connect } from '@carillon/client'
import { type CarillonNode, openNode } from '@carillon/node'
import { defineWorkflow, implement, type } from '@carillon/runtime'
import { silentLogger } from '@carillon/runtime/ports'
import { type Partition, PARTITIONS_DEFAULT, Subjects } from '@carillon/runtime/protocol'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect as connectNats } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'

import type { NatsCluster, NatsMember } from '../src/nats-cluster.ts'
import { placePartitions } from '../src/placement/index.ts'
import { startTestNatsCluster } from '../src/testing/nats-cluster.ts'
import { TestKeys } from './secured-server.ts'

const LOG = 'carillon-log'
const INSTANCES = 10
const JOURNAL_BYTES_MAX = 1024 ** 3
/** An election takes 4 to 9 s, and a connection to a server that stands still is noticed within 9 s. */
const GAP_MS_MAX = 10_000
const WAIT = { timeout: 40_000, interval: 50 }

const Count = defineWorkflow('count', {
  signals: { next: type<number>() },
  queries: { state: { output: type<{ next: number; wrong: number[] }>() } },
})
const count = implement(Count, {
  startOnSignal: true,
  state: () => ({ next: 0, wrong: [] as number[] }),
  on: {
    next(ctx, n) {
      if (n !== ctx.state.next) ctx.state.wrong.push(n)
      ctx.state.next = n + 1
    },
  },
  queries: { state: ({ next, wrong }) => ({ next, wrong: [...wrong] }) },
})

/** Signals all instances, each as fast as it is acknowledged, and remembers when. */
class Producer {
  readonly accepted = Array.from({ length: INSTANCES }, () => 0)
  readonly #carillon: Carillon
  readonly #stop = new AbortController()
  readonly #running: Promise<unknown>
  #lastMs = performance.now()
  #gapMs = 0

  constructor(carillon: Carillon) {
    this.#carillon = carillon
    this.#running = Promise.all(this.accepted.map((_, i) => this.#run(i)))
    // `stop` tells.
    this.#running.catch(() => undefined)
  }

  /** The longest time without an acknowledgement since the last call. */
  takeGapMs(): number {
    const gapMs = Math.max(this.#gapMs, performance.now() - this.#lastMs)
    this.#gapMs = 0
    return gapMs
  }

  get total(): number {
    return this.accepted.reduce((sum, n) => sum + n, 0)
  }

  /** Rejects with what a signal failed with. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(i: number): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#carillon.workflow(Count, `i${i}`).signal('next', this.accepted[i] ?? 0)
      this.accepted[i] = (this.accepted[i] ?? 0) + 1
      const nowMs = performance.now()
      this.#gapMs = Math.max(this.#gapMs, nowMs - this.#lastMs)
      this.#lastMs = nowMs
    }
  }
}

describe('three servers with the configuration of docker/production', () => {
  let keys: TestKeys
  let cluster: NatsCluster
  let dir: string
  const nodes: CarillonNode[] = []
  let shop: Carillon
  let producer: Producer
  let first: NatsMember

  beforeAll(async () => {
    keys = await TestKeys.make()
    const { NATS_TLS_CERT, NATS_TLS_KEY, NATS_TLS_CA } = keys.environment()
    cluster = await startTestNatsCluster({
      config: await keys.serverConfig(),
      clusterConfig: `tls { cert_file: "${NATS_TLS_CERT}", key_file: "${NATS_TLS_KEY}", ca_file: "${NATS_TLS_CA}", verify: true }`,
      connection: keys.connection('backup', '').nats ?? {},
    })
    const member = cluster.members[0]
    if (member === undefined) throw new Error('there are three servers')
    first = member
    dir = await mkdtemp(join(tmpdir(), 'carillon-server-faults-'))
    // Both begin at the first server, so it is known whose connection a fault breaks.
    const as = (name: 'node-1' | 'node-2' | 'shop') => {
      const { nats, ...rest } = keys.connection(name, cluster.servers)
      return { ...rest, nats: { ...nats, noRandomize: true } }
    }
    for (const name of ['node-1', 'node-2'] as const)
      nodes.push(
        await openNode({
          ...as(name),
          name,
          dataDir: join(dir, name),
          replicas: 3,
          journalBytesMax: JOURNAL_BYTES_MAX,
          workflows: { implementations: [count], activities: [] },
          logger: silentLogger,
        }),
      )
    await Promise.all(nodes.map((node) => node.caughtUp))
    await cluster.ready()
    shop = await connect(as('shop'))
    producer = new Producer(shop)
  }, 60_000)

  afterAll(async () => {
    await producer?.stop().catch(() => undefined)
    await shop?.close()
    await Promise.all(nodes.map((node) => node.close()))
    await cluster?.close()
    await keys?.remove()
    await rm(dir, { recursive: true, force: true })
  }, 30_000)

  /** Waits until inputs are accepted and applied that were not there yet. */
  async function goesOn(): Promise<void> {
    const from = producer.total
    await vi.waitFor(() => expect(producer.total).toBeGreaterThan(from + 100), WAIT)
    for (const [i, accepted] of [...producer.accepted].entries())
      await vi.waitFor(
        async () => expect((await shop.workflow(Count, `i${i}`).query('state')).next).toBeGreaterThanOrEqual(accepted),
        WAIT,
      )
  }

  /** Who owns which partition, and since which epoch. */
  async function owners(): Promise<readonly string[]> {
    const { nats } = keys.connection('node-1', '')
    const nc = await connectNats({ servers: [...cluster.servers], ...nats })
    try {
      const jsm = await jetstreamManager(nc, { checkAPI: false })
      const subjects = new Subjects('carillon', PARTITIONS_DEFAULT)
      const records = Array.from({ length: PARTITIONS_DEFAULT }, async (_, partition) => {
        const query = { last_by_subj: subjects.owner(partition as Partition) }
        return (await jsm.streams.getMessage(`KV_${subjects.clusterBucket}`, query))?.string() ?? ''
      })
      return await Promise.all(records)
    } finally {
      await nc.close()
    }
  }

  it('keep every stream three times, the one of the bucket too', async () => {
    const { nats } = keys.connection('node-1', '')
    const nc = await connectNats({ servers: first.url, ...nats })
    const jsm = await jetstreamManager(nc, { checkAPI: false })
    for (const name of [LOG, 'carillon-dead', 'carillon-task', 'carillon-snap', 'KV_carillon-cluster'])
      expect([name, (await jsm.streams.info(name)).config.num_replicas]).toEqual([name, 3])
    expect((await jsm.streams.info(LOG)).config.max_bytes).toBe(JOURNAL_BYTES_MAX)
    await nc.close()
  })

  it('go on when the leader of the journal steps down', async () => {
    await goesOn()
    // The second node is given its part a few partitions at a time.
    const members = ['node-1', 'node-2'].map((name) => ({ name, weight: 1 }))
    const ideal = placePartitions({ partitions: PARTITIONS_DEFAULT, members, standbys: 1 }).map(({ owner }) => owner)
    const before = await vi.waitFor(async () => {
      const records = await owners()
      expect(records.map((record) => (JSON.parse(record) as { readonly node: string }).node)).toEqual(ideal)
      return records
    }, WAIT)
    producer.takeGapMs()
    await cluster.stepDown(LOG)
    await goesOn()
    expect(producer.takeGapMs()).toBeLessThan(GAP_MS_MAX)
    expect(await owners()).toEqual(before)
  })

  it('go on within ten seconds when the leader of the journal is killed', async () => {
    const before = await owners()
    let gapMs = Infinity
    // A machine that is busy with something else delays an election now and then: what is true of the servers is so at one of three.
    for (let attempt = 0; attempt < 3 && gapMs >= GAP_MS_MAX; attempt++) {
      producer.takeGapMs()
      const killed = await cluster.killLeaderOf(LOG)
      await goesOn()
      gapMs = producer.takeGapMs()
      await killed.restart()
      await cluster.ready()
    }
    expect(gapMs).toBeLessThan(GAP_MS_MAX)
    expect(await owners()).toEqual(before)
  }, 120_000)

  it('go on when one stands still that node and producer may be connected to, and takes part again later', async () => {
    const frozen = await cluster.leaderOf(LOG)
    producer.takeGapMs()
    frozen.freeze()
    await goesOn().finally(() => frozen.thaw())
    // Two pings without an answer, and then perhaps an election.
    const gapMs = producer.takeGapMs()
    await cluster.ready()
    await goesOn()
    expect(gapMs).toBeLessThan(3 * GAP_MS_MAX)
  }, 60_000)

  it('go on when all of them were killed and have started again', async () => {
    await Promise.all(cluster.members.map((member) => member.kill9()))
    expect(cluster.members.map(({ state }) => state)).toEqual(['stopped', 'stopped', 'stopped'])
    await Promise.all(cluster.members.map((member) => member.restart()))
    await goesOn()
  }, 60_000)

  it('have lost, doubled and reordered nothing', async () => {
    await producer.stop()
    for (const [i, accepted] of producer.accepted.entries())
      await vi.waitFor(
        async () => expect(await shop.workflow(Count, `i${i}`).query('state')).toEqual({ next: accepted, wrong: [] }),
        WAIT,
      )
    expect(nodes.map(({ counts }) => counts.dead)).toEqual([0, 0])
  })
})
