/** What a node puts around the implementations that it runs. They are made without it, and where there is nothing to put around they are run as they are. */
import type { PayloadCodecs } from '../protocol/payload-codecs.ts'
import type { ActivityFunction, ActivityImplementations } from './activities.ts'
import { type Around, compose } from './compose.ts'
import type { Context } from './context.ts'
import type { Implementation } from './implement.ts'
import type {
  ActivityAttempt,
  ActivityRequest,
  HandlerCall,
  Interceptors,
  SendRequest,
  WorkflowInterceptor,
} from './interceptors.ts'
import type { Firing } from './timers.ts'

/** Each part is undefined for nothing. */
export interface Host {
  /** What payloads pass on their way out and in. */
  readonly codecs?: PayloadCodecs | undefined
  readonly handle?: Around<HandlerCall, unknown> | undefined
  readonly activity?: Around<ActivityRequest, Promise<unknown>> | undefined
  readonly send?: Around<SendRequest, void> | undefined
}

export interface HostOptions {
  readonly codecs?: PayloadCodecs | undefined
  readonly interceptors?: Interceptors | undefined
}

/** The implementation as one node runs it. */
export function withHost(implementation: Implementation, { codecs, interceptors }: HostOptions): Implementation {
  const host = hostOf(codecs, interceptors?.workflow ?? [])
  if (Object.values(host).every((part) => part === undefined)) return implementation
  const { handle } = host
  return Object.freeze({
    ...implementation,
    host,
    ...(handle === undefined ? {} : intercepted(implementation, handle)),
  })
}

/** The activities as one node runs them. */
export function withInterceptors(
  all: ActivityImplementations,
  interceptors: Interceptors | undefined,
): ActivityImplementations {
  const around = compose<ActivityAttempt, Promise<unknown>>(interceptors?.activity ?? [])
  if (around === undefined) return all
  const wrap =
    (name: string, fn: ActivityFunction): ActivityFunction =>
    (payload, ctx) =>
      around({ name, payload, ctx }, async (changed) => fn(changed, ctx))
  return Object.freeze({ ...all, functions: new Map([...all.functions].map(([name, fn]) => [name, wrap(name, fn)])) })
}

function hostOf(codecs: PayloadCodecs | undefined, all: readonly WorkflowInterceptor[]): Host {
  return {
    codecs,
    handle: compose(all.map((one) => one.handle?.bind(one))),
    activity: compose(all.map((one) => one.activity?.bind(one))),
    send: compose(all.map((one) => one.send?.bind(one))),
  }
}

/** The handlers, each behind the interceptors. */
function intercepted(
  { signals, updates, timers, main }: Implementation,
  handle: Around<HandlerCall, unknown>,
): Pick<Implementation, 'signals' | 'updates' | 'timers' | 'main'> {
  const around =
    (kind: HandlerCall['kind'], name: string, run: (ctx: Context, payload: unknown) => unknown) =>
    (ctx: Context, payload: unknown): unknown =>
      handle({ kind, name, payload, ctx }, (changed) => run(ctx, changed))
  return {
    signals: mapValues(signals, (run, name) => around('signal', name, run)),
    updates: mapValues(updates, (update, name) => ({ ...update, run: around('update', name, update.run) })),
    timers: mapValues(timers, (timer, name) => ({
      ...timer,
      run: around('timer', name, (ctx, firing) => timer.run(ctx, firing as Firing)),
    })),
    main: main === undefined ? undefined : around('run', '', main),
  }
}

function mapValues<Value>(
  map: ReadonlyMap<string, Value>,
  to: (value: Value, name: string) => Value,
): Map<string, Value> {
  return new Map([...map].map(([name, value]) => [name, to(value, name)]))
}
