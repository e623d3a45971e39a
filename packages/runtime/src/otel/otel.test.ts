import { context, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace as api } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  AlwaysOnSampler,
  BasicTracerProvider,
  InMemorySpanExporter,
  ParentBasedSampler,
  type ReadableSpan,
  SimpleSpanProcessor,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace-base'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import type { ClientCall } from '../contract/interceptors.ts'
import { defineWorkflow, implement, implementActivities, NonRetryable, type } from '../index.ts'
import { HEADERS } from '../protocol/index.ts'
import { EngineWorld, type LifeOptions } from '../testing/engine-world.ts'
import { openTelemetry, TurnIds } from './index.ts'

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c'
const PARENT = `00-${TRACE_ID}-b7ad6b7169203331-01`

const Shop = defineWorkflow('shop', {
  signals: { buy: type<string>(), sold: type<string>(), later: type<number>() },
  activities: { pack: { input: type<string>(), output: type<string>() } },
})
const shop = implement(Shop, {
  startOnSignal: true,
  state: () => ({ sold: [] as string[] }),
  on: {
    async buy(ctx, what) {
      const packed = await ctx.activities.pack(what)
      ctx.workflow(Shop, 'ledger').signal('sold', packed)
    },
    sold: (ctx, what) => void ctx.state.sold.push(what),
    later: (ctx, ms) => ctx.timers.reminder.set(ms),
  },
  timers: { reminder: { run: (ctx) => void ctx.state.sold.push('reminder') } },
})

/** One process with its own provider, as it lasts. */
function telemetry(
  idGenerator: TurnIds | null = new TurnIds(),
  sampler = new ParentBasedSampler({ root: new AlwaysOnSampler() }),
) {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({
    ...(idGenerator === null ? {} : { idGenerator }),
    sampler,
    spanProcessors: [new SimpleSpanProcessor(exporter)],
  })
  const { client, node } = openTelemetry({ tracer: provider.getTracer('carillon') })
  return { exporter, provider, client, node, spans: () => exporter.getFinishedSpans() }
}

const named = (spans: readonly ReadableSpan[], name: string): ReadableSpan[] =>
  spans.filter((span) => span.name === name)
const parentOf = (span: ReadableSpan | undefined): string | undefined => span?.parentSpanContext?.spanId
const idOf = (span: ReadableSpan | undefined): string | undefined => span?.spanContext().spanId
const traceIdOf = (span: ReadableSpan | undefined): string | undefined => span?.spanContext().traceId

