/** A real nats-server in a temporary directory, for integration tests. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { provideNatsServer } from '../../../../scripts/nats-server.mjs'
import { type NatsProcess, openNatsProcess } from '../nats-process.ts'

export interface TestServerOptions {
  /** More lines of nats-server configuration. */
  readonly config?: string
  /** More lines inside the `jetstream` block. */
  readonly jetstreamConfig?: string
  /** Receives what the server logs, line by line. */
  readonly log?: (line: string) => void
}

export interface TestServer {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** Where its streams are. */
  readonly storeDir: string
  /** Ends the server and removes its directory. */
  stop(): Promise<void>
  /** Ends the server as a crash would; `restart` brings it back. */
  kill9(): Promise<void>
  /** Ends the server if it runs, and starts it on the same port and store. */
  restart(): Promise<void>
  /** Sends the process a signal, for example SIGSTOP. */
  signal(name: NodeJS.Signals): void
}

/** Starts a nats-server with JetStream on a free port. */
export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const { path } = await provideNatsServer()
  const storeDir = await mkdtemp(join(tmpdir(), 'carillon-nats-'))
  let current: NatsProcess = await openNatsProcess({ path, storeDir, ...options })
  const { url, port } = current
  return {
    url,
    port,
    storeDir,
    get pid() {
      return current.pid
    },
    async stop() {
      await current.kill9()
      await rm(storeDir, { recursive: true, force: true })
    },
    kill9: () => current.kill9(),
    async restart() {
      await current.stop()
      current = await openNatsProcess({ path, storeDir, port, ...options })
    },
    signal: (name) => current.signal(name),
  }
}
