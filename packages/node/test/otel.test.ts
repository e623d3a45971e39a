import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { connect } from '@carillon/client'
import { type CarillonNode, openNode } from '@carillon/node'
import { defineWorkflow, implement, implementActivities, type } from '@carillon/runtime'
import { openTelemetry, TurnIds } from '@carillon/runtime/otel'
import { silentLogger } from '@carillon/runtime/ports'
import { context, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'

const Order = defineWorkflow('order', {
  signals: { place: type<string>(), booked: type<string>() },
  queries: { booked: { output: type<readonly string[]>() } },
  activities: { charge: { input: type<string>(), output: type<string>() } },
})
const order = implement(Order, {
  startOnSignal: true,
  state: () => ({ booked: [] as string[] }),
  on: {
    async place(ctx, what) {
      ctx.workflow(Order, 'ledger').signal('booked', await ctx.activities.charge(what))
    },
    booked: (ctx, what) => void ctx.state.booked.push(what),
  },
  queries: { booked: (state) => state.booked },
})

describe('OpenTelemetry over a node', () => {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({
    idGenerator: new TurnIds(),
    spanProcessors: [new SimpleSpanProcessor(exporter)],
  })
  const tracer = provider.getTracer('test')
  const manager = new AsyncLocalStorageContextManager()
  const telemetry = openTelemetry({ tracer })
  let server: TestServer
  let dataDir: string
  let node: CarillonNode
  /** Until the node has stopped, an activity that is called does not come to its end. */
  let isBlocked = true

  const open = async (): Promise<void> => {
    const charging = implementActivities(Order, {
      charge: (what, { signal }) =>
        isBlocked
          ? new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
          : `${what} charged`,
    })
    const workflows = { implementations: [order], activities: [charging], interceptors: telemetry.node }
    node = await openNode({ servers: server.url, dataDir, workflows, logger: silentLogger, partitions: 4 })
    await node.caughtUp
  }
  const spans = (name: string): readonly ReadableSpan[] =>
    exporter.getFinishedSpans().filter((span) => span.name === name)
  const idOf = (span: ReadableSpan | undefined): string | undefined => span?.spanContext().spanId
  const parentOf = (span: ReadableSpan | undefined): string | undefined => span?.parentSpanContext?.spanId

  beforeAll(async () => {
    manager.enable()
    context.setGlobalContextManager(manager)
    server = await startTestServer()
    dataDir = await mkdtemp(join(tmpdir(), 'carillon-otel-'))
    await open()
  })

  afterAll(async () => {
    await node.close()
    await server.stop()
    await rm(dataDir, { recursive: true, force: true })
    context.disable()
  })

  it('makes one trace from the producer through turn and activity to another instance, also across a restart', async () => {
    await using carillon = await connect({ servers: server.url, interceptors: [telemetry.client] })
    const request = tracer.startSpan('POST /orders', {}, ROOT_CONTEXT)
    const { traceId } = request.spanContext()
    await context.with(trace.setSpan(ROOT_CONTEXT, request), () =>
      carillon.workflow(Order, 'o-1').signal('place', 'a bell', { id: 'o-1' }),
    )
    await expect.poll(() => spans('signal place').length, { timeout: 10_000 }).toBe(2)
    await node.close()
    isBlocked = false
    await open()
    await expect
      .poll(
        () =>
          carillon
            .workflow(Order, 'ledger')
            .query('booked')
            .catch(() => []),
        { timeout: 10_000 },
      )
      .toEqual(['a bell charged'])

    const [sent, turn] = spans('signal place')
    const activity = spans('activity charge').find(
      (span) => span.status.code === SpanStatusCode.UNSET && span.kind === SpanKind.INTERNAL,
    )
    const [booked] = spans('signal booked')
    expect(parentOf(sent)).toBe(idOf(request as never as ReadableSpan))
    expect(parentOf(turn)).toBe(idOf(sent))
    expect(parentOf(activity)).toBe(idOf(turn))
    const result = spans('activity charge').find((span) => span.kind === SpanKind.CONSUMER)
    expect(parentOf(booked)).toBe(idOf(result))
    for (const span of [sent, turn, activity, result, booked]) expect(span?.spanContext().traceId).toBe(traceId)
    // The restart has folded the signal again, and told nobody.
    expect(spans('signal place')).toHaveLength(2)
  })
})
