/** The start of a life: of a new instance, or of one that had closed. */
import type { Input } from '../protocol/index.ts'
import { withAttributes } from './attributes.ts'
import type { Instance } from './instance.ts'
import { dropRetention } from './retention.ts'
import { armRepeating } from './timers.ts'

/** A new life of the instance: state, repeating timers, `run`. Known ids go on from the life before. */
export function beginLife(instance: Instance, input: unknown): void {
  open(instance, input)
  go(instance, input)
}

/** A new life that does nothing until the delay is over: inputs wait behind it, in order. `start` is what asked for it. */
export function beginLifeLater(instance: Instance, start: Input, input: unknown, delayMs: number): void {
  open(instance, input)
  // The sender of the start does not wait for the end of the delay.
  const silent: Input = { ...start, id: undefined, reply: undefined }
  const wait = async (): Promise<void> => {
    await instance.context.sleep(delayMs)
    if (instance.closing === undefined) go(instance, input)
  }
  instance.enqueue({ input: silent, run: wait })
}

function open(instance: Instance, input: unknown): void {
  const { data, implementation } = instance
  dropRetention(instance)
  data.phase = { kind: 'running', startedMs: instance.requireTurn().nowMs }
  data.incarnation += 1
  data.state = implementation.createState(input)
  data.stateVersion = implementation.version
  const { createAttributes, contract } = implementation
  data.attributes = createAttributes && withAttributes(contract, undefined, createAttributes(input))
}

function go(instance: Instance, input: unknown): void {
  armRepeating(instance)
  instance.startMain(input)
}
