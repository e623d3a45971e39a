/** An update that is accepted, and whose outcome is asked for when it is wanted. */
import { fromErrorData, type StartedUpdate } from '@carillon/runtime'
import { type Outcome, quote } from '@carillon/runtime/protocol'

import { Deadline } from './deadline.ts'
import { RESULT_TIMEOUT_MS } from './limits.ts'
import { isOutcome } from './reply-inbox.ts'
import type { Session } from './session.ts'
import { formatTarget, type Target } from './target.ts'

/** How long one request is held by the node. */
const HOLD_MS = 5_000

export function startedUpdate<Value>(
  session: Session,
  target: Target,
  { name, id, seq }: { readonly name: string; readonly id: string; readonly seq: number },
): StartedUpdate<Value> {
  return {
    id,
    seq,
    async result({ timeoutMs = RESULT_TIMEOUT_MS } = {}) {
      const call = {
        partition: target.partition,
        what: `the outcome of the update ${quote(name)} of ${formatTarget(target)}`,
        deadline: new Deadline(timeoutMs),
        holdMs: HOLD_MS,
        request: (waitMs: number) => ({ op: 'outcome', key: target.key, id, seq, waitMs }) as const,
      }
      const outcome = await session.track(() => session.rpc.call(call))
      if (!isOutcome(outcome)) return outcome as Value
      return valueOf(outcome) as Value
    },
  }
}

/** @throws what the input ended with, if that was an error. */
export function valueOf(outcome: Outcome): unknown {
  if (outcome.ok) return outcome.value
  throw fromErrorData(outcome.error)
}
