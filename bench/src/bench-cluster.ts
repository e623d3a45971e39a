/** A cluster for the benches: nats-servers, nodes as processes, a look from outside. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { connect, type Carillon } from '@carillon/client'
import { type NatsCluster, NodeGroup, type NodeGroupOptions, openNatsCluster } from '@carillon/node'
import { Subjects } from '@carillon/runtime/protocol'
import { connect as connectNats, type NatsConnection } from '@nats-io/transport-node'

import { provideNatsServer } from '../../scripts/nats-server.mjs'

export interface BenchClusterOptions extends Pick<NodeGroupOptions, 'args' | 'env' | 'readyTimeoutMs'> {
  readonly dir: string
  readonly servers: number
  readonly nodes: number
  readonly partitions: number
}

export interface BenchCluster {
  readonly version: string
  readonly nats: NatsCluster
  readonly nodes: NodeGroup
  readonly nc: NatsConnection
  readonly subjects: Subjects
  /** Every client is to be closed by whoever opened it. */
  openClient(): Promise<Carillon>
  close(): Promise<void>
}

const NAMESPACE = 'bench'
const RECONNECT_EVERY_MS = 100
/** Beside this file, compiled as this file is. */
const WORKFLOWS = fileURLToPath(
  new URL(`bench-workflow.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url),
)

/** Starts servers and nodes; resolves when every node is ready. With three servers or more, streams have three replicas. */
export async function openBenchCluster(options: BenchClusterOptions): Promise<BenchCluster> {
  const { dir, servers: size, partitions, args, env, readyTimeoutMs } = options
  const { path, version } = await provideNatsServer()
  const nats = await openNatsCluster({ path, dir: join(dir, 'nats'), size, jetstreamConfig: 'sync_interval: 1s' })
  const { servers } = nats
  const folder = join(dir, 'nodes')
  await mkdir(folder, { recursive: true })
  const nodes = new NodeGroup({
    names: Array.from({ length: options.nodes }, (_, i) => `node-${i + 1}`),
    servers,
    namespace: NAMESPACE,
    partitions,
    replicas: size >= 3 ? 3 : 1,
    workflows: WORKFLOWS,
    folder,
    ...(args === undefined ? {} : { args }),
    ...(env === undefined ? {} : { env }),
    ...(readyTimeoutMs === undefined ? {} : { readyTimeoutMs }),
  })
  let nc: NatsConnection | undefined
  const close = async (): Promise<void> => {
    await nc?.close()
    await nodes.close()
    await nats.close()
  }
  try {
    await Promise.all(nodes.names.map((name) => nodes.start(name)))
    nc = await connectNats({ servers: [...servers], reconnectTimeWait: RECONNECT_EVERY_MS, maxReconnectAttempts: -1 })
    const subjects = new Subjects(NAMESPACE, partitions)
    const openClient = (): Promise<Carillon> => connect({ servers, namespace: NAMESPACE, name: 'bench' })
    return { version, nats, nodes, nc, subjects, openClient, close }
  } catch (error) {
    await close()
    throw error
  }
}
