/** Several real nats-servers as one cluster in a temporary directory, for integration tests. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { provideNatsServer } from '../../../../scripts/nats-server.mjs'
import { type NatsCluster, type NatsClusterOptions, openNatsCluster } from '../nats-cluster.ts'

export type TestNatsClusterOptions = Omit<NatsClusterOptions, 'path' | 'dir'>

/** Starts the servers, three by default; `close` also removes their directory. */
export async function startTestNatsCluster(options: TestNatsClusterOptions = {}): Promise<NatsCluster> {
  const { path } = await provideNatsServer()
  const dir = await mkdtemp(join(tmpdir(), 'carillon-nats-cluster-'))
  const remove = (): Promise<void> => rm(dir, { recursive: true, force: true })
  try {
    const cluster = await openNatsCluster({ ...options, path, dir })
    const close = cluster.close.bind(cluster)
    return Object.assign(cluster, {
      async close() {
        await close()
        await remove()
      },
    })
  } catch (error) {
    await remove()
    throw error
  }
}
