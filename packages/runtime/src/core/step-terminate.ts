/** The command `terminate`: the instance closes as failed at this input, whatever runs or waits in it. */
import type { ErrorData } from '../errors.ts'
import type { Input } from '../protocol/index.ts'
import { isMeant, parseEnding } from './ending-payload.ts'
import type { Instance } from './instance.ts'
import { parsePayload } from './parse-payload.ts'
import { terminate } from './terminate.ts'

/**
 * Handlers in progress, and those that wait behind them, do not come to their end: their senders are told TERMINATED, and inputs that no handler
 * has seen are dead-lettered. A parent's command means the child that it started, not a later life of its id.
 */
export function stepTerminate(instance: Instance, input: Input): void {
  const parsed = parsePayload(() => parseEnding(instance, input))
  if (!parsed.ok) return instance.deadLetter(input, parsed.error)
  const { reason = TERMINATE_REASON } = parsed.value
  if (!isMeant(instance, parsed.value)) {
    instance.emit({ kind: 'ignored', input })
    return instance.finish(input, { ok: true })
  }
  if (instance.data.phase.kind !== 'running')
    return instance.finish(input, { ok: false, error: notRunning(instance, 'terminate') })
  terminate(instance, reason)
  instance.finish(input, { ok: true })
}

/** Where none is given. */
export const TERMINATE_REASON = 'it was told to'

export function notRunning({ type, id, data }: Instance, command: string): ErrorData {
  return data.phase.kind === 'closed'
    ? { code: 'CLOSED', message: `${type}/${id} is closed already: there is nothing to ${command}` }
    : { code: 'NOT_FOUND', message: `there is no instance ${type}/${id} to ${command}` }
}
