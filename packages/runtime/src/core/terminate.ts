/**
 * Terminating: the instance closes as failed at once, whatever runs or waits in it.
 *
 * Senders whose handlers are in progress are told TERMINATED; inputs that no handler has seen yet are dead-lettered with it.
 */
import { type ErrorData } from '../errors.ts'
import type { Input } from '../protocol/index.ts'
import type { Instance } from './instance.ts'

/** Ends the life that runs, in this turn. Inputs given as `behind` are applied right after it. */
export function terminate(instance: Instance, reason: string, behind: readonly Input[] = []): void {
  const error: ErrorData = {
    code: 'TERMINATED',
    message: `${instance.type}/${instance.id} was terminated: ${reason}`,
  }
  const { begun, waiting } = instance.abandon({ ok: false, error }, behind)
  for (const input of begun) instance.finish(input, { ok: false, error })
  for (const input of waiting) {
    if (input.kind === 'timer') instance.emit({ kind: 'ignored', input })
    else instance.deadLetter(input, error)
  }
}
