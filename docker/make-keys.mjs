/**
 * Makes the keys of everybody who connects to the servers, the accounts they are in, and certificates for TLS.
 *
 *   node docker/make-keys.mjs [--users docker/production/users.json] [--out docker/production/keys]
 *                             [--rotate <name>] [--retire <name>] [--no-tls]
 *
 * It may be run again at any time: keys and certificates that are there stay as they are, and new users get theirs. A user who is taken out of the file
 * loses its place in the accounts; its seed stays where it is. --rotate gives a user a second key, --retire takes the older one away.
 */
import { X509Certificate } from 'node:crypto'
import { chmod, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

import { createUser, fromSeed } from '@nats-io/nkeys'

import { makeAuthority, makeCertificate } from './certificates.mjs'
import { formatAccounts, parseSpec, settingsOf, usersOf } from './nats-accounts.mjs'

const HERE = dirname(fileURLToPath(import.meta.url))
const SECRET = 0o600

/**
 * Does it, and returns a line for each thing that was made.
 *
 * @param {{ users: string, out: string, rotate?: string | undefined, retire?: string | undefined, tls?: boolean }} options
 * @returns {Promise<string[]>}
 */
export async function makeKeys({ users: usersFile, out, rotate, retire, tls = true }) {
  const spec = parseSpec(JSON.parse(await readFile(usersFile, 'utf8')))
  const users = usersOf(spec)
  for (const name of [rotate, retire])
    if (name !== undefined && !users.some((user) => user.name === name))
      throw new Error(
        `${name} is not in ${usersFile}: the names there are ${users.map((user) => user.name).join(', ')}`,
      )
  await mkdir(out, { recursive: true })
  const made = []
  if (rotate !== undefined) made.push(await setAside(out, rotate))
  if (retire !== undefined) made.push(await removeOlder(out, retire))
  for (const { name } of users) if (await makeSeed(seedFile(out, name))) made.push(`${name}.nk: a new key`)
  for (const user of users) await writeFile(join(out, `${user.name}.env`), formatEnvironment(spec, user, out, tls))
  const keys = new Map()
  for (const { name } of users) keys.set(name, await publicKeys(out, name))
  await writeFile(
    join(out, 'accounts.conf'),
    formatAccounts(spec, (name) => keys.get(name) ?? []),
  )
  made.push(`accounts.conf: ${users.length} users`)
  if (tls) made.push(...(await makeCertificates(out, spec.servers)))
  return made
}

const seedFile = (out, name) => join(out, `${name}.nk`)
const olderFile = (out, name) => join(out, `${name}.older.nk`)

async function makeSeed(path) {
  if (await exists(path)) return false
  await writeSecret(path, `${new TextDecoder().decode(createUser().getSeed())}\n`)
  return true
}

async function setAside(out, name) {
  if (await exists(olderFile(out, name))) throw new Error(`${name} has an older key already: --retire ${name} first`)
  await rename(seedFile(out, name), olderFile(out, name))
  return `${name}.older.nk: the key that it had, still good`
}

async function removeOlder(out, name) {
  if (!(await exists(olderFile(out, name))))
    throw new Error(`${name} has no older key: --rotate ${name} makes a second one`)
  await rm(olderFile(out, name))
  return `${name}.older.nk: gone`
}

async function publicKeys(out, name) {
  const files = [seedFile(out, name), olderFile(out, name)]
  const seeds = (
    await Promise.all(files.map(async (path) => ((await exists(path)) ? readFile(path) : undefined)))
  ).filter((seed) => seed !== undefined)
  return seeds.map((seed) => fromSeed(new TextEncoder().encode(seed.toString('utf8').trim())).getPublicKey())
}

/** What the carillon command reads from the environment. The paths are those of this machine. */
function formatEnvironment(spec, user, out, tls) {
  const { inboxPrefix, jsPrefix } = settingsOf(spec, user)
  const remote = spec.servers.filter((name) => !['localhost', '127.0.0.1', '::1'].includes(name))
  const servers = (remote.length === 0 ? ['localhost'] : remote).map((name) => `nats://${name}:4222`)
  const lines = [
    `CARILLON_NAMESPACE=${spec.namespace}`,
    `CARILLON_SERVERS=${servers.join(',')}`,
    `CARILLON_NKEY=${resolve(seedFile(out, user.name))}`,
    `CARILLON_INBOX_PREFIX=${inboxPrefix}`,
    ...(jsPrefix === undefined ? [] : [`CARILLON_JS_PREFIX=${jsPrefix}`]),
    ...(tls ? [`CARILLON_TLS_CA=${resolve(out, 'ca.pem')}`] : []),
  ]
  return `${lines.join('\n')}\n`
}

/** One authority for clients and routes, and a certificate that all servers share. The authority stays as long as its key is there. */
async function makeCertificates(out, servers) {
  if (await exists(join(out, 'server.pem'))) return missingNames(out, servers)
  if (servers.length === 0)
    throw new Error('the users name no servers: add "servers", the names by which they are reached, or pass --no-tls')
  const known = (await exists(join(out, 'ca.key'))) && (await exists(join(out, 'ca.pem')))
  const authority = known ? await readAuthority(out) : await makeAuthority('Carillon NATS')
  const { certificate, key } = await makeCertificate(authority, servers)
  await writeSecret(join(out, 'ca.key'), authority.key)
  await writeSecret(join(out, 'server.key'), key)
  await writeFile(join(out, 'ca.pem'), authority.certificate)
  await writeFile(join(out, 'server.pem'), certificate)
  const made = `server.pem: for ${servers.join(', ')}`
  return known ? [made] : [made, 'ca.key: signs certificates; keep it away from the servers']
}

async function readAuthority(out) {
  const [certificate, key] = await Promise.all(['ca.pem', 'ca.key'].map((file) => readFile(join(out, file), 'utf8')))
  return { certificate, key }
}

async function missingNames(out, servers) {
  const { subjectAltName = '' } = new X509Certificate(await readFile(join(out, 'server.pem')))
  const present = new Set(subjectAltName.split(', ').map((name) => name.replace(/^(?:DNS|IP Address):/, '')))
  const missing = servers.filter((name) => !present.has(name))
  return missing.length === 0
    ? []
    : [
        `server.pem: not for ${missing.join(', ')} yet; remove it, and run this again for a new one of the same authority`,
      ]
}

async function writeSecret(path, text) {
  await writeFile(path, text, { mode: SECRET })
  await chmod(path, SECRET)
}

async function exists(path) {
  return (await readdir(dirname(path))).includes(path.slice(dirname(path).length + 1))
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values } = parseArgs({
    options: {
      users: { type: 'string', default: join(HERE, 'production', 'users.json') },
      out: { type: 'string', default: join(HERE, 'production', 'keys') },
      rotate: { type: 'string' },
      retire: { type: 'string' },
      'no-tls': { type: 'boolean', default: false },
    },
  })
  try {
    const { users, out, rotate, retire } = values
    for (const line of await makeKeys({ users, out, rotate, retire, tls: !values['no-tls'] })) console.log(line)
  } catch (error) {
    console.error(`no keys were made: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = 1
  }
}
