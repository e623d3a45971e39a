/** Type tests: every `@ts-expect-error` line must not compile. They run with the build. */
import {
  type AttributesOf,
  type ClientInterceptor,
  type Contract,
  type CountGroup,
  defineWorkflow,
  type,
  type Schema,
} from '@carillon/runtime'
import { compression, createCodecs, encryption } from '@carillon/runtime/codecs'

import { type Carillon, connect, type SignalItem, type WorkflowHandle } from './index.ts'

/** As zod, valibot and the like have it: senders give one type, handlers get another. */
declare const amountText: Schema<string, number>

const Loyalty = defineWorkflow('loyalty', {
  input: type<{ email: string }>(),
  result: type<{ points: number }>(),
  signals: {
    purchase: type<{ orderId: string; amount: number }>(),
    spend: amountText,
    close: type<void>(),
    hint: type<string | undefined>(),
  },
  updates: { redeem: { input: type<{ points: number }>(), output: type<{ left: number }>() }, reset: {} },
  queries: {
    status: { output: type<{ points: number }>() },
    orders: { input: type<{ limit: number }>(), output: type<string[]>() },
  },
})
const Bare = defineWorkflow('bare', { signals: { ping: type<number>() } })

/** Fails to compile unless both types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : never
function isSame<A, B>(_same: Same<A, B>): void {}

export async function handles(carillon: Carillon): Promise<void> {
  const loyalty = carillon.workflow(Loyalty, 'customer-42')

  await loyalty.start({ email: 'a@b' })
  await loyalty.start({ email: 'a@b' }, { id: 'once', ifRunning: 'use', wait: 'applied' })
  // @ts-expect-error -- the input is missing
  await loyalty.start()
  // @ts-expect-error -- wrong input
  await loyalty.start({ mail: 'a@b' })
  await carillon.workflow(Bare, 'b').start()
  // @ts-expect-error -- this type takes no input
  await carillon.workflow(Bare, 'b').start({ email: 'a@b' })

  await loyalty.signal('purchase', { orderId: 'o', amount: 1 }, { id: 'o', wait: 'applied', timeoutMs: 100 })
  await loyalty.signal('spend', '12')
  await loyalty.signal('close')
  await loyalty.signal('close', undefined, { id: 'once' })
  await loyalty.signal('hint')
  await loyalty.signal('hint', 'blue')
  // @ts-expect-error -- no such signal
  await loyalty.signal('purchased', { orderId: 'o', amount: 1 })
  // @ts-expect-error -- wrong payload
  await loyalty.signal('purchase', { orderId: 'o', amount: '1' })
  // @ts-expect-error -- the payload is missing
  await loyalty.signal('purchase')
  // @ts-expect-error -- senders give what the schema takes, not what it makes
  await loyalty.signal('spend', 12)
  // @ts-expect-error -- this signal has no payload
  await loyalty.signal('close', { why: 'done' })
  // @ts-expect-error -- no such way to wait
  await loyalty.signal('close', undefined, { wait: 'stored' })
  // @ts-expect-error -- an update is no signal
  await loyalty.signal('redeem', { points: 1 })

  await loyalty.signalWithStart({
    input: { email: 'a@b' },
    signal: { name: 'purchase', payload: { orderId: 'o', amount: 1 } },
  })
  await loyalty.signalWithStart({ input: { email: 'a@b' }, signal: { name: 'close' } }, { id: 'both' })
  await carillon.workflow(Bare, 'b').signalWithStart({ signal: { name: 'ping', payload: 1 } })
  // @ts-expect-error -- the input is missing
  await loyalty.signalWithStart({ signal: { name: 'close' } })
  // @ts-expect-error -- the signal is missing
  await loyalty.signalWithStart({ input: { email: 'a@b' } })
  // @ts-expect-error -- the payload of another signal
  await loyalty.signalWithStart({ input: { email: 'a@b' }, signal: { name: 'purchase', payload: 'blue' } })
  // @ts-expect-error -- the payload is missing
  await loyalty.signalWithStart({ input: { email: 'a@b' }, signal: { name: 'purchase' } })

  await loyalty.start({ email: 'a@b' }, { ifRunning: 'terminate', ifClosed: 'fail', startDelay: '2 days' })
  // @ts-expect-error -- no such unit
  await loyalty.start({ email: 'a@b' }, { startDelay: '2 fortnights' })
  // @ts-expect-error -- no such rule
  await loyalty.start({ email: 'a@b' }, { ifClosed: 'use' })
  const both = await loyalty.updateWithStart(
    { input: { email: 'a@b' }, update: { name: 'redeem', input: { points: 1 } } },
    { id: 'u', ifRunning: 'use', ifClosed: 'fail', timeoutMs: 100 },
  )
  isSame<typeof both, { left: number }>(true)
  await loyalty.updateWithStart({ input: { email: 'a@b' }, update: { name: 'reset' } })
  // @ts-expect-error -- the start's input is missing
  await loyalty.updateWithStart({ update: { name: 'reset' } })
  // @ts-expect-error -- wrong input of the update
  await loyalty.updateWithStart({ input: { email: 'a@b' }, update: { name: 'redeem', input: { point: 1 } } })
  // @ts-expect-error -- the update's input is missing
  await loyalty.updateWithStart({ input: { email: 'a@b' }, update: { name: 'redeem' } })
  await loyalty.cancel()
  await loyalty.cancel('changed my mind', { wait: 'applied' })
  // @ts-expect-error -- the reason is a text
  await loyalty.cancel(5)
  await loyalty.terminate()
  await loyalty.terminate('no longer needed', { id: 't', wait: 'applied' })

  const redeemed = await loyalty.update('redeem', { points: 3 }, { id: 'r', timeoutMs: 100 })
  isSame<typeof redeemed, { left: number }>(true)
  const reset = await loyalty.update('reset')
  isSame<typeof reset, undefined>(true)
  await loyalty.update('reset', undefined, { id: 'r' })
  // @ts-expect-error -- no such field in the result
  console.log(redeemed.rest)
  // @ts-expect-error -- no such update
  await loyalty.update('refund', { points: 3 })
  // @ts-expect-error -- the input is missing
  await loyalty.update('redeem')
  // @ts-expect-error -- an update always waits
  await loyalty.update('reset', undefined, { wait: 'accepted' })

  const status = await loyalty.query('status')
  isSame<typeof status, { points: number }>(true)
  const orders = await loyalty.query('orders', { limit: 3 }, { minSeq: 7 })
  isSame<typeof orders, string[]>(true)
  await loyalty.query('status', undefined, { minSeq: 7 })
  await loyalty.query('status', undefined, { consistency: 'linearizable' })
  await loyalty.describe({ consistency: 'session' })
  await loyalty.query('status', undefined, { from: 'any' })
  await loyalty.describe({ from: 'owner' })
  // @ts-expect-error -- a node is not named
  await loyalty.describe({ from: 'node-1' })
  // @ts-expect-error -- there is no such consistency
  await loyalty.describe({ consistency: 'eventual' })
  // @ts-expect-error -- no such query
  await loyalty.query('state')
  // @ts-expect-error -- the input is missing
  await loyalty.query('orders')

  const result = await loyalty.result({ timeoutMs: 100 })
  isSame<typeof result, { points: number }>(true)
  isSame<Awaited<ReturnType<WorkflowHandle<(typeof Bare)['shape']>['result']>>, unknown>(true)
}

export async function withoutContract(carillon: Carillon, some: Contract): Promise<void> {
  const loose = carillon.workflow('loyalty', 'customer-42')
  await loose.start()
  await loose.start({ email: 'a@b' })
  await loose.signal('anything', { at: 'all' }, { id: 'x' })
  await loose.signalWithStart({ signal: { name: 'anything', payload: 1 } })
  isSame<Awaited<ReturnType<typeof loose.update>>, unknown>(true)
  await loose.query('anything', { at: 'all' }, { minSeq: 1 })
  await carillon.workflow(some, 'x').signal('anything', 1)
}

export async function many(carillon: Carillon): Promise<void> {
  const purchase = { name: 'purchase', payload: { orderId: 'o', amount: 1 } } as const
  await carillon.signalMany([{ workflow: Loyalty, id: 'a', ...purchase, inputId: 'o' }])
  await carillon.signalMany([{ workflow: Loyalty, id: 'a', name: 'close' }])
  await carillon.signalMany<typeof Loyalty | typeof Bare>([
    { workflow: Loyalty, id: 'a', name: 'close' },
    { workflow: Bare, id: 'b', name: 'ping', payload: 1 },
  ])
  async function* items(): AsyncGenerator<SignalItem<typeof Loyalty>> {
    yield { workflow: Loyalty, id: 'a', name: 'hint' }
    // @ts-expect-error -- the payload is missing
    yield { workflow: Loyalty, id: 'a', name: 'purchase' }
  }
  await carillon.signalMany(items(), { inFlightMax: 10, onError: 'collect' })
  // @ts-expect-error -- no such signal
  await carillon.signalMany([{ workflow: Loyalty, id: 'a', name: 'purchased' }])
  // @ts-expect-error -- wrong payload
  await carillon.signalMany([{ workflow: Bare, id: 'b', name: 'ping', payload: '1' }])
}

const Labelled = defineWorkflow('labelled', {
  attributes: { region: 'text', points: 'number', vip: 'bool', due: 'time', tags: 'texts' },
})

export async function lists(carillon: Carillon): Promise<void> {
  const contract = Labelled
  for await (const row of carillon.list({
    contract,
    status: 'running',
    startedAfter: new Date(),
    where: { region: 'eu' },
  })) {
    isSame<typeof row.attributes, AttributesOf<typeof Labelled.shape> | undefined>(true)
    const points: number | undefined = row.attributes?.points
    const due: Date | undefined = row.attributes?.due
    // @ts-expect-error -- no such attribute
    void [points, due, row.attributes?.regoin]
  }
  const page = await carillon.listPage({ contract, where: { points: { atLeast: 1, below: 5 }, tags: 'a' }, limit: 10 })
  await carillon.listPage({ contract, where: { due: { above: new Date() }, vip: { isSet: true } }, after: page.next })
  const total: number = await carillon.count({ contract, where: { region: { anyOf: ['eu', 'us'] } } })
  const groups: readonly CountGroup[] = await carillon.count({ contract, groupBy: { attribute: 'region' } })
  await carillon.count({ groupBy: 'type' })
  await carillon.list({ type: 'labelled', where: { anything: 5 } }).next()
  // @ts-expect-error -- no such attribute
  carillon.list({ contract, where: { regoin: 'eu' } })
  // @ts-expect-error -- a number is declared
  carillon.list({ contract, where: { points: '5' } })
  // @ts-expect-error -- texts have no order
  carillon.list({ contract, where: { region: { atLeast: 'a' } } })
  // @ts-expect-error -- no such attribute
  await carillon.count({ contract, groupBy: { attribute: 'regoin' } })
  void [total, groups]
}

export async function codecsAndInterceptors(): Promise<Carillon> {
  const codecs = createCodecs([compression(), encryption({ keys: { k1: new Uint8Array(32) }, current: 'k1' })])
  const measuring: ClientInterceptor = async (call, next) => {
    const kind: 'start' | 'signal' | 'update' | 'cancel' | 'admin' | 'query' | 'describe' | 'result' = call.kind
    // @ts-expect-error -- a call is changed by passing another one on
    call.payload = kind
    return next({ ...call, inputId: 'i' })
  }
  // @ts-expect-error -- a list of codecs is put together by createCodecs
  await connect({ servers: 'nats://a', codecs: [compression()] })
  // @ts-expect-error -- what it gives comes later
  await connect({ servers: 'nats://a', interceptors: [() => 1] })
  return connect({ servers: 'nats://a', codecs, interceptors: [measuring] })
}
