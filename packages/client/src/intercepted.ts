/** Interceptors around the calls of handles. */
import type { ClientCall, ClientInterceptor } from '@carillon/runtime'

import type { OutgoingInput } from './input-sender.ts'

/** The interceptors of one connection as one, the first the outermost; undefined for none. */
export function composeInterceptors(all: readonly ClientInterceptor[] = []): ClientInterceptor | undefined {
  if (all.length === 0) return undefined
  return (call, last) => {
    const from =
      (index: number) =>
      (changed: ClientCall): Promise<unknown> => {
        const one = all[index]
        return one === undefined ? last(changed) : one(changed, from(index + 1))
      }
    return from(0)(call)
  }
}

/** An input as interceptors see it. */
export function callOf({ target, kind, name, payload, id, traceparent, tracestate }: OutgoingInput): ClientCall {
  return {
    kind: kind as ClientCall['kind'],
    type: target.type,
    id: target.id,
    name: name ?? '',
    payload,
    inputId: id,
    traceparent,
    tracestate,
  }
}

/** The input as they leave it. Whom it is for is not theirs to change. */
export function inputOf(
  input: OutgoingInput,
  { payload, inputId, traceparent, tracestate }: ClientCall,
): OutgoingInput {
  return { ...input, payload, id: inputId, traceparent, tracestate }
}
