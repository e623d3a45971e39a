/** What the servers' permissions refuse, as an error with a next step. */
import { CarillonError } from '@carillon/runtime'
import { quote } from '@carillon/runtime/protocol'
import { PermissionViolationError } from '@nats-io/transport-node'

/** Undefined when the error is none of permissions. */
export function refusedSubject(error: unknown): CarillonError | undefined {
  const violation = violationOf(error)
  if (violation === undefined) return undefined
  const { operation, subject } = violation
  const [what, next] =
    operation === 'subscription'
      ? ['a subscription to', 'if this user may have inboxes under one prefix only, set inboxPrefix (--inbox-prefix)']
      : ['publishing on', "if its account has JetStream's API under another prefix, set jetStreamPrefix (--js-prefix)"]
  return new CarillonError('SERVER_REFUSED', `${what} ${quote(subject)} is not permitted to this user: ${next}`, {
    cause: error,
  })
}

/** Whether the servers' permissions are what refused it. */
export function isRefusedSubject(error: unknown): boolean {
  return violationOf(error) !== undefined
}

function violationOf(error: unknown): PermissionViolationError | undefined {
  if (error instanceof PermissionViolationError) return error
  return error instanceof Error && error.cause instanceof PermissionViolationError ? error.cause : undefined
}
