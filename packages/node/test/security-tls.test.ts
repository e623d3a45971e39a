/** Connecting to servers that want TLS and a key: what goes wrong is said with the next step, and never with a secret. */
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { writeFile } from 'node:fs/promises'

import { connect, type ConnectOptions } from '@carillon/client'
import { connect as connectNats, nkeyAuthenticator, nkeys } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'

import { makeAuthority, makeCertificate } from '../../../docker/certificates.mjs'
import { runCli } from './cli/cli-process.ts'
import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'
import { SecuredServer, type UserConnection } from './secured-server.ts'

const WAIT = { timeout: 10_000, interval: 50 }

describe('a server with the TLS of docker/production', () => {
  let server: SecuredServer

  beforeAll(async () => {
    server = await SecuredServer.start()
  }, 60_000)
  afterAll(() => server?.stop())

  async function failure(
    options: Partial<ConnectOptions>,
  ): Promise<{ code: unknown; message: string; text: string; ms: number }> {
    const begun = performance.now()
    try {
      const carillon = await connect({ ...server.as('shop'), timeoutMs: 5000, ...options })
      await carillon.close()
    } catch (error) {
      const { code, message, stack } = error as Error & { code: unknown }
      return { code, message, text: `${message} ${stack} ${JSON.stringify(error)}`, ms: performance.now() - begun }
    }
    throw new Error('it connected')
  }

  it('is not spoken to in the clear', async () => {
    const socket = connectTcp(server.port, '127.0.0.1').setEncoding('utf8')
    let heard = ''
    socket.on('data', (text: string) => (heard += text))
    socket.on('error', () => undefined)
    socket.write('CONNECT {"verbose":false}\r\nPING\r\n')
    await once(socket, 'close')
    expect(heard).toContain('"tls_required":true')
    expect(heard).not.toContain('PONG')
  })

  it('is refused at once when its authority is not known, with the option that names it', async () => {
    const { nats } = server.as('shop')
    const { tls: _, ...withoutTls } = nats ?? {}
    const error = await failure({ nats: withoutTls })
    expect(error).toMatchObject({
      code: 'SERVER_REFUSED',
      message: expect.stringMatching(/no TLS connection .*authority that is not known here: .*--tls-ca/),
    })
    expect(error.ms).toBeLessThan(3000)
    const other = server.keys.file('other.pem')
    await writeFile(other, (await makeAuthority('somebody else')).certificate)
    expect(await failure({ nats: { ...nats, tls: { caFile: other } } })).toMatchObject({ code: 'SERVER_REFUSED' })
  })

  it('is refused when its certificate is for other names', async () => {
    const authority = await makeAuthority('another')
    const { certificate, key } = await makeCertificate(authority, ['nats-1'])
    const { keys } = server
    const files = { cert_file: certificate, key_file: key, ca_file: authority.certificate }
    for (const [name, text] of Object.entries(files)) await writeFile(keys.file(name), text)
    const lines = Object.keys(files).map((name) => `${name}: ${JSON.stringify(keys.file(name))}`)
    const other = await startTestServer({ config: `tls { ${lines.join(', ')} }` })
    const error = await failure({ servers: other.url, nats: { tls: { caFile: keys.file('ca_file') } } })
    await other.stop()
    expect(error).toMatchObject({
      code: 'SERVER_REFUSED',
      message: expect.stringContaining('its certificate is for other names'),
    })
  })

  it('refuses a key that it does not know, and no error holds the seed', async () => {
    const seed = new TextDecoder().decode(nkeys.createUser().getSeed())
    const authenticator = nkeyAuthenticator(Buffer.from(seed))
    const error = await failure({ nats: { ...server.as('shop').nats, authenticator } })
    expect(error).toMatchObject({ code: 'SERVER_REFUSED', message: expect.stringContaining('check the credentials') })
    expect(error.text).not.toContain(seed)
    const { nats } = server.as('shop')
    const { authenticator: __, ...anonymous } = nats ?? {}
    expect(await failure({ nats: anonymous })).toMatchObject({ code: 'SERVER_REFUSED' })
    expect(await failure({ nats: { ...anonymous, user: 'shop', pass: 's3cr3t' } })).toMatchObject({
      code: 'SERVER_REFUSED',
      message: expect.not.stringContaining('s3cr3t'),
    })
  })

  it('says which prefix of inboxes, and of JetStream’s API, this user lacks', async () => {
    const { nats } = server.as('shop')
    const { inboxPrefix: _, ...rest } = nats ?? {}
    expect(await failure({ nats: rest })).toMatchObject({
      code: 'SERVER_REFUSED',
      message: expect.stringContaining('--inbox-prefix'),
    })
    expect(await failure({ jetStreamPrefix: undefined })).toMatchObject({
      code: 'SERVER_REFUSED',
      message: expect.stringContaining('--js-prefix'),
    })
    expect(await failure({ jetStreamPrefix: 'a.>' })).toMatchObject({ code: 'CONFIG_INVALID' })
  })

  it('takes a second key of a user, and lets go of the older one, while it runs', async () => {
    const rotating = await SecuredServer.start()
    const { keys } = rotating
    const before = rotating.as('meters')
    const ping = async (as: UserConnection): Promise<void> => {
      const nc = await connectNats({ servers: rotating.url, ...as.nats, reconnect: false })
      await nc.flush()
      await nc.close()
    }
    try {
      const held = await connectNats({ servers: rotating.url, ...before.nats, reconnect: false })
      await rotating.changeKeys({ rotate: 'meters' })
      const after = (await keys.read()).connection('meters', rotating.url)
      await vi.waitFor(() => ping(after), WAIT)
      await ping(before)
      await held.flush()
      await rotating.changeKeys({ retire: 'meters' })
      await held.closed()
      await expect(ping(before)).rejects.toThrow('Authorization')
      await ping(after)
    } finally {
      await rotating.stop()
    }
  })

  it('is told about by the command with exit code 4', async () => {
    const env = { CARILLON_SERVERS: server.url, CARILLON_NKEY: server.keys.file('shop.nk') }
    const { code, stderr } = await runCli(['list', '--connect-timeout', '2s'], { env })
    expect(stderr).toMatch(/SERVER_REFUSED: no TLS connection .*--tls-ca/)
    expect(stderr).not.toContain(server.keys.seedOf('shop'))
    expect(code).toBe(4)
  })
})

describe('a server without TLS', () => {
  let server: TestServer

  beforeAll(async () => {
    server = await startTestServer()
  })
  afterAll(() => server.stop())

  it('is not spoken to in the clear by a client that was told to use TLS', async () => {
    const connecting = connect({ servers: server.url, nats: { tls: {} }, timeoutMs: 2000 })
    await expect(connecting).rejects.toMatchObject({
      code: 'SERVER_REFUSED',
      message: expect.stringContaining('it speaks no TLS'),
    })
  })
})
