/** Tasks that somebody outside completes: the deeds that a token gives the right to. */
import { type Accepted, fromErrorData, type SendOptions, toErrorData } from '@carillon/runtime'
import { parseTaskToken, type TaskDeed, taskSignal } from '@carillon/runtime/protocol'

import { OUTCOME_TIMEOUT_MS } from './limits.ts'
import type { Session } from './session.ts'

/** How a deed is sent. `wait` is `applied` by default: only the instance knows whether the task is still open. */
export type TaskDeedOptions = SendOptions

/** What a task may be failed with. */
export type TaskFailure =
  | Error
  | string
  | { readonly code?: string; readonly message: string; readonly details?: unknown }

/** Sends one deed, and waits until it is applied unless told otherwise. */
export async function doTask(
  session: Session,
  token: string,
  deed: TaskDeed,
  payload: unknown,
  { id, traceparent, wait = 'applied', timeoutMs = OUTCOME_TIMEOUT_MS }: TaskDeedOptions,
): Promise<Accepted> {
  const parsed = parseTaskToken(token)
  const target = session.targets.of(parsed.type, parsed.id)
  const input = { target, kind: 'signal', name: taskSignal(parsed, deed), payload, id, traceparent } as const
  if (wait === 'accepted') {
    const sent = session.send(input)
    return { seq: await sent.seq, id: sent.id, duplicate: false }
  }
  const applied = await session.sendAndWait(input, timeoutMs)
  if (!applied.outcome.ok) throw fromErrorData(applied.outcome.error)
  return { seq: applied.seq, id: applied.id, duplicate: applied.duplicate }
}

/** A failure as it travels. */
export function failureData(failure: TaskFailure): unknown {
  return failure instanceof Error ? { ...toErrorData(failure, 'TASK_FAILED'), ...codeOwn(failure) } : failure
}

/** The thrower's own code, whatever it is. */
function codeOwn(error: Error): { readonly code?: string } {
  return 'code' in error && typeof error.code === 'string' ? { code: error.code } : {}
}
