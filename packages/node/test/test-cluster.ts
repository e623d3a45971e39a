/** A nats-server, a node over it and a client, for the suites of one node: opened before, closed behind, the node started again in between. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Carillon, connect } from '@carillon/client'
import { type CarillonNode, type NodeOptions, openNode } from '@carillon/node'
import { silentLogger } from '@carillon/runtime/ports'

import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'

export type TestClusterOptions = Pick<NodeOptions, 'workflows'> & Partial<NodeOptions>

export class TestCluster {
  readonly server: TestServer
  readonly #folder: string
  readonly #options: TestClusterOptions
  #node: CarillonNode | undefined
  #carillon: Carillon | undefined

  static async open(options: TestClusterOptions): Promise<TestCluster> {
    const cluster = new TestCluster(options, await startTestServer(), await mkdtemp(join(tmpdir(), 'carillon-test-')))
    await cluster.startNode()
    cluster.#carillon = await connect({ servers: cluster.server.url })
    return cluster
  }

  private constructor(options: TestClusterOptions, server: TestServer, folder: string) {
    this.server = server
    this.#folder = folder
    this.#options = options
  }

  get carillon(): Carillon {
    if (this.#carillon === undefined) throw new Error('the cluster is not open')
    return this.#carillon
  }

  /** The node that was started last. */
  get node(): CarillonNode {
    if (this.#node === undefined) throw new Error('the cluster is not open')
    return this.#node
  }

  async startNode(): Promise<void> {
    const own = { servers: this.server.url, dataDir: join(this.#folder, 'data'), logger: silentLogger }
    this.#node = await openNode({ ...own, ...this.#options })
  }

  /** Ends the node in order. */
  async stopNode(): Promise<void> {
    await this.node.close()
  }

  async restart(): Promise<void> {
    await this.stopNode()
    await this.startNode()
  }

  async close(): Promise<void> {
    await this.#carillon?.close()
    await this.#node?.close()
    await this.server.stop()
    await rm(this.#folder, { recursive: true, force: true })
  }
}
