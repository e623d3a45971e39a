/** The checks of `carillon doctor` that concern the server: its version, JetStream, and how it writes to its disk. */
import { CarillonError } from '@carillon/runtime'
import type { NatsConnection } from '@nats-io/transport-node'

import { checkServer } from '../server-check.ts'
import { fail, type Finding, ok, skipped, warn } from './finding.ts'
import { isAtLeast } from './find-nats-server.ts'

const RECOMMENDED = [2, 15, 1] as const
const TIMEOUT_MS = 5000
const FULL_SHARE = 0.8
const SYNC_SECONDS_MAX = 10

/** The server's version, and JetStream of this account. */
export async function checkServerAndJetStream(nc: NatsConnection, jsPrefix?: string): Promise<readonly Finding[]> {
  const version = nc.info?.version ?? 'unknown'
  const at = `nats-server ${version} at ${nc.getServer()}`
  try {
    await checkServer(nc, TIMEOUT_MS, jsPrefix)
  } catch (error) {
    const isOld = error instanceof CarillonError && error.code === 'SERVER_TOO_OLD'
    if (isOld) return [fail('server', error, 'SERVER_TOO_OLD'), skipped('jetstream', 'the server is too old')]
    return [versionFinding(version, at), fail('jetstream', error, 'JETSTREAM_UNAVAILABLE')]
  }
  return [versionFinding(version, at), await jetStreamFinding(nc, jsPrefix)]
}

function versionFinding(version: string, at: string): Finding {
  if (isAtLeast(version, RECOMMENDED)) return ok('server', at)
  return warn(
    'server',
    at,
    `it works; ${RECOMMENDED.join('.')} is recommended, and needed for a durable journal at full speed`,
  )
}

interface AccountInfo {
  readonly storage?: number
  readonly limits?: { readonly max_storage?: number }
}

async function jetStreamFinding(nc: NatsConnection, jsPrefix = '$JS.API'): Promise<Finding> {
  const { storage = 0, limits } = (
    await nc.request(`${jsPrefix}.INFO`, undefined, { timeout: TIMEOUT_MS })
  ).json<AccountInfo>()
  const max = limits?.max_storage ?? -1
  if (max <= 0) return ok('jetstream', `enabled, ${formatBytes(storage)} stored, no limit of the account`)
  const detail = `enabled, ${formatBytes(storage)} of ${formatBytes(max)} stored`
  if (storage < max * FULL_SHARE) return ok('jetstream', detail)
  return warn('jetstream', detail, 'raise the account’s limit of storage: a full journal refuses inputs')
}

/** The server says how it flushes to its monitoring only, not to clients. */
export async function checkSync(monitorUrl: string | undefined): Promise<Finding> {
  if (monitorUrl === undefined) {
    return warn(
      'sync',
      'unknown: the server tells its sync_interval to its monitoring only',
      'pass --monitor-url http://<server>:8222, or look for sync_interval in its configuration',
    )
  }
  const url = new URL('/jsz?config=true', monitorUrl)
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })
    if (!response.ok) throw new Error(`the answer is ${response.status}`)
    return syncFinding((await response.json()) as MonitoringAnswer)
  } catch (error) {
    const reason =
      error instanceof Error ? (error.cause instanceof Error ? error.cause.message : error.message) : String(error)
    return warn(
      'sync',
      `unknown: ${url.origin} did not tell: ${reason}`,
      'check that the server has http_port set, and that this is its address',
    )
  }
}

interface MonitoringAnswer {
  readonly config?: { readonly sync_interval?: number; readonly sync_always?: boolean }
}

function syncFinding({ config }: MonitoringAnswer): Finding {
  if (config?.sync_always === true) return ok('sync', 'always: what is acknowledged survives a power cut')
  const seconds = (config?.sync_interval ?? 0) / 1e9
  if (seconds <= 0)
    return warn('sync', 'unknown: the monitoring does not tell', 'look for sync_interval in the server’s configuration')
  const detail = `every ${seconds} s: what is acknowledged survives the end of processes; a power cut of a majority of the servers may lose the last ${seconds} s`
  if (seconds <= SYNC_SECONDS_MAX) return ok('sync', detail)
  return warn(
    'sync',
    detail,
    'set sync_interval in the jetstream block: 1s costs nothing measurable, always survives a power cut',
  )
}

export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3))
  return `${(bytes / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`
}
