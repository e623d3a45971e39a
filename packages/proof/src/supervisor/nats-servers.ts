/** The nats-servers of a run: one, or three that replicate everything. */
import { join } from 'node:path'

import { type NatsMember, openNatsCluster, openNatsProcess } from '@carillon/node'

export type Server = Pick<NatsMember, 'kill9' | 'freeze' | 'thaw' | 'restart'>

export interface NatsServers {
  readonly count: number
  /** With commas. */
  readonly urls: string
  /** The only server, or the one that leads the stream. */
  leaderOf(stream: string): Promise<Server>
  /** Makes the leader of the stream give up its place. Resolves when another leads. */
  stepDown(stream: string): Promise<void>
  close(): Promise<void>
}

export function openServers(path: string, folder: string, count: 1 | 3): Promise<NatsServers> {
  return count === 1 ? openOne(path, join(folder, 'nats')) : openThree(path, join(folder, 'nats'))
}

async function openOne(path: string, storeDir: string): Promise<NatsServers> {
  let current = await openNatsProcess({ path, storeDir })
  const { port, url } = current
  const server: Server = {
    kill9: () => current.kill9(),
    freeze: () => current.signal('SIGSTOP'),
    thaw: () => current.signal('SIGCONT'),
    async restart() {
      await current.stop()
      current = await openNatsProcess({ path, storeDir, port })
    },
  }
  return {
    count: 1,
    urls: url,
    leaderOf: async () => server,
    stepDown: () => Promise.reject(new Error('one server has nobody to give its place to')),
    close: () => current.kill9(),
  }
}

async function openThree(path: string, dir: string): Promise<NatsServers> {
  const cluster = await openNatsCluster({ path, dir })
  return {
    count: 3,
    urls: cluster.servers.join(','),
    leaderOf: (stream) => cluster.leaderOf(stream),
    async stepDown(stream) {
      await cluster.stepDown(stream)
    },
    close: () => cluster.close(),
  }
}
