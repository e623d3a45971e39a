/** Where interceptors stand around what workflow code asks for, and around the signals that it receives. Handlers are wrapped before they get here. */
import type { Context } from '../contract/context.ts'
import { CarillonError, hasCode } from '../errors.ts'
import { type Input, parseKey } from '../protocol/index.ts'
import type { Instance } from './instance.ts'
import type { OutgoingInput } from './outgoing.ts'
import { toPlainError } from './plain-error.ts'

/** A signal on its way to `receive`; undefined when it was refused, and buried. */
export async function interceptReceived(
  instance: Instance,
  ctx: Context,
  input: Input,
  payload: unknown,
): Promise<{ readonly payload: unknown } | undefined> {
  const handle = instance.implementation.host?.handle
  if (handle === undefined) return { payload }
  try {
    return { payload: await handle({ kind: 'signal', name: input.name, payload, ctx }, (changed) => changed) }
  } catch (error) {
    if (!hasCode(error, 'INPUT_REJECTED')) throw error
    instance.deadLetter(input, toPlainError(error, 'INPUT_REJECTED'))
    return undefined
  }
}

/** The payload of a send, as the interceptors leave it. @throws INVALID_DEFINITION when one neither passes it on nor throws. */
export function interceptSend(instance: Instance, { target, inputKind, name, payload }: OutgoingInput): unknown {
  const intercept = instance.implementation.host?.send
  if (intercept === undefined || (inputKind !== 'start' && inputKind !== 'signal' && inputKind !== 'update'))
    return payload
  let passed: { readonly payload: unknown } | undefined
  intercept(
    { kind: inputKind, name, payload, to: parseKey(target), ctx: instance.context },
    (changed) => (passed = { payload: changed }),
  )
  if (passed !== undefined) return passed.payload
  throw new CarillonError(
    'INVALID_DEFINITION',
    `an interceptor kept back the ${inputKind} ${name} for ${target}: call next, or throw to refuse it`,
  )
}