describe('OpenTelemetry on a node', () => {
  const manager = new AsyncLocalStorageContextManager()
  beforeAll(() => {
    manager.enable()
    context.setGlobalContextManager(manager)
  })
  afterAll(() => {
    context.disable()
    manager.disable()
  })

  /** Runs activities in which others' spans begin too. */
  const life = (told: { readonly node: LifeOptions['interceptors'] }, run?: () => Promise<void>): LifeOptions => ({
    implementations: [shop],
    activities: [
      implementActivities(Shop, {
        async pack(what, ctx) {
          await run?.()
          if (what === 'nothing') throw new NonRetryable('there is nothing to pack')
          return `${what} ${ctx.trace?.slice(3, 35) ?? 'untraced'}`
        },
      }),
    ],
    interceptors: told.node,
  })

  it('makes one trace of a turn, its activity, the turn of its result, and the turn of another instance', async () => {
    const told = telemetry()
    const world = new EngineWorld()
    await world.start(life(told))
    world.send('shop', 'ada', 'signal', 'buy', 'a book', {
      id: 'i-1',
      headers: { [HEADERS.trace]: PARENT, tracestate: 'vendor=1' },
    })
    await world.settled()
    const [buy] = named(told.spans(), 'signal buy')
    const [pack] = named(told.spans(), 'activity pack')
    const result = named(told.spans(), 'activity pack').find(({ kind }) => kind === SpanKind.CONSUMER)
    const [sold] = named(told.spans(), 'signal sold')
    expect(new Set(told.spans().map(traceIdOf))).toEqual(new Set([TRACE_ID]))
    expect(parentOf(buy)).toBe('b7ad6b7169203331')
    expect(parentOf(pack)).toBe(idOf(buy))
    expect(parentOf(result)).toBe(idOf(buy))
    expect(parentOf(sold)).toBe(idOf(result))
    expect(sold?.spanContext().traceState?.serialize()).toBe('vendor=1')
    expect(buy).toMatchObject({
      kind: SpanKind.CONSUMER,
      attributes: {
        'carillon.workflow.type': 'shop',
        'carillon.workflow.id': 'ada',
        'carillon.input.kind': 'signal',
        'carillon.input.seq': 1,
        'carillon.input.id': 'i-1',
        'carillon.outcome': 'applied',
      },
    })
    expect(pack?.attributes).toMatchObject({ 'carillon.activity.name': 'pack', 'carillon.call.id': 'shop.ada/1.0' })
    await world.stop()
  })

  it.each([200, 1e9])(
    'an activity that runs after a crash, in another process, has the same parent; commits every %i ms',
    async (commitEveryMs) => {
      const [before, after] = [telemetry(), telemetry()]
      const world = new EngineWorld()
      await world.start({ ...life(before, () => new Promise(() => {})), limits: { commitEveryMs } })
      world.send('shop', 'ada', 'signal', 'buy', 'a book', { headers: { [HEADERS.trace]: PARENT } })
      world.send('shop', 'bob', 'signal', 'buy', 'a pen')
      await world.settled()
      await world.clock.advance(1000)
      await world.crash()
      await world.start(life(after))
      await world.settled()
      const turns = named(before.spans(), 'signal buy')
      expect(turns).toHaveLength(2)
      // Folded again, they are not told again.
      expect(named(after.spans(), 'signal buy')).toEqual([])
      const packs = named(after.spans(), 'activity pack').filter(({ kind }) => kind === SpanKind.INTERNAL)
      expect(new Set(packs.map(parentOf))).toEqual(new Set(turns.map(idOf)))
      expect(new Set(packs.map(traceIdOf))).toEqual(new Set(turns.map(traceIdOf)))
      expect(new Set(named(after.spans(), 'signal sold').map(traceIdOf))).toEqual(new Set(turns.map(traceIdOf)))
      await world.stop()
    },
  )

  it('tells of each input once: not when an instance is rebuilt, nor of those that are skipped', async () => {
    const told = telemetry()
    const world = new EngineWorld()
    await world.start({ ...life(told), limits: { residentsMax: 1 } })
    for (const id of ['a', 'b', 'c', 'a', 'b', 'c']) world.send('shop', id, 'signal', 'sold', 'x')
    await world.settled()
    expect(named(told.spans(), 'signal sold')).toHaveLength(6)
    await world.stop()
  })

  it('says of a turn what became of it', async () => {
    const told = telemetry()
    const world = new EngineWorld()
    await world.start(life(told))
    world.send('shop', 'ada', 'signal', 'sold', 'x', { id: 'same' })
    world.send('shop', 'ada', 'signal', 'sold', 'x', { id: 'same' })
    world.send('shop', 'ada', 'signal', 'unknown', 'x')
    world.send('shop', 'ada', 'signal', 'buy', 'nothing')
    await world.settled()
    const outcomes = told.spans().filter(({ kind }) => kind === SpanKind.CONSUMER)
    expect(outcomes.map(({ attributes }) => attributes['carillon.outcome'])).toEqual([
      'applied',
      'duplicate',
      'dead',
      'applied',
      'suspended',
    ])
    const failed = told.spans().filter(({ status }) => status.code === SpanStatusCode.ERROR)
    expect(failed.map(({ name }) => name)).toEqual(['signal unknown', 'activity pack', 'activity pack'])
    await world.stop()
  })

  it('an activity runs within its span: what it starts is a child', async () => {
    const told = telemetry()
    const world = new EngineWorld()
    const work = async (): Promise<void> => {
      await Promise.resolve()
      told.provider.getTracer('http').startSpan('GET /').end()
    }
    await world.start(life(told, work))
    world.send('shop', 'ada', 'signal', 'buy', 'a book')
    await world.settled()
    const pack = named(told.spans(), 'activity pack').find(({ kind }) => kind === SpanKind.INTERNAL)
    expect(parentOf(named(told.spans(), 'GET /')[0])).toBe(idOf(pack))
    await world.stop()
  })

  it('asks the sampler once for a trace that begins with a turn: all of it is recorded, or nothing', async () => {
    const half = new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(0.5) })
    const told = telemetry(new TurnIds(), half)
    const world = new EngineWorld()
    await world.start(life(told))
    for (let n = 0; n < 40; n++) world.send('shop', `s${n}`, 'signal', 'buy', 'x')
    await world.settled()
    const turns = new Set(named(told.spans(), 'signal buy').map(traceIdOf))
    expect(turns.size).toBeGreaterThan(3)
    expect(turns.size).toBeLessThan(37)
    for (const name of ['activity pack', 'signal sold'])
      expect(new Set(named(told.spans(), name).map(traceIdOf))).toEqual(turns)
    await world.stop()
  })

  it('without the ids of turns, activities are children of what sent the input', async () => {
    const told = telemetry(null)
    const world = new EngineWorld()
    await world.start(life(told))
    world.send('shop', 'ada', 'signal', 'buy', 'a book', { headers: { [HEADERS.trace]: PARENT } })
    await world.settled()
    const pack = named(told.spans(), 'activity pack').find(({ kind }) => kind === SpanKind.INTERNAL)
    expect([traceIdOf(pack), parentOf(pack)]).toEqual([TRACE_ID, 'b7ad6b7169203331'])
    await world.stop()
  })

  it('a timer that fires begins a trace of its own', async () => {
    const told = telemetry()
    const world = new EngineWorld()
    await world.start(life(told))
    world.send('shop', 'ada', 'signal', 'later', 50, { headers: { [HEADERS.trace]: PARENT } })
    await world.settled()
    const [fired] = named(told.spans(), 'timer reminder')
    expect(fired).toBeDefined()
    expect(traceIdOf(fired)).not.toBe(TRACE_ID)
    await world.stop()
  })

  it('a node without it hands on what inputs brought', async () => {
    const world = new EngineWorld()
    await world.start({ ...life({ node: undefined }) })
    world.send('shop', 'ada', 'signal', 'buy', 'a book', { headers: { [HEADERS.trace]: PARENT } })
    world.send('shop', 'bob', 'signal', 'buy', 'a pen', { headers: { [HEADERS.trace]: 'nonsense' } })
    await world.settled()
    const carried = world.log.messages
      .filter(({ subject }) => subject.includes('.ledger.'))
      .map((message) => message.header(HEADERS.trace))
    expect(new Set(carried)).toEqual(new Set([PARENT, undefined]))
    await world.stop()
  })
})

