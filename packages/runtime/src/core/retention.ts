/**
 * Retention: how long a closed instance is remembered. Then a timer input forgets it: record, known ids, tail. It is as if it had never been.
 *
 * While an instance is closed, no other timer is set, so the name cannot be mistaken for that of a handler.
 */
import type { Instance } from './instance.ts'
import { armTimer, disarmTimer } from './timers.ts'

const RETENTION = 'retention'

/** The instance has closed in this turn. */
export function armRetention(instance: Instance): void {
  const { retentionMs } = instance.implementation
  if (retentionMs !== undefined) armTimer(instance, RETENTION, instance.requireTurn().nowMs + retentionMs)
}

/** A closed instance is started again. */
export function dropRetention(instance: Instance): void {
  if (instance.data.phase.kind === 'closed') disarmTimer(instance, RETENTION)
}

/** The retention of a closed instance is over. What is absent at the end of its turn remembers nothing. */
export function forget(instance: Instance): void {
  instance.data.timers = new Map()
  instance.data.phase = { kind: 'absent' }
}
