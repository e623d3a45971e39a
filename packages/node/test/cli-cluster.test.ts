/** `carillon cluster` over a real server, with nodes that say what the test wants. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { openNode } from '@carillon/node'
import { silentLogger } from '@carillon/runtime/ports'
import {
  encodeBeat,
  encodeToken,
  encodeValue,
  formatOwner,
  type NodeBeat,
  parseNodeRequest,
  type Partition,
  type PartitionRole,
  Subjects,
} from '@carillon/runtime/protocol'
import { jetstream } from '@nats-io/jetstream'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'
import { errorLine } from './cli/cli-process.ts'
import { runInProcess } from './cli/in-process.ts'

const PARTITIONS = 4

/** A node that beats, owns what it is told, and does what it is asked. */
class SpeakingNode {
  readonly asked: string[] = []
  readonly roles = new Map<number, PartitionRole>()
  state: NodeBeat['state'] = 'live'
  onAsk: (op: string) => void = () => {}
  readonly #nc: NatsConnection
  readonly #subjects: Subjects
  readonly #name: string
  readonly #timer: NodeJS.Timeout
  #beats = 0

  constructor(nc: NatsConnection, subjects: Subjects, name: string) {
    this.#nc = nc
    this.#subjects = subjects
    this.#name = name
    nc.subscribe(subjects.nodeAsk(encodeToken(name)), {
      callback: (_, message) => {
        const { op = '' } = parseNodeRequest(message.data) ?? {}
        this.asked.push(op)
        message.respond(encodeValue({ ok: true }))
        this.onAsk(op)
      },
    })
    nc.subscribe(subjects.nodeDiscover, { callback: () => this.beat() })
    this.#timer = setInterval(() => this.beat(), 100)
  }

  async own(partitions: readonly number[]): Promise<void> {
    for (const partition of partitions) {
      const record = formatOwner({ node: this.#name, incarnation: `${this.#name}-1`, epoch: 1 })
      await jetstream(this.#nc).publish(this.#subjects.owner(partition as Partition), record)
      this.roles.set(partition, 'owner')
    }
  }

  beat(): void {
    this.#beats += 1
    const beat: NodeBeat = {
      node: this.#name,
      incarnation: `${this.#name}-1`,
      state: this.state,
      weight: 1,
      standbys: 1,
      build: 'test',
      server: 'nats',
      sinceMs: 1,
      upMs: this.#beats * 100,
      beat: this.#beats,
      partitions: [...this.roles].map(([partition, role]) => ({
        partition: partition as Partition,
        role,
        epoch: 1,
        appliedSeq: 0,
        effectsDoneSeq: 0,
      })),
      counters: { applied: this.#beats * 5 },
    }
    this.#nc.publish(this.#subjects.nodeBeat, encodeBeat(beat))
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

describe('carillon cluster', () => {
  let server: TestServer
  let dir: string
  let nc: NatsConnection
  let a: SpeakingNode
  let b: SpeakingNode
  beforeAll(async () => {
    server = await startTestServer()
    dir = await mkdtemp(join(tmpdir(), 'carillon-cluster-'))
    // It makes the cluster.
    const node = await openNode({
      servers: server.url,
      dataDir: join(dir, 'node'),
      partitions: PARTITIONS,
      workflows: { implementations: [], activities: [] },
      logger: silentLogger,
    })
    await node.close()
    nc = await connect({ servers: server.url })
    const subjects = new Subjects('carillon', PARTITIONS)
    a = new SpeakingNode(nc, subjects, 'a')
    b = new SpeakingNode(nc, subjects, 'b')
    await a.own([0, 1, 2])
    await b.own([3])
    for (const partition of [0, 1, 2]) b.roles.set(partition, 'standby')
    a.roles.set(3, 'standby')
  })
  afterAll(async () => {
    a.stop()
    b.stop()
    await nc.close()
    await server.stop()
    await rm(dir, { recursive: true, force: true })
  })
  const cluster = (...args: readonly string[]) => runInProcess(['cluster', ...args, '--servers', server.url])

  it('prints one snapshot with --json, and the same for people where stdout is no terminal', async () => {
    const json = await cluster('--json')
    const text = await cluster()
    expect([json.code, json.stderr, text.code]).toEqual([0, '', 0])
    expect(JSON.parse(json.stdout)).toMatchObject({
      version: 1,
      namespace: 'carillon',
      summary: { nodes: 2, partitions: 4, served: 4, standbys: 1, exposed: 0, differing: 0 },
      nodes: [
        { node: 'a', owns: 3, standsBy: 1, appliedPerSecond: 50 },
        { node: 'b', owns: 1, standsBy: 3 },
      ],
      partitions: [
        { partition: 0, owner: 'a', state: 'served', replicas: [{ node: 'b', role: 'standby' }] },
        {},
        {},
        {},
      ],
    })
    expect(text.stdout).toMatch(/^carillon {2}2 nodes {2}4 of 4 partitions served/)
    expect(text.stdout).toMatch(/^a +served +3 +0 +b +0-2$/m)
    expect(text.stdout).not.toContain('\u001b')
  })

  it('drains a node: asks it, shows how far it is, and ends when it owns nothing', async () => {
    a.onAsk = (op) => {
      a.state = op === 'drain' ? 'draining' : 'live'
      if (op !== 'drain') return
      setTimeout(() => {
        for (const partition of [0, 1, 2]) a.roles.set(partition, 'standby')
        b.own([0, 1, 2]).catch(() => {})
      }, 1200)
    }
    const { code, stdout, stderr } = await cluster('drain', 'a')
    expect([code, stdout]).toEqual([0, 'a is drained\n'])
    expect(stderr).toMatch(/^3 partitions to hand over: 0-2$/m)
    expect(a.asked).toEqual(['drain'])
    const undone = await cluster('drain', 'a', '--undo')
    expect([undone.code, undone.stdout]).toEqual([0, 'a takes part again\n'])
    expect(a.asked).toEqual(['drain', 'resume'])
  })

  it('says which partitions a node still has when the time for it is over', async () => {
    b.onAsk = () => {}
    const { code, stderr } = await cluster('drain', 'b', '--timeout', '1s')
    expect(code).toBe(8)
    expect(stderr).toContain('error TIMEOUT: draining b is not done after 1000 ms: 4 partitions to hand over: 0-3')
  })

  it('refuses a node that does not run', async () => {
    const end = await cluster('drain', 'nobody')
    expect(end.code).toBe(8)
    expect(errorLine(end)).toContain('error NO_NODE: no node is called "nobody"')
  })

  it('rebalances: asks every live node, and waits until everything is where it belongs', async () => {
    const before = JSON.parse((await cluster('--json')).stdout) as {
      readonly summary: { readonly misplaced: number }
      readonly partitions: readonly { readonly ideal: string }[]
    }
    const ofA = before.partitions.flatMap(({ ideal }, partition) => (ideal === 'a' ? [partition] : []))
    expect(before.summary.misplaced).toBe(ofA.length)
    expect(ofA.length).toBeGreaterThan(0)
    b.onAsk = () => {
      for (const partition of ofA) b.roles.set(partition, 'standby')
      a.own(ofA).catch(() => {})
    }
    const { code, stdout } = await cluster('rebalance')
    expect([code, stdout]).toEqual([0, `${ofA.length} partitions moved\n`])
    expect([a.asked.at(-1), b.asked.at(-1)]).toEqual(['rebalance', 'rebalance'])
  })
})
