/** Results of children. Deduplicated by the effect that started the child, which is open once. */
import { type Input, parseKey } from '../protocol/index.ts'
import { takeAsked } from './check-result.ts'
import type { Instance } from './instance.ts'
import { parsePayload } from './parse-payload.ts'
import { payloadOf } from './payload-of.ts'
import { ignoreMalformed, parseResult } from './step-result.ts'

/** Applies the result of a child, once; a later one, or one of a child of an earlier life, is ignored. */
export function stepChild(instance: Instance, input: Input): void {
  const parsed = parsePayload(() => parseResult(payloadOf(instance, input)))
  if (!parsed.ok) return ignoreMalformed(instance, input, parsed.error)
  const { effect, outcome } = parsed.value
  if (takeAsked(instance, input, effect, instance.data.children, ({ key }) => parseKey(key).type) === undefined) return
  const live = instance.liveChildren.get(effect)
  if (live !== undefined) live.outcome = outcome
  instance.liveChildren.delete(effect)
  instance.settleWait(effect, outcome, 'CHILD_FAILED')
}
