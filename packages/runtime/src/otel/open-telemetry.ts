/**
 * OpenTelemetry: a span for each call of a producer, for each input that a node applies, and for each attempt of an activity, in one trace.
 *
 * A call's context goes with the input; the turn's span is its child; activities and what the turn sends are children of the turn's. Nothing of it
 * takes part in turns.
 */
import {
  type Attributes,
  context,
  type Context,
  diag,
  isSpanContextValid,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace as api,
  type Tracer,
} from '@opentelemetry/api'

import {
  type ActivityInterceptor,
  type ClientCall,
  type ClientInterceptor,
  defineInterceptors,
  type Interceptors,
} from '../contract/interceptors.ts'
import type { AppliedTurn, TurnName, TurnTracer } from '../contract/turn-tracer.ts'
import { contextOfTrace, formatTrace, traceOfSpan } from './span-trace.ts'
import { idsOf, withIds } from './turn-ids.ts'

export interface OpenTelemetryOptions {
  /** Default: the one named `carillon` of the global provider. */
  readonly tracer?: Tracer
}

export interface CarillonTelemetry {
  /** For `connect({ interceptors: [client] })`. */
  readonly client: ClientInterceptor
  /** For a node's `interceptors`, or to be exported by one of its workflow files. */
  readonly node: Interceptors
}

/** Makes what traces producers and nodes. Where no provider is registered it costs little and does nothing. */
export function openTelemetry({ tracer = api.getTracer('carillon') }: OpenTelemetryOptions = {}): CarillonTelemetry {
  return {
    client: (call, next) => traceCall(tracer, call, next),
    node: defineInterceptors({
      activity: [(call, next) => traceAttempt(tracer, call, next)],
      tracer: new OpenTelemetryTurns(tracer),
    }),
  }
}

const READS: ReadonlySet<ClientCall['kind']> = new Set(['query', 'describe', 'result'])

/** The span begins in the caller's active context, and its own goes with the input, unless the caller has given one. */
function traceCall(tracer: Tracer, call: ClientCall, next: (call: ClientCall) => Promise<unknown>): Promise<unknown> {
  if (call.traceparent !== undefined) return next(call)
  const isRead = READS.has(call.kind)
  const span = tracer.startSpan(nameOf(call), {
    kind: isRead ? SpanKind.CLIENT : SpanKind.PRODUCER,
    attributes: {
      'carillon.workflow.type': call.type,
      'carillon.workflow.id': call.id,
      'carillon.input.kind': call.kind,
      ...(call.inputId === undefined ? {} : { 'carillon.input.id': call.inputId }),
    },
  })
  const carried = isRead ? undefined : traceOfSpan(span)
  return within(context.active(), span, () =>
    next({ ...call, traceparent: carried?.parent, tracestate: carried?.state }),
  )
}

const traceAttempt = (tracer: Tracer, ...[call, next]: Parameters<ActivityInterceptor>): Promise<unknown> => {
  const { name, payload, ctx } = call
  const parent = ctx.trace === undefined ? ROOT_CONTEXT : contextOfTrace(ctx.trace)
  const attributes = {
    'carillon.workflow.type': ctx.workflow.type,
    'carillon.workflow.id': ctx.workflow.id,
    'carillon.activity.name': name,
    'carillon.call.id': ctx.callId,
    'carillon.attempt': ctx.attempt,
  }
  const span = tracer.startSpan(`activity ${name}`, { kind: SpanKind.INTERNAL, attributes }, parent)
  return within(parent, span, () => next(payload))
}

/** Runs something as the span, and ends that with it. */
async function within(parent: Context, span: Span, run: () => Promise<unknown>): Promise<unknown> {
  try {
    return await context.with(api.setSpan(parent, span), run)
  } catch (error) {
    span.recordException(error instanceof Error ? error : String(error))
    span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : String(error) })
    throw error
  } finally {
    span.end()
  }
}

class OpenTelemetryTurns implements TurnTracer {
  readonly #tracer: Tracer
  /** Whether the provider's ids are those of `TurnIds`; undefined until there is a provider. */
  #hasIds: boolean | undefined

  constructor(tracer: Tracer) {
    this.#tracer = tracer
  }

  applied(turn: AppliedTurn): void {
    const span = this.#start(turn, turn.startMs, {
      'carillon.workflow.type': turn.type,
      'carillon.workflow.id': turn.id,
      'carillon.input.kind': turn.kind,
      'carillon.input.seq': turn.seq,
      'carillon.outcome': turn.outcome,
      ...(turn.inputId === undefined ? {} : { 'carillon.input.id': turn.inputId }),
    })
    if (turn.error !== undefined)
      span.setStatus({ code: SpanStatusCode.ERROR, message: `${turn.error.code}: ${turn.error.message}` })
    span.end(turn.endMs)
  }

  contextOf(turn: TurnName): string | undefined {
    if (turn.trace !== undefined) return this.#knowsIds(turn) ? formatTrace(turn.trace, idsOf(turn).spanId) : turn.trace
    // The sampler decides by the trace's id, as it has when the turn's own span was started. This one is never ended, and so never told.
    const { traceId, spanId, traceFlags } = this.#start(turn, 0, {}).spanContext()
    return this.#knowsIds(turn) ? `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}` : undefined
  }

  #start(turn: TurnName & Partial<AppliedTurn>, startTime: number, attributes: Attributes): Span {
    const parent = turn.trace === undefined ? ROOT_CONTEXT : contextOfTrace(turn.trace)
    const options = { kind: SpanKind.CONSUMER, attributes, ...(startTime === 0 ? {} : { startTime }) }
    return withIds(idsOf(turn), () => this.#tracer.startSpan(nameOf(turn), options, parent))
  }

  /** Without the right ids no effect could name its turn's span: its parent is then the input's. */
  #knowsIds(turn: TurnName): boolean {
    if (this.#hasIds !== undefined) return this.#hasIds
    const { spanId, ...rest } = this.#start(turn, 0, {}).spanContext()
    if (!isSpanContextValid({ spanId, ...rest })) return false
    this.#hasIds = spanId === idsOf(turn).spanId
    if (!this.#hasIds)
      diag.warn(
        'carillon: activities cannot name the turn that asked for them: make the tracer provider with { idGenerator: new TurnIds() } of @carillon/runtime/otel',
      )
    return this.#hasIds
  }
}

function nameOf({ kind = 'turn', name = '' }: { readonly kind?: string; readonly name?: string }): string {
  return name === '' ? kind : `${kind} ${name}`
}
