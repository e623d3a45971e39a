/** Finds a nats-server binary on this machine that is new enough. It downloads nothing. */
import { execFile } from 'node:child_process'
import { accessSync, constants, readdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, isAbsolute, join } from 'node:path'
import { promisify } from 'node:util'

import { CarillonError } from '@carillon/runtime'

export interface NatsServerBinary {
  readonly path: string
  readonly version: string
}

const VERSION_MIN = [2, 12, 0] as const
const VERSION_TIMEOUT_MS = 10_000
const BINARY = process.platform === 'win32' ? 'nats-server.exe' : 'nats-server'
/** Distributions put daemons there, and the PATH of a plain user often leaves it out. */
const SYSTEM_FOLDERS = process.platform === 'win32' ? [] : ['/usr/sbin', '/usr/local/sbin']
const HOW_TO_GET =
  'install it (macOS: brew install nats-server; Linux, Windows: https://github.com/nats-io/nats-server/releases, 2.15.1 or newer) so that it is on the PATH, or set CARILLON_NATS_SERVER to the path of the binary'

/**
 * Looks at CARILLON_NATS_SERVER, or else the PATH and the cache folder of the project's own set-up, newest first there.
 *
 * @throws CONFIG_INVALID when there is none. @throws SERVER_TOO_OLD when all that there are are older than 2.12.0.
 */
export async function findNatsServer(env: NodeJS.ProcessEnv = process.env): Promise<NatsServerBinary> {
  const named = env['CARILLON_NATS_SERVER']
  const paths = named === undefined || named === '' ? candidates(env) : [named]
  let old: NatsServerBinary | undefined
  for (const path of paths) {
    const version = await versionOf(path)
    if (version === undefined) continue
    if (isAtLeast(version, VERSION_MIN)) return { path, version }
    old ??= { path, version }
  }
  if (old !== undefined)
    throw new CarillonError(
      'SERVER_TOO_OLD',
      `${old.path} is version ${old.version}, and 2.12.0 is the oldest that works: ${HOW_TO_GET}`,
    )
  const where =
    named === undefined || named === ''
      ? 'no nats-server was found'
      : `CARILLON_NATS_SERVER=${named} does not run as a nats-server`
  throw new CarillonError('CONFIG_INVALID', `${where}: ${HOW_TO_GET}`)
}

function candidates(env: NodeJS.ProcessEnv): string[] {
  const onPath = (env['PATH'] ?? '').split(delimiter).filter((folder) => isAbsolute(folder))
  return [...onPath, ...SYSTEM_FOLDERS, ...cachedFolders(env)].map((folder) => join(folder, BINARY))
}

/** `<cache>/carillon/nats-server/<version>/`, where the set-up of this project keeps what it provides. */
function cachedFolders(env: NodeJS.ProcessEnv): string[] {
  const xdg = env['XDG_CACHE_HOME']
  const root = join(xdg !== undefined && isAbsolute(xdg) ? xdg : join(homedir(), '.cache'), 'carillon', 'nats-server')
  try {
    const versions = readdirSync(root).filter((name) => parseVersion(name) !== undefined)
    return versions.sort((a, b) => (isAtLeast(a, parseVersion(b) ?? []) ? -1 : 1)).map((version) => join(root, version))
  } catch {
    return []
  }
}

async function versionOf(path: string): Promise<string | undefined> {
  try {
    accessSync(path, constants.X_OK)
    const { stdout } = await promisify(execFile)(path, ['--version'], { timeout: VERSION_TIMEOUT_MS })
    return /nats-server: v(\d+\.\d+\.\d+)/.exec(stdout)?.[1]
  } catch {
    return undefined
  }
}

/** Whether a version such as `2.15.1` is not older than another, given as numbers. */
export function isAtLeast(version: string, min: readonly number[]): boolean {
  const parts = parseVersion(version) ?? []
  const i = min.findIndex((want, at) => parts[at] !== want)
  return i === -1 || (parts[i] ?? 0) > (min[i] ?? 0)
}

function parseVersion(text: string): readonly number[] | undefined {
  const match = /^v?(\d+)\.(\d+)\.(\d+)/.exec(text)
  return match === null ? undefined : match.slice(1).map(Number)
}
