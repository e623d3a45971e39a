/** A nats-server with the accounts, the TLS and the limits of docker/production, and connections in everybody's name. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { ConnectOptions } from '@carillon/client'
import { connect, nkeyAuthenticator, type NatsConnection } from '@nats-io/transport-node'

import { makeKeys } from '../../../docker/make-keys.mjs'
import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'

const PRODUCTION = join(import.meta.dirname, '../../../docker/production')

const USERS = {
  namespace: 'carillon',
  servers: ['localhost', '127.0.0.1'],
  nodes: ['node-1', 'node-2'],
  producers: ['shop', 'billing'],
  devices: ['meters'],
  workers: { pdf: ['pdf/order/render'], anything: [] },
  operators: ['on-call'],
  maintainers: ['backup'],
  admins: ['system'],
}

export type UserName = 'node-1' | 'node-2' | 'shop' | 'billing' | 'meters' | 'pdf' | 'anything' | 'on-call' | 'backup'

/** What a user connects with. */
export interface UserConnection extends Pick<ConnectOptions, 'nats' | 'jetStreamPrefix'> {
  readonly servers: string | readonly string[]
}

/** The keys of everybody, in a temporary folder. */
export class TestKeys {
  readonly folder: string
  readonly #seeds: ReadonlyMap<string, Uint8Array>

  static async make(): Promise<TestKeys> {
    const folder = await mkdtemp(join(tmpdir(), 'carillon-keys-'))
    await writeFile(join(folder, 'users.json'), JSON.stringify(USERS))
    await makeKeys({ users: join(folder, 'users.json'), out: folder })
    return new TestKeys(folder, await readSeeds(folder))
  }

  /** The keys as they are now. */
  async read(): Promise<TestKeys> {
    return new TestKeys(this.folder, await readSeeds(this.folder))
  }

  private constructor(folder: string, seeds: ReadonlyMap<string, Uint8Array>) {
    this.folder = folder
    this.#seeds = seeds
  }

  file(name: string): string {
    return join(this.folder, name)
  }

  /** The seed as text: what must not be seen anywhere. */
  seedOf(name: UserName): string {
    return Buffer.from(this.#seeds.get(name) ?? '').toString()
  }

  /** The production configuration, but for what says where a server is and how it writes. */
  async serverConfig(): Promise<string> {
    const parts = [this.file('accounts.conf'), join(PRODUCTION, 'tls.conf'), join(PRODUCTION, 'limits.conf')]
    return [this.tlsVariables(), ...(await Promise.all(parts.map((part) => readFile(part, 'utf8'))))].join('\n')
  }

  tlsVariables(): string {
    const { NATS_TLS_CERT, NATS_TLS_KEY, NATS_TLS_CA } = this.environment()
    return [
      `NATS_TLS_CERT: "${NATS_TLS_CERT}"`,
      `NATS_TLS_KEY: "${NATS_TLS_KEY}"`,
      `NATS_TLS_CA: "${NATS_TLS_CA}"`,
    ].join('\n')
  }

  environment(): { readonly NATS_TLS_CERT: string; readonly NATS_TLS_KEY: string; readonly NATS_TLS_CA: string } {
    return {
      NATS_TLS_CERT: this.file('server.pem'),
      NATS_TLS_KEY: this.file('server.key'),
      NATS_TLS_CA: this.file('ca.pem'),
    }
  }

  connection(name: UserName, servers: string | readonly string[]): UserConnection {
    const isInside = USERS.nodes.includes(name) || USERS.maintainers.includes(name)
    return {
      servers,
      nats: {
        authenticator: nkeyAuthenticator(this.#seeds.get(name)),
        inboxPrefix: `_INBOX.${name}`,
        tls: { caFile: this.file('ca.pem') },
      },
      ...(isInside ? {} : { jetStreamPrefix: 'carillon.api' }),
    }
  }

  remove(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true })
  }
}

export class SecuredServer {
  readonly keys: TestKeys
  readonly #server: TestServer
  /** What the server has logged about refusals. */
  readonly refusals: string[]

  static async start(): Promise<SecuredServer> {
    const keys = await TestKeys.make()
    const refusals: string[] = []
    const log = (line: string): void => {
      // The doctor tries what a user should not be able to do.
      if (/violation|authorization|authentication/i.test(line) && !line.includes('carillon-doctor')) refusals.push(line)
    }
    return new SecuredServer(keys, await startTestServer({ config: await keys.serverConfig(), log }), refusals)
  }

  private constructor(keys: TestKeys, server: TestServer, refusals: string[]) {
    this.keys = keys
    this.#server = server
    this.refusals = refusals
  }

  get url(): string {
    return this.#server.url
  }

  get port(): number {
    return this.#server.port
  }

  as(name: UserName): UserConnection {
    return this.keys.connection(name, this.url)
  }

  /** A connection that does what it is told. */
  async raw(name: UserName): Promise<NatsConnection> {
    const { nats } = this.as(name)
    return connect({ servers: this.url, ...nats })
  }

  /** Changes keys as an operator does, and has the server read its configuration again. */
  async changeKeys(change: { readonly rotate?: string; readonly retire?: string }): Promise<void> {
    const before = await readFile(this.keys.file('accounts.conf'), 'utf8')
    await makeKeys({ users: this.keys.file('users.json'), out: this.keys.folder, ...change })
    const config = join(this.#server.storeDir, 'nats-server.conf')
    const after = await readFile(this.keys.file('accounts.conf'), 'utf8')
    await writeFile(config, (await readFile(config, 'utf8')).replace(before, after))
    this.#server.signal('SIGHUP')
  }

  async stop(): Promise<void> {
    await this.#server.stop()
    await this.keys.remove()
  }
}

async function readSeeds(folder: string): Promise<ReadonlyMap<string, Uint8Array>> {
  const names = [...USERS.nodes, ...USERS.producers, ...USERS.devices, ...Object.keys(USERS.workers)]
  const seeds = new Map<string, Uint8Array>()
  for (const name of [...names, ...USERS.operators, ...USERS.maintainers])
    seeds.set(name, Buffer.from((await readFile(join(folder, `${name}.nk`), 'utf8')).trim()))
  return seeds
}
