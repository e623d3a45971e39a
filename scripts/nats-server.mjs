// Provides a nats-server binary, without root and without touching the system.
//
// Owns: the order in which sources are tried, the cache folder, the check of the version.
// Does not own: running the server.
// Invariants:
//   1. The returned path has answered `--version` with at least the version asked for.
//   2. A cache entry appears by one rename, so a reader never sees half a file, and two
//      processes that provide the same version at once both end with a whole one.

import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { access, chmod, constants, mkdir, readdir, realpath, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, isAbsolute, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { downloadFromApt } from './nats-server/apt.mjs'
import { downloadRelease } from './nats-server/release.mjs'

const run = promisify(execFile)

const MIN_VERSION = '2.12.0'
const VERSION_TIMEOUT_MS = 10_000
const BINARY = process.platform === 'win32' ? 'nats-server.exe' : 'nats-server'
/** Distributions put daemons there, and the PATH of a plain user often leaves it out. */
const SYSTEM_FOLDERS = ['/usr/sbin', '/usr/local/sbin']

/**
 * Finds a nats-server, or downloads one into the cache folder.
 *
 * Tried in this order: `CARILLON_NATS_SERVER`, the PATH, the cache folder, a newer Debian suite from the
 * machine's own mirror, the pinned release archive of the project.
 *
 * @param {{ minVersion?: string, log?: (line: string) => void }} [options]
 * @returns {Promise<{ path: string, version: string }>}
 * @throws NATS_SERVER_UNUSABLE when CARILLON_NATS_SERVER is set but not a nats-server that is new enough
 * @throws NATS_SERVER_NOT_FOUND when every source failed; the message says how to install one
 */
export async function provideNatsServer({ minVersion = MIN_VERSION, log = () => {} } = {}) {
  const named = process.env['CARILLON_NATS_SERVER']
  if (named) return useNamed(named, minVersion)

  const present = (await findOnPath(minVersion)) ?? (await findInCache(minVersion))
  if (present) return present

  const failures = []
  for (const download of [downloadFromApt, downloadRelease]) {
    try {
      return await intoCache(download, minVersion, log)
    } catch (error) {
      failures.push(error.message)
    }
  }
  throw notFound(minVersion, failures)
}

/** Whether `version` is `minVersion` or newer; both are `major.minor.patch`. */
export function isAtLeast(version, minVersion) {
  const [have, want] = [version, minVersion].map((text) => text.split('.').map((part) => Number.parseInt(part, 10)))
  for (let i = 0; i < 3; i++) {
    if (have[i] !== want[i]) return have[i] > want[i]
  }
  return true
}

async function useNamed(path, minVersion) {
  const found = await probe(path)
  const hint = `Set CARILLON_NATS_SERVER to a nats-server of version ${minVersion} or newer, or unset it.`
  if (!found) throw coded('NATS_SERVER_UNUSABLE', `CARILLON_NATS_SERVER=${path} does not run as a nats-server. ${hint}`)
  if (!isAtLeast(found.version, minVersion)) {
    throw coded('NATS_SERVER_UNUSABLE', `CARILLON_NATS_SERVER=${path} is version ${found.version}. ${hint}`)
  }
  return found
}

async function findOnPath(minVersion) {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => isAbsolute(folder))
  if (process.platform !== 'win32') folders.push(...SYSTEM_FOLDERS)
  return firstUsable(
    folders.map((folder) => join(folder, BINARY)),
    minVersion,
  )
}

async function findInCache(minVersion) {
  const root = cacheRoot()
  const entries = await readdir(root).catch(() => [])
  const versions = entries.filter((name) => /^\d+\.\d+\.\d+$/.test(name) && isAtLeast(name, minVersion))
  versions.sort((a, b) => (a === b ? 0 : isAtLeast(a, b) ? -1 : 1))
  return firstUsable(
    versions.map((version) => join(root, version, BINARY)),
    minVersion,
  )
}

async function firstUsable(paths, minVersion) {
  for (const path of paths) {
    const found = await probe(path)
    if (found && isAtLeast(found.version, minVersion)) return found
  }
  return undefined
}

/** Runs one source in a private folder of the cache and moves its result into place (invariant 2). */
async function intoCache(download, minVersion, log) {
  const root = cacheRoot()
  const work = join(root, `.work-${process.pid}-${randomBytes(4).toString('hex')}`)
  await mkdir(work, { recursive: true })
  try {
    const fresh = await probe(await download({ work, log }))
    if (!fresh) throw new Error('the downloaded nats-server does not run on this machine')
    if (!isAtLeast(fresh.version, minVersion)) throw new Error(`the newest one on offer is ${fresh.version}`)
    return await publish(work, fresh, join(root, fresh.version))
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

async function publish(work, fresh, target) {
  const staged = join(work, 'staged')
  await mkdir(staged)
  await rename(fresh.path, join(staged, BINARY))
  await chmod(join(staged, BINARY), 0o755)
  const path = join(target, BINARY)
  try {
    await rename(staged, target)
  } catch (error) {
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST' && error.code !== 'EPERM') throw error
    if (await probe(path)) return { path, version: fresh.version }
    await rename(join(staged, BINARY), path)
  }
  return { path, version: fresh.version }
}

async function probe(path) {
  try {
    await access(path, constants.X_OK)
    const { stdout } = await run(path, ['--version'], { timeout: VERSION_TIMEOUT_MS })
    const version = /nats-server: v(\d+\.\d+\.\d+)/.exec(stdout)?.[1]
    return version === undefined ? undefined : { path, version }
  } catch {
    return undefined
  }
}

function cacheRoot() {
  const xdg = process.env['XDG_CACHE_HOME']
  // The XDG specification says that a relative path there is invalid and must be ignored.
  const base = xdg && isAbsolute(xdg) ? xdg : join(homedir(), '.cache')
  return join(base, 'carillon', 'nats-server')
}

function notFound(minVersion, failures) {
  const lines = [
    `No nats-server ${minVersion} or newer was found, and none could be downloaded.`,
    ...failures.map((failure) => `  - ${failure}`),
    'Install it (macOS: brew install nats-server; elsewhere: https://docs.nats.io/running-a-nats-service/introduction/installation)',
    'so that it is on the PATH, or set CARILLON_NATS_SERVER to the path of the binary.',
  ]
  return coded('NATS_SERVER_NOT_FOUND', lines.join('\n'))
}

function coded(code, message) {
  return Object.assign(new Error(message), { code })
}

async function isMain() {
  const script = process.argv[1]
  if (!script) return false
  return import.meta.url === pathToFileURL(await realpath(script).catch(() => script)).href
}

if (await isMain()) {
  try {
    const { path } = await provideNatsServer({ log: (line) => console.error(line) })
    console.log(path)
  } catch (error) {
    console.error(error.message)
    process.exitCode = 1
  }
}