describe('OpenTelemetry in a client', () => {
  const call: ClientCall = {
    kind: 'signal',
    type: 'shop',
    id: 'ada',
    name: 'buy',
    payload: 'x',
    inputId: 'i-1',
    traceparent: undefined,
    tracestate: undefined,
  }

  it('sends the context of its own span along, a child of what was active', async () => {
    const told = telemetry()
    const manager = new AsyncLocalStorageContextManager().enable()
    context.setGlobalContextManager(manager)
    const root = told.provider.getTracer('http').startSpan('POST /orders', {}, ROOT_CONTEXT)
    const sent = await context.with(api.setSpan(ROOT_CONTEXT, root), () =>
      told.client(call, (changed) => Promise.resolve(changed)),
    )
    context.disable()
    const [span] = told.spans()
    expect(span).toMatchObject({ name: 'signal buy', kind: SpanKind.PRODUCER })
    expect(parentOf(span)).toBe(root.spanContext().spanId)
    expect(sent).toMatchObject({ traceparent: `00-${traceIdOf(span)}-${idOf(span)}-01` })
  })

  it('leaves a trace context that the caller has given, and sends none with a read', async () => {
    const told = telemetry()
    const given = { ...call, traceparent: PARENT }
    expect(await told.client(given, (changed) => Promise.resolve(changed))).toBe(given)
    expect(told.spans()).toEqual([])
    const read = await told.client({ ...call, kind: 'query' }, (changed) => Promise.resolve(changed))
    expect(read).toMatchObject({ traceparent: undefined })
    expect(told.spans()).toMatchObject([{ kind: SpanKind.CLIENT }])
  })

  it('records that a call failed, and sends nothing along where nothing is traced', async () => {
    const told = telemetry()
    await expect(told.client(call, () => Promise.reject(new Error('refused')))).rejects.toThrow('refused')
    expect(told.spans()).toMatchObject([{ status: { code: SpanStatusCode.ERROR, message: 'refused' } }])
    const { client } = openTelemetry()
    expect(await client(call, (changed) => Promise.resolve(changed))).toEqual(call)
  })
})
