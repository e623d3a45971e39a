/**
 * The ids of turns' spans: made from what names a turn for ever, so that an activity that runs after a crash knows its parent, and a span that is told
 * twice is one span.
 *
 * OpenTelemetry lets nobody choose a span's id but the tracer provider's id generator: `new BasicTracerProvider({ idGenerator: new TurnIds() })`.
 */
import { createHash, randomFillSync } from 'node:crypto'

import type { TurnName } from '../contract/turn-tracer.ts'

const TRACE_ID_BYTES = 16
const SPAN_ID_BYTES = 8

interface Ids {
  readonly traceId: string
  readonly spanId: string
}

/** What the span that is being started is to be called; taken by the next one. */
let planned: Ids | undefined

/** Lets a function start a span with ids of its choice, where the provider's ids come from `TurnIds`. */
export function withIds<T>(ids: Ids, start: () => T): T {
  planned = ids
  try {
    return start()
  } finally {
    planned = undefined
  }
}

/** The ids of a turn's span; the trace's is for a turn whose input belongs to none. */
export function idsOf({ journal, key, seq }: Omit<TurnName, 'trace'>): Ids {
  const hash = createHash('sha256').update(`${journal}\n${key}\n${seq}`).digest('hex')
  const traceEnd = 2 * TRACE_ID_BYTES
  return { traceId: hash.slice(0, traceEnd), spanId: hash.slice(traceEnd, traceEnd + 2 * SPAN_ID_BYTES) }
}

/** An id generator of a tracer provider: random ids, but those of turns where a turn's span is started. */
export class TurnIds {
  generateTraceId(): string {
    return planned?.traceId ?? randomHex(TRACE_ID_BYTES)
  }

  generateSpanId(): string {
    return planned?.spanId ?? randomHex(SPAN_ID_BYTES)
  }
}

function randomHex(bytes: number): string {
  return randomFillSync(Buffer.alloc(bytes)).toString('hex')
}
