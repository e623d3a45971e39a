/** What a worker asks and tells about a call. */
import { codeOf, type ErrorData } from '@carillon/runtime'
import type { ParsedCall } from '@carillon/runtime/activity'
import { type Outcome, parseKey } from '@carillon/runtime/protocol'

import type { Session } from './session.ts'

/** How long the owner of an instance may take to say whether a call is wanted. Without an answer it is run. */
const WANTED_MS = 2000

/** What the instance says; without an answer the call is run, because it may be wanted. */
export async function isWanted({ subjects, rpc }: Session, { key, id }: ParsedCall): Promise<boolean> {
  try {
    const request = { op: 'wanted', key, effect: id } as const
    const asked = await rpc.attempt(subjects.partitionOfKey(key), request, WANTED_MS, 'a call')
    return asked.kind !== 'value' || asked.value !== false
  } catch {
    return true
  }
}

/** Stores the result as an input of the instance, which ignores it if it has one. Throws as `Session.send`. */
export async function storeResult(
  session: Session,
  { key, id: effect, name, trace }: ParsedCall,
  outcome: Outcome,
): Promise<void> {
  const { type, id } = parseKey(key)
  const target = session.targets.of(type, id)
  const input = { target, kind: 'activity', name, id: `${effect}:result`, traceparent: trace } as const
  const send = (result: Outcome): Promise<number> =>
    session.send({ ...input, payload: { effect, outcome: result } }).seq
  try {
    await send(outcome)
  } catch (error) {
    if (codeOf(error) !== 'PAYLOAD_TOO_LARGE') throw error
    const message = `the activity ${name} is done, but its result cannot be stored: ${(error as Error).message}`
    await send({ ok: false, error: { code: 'PAYLOAD_TOO_LARGE', message } })
  }
}

/** What the workflow is told of a call that no worker ended. */
export function lost({ name }: ParsedCall, times: number): ErrorData {
  return {
    code: 'ACTIVITY_FAILED',
    message: `the activity ${name} was handed out ${times} times, and its workers were lost or gave it back: look at their logs`,
    details: { attempts: times },
  }
}
