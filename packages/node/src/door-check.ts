/** Whether the public door leads into the journal. */
import { CarillonError } from '@carillon/runtime'
import { type Subjects, type Token } from '@carillon/runtime/protocol'
import { headers, type NatsConnection, PermissionViolationError } from '@nats-io/transport-node'

import { isNoResponders } from './server-check.ts'

/** JetStream: the message expects another stream. It is the answer of a stream that was reached and stored nothing. */
const EXPECTED_STREAM_MISMATCH = 10060
const ATTEMPTS = 3
const TIMEOUT_MS = 1000

/**
 * Sends a signal that the journal must refuse, through the door, and looks at who refuses it. Nothing is stored.
 *
 * A user that may not publish on the door skips the check: producers have their own permissions.
 *
 * @throws CONFIG_INVALID when the door leads nowhere, or a publish on it is never answered.
 */
export async function checkDoor(nc: NatsConnection, subjects: Subjects): Promise<void> {
  const subject = subjects.door('carillon' as Token, 'door' as Token, 'check' as Token)
  let reason = ''
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const outcome = await probe(nc, subject)
    if (outcome === undefined) return
    reason = outcome
  }
  const hint = `with door "mapping" the account needs a mapping of it to ${subjects.doorDestination}; with door "stream" no mapping may lead it elsewhere`
  throw new CarillonError(
    'CONFIG_INVALID',
    `the public door ${subjects.doorAll} does not lead into the stream ${subjects.logStream} (${reason}): ${hint}`,
  )
}

/** Undefined when all is well, else what went wrong. */
async function probe(nc: NatsConnection, subject: string): Promise<string | undefined> {
  const refusing = headers()
  refusing.set('Nats-Expected-Stream', 'carillon-door-check')
  try {
    const answer = await nc.request(subject, undefined, { timeout: TIMEOUT_MS, headers: refusing })
    const code = errCodeOf(answer.json<unknown>())
    return code === EXPECTED_STREAM_MISMATCH ? undefined : `JetStream answered ${answer.string().slice(0, 100)}`
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
    if (cause instanceof PermissionViolationError) return undefined
    return isNoResponders(error) ? 'nobody listens there' : 'a publish on it is not answered'
  }
}

function errCodeOf(answer: unknown): unknown {
  if (typeof answer !== 'object' || answer === null || !('error' in answer)) return undefined
  const { error } = answer
  return typeof error === 'object' && error !== null && 'err_code' in error ? error.err_code : undefined
}
