/** Nodes that are killed within a checkpoint, and within a restore: real processes, by failpoints. */
import { rmSync } from 'node:fs'

import { type Carillon, connect as openClient } from '@carillon/client'
import { decodeValue } from '@carillon/runtime/protocol'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'
import { type CliProcess, endAll, until } from './cli/cli-process.ts'
import { startNodeProcess } from './cli/start-node.ts'
import { makeWorkflowFolder, type WorkflowFolder } from './cli/workflow-folder.ts'

const KILLED = 137
const nothingYet = Promise.resolve(false)
const IDS = ['c-0', 'c-1', 'c-2', 'c-3']
let server: TestServer
let folder: WorkflowFolder
let nc: NatsConnection

beforeAll(async () => {
  server = await startTestServer()
  folder = makeWorkflowFolder()
  nc = await connect({ servers: server.url })
})
afterEach(endAll)
afterAll(async () => {
  await nc?.close()
  await server?.stop()
  folder?.remove()
})

function startNode(namespace: string, failpoint?: string): CliProcess {
  return startNodeProcess({
    servers: server.url,
    folder,
    data: namespace,
    args: ['--partitions', '2', '--checkpoint-every', '200ms'],
    env: { CARILLON_NAMESPACE: namespace, ...(failpoint === undefined ? {} : { CARILLON_FAILPOINT: failpoint }) },
  })
}

type Handles = (id: string) => ReturnType<Carillon['workflow']>

async function within<T>(namespace: string, run: (of: Handles) => Promise<T>): Promise<T> {
  const carillon = await openClient({ servers: server.url, namespace })
  try {
    return await run((id) => carillon.workflow('counter', id))
  } finally {
    await carillon.close()
  }
}

function totalsOf(namespace: string): Promise<unknown[]> {
  return within(namespace, (of) => Promise.all(IDS.map((id) => of(id).query('total'))))
}

/** What the heads of both partitions cover at least. */
async function savedThrough(namespace: string, seq: number): Promise<void> {
  const { streams } = await jetstreamManager(nc)
  const coveredOf = async (partition: number): Promise<number> => {
    const subject = `${namespace}.snap.${partition}.head`
    const head = await streams.getMessage(`${namespace}-snap`, { last_by_subj: subject })
    return head === null ? 0 : (decodeValue(head.data) as [number, number, string, number])[3]
  }
  await until(
    async () => (await Promise.all([0, 1].map(coveredOf))).every((covered) => covered >= seq),
    `both partitions are saved up to ${seq}`,
  )
}

async function lastSeqOf(namespace: string): Promise<number> {
  return (await (await jetstreamManager(nc)).streams.info(`${namespace}-log`)).state.last_seq
}

async function loseDiskAndJournal(namespace: string): Promise<void> {
  const jsm = await jetstreamManager(nc)
  const lastSeq = await lastSeqOf(namespace)
  await jsm.streams.purge(`${namespace}-log`, { seq: lastSeq + 1 })
  rmSync(folder.file(namespace), { recursive: true, force: true })
}

describe('a kill', () => {
  it('within a checkpoint leaves the one before, and the next node saves what that one would have', async () => {
    const first = startNode('torn', 'in-checkpoint:6')
    await first.says('the node is ready')
    await within('torn', async (of) => {
      const isOver = first.exited.then(() => true)
      for (let i = 0; !(await Promise.race([isOver, nothingYet])); i++)
        await of(IDS[i % IDS.length] ?? '').signal('add', { n: 1 })
    })
    expect(await first.exited).toBe(KILLED)
    const second = startNode('torn')
    await second.says('the node is ready')
    const totals = await totalsOf('torn')
    await savedThrough('torn', await lastSeqOf('torn'))
    expect((await second.stop()).code).toBe(0)
    await loseDiskAndJournal('torn')
    await startNode('torn').says('the node is ready')
    expect(await totalsOf('torn')).toEqual(totals)
  }, 120_000)

  it('within a restore leaves a half that nobody takes for whole, and the next node restores again', async () => {
    const first = startNode('half')
    await first.says('the node is ready')
    await within('half', async (of) => {
      for (let i = 0; i < 8; i++) await of(IDS[i % IDS.length] ?? '').signal('add', { n: 1 })
    })
    await savedThrough('half', await lastSeqOf('half'))
    expect((await first.stop()).code).toBe(0)
    await loseDiskAndJournal('half')
    expect(await startNode('half', 'in-restore:1').exited).toBe(KILLED)
    await startNode('half').says('the node is ready')
    expect(await totalsOf('half')).toEqual([2, 2, 2, 2])
  }, 120_000)
})
