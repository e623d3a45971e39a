/**
 * Waits that nobody listens to: losers of a race, calls that nobody awaits. When no code of the instance is left, nobody can come to listen either,
 * so they are let go: sleeps and time-outs are dropped. Activities run on, and children and updates too: the instance takes note of their ends as
 * any other, but need not be in memory for it.
 */
import type { Instance } from './instance.ts'
import { Waits } from './waits.ts'

/** At the end of a turn. */
export function letGoOfUnheard(instance: Instance): void {
  if (!instance.waits.hasUnheard || !instance.isQuiescent) return
  const { sleeps } = instance.data
  for (const id of instance.waits.unheard()) {
    const dueMs = sleeps.get(id)
    if (dueMs === undefined) continue
    sleeps.delete(id)
    instance.emit({ kind: 'timer-done', id, dueMs })
  }
  // As it is when the instance comes back from the store.
  instance.waits = new Waits()
}
