/** Between spans and W3C trace context. */
import {
  type Context,
  createTraceState,
  isSpanContextValid,
  ROOT_CONTEXT,
  type Span,
  trace as api,
} from '@opentelemetry/api'

import { splitTrace } from '../protocol/index.ts'

/** A context whose span is the remote one that a trace context names. */
export function contextOfTrace(trace: string): Context {
  const { parent, state } = splitTrace(trace)
  const [, traceId = '', spanId = '', flags = ''] = parent.split('-')
  const spanContext = {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16),
    isRemote: true,
    ...(state === undefined ? {} : { traceState: createTraceState(state) }),
  }
  return isSpanContextValid(spanContext) ? api.setSpanContext(ROOT_CONTEXT, spanContext) : ROOT_CONTEXT
}

/** What carries a span on; undefined where nothing is traced. */
export function traceOfSpan(span: Span): { readonly parent: string; readonly state: string | undefined } | undefined {
  const spanContext = span.spanContext()
  if (!isSpanContextValid(spanContext)) return undefined
  const { traceId, spanId, traceFlags, traceState } = spanContext
  const state = traceState?.serialize()
  return {
    parent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`,
    state: state === '' ? undefined : state,
  }
}

/** The trace context with another span as the parent of what follows. */
export function formatTrace(trace: string, spanId: string): string {
  const { parent, state } = splitTrace(trace)
  const [version, traceId, , flags] = parent.split('-')
  const changed = [version, traceId, spanId, flags].join('-')
  return state === undefined ? changed : `${changed} ${state}`
}
