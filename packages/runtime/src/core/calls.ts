/**
 * Updates that instances send to each other, and their answers.
 *
 * The update is a send whose reply address is an instance; the answer is a send back, an input of kind `answer`. A call is known by its effect,
 * which is open once.
 */
import type { Contract } from '../contract/contract.ts'
import { validate } from '../contract/schema.ts'
import { CarillonError } from '../errors.ts'
import {
  type ActivityPayload,
  encodeValue,
  formatAsker,
  type Input,
  type InstanceKey,
  type Outcome,
  parseAsker,
  PAYLOAD_BYTES_MAX,
  quote,
} from '../protocol/index.ts'
import { takeAsked } from './check-result.ts'
import { type Effect, type EffectId, isEffectId } from './effect.ts'
import type { Instance } from './instance.ts'
import { INSTANCE_LIMITS } from './instance-data.ts'
import { send } from './outgoing.ts'
import { parsePayload } from './parse-payload.ts'
import { payloadOf } from './payload-of.ts'
import type { Scope } from './scope.ts'
import { ignoreMalformed, parseResult } from './step-result.ts'

type SendEffect = Effect & { readonly kind: 'send' }

/** Sends an update; the promise waits for its answer. */
export function call(
  instance: Instance,
  contract: Contract,
  { target, name, input }: { readonly target: InstanceKey; readonly name: string; readonly input: unknown },
  scope: Scope | undefined,
): Promise<unknown> {
  const { calls } = instance.data
  const updates = contract.shape.updates ?? {}
  if (!Object.hasOwn(updates, name))
    throw new CarillonError(
      'UNKNOWN_NAME',
      `${contract.name} declares no update ${quote(name)}; it has: ${Object.keys(updates).join(', ') || 'none'}`,
    )
  // It would wait for the handler that waits for it.
  if (target === instance.key)
    throw new CarillonError(
      'INVALID_DEFINITION',
      `${instance.type}/${instance.id} sent the update ${name} to itself: call the function that it runs, or send a signal`,
    )
  if (calls.size >= INSTANCE_LIMITS.calls)
    throw new CarillonError(
      'LIMIT_REACHED',
      `${instance.type}/${instance.id} waits for ${INSTANCE_LIMITS.calls} updates of others, the most there may be`,
    )
  if (scope?.error !== undefined) throw scope.error
  validate(updates[name]?.input, input, `the update ${name} of ${contract.name}`)
  const id = instance.requireTurn().nextEffectId()
  send(instance, { target, inputKind: 'update', name, payload: input }, id)
  calls.set(id, name)
  return instance.waits.forEffect(id, scope)
}

/** What an update of this instance is to carry as its reply address. */
export function askerOf(key: InstanceKey, effect: EffectId): string {
  return formatAsker({ key, effect })
}

/** The answer to an update that an instance sent, or undefined when somebody else did. */
export function answerTo(input: Input, outcome: Outcome, id: () => EffectId): SendEffect | undefined {
  const asker = input.kind !== 'update' || input.reply === undefined ? undefined : parseAsker(input.reply)
  if (asker === undefined || !isEffectId(asker.effect)) return undefined
  const payload = encodeResult(asker.effect, outcome)
  return { kind: 'send', id: id(), target: asker.key, inputKind: 'answer', name: input.name, payload }
}

/** Applies an answer, once; a later one, or one to a call of an earlier life, is ignored. */
export function stepAnswer(instance: Instance, input: Input): void {
  const parsed = parsePayload(() => parseResult(payloadOf(instance, input)))
  if (!parsed.ok) return ignoreMalformed(instance, input, parsed.error)
  const { effect, outcome } = parsed.value
  if (takeAsked(instance, input, effect, instance.data.calls, (name) => name) === undefined) return
  instance.settleWait(effect, outcome, 'UPDATE_FAILED')
}

/** How something ended, on its way to the instance that asked for it. */
export function encodeResult(effect: EffectId, outcome: Outcome): Uint8Array {
  const bytes = encodeValue({ effect, outcome } satisfies ActivityPayload)
  if (bytes.length <= PAYLOAD_BYTES_MAX) return bytes
  const message = `it was done, but its result has ${bytes.length} bytes, over ${PAYLOAD_BYTES_MAX}: return a reference instead`
  const error = { code: 'PAYLOAD_TOO_LARGE', message }
  return encodeValue({ effect, outcome: { ok: false, error } } satisfies ActivityPayload)
}
