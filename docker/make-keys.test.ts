import { execFile } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { provideNatsServer } from '../scripts/nats-server.mjs'
import { makeKeys } from './make-keys.mjs'

const run = promisify(execFile)
const HERE = import.meta.dirname
const SEED = /\bS[A-Z2-7]{57}\b/
const PUBLIC_KEYS = /\bU[A-Z2-7]{55}\b/g

describe('make-keys.mjs', () => {
  let work: string
  let users: string
  let out: string

  beforeEach(async () => {
    work = await mkdtemp(join(tmpdir(), 'carillon-make-keys-'))
    await cp(HERE, work, { recursive: true, filter: (path) => !path.includes('keys/') && !path.endsWith('.ts') })
    users = join(work, 'production/users.json')
    out = join(work, 'production/keys')
  })
  afterEach(() => rm(work, { recursive: true, force: true }))

  const keysIn = async (): Promise<string[]> =>
    [...(await readFile(join(out, 'accounts.conf'), 'utf8')).matchAll(PUBLIC_KEYS)].map(([key]) => key)
  const write = (change: object): Promise<void> =>
    writeFile(users, JSON.stringify({ servers: ['localhost'], ...change }))

  it.each(['nats-strict.conf', 'nats-fast.conf'])('makes production/%s a valid configuration', async (name) => {
    await writeFile(
      users,
      JSON.stringify({ ...(JSON.parse(await readFile(users, 'utf8')) as object), storage: '500GB' }),
    )
    await makeKeys({ users, out })
    expect(await readFile(join(out, 'accounts.conf'), 'utf8')).toContain('max_file: 500GB')
    const { path } = await provideNatsServer()
    const env = {
      NATS_NAME: 'nats-1',
      NATS_ROUTES: '["nats://nats-1:6222", "nats://nats-2:6222", "nats://nats-3:6222"]',
      NATS_STORE_DIR: join(work, 'store'),
      NATS_TLS_CERT: join(out, 'server.pem'),
      NATS_TLS_KEY: join(out, 'server.key'),
      NATS_TLS_CA: join(out, 'ca.pem'),
    }
    const config = join(work, 'production', name)
    const { stdout, stderr } = await run(path, ['-t', '-c', config], { env })
    expect(stdout + stderr).toContain('is valid')
    const { NATS_TLS_CERT: _, ...without } = env
    await expect(run(path, ['-t', '-c', config], { env: without })).rejects.toThrow('NATS_TLS_CERT')
  })

  it('keeps what is there when it runs again, and makes what is missing', async () => {
    await write({ nodes: ['node-1'], producers: ['shop'] })
    await makeKeys({ users, out })
    const before = await keysIn()
    const certificate = await readFile(join(out, 'server.pem'), 'utf8')
    await write({ nodes: ['node-1'], producers: ['shop', 'billing'] })
    expect(await makeKeys({ users, out })).toContain('billing.nk: a new key')
    expect(await keysIn()).toEqual(expect.arrayContaining(before))
    expect(await keysIn()).toHaveLength(before.length + 1)
    expect(await readFile(join(out, 'server.pem'), 'utf8')).toBe(certificate)
    await write({ nodes: ['node-1'] })
    await makeKeys({ users, out })
    expect(await keysIn()).toHaveLength(1)
  })

  it('renews the certificate of the servers without a new authority, and says which name one lacks', async () => {
    await write({ servers: ['localhost'] })
    await makeKeys({ users, out })
    const authority = await readFile(join(out, 'ca.pem'), 'utf8')
    await write({ servers: ['localhost', '127.0.0.1', 'nats-4'] })
    expect(await makeKeys({ users, out })).toContainEqual(expect.stringContaining('not for 127.0.0.1, nats-4 yet'))
    await rm(join(out, 'server.pem'))
    expect(await makeKeys({ users, out })).toContain('server.pem: for localhost, 127.0.0.1, nats-4')
    expect(await readFile(join(out, 'ca.pem'), 'utf8')).toBe(authority)
    const certificate = new X509Certificate(await readFile(join(out, 'server.pem')))
    expect(certificate.verify(new X509Certificate(authority).publicKey)).toBe(true)
    expect(certificate.subjectAltName).toBe('DNS:localhost, IP Address:127.0.0.1, DNS:nats-4')
    expect(await makeKeys({ users, out })).toEqual(['accounts.conf: 0 users'])
  })

  it('gives a user a second key, and takes the older one away', async () => {
    await write({ nodes: ['node-1'], producers: ['shop'] })
    await makeKeys({ users, out })
    const first = await keysIn()
    await makeKeys({ users, out, rotate: 'shop' })
    const both = await keysIn()
    expect(both).toEqual(expect.arrayContaining(first))
    expect(both).toHaveLength(3)
    await expect(makeKeys({ users, out, rotate: 'shop' })).rejects.toThrow('--retire shop first')
    await makeKeys({ users, out, retire: 'shop' })
    const [node, shop] = await keysIn()
    expect(node).toBe(first[0])
    expect(shop).not.toBe(first[1])
    expect(both).toContain(shop)
    await expect(makeKeys({ users, out, retire: 'shop' })).rejects.toThrow('no older key')
    await expect(makeKeys({ users, out, rotate: 'nobody' })).rejects.toThrow('nobody is not in')
  })

  it('writes secrets for their owner alone, and none into what the servers read', async () => {
    await makeKeys({ users, out })
    for (const file of await readdir(out)) {
      const text = await readFile(join(out, file), 'utf8')
      const isSecret = SEED.test(text) || text.includes('PRIVATE KEY')
      expect([file, isSecret]).toEqual([file, file.endsWith('.nk') || file.endsWith('.key')])
      if (isSecret && process.platform !== 'win32') expect((await stat(join(out, file))).mode & 0o077).toBe(0)
    }
  })

  it.each([
    [{ producers: ['Shop'] }, 'the name "Shop" is not'],
    [{ producers: ['a'], devices: ['a'] }, 'the name a is given twice'],
    [{ producers: ['home'] }, 'the name home is taken'],
    [{ producer: ['a'] }, '"producer" is no role'],
    [{ storage: 'much' }, 'the storage "much" is no size'],
    [{ namespace: 'a.b' }, 'the namespace "a.b" is not'],
    [{ workers: { pdf: ['pdf/order'] } }, '"pdf/order" is not <queue>/<type>/<activity>'],
    [{ workers: { pdf: ['pdf/>/render'] } }, 'is not <queue>/<type>/<activity>'],
    [{ servers: [] }, 'the users name no servers'],
  ])('refuses %j', async (change, message) => {
    await write(change)
    await expect(makeKeys({ users, out })).rejects.toThrow(message)
  })
})
