/** The check of `carillon doctor` on what this user could do to others: whether it is apart from them, as docker/production has it. */
import type { Subjects, Token } from '@carillon/runtime/protocol'
import { type NatsConnection, PermissionViolationError } from '@nats-io/transport-node'

import { type Finding, ok, warn } from './finding.ts'

const TIMEOUT_MS = 3000
/** A stream that nobody has: a request about it changes nothing, and shows whether requests about any stream are permitted. */
const NO_STREAM = 'carillon-doctor'
const NEXT =
  'fine on a machine of your own; in production give each application an account: docs/operations.md, NATS for production'

/**
 * Probes without an effect. What an account imports is its limit, so an account of its own is enough; in the account of the streams it takes permissions.
 *
 * @param isOutside the streams are in another account
 */
export async function checkIsolation(nc: NatsConnection, subjects: Subjects, isOutside: boolean): Promise<Finding> {
  const excess = [
    (await maySubscribe(nc, '_INBOX.>')) ? 'hears the answers to everybody in its account' : undefined,
    !isOutside && (await mayPublish(nc, `$JS.API.STREAM.PURGE.${NO_STREAM}`)) ? 'may purge any stream' : undefined,
    !isOutside && !(await maySubscribe(nc, subjects.rpcOfNode(NO_STREAM as Token, 0 as never)))
      ? 'is in the account of the streams, though it is no node: the reply subject of what it publishes may be any'
      : undefined,
  ].filter((text) => text !== undefined)
  if (excess.length > 0) return warn('isolation', `this user ${excess.join('; ')}`, NEXT)
  return ok('isolation', isOutside ? 'this user is in an account of its own' : 'this user has the rights of a node')
}

async function maySubscribe(nc: NatsConnection, subject: string): Promise<boolean> {
  let isPermitted = true
  const subscription = nc.subscribe(subject, {
    callback: (error) => {
      if (error !== null) isPermitted = false
    },
  })
  await nc.flush()
  if (!subscription.isClosed()) subscription.unsubscribe()
  return isPermitted
}

async function mayPublish(nc: NatsConnection, subject: string): Promise<boolean> {
  try {
    await nc.request(subject, undefined, { timeout: TIMEOUT_MS })
    return true
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
    return !(cause instanceof PermissionViolationError)
  }
}
