/** Operators' commands that an instance obeys as inputs. `resume` acts on a suspended instance, before any step: here it finds nothing to do. */
import type { Input } from '../protocol/index.ts'
import type { Instance } from './instance.ts'
import { unknownName } from './step-signal.ts'
import { stepTerminate } from './step-terminate.ts'

export function stepAdmin(instance: Instance, input: Input): void {
  if (input.name === 'terminate') return stepTerminate(instance, input)
  if (input.name === 'resume') return instance.finish(input, { ok: true })
  instance.deadLetter(input, unknownName(instance, 'command', input.name, ['resume', 'terminate']))
}
