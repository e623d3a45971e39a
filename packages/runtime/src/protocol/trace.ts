/**
 * W3C trace context, as the runtime carries it: one text, `<traceparent>` or `<traceparent> <tracestate>`, from an input to the effects of its turn.
 * Source: https://www.w3.org/TR/trace-context/
 */
import { HEADERS } from './input.ts'

/** Version, trace id, parent id and flags. */
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/
/** Characters of a `tracestate` that are carried: what the recommendation asks for at least. A longer one is left behind, as it allows. */
const STATE_CHARS_MAX = 512
const STATE = /^[ -~]+$/

/** Whether a text has the form of a `traceparent`. */
export function isTraceparent(text: string): boolean {
  return TRACEPARENT.test(text)
}

/** What a message carries; undefined for nothing, or for what has not the form. */
export function traceOf(message: { header(name: string): string | undefined }): string | undefined {
  const parent = message.header(HEADERS.trace)
  if (parent === undefined || !isTraceparent(parent)) return undefined
  return joinTrace(parent, message.header(HEADERS.traceState))
}

export function joinTrace(parent: string, state: string | undefined): string {
  return state === undefined || state.length > STATE_CHARS_MAX || !STATE.test(state) ? parent : `${parent} ${state}`
}

export function splitTrace(trace: string): { readonly parent: string; readonly state: string | undefined } {
  const space = trace.indexOf(' ')
  return space === -1
    ? { parent: trace, state: undefined }
    : { parent: trace.slice(0, space), state: trace.slice(space + 1) }
}

/** The headers that carry it on. */
export function traceHeaders(trace: string | undefined): Readonly<Record<string, string>> {
  if (trace === undefined) return {}
  const { parent, state } = splitTrace(trace)
  return state === undefined ? { [HEADERS.trace]: parent } : { [HEADERS.trace]: parent, [HEADERS.traceState]: state }
}
