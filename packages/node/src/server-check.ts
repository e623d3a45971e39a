/** Whether a NATS server can carry a cluster: its version, and JetStream for this account. */
import { CarillonError } from '@carillon/runtime'
import { errors, type NatsConnection, PermissionViolationError } from '@nats-io/transport-node'

/**
 * JetStream API level of nats-server 2.12, the first with atomic batches. Old servers ignore unknown configuration in
 * silence, so this is asked first.
 */
const API_LEVEL_MIN = 2
const REQUEST_TIMEOUT_MS = 2000
const HOW_TO_GET =
  'get 2.15.1 or newer from https://github.com/nats-io/nats-server/releases, by `brew install nats-server`, or as the image nats:2.15'

/**
 * Checks the server that a connection is with.
 *
 * @throws SERVER_TOO_OLD before 2.12. @throws JETSTREAM_UNAVAILABLE when JetStream is off, or does not answer within
 * `timeoutMs`.
 * @throws SERVER_REFUSED when this user may not use the JetStream API.
 */
export async function checkServer(nc: NatsConnection, timeoutMs: number, jsPrefix = '$JS.API'): Promise<void> {
  const { info } = nc
  const version = info?.version ?? 'unknown'
  if (apiLevelOf(info) < API_LEVEL_MIN) {
    throw new CarillonError(
      'SERVER_TOO_OLD',
      `nats-server ${version} at ${nc.getServer()} is too old: 2.12.0 is the oldest that works; ${HOW_TO_GET}`,
    )
  }
  const account = await accountInfo(nc, timeoutMs, jsPrefix)
  if (account.error !== undefined) {
    throw new CarillonError(
      'JETSTREAM_UNAVAILABLE',
      `JetStream refused the account: ${String(account.error.description)}; enable JetStream for this account`,
    )
  }
  if (Number(account.api?.level ?? 0) < API_LEVEL_MIN) {
    throw new CarillonError(
      'SERVER_TOO_OLD',
      `the JetStream cluster behind ${nc.getServer()} has servers older than 2.12.0; ${HOW_TO_GET}`,
    )
  }
}

/** Turns what the connection or JetStream throws into an error with a next step. */
export function toServerError(error: unknown, what: string): CarillonError {
  if (error instanceof CarillonError) return error
  const reason = error instanceof Error ? error.message : String(error)
  const denied = permissionViolation(error)
  if (denied !== undefined) {
    return new CarillonError(
      'SERVER_REFUSED',
      `${what}: ${denied.operation} on "${denied.subject}" is not permitted to this user; grant it`,
      { cause: error },
    )
  }
  if (isNoResponders(error)) {
    return new CarillonError(
      'JETSTREAM_UNAVAILABLE',
      `${what}: JetStream does not answer; start nats-server with -js, or check that it has a leader`,
      { cause: error },
    )
  }
  return new CarillonError('JETSTREAM_UNAVAILABLE', `${what}: ${reason}`, { cause: error })
}

interface AccountInfo {
  readonly api?: { readonly level?: unknown }
  readonly error?: { readonly description?: unknown }
}

/**
 * Asks until the deadline: while a cluster elects its leader, nobody answers. "No responders" is final only when
 * JetStream is off here.
 */
async function accountInfo(nc: NatsConnection, timeoutMs: number, jsPrefix: string): Promise<AccountInfo> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    try {
      return (await nc.request(`${jsPrefix}.INFO`, undefined, { timeout: REQUEST_TIMEOUT_MS })).json<AccountInfo>()
    } catch (error) {
      const isFinal =
        permissionViolation(error) !== undefined ||
        (isNoResponders(error) && nc.info?.jetstream !== true) ||
        nc.isClosed()
      if (isFinal || performance.now() > deadline) throw toServerError(error, 'asking for JetStream')
    }
  }
}

export function isNoResponders(error: unknown): boolean {
  return error instanceof errors.NoRespondersError || (error instanceof errors.RequestError && error.isNoResponders())
}

function permissionViolation(error: unknown): PermissionViolationError | undefined {
  if (error instanceof PermissionViolationError) return error
  return error instanceof Error && error.cause instanceof PermissionViolationError ? error.cause : undefined
}

function apiLevelOf(info: object | undefined): number {
  if (info === undefined || !('api_lvl' in info)) return 0
  return Number(info.api_lvl)
}
