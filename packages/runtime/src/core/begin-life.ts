/** The start of a life: of a new instance, or of one that had closed. */
import type { Instance } from './instance.ts'
import { armRepeating } from './timers.ts'

/** A new life of the instance: state, repeating timers, `run`. Known ids go on from the life before. */
export function beginLife(instance: Instance, input: unknown): void {
  const { data, implementation } = instance
  data.phase = { kind: 'running', startedMs: instance.requireTurn().nowMs }
  data.incarnation += 1
  data.state = implementation.createState(input)
  armRepeating(instance)
  instance.startMain(input)
}
