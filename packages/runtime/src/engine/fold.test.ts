/** Properties of the fold: whatever happens between two inputs, the same inputs give the same instances and the same effects. */
import { deepStrictEqual, strictEqual, throws } from 'node:assert'

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { compression, createCodecs, encryption } from '../codecs/index.ts'
import { withHost } from '../contract/host.ts'
import { digestOf, installGuards, statusOf } from '../core/index.ts'
import {
  codeOf,
  type Context,
  defineInterceptors,
  defineWorkflow,
  type Firing,
  implement,
  type Implementation,
  InputRejected,
  type,
} from '../index.ts'
import { silentLogger, systemClock, type Table, type Write } from '../ports/index.ts'
import {
  decodeValue,
  formatTaskToken,
  type Input,
  type InputKind,
  type InstanceKey,
  parseKey,
  parseTaskToken,
  type Partition as PartitionNumber,
  placeOfInput,
  type TaskDeed,
  taskSignal,
  type TimerPayload,
  typeTokenOf,
} from '../protocol/index.ts'
import { checkIndex } from '../testing/check-index.ts'
import { inputOf } from '../testing/instance-bench.ts'
import { MemorySnapshots } from '../testing/memory-snapshots.ts'
import { MemoryDisk, MemoryStore } from '../testing/memory-store.ts'
import { TrackedStore } from './change-log.ts'
import { type CheckpointContext, followCheckpoint, readHead, saveCheckpoint } from './checkpoint.ts'
import { CHECKPOINT_PACE } from './checkpoint-pace.ts'
import { Partition, type PartitionSink } from './partition.ts'
import { restorePartition } from './restore.ts'

installGuards()

const Entity = defineWorkflow('entity', {
  signals: {
    add: type<number>(),
    act: type<number>(),
    two: type<number>(),
    detach: type<number>(),
    timer: type<number>(),
    cancel: type<number>(),
    sleepy: type<number>(),
    until: type<number>(),
    draw: type<number>(),
    done: type<number>(),
    renew: type<number>(),
    boom: type<number>(),
    race: type<number>(),
    tell: type<number>(),
    parent: type<number>(),
    brood: type<number>(),
    ask: type<number>(),
    beside: type<number>(),
    finish: type<number>(),
    label: type<number>(),
    price: type<number>(),
    order: type<number>(),
    tick: type<number>(),
    assign: type<number>(),
    fall: type<number>(),
  },
  attributes: { sum: 'number', half: 'text', isOdd: 'bool', at: 'time', tags: 'texts' },
  tasks: { check: { input: type<number>(), output: type<number>() } },
  updates: { take: { input: type<number>(), output: type<{ left: number }>() } },
  activities: { call: { input: type<number>(), output: type<number>() } },
})

/** Nobody listens to it. */
const ignore: (promise: Promise<unknown>) => void = () => {}

const entity = implement(Entity, {
  startOnSignal: true,
  knownIdsMax: 64,
  state: () => ({
    sum: 0,
    log: [] as unknown[],
    bag: new Map<string, number>(),
    seen: new Set<number>(),
    at: new Date(0),
    big: 0n,
  }),
  on: {
    add(ctx, n) {
      ctx.state.sum += n
      ctx.state.bag.set(`k${n % 5}`, n)
      ctx.state.seen.add(n)
      ctx.state.big += BigInt(n) ** 20n
    },
    async act(ctx, n) {
      ctx.state.log.push(['begin', n])
      const answer = await ctx.activities.call(n)
      ctx.state.log.push(['end', answer])
      ctx.state.sum += answer
    },
    async two(ctx, n) {
      const [a, b] = await Promise.all([ctx.activities.call(n), ctx.activities.call(n + 1)])
      ctx.state.sum += a * b
      await ctx.sleep(n)
      ctx.state.log.push(ctx.random())
    },
    detach(ctx, n) {
      void ctx.activities.call(n).then(
        (answer) => ctx.state.log.push(['late', answer]),
        () => ctx.state.log.push(['never']),
      )
    },
    timer: (ctx, n) => ctx.timers.once.set(n),
    cancel: (ctx) => ctx.timers.once.cancel(),
    async sleepy(ctx, n) {
      await ctx.sleep(n)
      ctx.state.at = new Date()
    },
    async until(ctx, n) {
      ctx.state.log.push(await ctx.condition(() => ctx.state.sum > n, n))
    },
    draw: (ctx) => void ctx.state.log.push(ctx.uuid(), Math.random(), Date.now()),
    done: (ctx, n) => ctx.complete(n),
    async beside(ctx, n) {
      ctx.state.log.push(['beside', n])
      ctx.state.sum += await ctx.activities.call(n)
      if (n % 8 === 7) ctx.continueAsNew()
      if (n % 8 === 6) await ctx.sleep(n)
    },
    async finish(ctx, n) {
      ctx.complete(n)
      await ctx.sleep(n)
    },
    async renew(ctx, n) {
      ctx.continueAsNew(undefined, { state: { ...ctx.state, log: [['renewed', n]] } })
      if (n % 2 === 0) ctx.state.sum += await ctx.activities.call(n)
    },
    boom() {
      throw new Error('boom')
    },
    async fall(ctx, n) {
      ctx.state.log.push(['falls', n])
      await ctx.activities.call(n)
      throw new Error('fallen')
    },
    async race(ctx, n) {
      if (n % 3 === 0) ignore(ctx.activities.call(n))
      if (n % 5 === 0) ignore(ctx.sleep(n))
      const isRich = (): boolean => ctx.state.sum > 100
      ctx.state.log.push(
        await Promise.race([ctx.activities.call(n), ctx.sleep(n), ctx.condition(isRich, n * 2)]).then(
          (first) => first ?? 'slept',
          () => 'no',
        ),
      )
    },
    async parent(ctx, n) {
      const child = ctx.children.start(Flow, `child-${n}`, undefined, {
        onParentClose: n % 2 === 0 ? 'abandon' : n % 4 === 1 ? 'terminate' : 'cancel',
      })
      if (n % 3 === 0) await ctx.sleep(n)
      const ended = await child.result().then(
        (value) => ['result', value],
        (error: unknown) => ['error', (error as Error).message],
      )
      ctx.state.log.push(ended)
      ctx.state.log.push(await child.result().catch(() => 'again'))
    },
    async ask(ctx, n) {
      ctx.state.log.push(
        await ctx
          .workflow(Entity, `other-${n}`)
          .update('take', n)
          .catch(() => 'refused'),
      )
    },
    label(ctx, n) {
      ctx.attributes.set({ sum: ctx.state.sum, isOdd: n % 2 === 1, at: n % 5 === 0 ? undefined : n })
      if (n % 3 === 0) ctx.attributes.set({ half: `half/${n >> 1}`, tags: [`t${n % 4}`, 'all'].slice(n % 2) })
      if (n % 7 === 0) ctx.attributes.unset('sum', 'tags')
    },
    async assign(ctx, n) {
      const options = { ...(n % 2 === 0 ? { deadline: n * 3 } : {}), ...(n % 3 === 0 ? { heartbeat: n } : {}) }
      const { token, result } = ctx.task('check', n, options)
      ctx.state.log.push(token)
      if (n % 5 === 0) return
      ctx.state.log.push(await result.catch((error: unknown) => codeOf(error) ?? 'none'))
    },
    brood: (ctx, n) => void ctx.children.start(Flow, `brood-${n}`),
    price: (ctx, n) => void ctx.state.log.push(['price', n]),
    order: (ctx, n) => ctx.activities.call(n),
    tick: (ctx, n) => void ctx.state.log.push(['tick', n]),
    async tell(ctx, n) {
      ctx.workflow(Entity, `other-${n % 3}`).signal('add', n)
      await ctx.sleep(n)
      ctx.workflow(Flow, ctx.id).signalWithStart({ signal: { name: 'bump', payload: n } })
    },
  },
  concurrent: ['beside', 'finish'],
  mailbox: {
    price: { max: 1, overflow: 'latest' },
    order: { max: 1, overflow: 'reject' },
    tick: { max: 2, overflow: 'drop-oldest' },
  },
  updates: {
    take(ctx, n) {
      ctx.state.sum -= n
      return { left: ctx.state.sum }
    },
  },
  timers: {
    once: { run: (ctx) => void ctx.state.log.push(['once', ctx.now()]) },
    often: { every: 50, run: async (ctx) => void (ctx.state.sum += await ctx.activities.call(1)) },
  },
})

const Flow = defineWorkflow('flow', {
  updates: { peek: { output: type<number>() } },
  attributes: { step: 'number', last: 'text' },
  signals: { go: type<number>(), item: type<number>(), bump: type<number>() },
  activities: { call: { input: type<number>(), output: type<number>() } },
})

const flow = implement(Flow, {
  startOnSignal: true,
  retention: 20,
  state: () => ({ sum: 0, log: [] as unknown[] }),
  attributes: () => ({ last: 'none' }),
  on: { bump: (ctx, n) => void (ctx.state.sum += n) },
  mailbox: { item: { max: 2, overflow: 'latest' } },
  updates: { peek: (ctx) => ctx.state.sum },
  async run(ctx) {
    for (;;) {
      const { name, payload: n } = await (n3() === 0 ? ctx.receive() : ctx.receive('go', 'item'))
      ctx.state.log.push(name, n)
      ctx.attributes.set({ step: n, last: name })
      if (n === 23) throw new Error('flow')
      if (n % 4 === 0) ctx.state.sum += await ctx.activities.call(n)
      if (n % 4 === 3)
        await ctx.scope((inner) => inner.activities.call(n), { timeout: n, cancellable: n % 8 === 3 }).catch(codeOf)
      if (n % 4 === 1) await ctx.sleep(n)
      if (n % 4 === 3)
        ctx.state.log.push(
          await ctx
            .scope((inner) => inner.children.start(Entity, `e-${n}`).result(), { timeout: n === 7 ? 20 : '1 hour' })
            .catch(codeOf),
          await ctx
            .scope((inner) => inner.workflow(Entity, 'other').update('take', n), { timeout: n === 11 ? 20 : '1 hour' })
            .catch(codeOf),
        )
      if (n % 4 === 2) ctx.state.log.push(await ctx.condition(() => ctx.state.sum > n, n * 3))
      if (n % 7 === 6) return { sum: ctx.state.sum }
      if (n % 3 === 0) return ctx.continueAsNew(undefined, { state: { ...ctx.state, log: [ctx.random()] } })
      if (n % 5 === 0) ctx.continueAsNew()
    }
    function n3(): number {
      return Math.floor(ctx.random() * 3)
    }
  },
})

const Clock = defineWorkflow('clock', {
  signals: { plan: type<number>(), wait: type<number>(), add: type<number>(), renew: type<void>(), done: type<void>() },
  activities: { call: { input: type<number>(), output: type<number>() } },
})

/** Repeating timers by every policy, which are set anew, moved and cancelled meanwhile. */
const clock = implement(Clock, {
  startOnSignal: true,
  state: () => ({ log: [] as unknown[], deadlineMs: 0 }),
  on: {
    plan(ctx, n) {
      const timer = Object.values(ctx.timers)[n % 5]
      const changes = [
        () => timer?.every(20 + n),
        () => timer?.cron(`*/${1 + (n % 9)} * * * * *`, { timeZone: 'Europe/Berlin' }),
        () => timer?.set(n),
        () => timer?.repeat(),
        () => timer?.cancel(),
        () => timer?.setAt(new Date(ctx.now() + n * 50)),
      ]
      changes[n % changes.length]?.()
      ctx.state.log.push(timer?.dueMs ?? null)
    },
    async wait(ctx, n) {
      ctx.state.deadlineMs = ctx.now() + n
      if (n % 3 === 0) await ctx.sleepUntil(() => ctx.state.deadlineMs)
      else if (n % 3 === 1) await ctx.condition(() => ctx.state.deadlineMs === 0, { until: ctx.now() + n })
      else {
        const timer = ctx.timer(n)
        if (n % 2 === 0) timer.reset(2 * n)
        const first = await Promise.race([timer, ctx.activities.call(n)])
        if (n % 4 === 0) timer.cancel()
        ctx.state.log.push(first, await timer)
      }
      ctx.state.log.push(['waited', n, ctx.now()])
    },
    add: (ctx, n) => void (ctx.state.deadlineMs += n),
    renew: (ctx) => void ctx.continueAsNew(undefined, { state: ctx.state }),
    done: (ctx) => ctx.complete(),
  },
  concurrent: ['add'],
  timers: {
    once: { every: 40, run: note('once') },
    all: { every: 300, catchUp: 'all', run: note('all') },
    late: { cron: '* * * * * *', catchUp: 'skip', overlap: 'skip', jitter: 900, run: note('late') },
    beside: {
      cron: '*/2 * * * * *',
      timeZone: 'America/New_York',
      catchUp: 'all',
      overlap: 'allow',
      run: note('beside'),
    },
    every: { every: 30, overlap: 'skip', jitter: 200, run: note('every') },
  },
})

/** A handler that waits for an activity at every other firing. */
function note(name: string) {
  return async (
    ctx: Context<typeof Clock.shape, { log: unknown[]; deadlineMs: number }>,
    { dueMs, missed }: Firing,
  ): Promise<void> => {
    ctx.state.log.push([name, dueMs, missed, ctx.now()])
    if (ctx.now() < dueMs) early += 1
    if (dueMs % 11 === 3) throw new Error('a firing')
    if ((dueMs / 10) % 2 < 1) ctx.state.log.push([name, await ctx.activities.call(dueMs)])
    if (dueMs % 11 === 4) throw new Error('a late firing')
  }
}

const KEYS = [
  'entity.a',
  'entity.b',
  'flow.c',
  'flow.d',
  'clock.e',
  'clock.f',
  'soft.g',
  'stubborn.h',
  'softclock.i',
] as const satisfies readonly InstanceKey[]
/** They change payloads, refuse some, and let handlers go on a microtask later. */
const interceptors = defineInterceptors({
  workflow: [
    {
      async handle({ name, payload }, next) {
        if (name === 'add' && payload === 13) throw new InputRejected('unlucky')
        return await next(payload)
      },
    },
    {
      handle: ({ name, payload }, next) => next(name === 'add' && payload === 7 ? 8 : payload),
      activity: async ({ payload }, next) => (payload === 5 ? 5 : next(payload)),
      send: ({ kind, payload }, next) => next(kind === 'signal' && payload === 3 ? 4 : payload),
    },
  ],
})
const codecs = createCodecs([
  compression({ aboveBytes: 10 }),
  encryption({ keys: { k1: Buffer.alloc(32, 1) }, current: 'k1' }),
])
/**
 * The build after that: its states have one part more, and `migrate` adds it to those of the first one. What begins behind its patch says so, and
 * waits first.
 */
function nextBuildOf(build: Implementation): Implementation {
  const grow = (state: unknown): unknown => ({ ...(state as object), generation: 2 })
  const later = (name: string, handler: (ctx: Context, payload: unknown) => unknown) => {
    return (ctx: Context, payload: unknown): unknown => {
      if (!ctx.patched(PATCH)) return handler(ctx, payload)
      patchedTurns += 1
      const { log } = ctx.state as { log: unknown[] }
      log.push(['patched', name])
      return name === 'act' || name === 'run' ? ctx.sleep(1).then(() => handler(ctx, payload)) : handler(ctx, payload)
    }
  }
  return {
    ...build,
    version: 2,
    patches: new Set([PATCH]),
    migrate: grow,
    createState: (input) => grow(build.createState(input)),
    signals: new Map([...build.signals].map(([name, handler]) => [name, later(name, handler)])),
    main: build.main && later('run', build.main),
  }
}
const PATCH = 'later'
let patchedTurns = 0
const FIRST_BUILD = new Map<string, Implementation>([
  ['entity', entity],
  ['flow', flow],
  ['clock', clock],
  // The same code with other policies.
  ['softclock', { ...clock, onError: { retries: 0, waitMs: 1, finally: 'dead-letter' } }],
  ['soft', { ...entity, onError: { retries: 0, waitMs: 1, finally: 'dead-letter' } }],
  ['stubborn', { ...entity, onError: { retries: 2, waitMs: 5, finally: 'dead-letter' } }],
])
const NEXT_BUILD = new Map([...FIRST_BUILD].map(([name, build]) => [name, nextBuildOf(build)]))
type Build = ReadonlyMap<string, Implementation>
const HOSTED_BUILD: Build = new Map(
  [...FIRST_BUILD].map(([name, build]) => [name, withHost(build, { codecs, interceptors })]),
)
const MAILBOX_FULL = Buffer.from('MAILBOX_FULL').toString('hex')
const PARTITION = 0 as PartitionNumber
/** Room between two inputs of a program, for repeats. */
const SEQ_STEP = 10

interface Keyed {
  readonly key: InstanceKey
  readonly input: Input
}

/** One partition over a store: what the engine does with it, without the engine. */
class Fold {
  store: MemoryStore
  partition: Partition
  #build: Build
  readonly counts = { applied: 0, duplicate: 0, ignored: 0, dead: 0, suspended: 0 }

  /** What the partition writes through: it knows what has changed. */
  #tracked: TrackedStore
  readonly #atOnceMax: number
  #held: ReadonlySet<string> = new Set()

  constructor(disk = new MemoryDisk(), build: Build = FIRST_BUILD, atOnceMax = 500) {
    this.#atOnceMax = atOnceMax
    this.store = new MemoryStore({ disk })
    this.#tracked = new TrackedStore(this.store)
    this.#build = build
    this.partition = this.#open()
  }

  async apply({ key, input }: Keyed): Promise<void> {
    if (input.name === PATCH) {
      const type = typeTokenOf(key)
      const parsed = { kind: 'patch', partition: PARTITION, type, patch: PATCH } as const
      return this.partition.apply(input.seq, '', parsed, () => input)
    }
    await this.partition.apply(input.seq, '', { kind: 'input', partition: PARTITION, key, input }, () => input)
  }

  async commit(): Promise<void> {
    const writes: Write[] = []
    await this.partition.collect(writes)
    await this.#tracked.commit(writes)
    this.partition.committed()
  }

  /** Loses what is in memory; the store is as of the last commit. */
  crash(): void {
    this.store.crash()
    this.store = new MemoryStore({ disk: this.store.disk })
    this.#tracked = new TrackedStore(this.store)
    this.partition = this.#open()
  }

  /** A node with another build goes on: in order, or after a crash. */
  async deploy(build: Build, isInOrder: boolean): Promise<void> {
    if (isInOrder) await this.commit()
    this.#build = build
    this.crash()
  }

  /** As operators pause types, on this node. */
  hold(...types: readonly string[]): void {
    this.#held = new Set(types)
    this.partition.hold(this.#held)
  }

  /** Lets one instance that waits for the host alone go on, if there is one. */
  async goOn(inputsMax: number): Promise<boolean> {
    await this.partition.goOn(inputsMax)
    return this.partition.hasDue
  }

  /** Everything that must be the same, however the inputs were folded. */
  async outcome(): Promise<unknown> {
    this.hold()
    while (await this.goOn(7));
    await this.commit()
    const instances: unknown[] = []
    for (const key of KEYS) instances.push(await this.#describe(key))
    const { position } = this.partition
    const index = this.#rows('index')
    indexed += index.length
    return { instances, position, index, effects: this.#rows('effect'), timers: this.#rows('timer') }
  }

  async #describe(key: InstanceKey): Promise<unknown> {
    const found = await this.partition.find(key)
    if (found === undefined) return { key }
    const { data, isQuiescent } = found.instance
    const { status, attributes } = checkIndex(this.store, PARTITION).get(key) ?? {}
    // The record says what the instance is now, whatever waits in it.
    const { suspension, pause } = found.standing ?? {}
    const expected = suspension !== undefined ? 'suspended' : pause !== undefined ? 'paused' : statusOf(data.phase)
    deepStrictEqual([status, attributes], [expected, data.attributes])
    // Without the position: a repeat moves it.
    const digest = digestOf({ ...data, seq: 0, timeMs: 0 })
    return {
      key,
      digest,
      isQuiescent,
      suspension,
      pause,
      parked:
        found.standing === undefined
          ? []
          : found.waiting(this.store, found.standing.from, Infinity).map(({ seq }) => seq),
    }
  }

  #rows(table: Table): readonly string[] {
    return [...this.store.range(table, { from: '', to: '~' })].map(
      ({ key, value }) => `${key} ${Buffer.from(value).toString('hex')}`,
    )
  }

  #open(): Partition {
    const nothing = (): void => {}
    const sink: PartitionSink = {
      activity: nothing,
      activityDone: nothing,
      timer: nothing,
      timerDone: nothing,
      dead: nothing,
      send: nothing,
      reply: nothing,
      log: nothing,
      closed: nothing,
      suspended: nothing,
      count: (what) => (this.counts[what] += 1),
    }
    const partition = new Partition({
      number: PARTITION,
      store: this.#tracked,
      implementations: this.#build,
      sink,
      atOnceMax: this.#atOnceMax,
    })
    partition.hold(this.#held)
    return partition
  }
}

/** Of all programs. */
const commands = { skip: 0, retry: 0, pause: 0, firedRetry: 0, terminate: 0 }
let childResults = 0
let firings = 0
let early = 0
let answers = 0
/** Rows of the index. */
let indexed = 0
let deeds = 0

interface Move {
  readonly instance: number
  readonly what: number
  readonly argument: number
  readonly id: number | undefined
  readonly laterMs: number
}

const move: fc.Arbitrary<Move> = fc.record({
  instance: fc.nat(KEYS.length - 1),
  what: fc.nat(99),
  argument: fc.nat(30),
  id: fc.option(fc.nat(12), { nil: undefined }),
  laterMs: fc.oneof({ weight: 15, arbitrary: fc.nat(40) }, { weight: 1, arbitrary: fc.nat(6_000) }),
})

/** The inputs that a program of moves comes to: results and firings are those that the instances then wait for. */
async function inputsOf(
  moves: readonly Move[],
  canForget = true,
  patchAt?: number,
  build: Build = patchAt === undefined ? FIRST_BUILD : NEXT_BUILD,
): Promise<readonly Keyed[]> {
  const fold = new Fold(new MemoryDisk(), build)
  const inputs: Keyed[] = []
  let timeMs = 1_000_000
  const push = async (
    key: InstanceKey,
    kind: InputKind,
    name: string,
    payload: unknown,
    id?: string,
  ): Promise<void> => {
    const input = { ...inputOf((inputs.length + 1) * SEQ_STEP, kind, name, payload), timeMs, id }
    inputs.push({ key, input })
    await fold.apply({ key, input })
  }
  // What an absent instance was sent leaves no trace in it: a repeat of that, once it is started, is a new input.
  for (const key of KEYS) await push(key, 'start', '', {})
  await push('entity.a', 'signal', 'assign', 5)
  await push('entity.a', 'signal', 'assign', 10 * moves.length)
  await push('entity.a', 'signal', 'brood', 1)
  await push('entity.a', 'signal', 'ask', 2)
  await push('entity.b', 'signal', 'parent', moves.length)
  let index = 0
  if (moves.length % 3 === 1) await push('entity.a', 'signal', 'boom', 1)
  if (moves.length % 3 === 2) await push('stubborn.h', 'signal', 'boom', 1)
  for (const { instance, what, argument, id, laterMs } of moves) {
    if (index++ === patchAt) for (const type of FIRST_BUILD.keys()) await push(`${type}.x`, 'admin', PATCH, undefined)
    const key = KEYS[instance] as InstanceKey
    timeMs += laterMs
    const inputId = id === undefined ? undefined : `id-${id}`
    const resident = await fold.partition.find(key)
    const data = resident?.instance.data
    const suspension = resident?.suspension
    const activity = [...(data?.activities.keys() ?? [])][argument % 3]
    const call = [...(data?.calls.keys() ?? [])][argument % 3]
    const child = [...(data?.children.keys() ?? [])][argument % 3]
    const isKept = data?.phase.kind === 'closed' && !canForget
    const isClock = typeTokenOf(key).endsWith('clock')
    const timer = [
      ...(isKept ? [] : (data?.timers.values() ?? [])),
      ...[...(data?.sleeps ?? [])].map(([effect, dueMs]) => ({ effect, dueMs })),
    ][argument % (isClock ? 6 : 3)]
    const task = [...((await fold.partition.find(key))?.instance.tasks.keys() ?? [])][argument % 3]
    const isOfChild = what < 50 && what % 5 >= 3
    const isCommand = suspension !== undefined && what % 2 === 1
    if (isCommand && suspension.retry !== undefined && argument % 4 > 0) {
      commands.firedRetry += 1
      // Some come early.
      if (argument % 4 > 1) timeMs = Math.max(timeMs, suspension.retry.dueMs)
      await push(key, 'timer', 'retry', { effect: suspension.retry.effect, dueMs: suspension.retry.dueMs })
    } else if (isCommand) {
      const name = (['skip', 'retry', 'skip', 'terminate', 'pause'] as const)[argument % 5] ?? 'skip'
      commands[name] += 1
      await push(
        key,
        'admin',
        name,
        name === 'pause' || name === 'terminate' ? undefined : { seq: suspension.seq },
        inputId,
      )
    } else if (what % 9 === 0 && task !== undefined) {
      deeds += 1
      const token = parseTaskToken(formatTaskToken(key, task, 'carillon'))
      const deed = (['complete', 'complete', 'fail', 'heartbeat'] as const)[argument % 4] as TaskDeed
      await push(key, 'signal', taskSignal(token, deed), deed === 'fail' ? 'no' : argument, inputId)
    } else if (what < 35 && !isOfChild && activity !== undefined) {
      const outcome =
        what === 0 ? { ok: false, error: { code: 'ACTIVITY_FAILED', message: 'no' } } : { ok: true, value: argument }
      await push(key, 'activity', 'call', { effect: activity, outcome })
    } else if (what < 50 && !isOfChild && timer !== undefined) {
      // Some come early.
      if (what < 47) timeMs = Math.max(timeMs, timer.dueMs)
      firings += isClock ? 1 : 0
      // A node with other time zone data has fired it.
      const otherMs = isClock && what === 46 ? argument * 100 : 0
      await push(key, 'timer', 'x', { effect: timer.effect, dueMs: timer.dueMs - otherMs })
    } else if (isOfChild && call !== undefined) {
      answers += 1
      const outcome =
        what % 2 === 0
          ? { ok: false, error: { code: 'CLOSED', message: 'no' } }
          : { ok: true, value: { left: argument } }
      await push(key, 'answer', 'take', { effect: call, outcome }, `answer/${call}`)
    } else if (isOfChild && child !== undefined) {
      const outcome =
        what % 2 === 0 ? { ok: false, error: { code: 'TERMINATED', message: 'no' } } : { ok: true, value: argument }
      childResults += 1
      const asked = data?.children.get(child)?.key ?? key
      // Now and then of another type: code that has changed.
      const name = argument === 30 ? 'other' : parseKey(asked).type
      await push(key, 'child', name, { effect: child, outcome }, `child/${child}`)
    } else if (what < 52) await push(key, 'admin', 'resume', undefined)
    else if (what === 52) {
      commands.pause += 1
      await push(key, 'admin', 'pause', { reason: 'so' }, inputId)
    } else if (what === 53) {
      if (argument % 2 === 0) await push(key, 'admin', 'terminate', { reason: 'enough' }, inputId)
      else await push(key, 'cancel', '', undefined, inputId)
    } else if (what < 56) await push(key, 'start', '', startOf(key, argument), inputId)
    else if (what < 58) await push(key, 'signal', 'nope', 1, inputId)
    else if (what >= 80 && what < 88 && typeTokenOf(key) === 'entity')
      // Bursts of signals whose mailbox has a bound, behind one another.
      for (let n = 0; n <= argument % 5; n++)
        await push(key, 'signal', ['price', 'order', 'tick'][what % 3] as string, n, n === 1 ? inputId : undefined)
    else
      await push(
        key,
        what < 62 && typeTokenOf(key) !== 'flow' ? 'update' : 'signal',
        nameOf(key, what),
        argument,
        inputId,
      )
  }
  return inputs
}

function startOf(key: InstanceKey, argument: number): unknown {
  if (typeTokenOf(key).endsWith('clock')) return { ifRunning: argument % 4 === 0 ? 'terminate' : 'use' }
  const update = typeTokenOf(key) === 'flow' ? { name: 'peek' } : { name: 'take', input: argument }
  const starts = [
    { ifRunning: 'use' },
    { ifRunning: 'use', update },
    { ifRunning: 'terminate', ifClosed: 'fail', update },
    { ifRunning: 'terminate', delayMs: argument },
    { ifClosed: 'fail', signal: { name: 'bump', payload: argument } },
  ]
  return starts[argument % starts.length]
}

function nameOf(key: InstanceKey, what: number): string {
  if (parseKey(key).type.endsWith('clock'))
    return ['plan', 'wait', 'add', 'plan', 'renew', 'plan', 'wait', 'done'][what % 8] as string
  if (parseKey(key).type === 'flow') return ['go', 'item', 'bump'][what % 3] as string
  if (what < 62) return 'take'
  const names = [
    'add',
    'act',
    'two',
    'detach',
    'timer',
    'cancel',
    'sleepy',
    'until',
    'draw',
    'race',
    'add',
    'act',
    'timer',
    'tell',
    'parent',
    'brood',
    'ask',
    'label',
    'label',
    'assign',
  ]
  if (what >= 96) return 'boom'
  if (what === 87) return 'fall'
  if (what >= 88 && what < 93) return 'beside'
  if (what === 93) return 'finish'
  if (what === 94 || what === 95) return 'renew'
  return what === 86 ? 'done' : (names[what % names.length] as string)
}

async function foldOnce(inputs: readonly Keyed[], build?: Build): Promise<unknown> {
  const fold = new Fold(new MemoryDisk(), build)
  for (const input of inputs) await fold.apply(input)
  return fold.outcome()
}

const moves = fc.array(move, { minLength: 1, maxLength: 60, size: 'max' })

describe('the fold', () => {
  it('G4: gives the same instances, pending effects and timers again (replay equals live)', async () => {
    let waited = 0
    let overflows = 0
    await fc.assert(
      fc.asyncProperty(moves, async (program) => {
        const inputs = await inputsOf(program)
        const first = (await foldOnce(inputs)) as { readonly effects: readonly unknown[] }
        waited += first.effects.length
        overflows += first.effects.filter((row) => String(row).includes(MAILBOX_FULL)).length
        expect(await foldOnce(inputs)).toEqual(first)
      }),
      { numRuns: 100 },
    )
    // Else the programs would prove nothing about code that waits. What is rare in them is rare by chance, too.
    expect(waited).toBeGreaterThan(50)
    expect(childResults).toBeGreaterThan(0)
    expect(answers).toBeGreaterThan(0)
    expect(indexed).toBeGreaterThan(100)
    expect(firings).toBeGreaterThan(20)
    // G8, of repeating timers by every policy.
    expect(early).toBe(0)
    expect(overflows).toBeGreaterThan(0)
    expect(deeds).toBeGreaterThan(0)
  })

  it('G4: goes on from a crash after any commit as if there had been none (snapshot plus suffix equals full replay)', async () => {
    await fc.assert(
      fc.asyncProperty(
        moves,
        fc.array(fc.constantFrom('commit', 'crash', 'go on', 'go on'), { minLength: 60, maxLength: 60 }),
        async (program, events) => {
          const inputs = await inputsOf(program)
          const fold = new Fold()
          for (let at = 0; at < inputs.length; at++) {
            await fold.apply(inputs[at] as Keyed)
            const event = events[at % events.length]
            if (event === 'commit') await fold.commit()
            if (event !== 'crash') continue
            fold.crash()
            // The journal is read again from the saved position.
            const { position } = fold.partition
            for (const again of inputs.slice(0, at + 1)) if (again.input.seq > position) await fold.apply(again)
          }
          expect(await fold.outcome()).toEqual(await foldOnce(inputs))
        },
      ),
      { numRuns: 120 },
    )
  })

  it('G4: is the same when instances leave memory and come back between any two inputs (passivation)', async () => {
    await fc.assert(
      fc.asyncProperty(moves, fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }), async (program, drops) => {
        const inputs = await inputsOf(program)
        const fold = new Fold()
        for (const [at, input] of inputs.entries()) {
          await fold.apply(input)
          if (drops[at] !== true) continue
          await fold.commit()
          fold.partition.passivate(() => false)
          expect(fold.partition.residents).toBe(0)
        }
        expect(await fold.outcome()).toEqual(await foldOnce(inputs))
      }),
      { numRuns: 120 },
    )
  })

  it('G4: goes on under a new build at any place as if that had folded everything (state version, patch)', async () => {
    let migrated = 0
    await fc.assert(
      fc.asyncProperty(
        moves,
        fc.nat(60),
        fc.nat(60),
        fc.boolean(),
        fc.boolean(),
        async (program, place, patchAt, isInOrder, commits) => {
          const inputs = await inputsOf(program, true, patchAt % program.length)
          const patchSeq = inputs.find(({ input }) => input.name === PATCH)?.input.seq ?? 0
          const fold = new Fold()
          const at = place % (patchSeq / SEQ_STEP)
          for (const [index, input] of inputs.entries()) {
            if (index === at) {
              await fold.deploy(NEXT_BUILD, isInOrder)
              if (fold.partition.position > 0) migrated += 1
              for (const again of inputs.slice(0, at))
                if (again.input.seq > fold.partition.position) await fold.apply(again)
            }
            await fold.apply(input)
            if (commits && index % 3 === 0) await fold.commit()
            if (commits && index % 7 === 0) fold.partition.passivate(() => false)
          }
          expect(await fold.outcome()).toEqual(await foldOnce(inputs, NEXT_BUILD))
        },
      ),
      { numRuns: 80 },
    )
    expect(migrated).toBeGreaterThan(20)
    expect(patchedTurns).toBeGreaterThan(100)
  })

  it('G4: is the same over crashes where some inputs came through codecs, behind interceptors', async () => {
    let sealed = 0
    await fc.assert(
      fc.asyncProperty(moves, fc.nat(7), async (program, every) => {
        const inputs = (await inputsOf(program, true, undefined, HOSTED_BUILD)).map((keyed, at) =>
          at % 8 === every ? keyed : encoded(keyed),
        )
        sealed += inputs.filter(({ input }) => input.encoding.endsWith('aes-gcm')).length
        const fold = new Fold(undefined, HOSTED_BUILD)
        for (const [at, keyed] of inputs.entries()) {
          await fold.apply(keyed)
          if (at % 3 === every % 3) await fold.commit()
          if (at % 5 !== every % 5) continue
          fold.crash()
          const { position } = fold.partition
          for (const again of inputs.slice(0, at + 1)) if (again.input.seq > position) await fold.apply(again)
        }
        expect(await fold.outcome()).toEqual(await foldOnce(inputs, HOSTED_BUILD))
      }),
      { numRuns: 60 },
    )
    expect(sealed).toBeGreaterThan(500)
  })

  it('G4: lets handlers end that throw in what is left of a renewing turn, too', async () => {
    const at = (what: number): Move => ({ instance: 6, what, argument: 0, id: undefined, laterMs: 0 })
    // Renews, and waits; two more wait behind it, of which one throws; the result fails.
    const inputs = await inputsOf([at(94), at(63), at(96), at(0)])
    const fold = new Fold()
    for (const input of inputs) {
      await fold.apply(input)
      await fold.commit()
      fold.partition.passivate(() => false)
    }
    expect(await fold.outcome()).toEqual(await foldOnce(inputs))
  })

  it('G3: is not changed by repeats of inputs, at any later point, in memory or not', async () => {
    let repeated = 0
    await fc.assert(
      fc.asyncProperty(
        moves,
        fc.array(fc.tuple(fc.nat(59), fc.nat(59), fc.boolean()), { minLength: 5, maxLength: 20 }),
        async (program, repeats) => {
          // Every sender gives an id, and none is used twice.
          const inputs = (
            await inputsOf(
              program.map((one) => ({ ...one, id: undefined })),
              false,
            )
          ).map(({ key, input }) => ({
            key,
            input: withId(input),
          }))
          const last = (inputs.length + 1) * SEQ_STEP
          const ends = KEYS.map((key, index) => ({
            key,
            input: { ...inputOf(last + index, 'admin', 'resume'), timeMs: 9_000_000_000 },
          }))
          const fold = new Fold()
          for (const [at, keyed] of inputs.entries()) {
            await fold.apply(keyed)
            for (const [index, [original, behind, isDropped]] of repeats.entries()) {
              const first = inputs[original % inputs.length] as Keyed
              if (behind % inputs.length !== at || first.input.seq > keyed.input.seq || index >= SEQ_STEP - 1) continue
              if (isEarly(first.input)) continue
              if (isDropped) {
                await fold.commit()
                fold.partition.passivate(() => false)
              }
              repeated += 1
              await fold.apply({
                key: first.key,
                input: { ...first.input, seq: keyed.input.seq + 1 + index, timeMs: keyed.input.timeMs },
              })
            }
          }
          const reference = new Fold()
          for (const keyed of inputs) await reference.apply(keyed)
          for (const end of ends) {
            await fold.apply(end)
            await reference.apply(end)
          }
          expect(withoutParked(await fold.outcome())).toEqual(withoutParked(await reference.outcome()))
        },
      ),
      { numRuns: 120 },
    )
    expect(repeated).toBeGreaterThan(100)
  })
})

/** As a sender with codecs stores it. */
function encoded({ key, input }: Keyed): Keyed {
  const { bytes, encoding } = codecs.encode(input.payload, 'msgpack', placeOfInput(key, input.kind, input.name))
  return { key, input: { ...input, payload: bytes, encoding } }
}

type Event = 'hold entity' | 'hold all' | 'hold none' | 'go on' | 'commit' | 'passivate' | 'crash' | 'nothing'
const EVENTS: readonly Event[] = [
  'hold entity',
  'hold all',
  'hold none',
  'go on',
  'go on',
  'commit',
  'passivate',
  'crash',
  'nothing',
]

describe('holding', () => {
  it('G4: changes nothing but when, whatever types are held and however small the slices are', async () => {
    let held = 0
    await fc.assert(
      fc.asyncProperty(
        moves,
        fc.array(fc.constantFrom(...EVENTS), { minLength: 60, maxLength: 60 }),
        fc.nat(3),
        async (program, events, atOnceMax) => {
          const inputs = await inputsOf(program)
          const fold = new Fold(new MemoryDisk(), FIRST_BUILD, atOnceMax)
          for (let at = 0; at < inputs.length; at++) {
            await fold.apply(inputs[at] as Keyed)
            const event = events[at % events.length] ?? 'nothing'
            await happen(fold, event)
            if (event === 'crash') {
              const { position } = fold.partition
              for (const again of inputs.slice(0, at + 1)) if (again.input.seq > position) await fold.apply(again)
            }
            if (fold.partition.hasDue) held += 1
          }
          expect(await fold.outcome()).toEqual(await foldOnce(inputs))
        },
      ),
      { numRuns: 120 },
    )
    expect(held).toBeGreaterThan(500)
    // Of all properties above: else they would prove nothing about commands.
    for (const count of Object.values(commands)) expect(count).toBeGreaterThan(0)
  })
})

async function happen(fold: Fold, event: Event): Promise<void> {
  if (event === 'hold entity') return fold.hold('entity')
  if (event === 'hold all') return fold.hold('entity', 'flow', 'soft', 'stubborn')
  if (event === 'hold none') return fold.hold()
  if (event === 'go on') return void (await fold.goOn(1))
  if (event === 'crash') return fold.crash()
  if (event !== 'nothing') await fold.commit()
  if (event === 'passivate') fold.partition.passivate(() => false)
}

/** As the client does it: its inputs have an id; results and firings are known by their effect. */
function withId(input: Input): Input {
  return input.kind === 'activity' || input.kind === 'timer' ? input : { ...input, id: `only-${input.seq}` }
}

/** A firing that came before its time has changed nothing; the same one later, in time, is the first that counts. */
function isEarly({ kind, payload, timeMs }: Input): boolean {
  return kind === 'timer' && (decodeValue(payload) as TimerPayload).dueMs > timeMs
}

/** Of a suspended instance, repeats wait like any other input until it is resumed. */
function withoutParked(outcome: unknown): unknown {
  const { instances, ...rest } = outcome as { readonly instances: readonly object[] }
  return { ...rest, instances: instances.map((row) => Object.assign({}, row, { parked: undefined })) }
}

const IDENTITY = 'memory-1'
const SNAP_RUNS = 80
const SNAP_EVENTS = [
  'commit',
  'commit',
  'commit both',
  'checkpoint',
  'checkpoint',
  'crash',
  'take over',
  'late checkpoint',
  'follow',
  'wipe',
  'passivate',
  'hold',
  'nothing',
] as const

/** Two nodes that fold the same inputs, of which one at a time saves what it has. */
class TwoNodes {
  readonly snapshots = new MemorySnapshots({ gate: () => this.meanwhile() })
  nodes: [Fold, Fold]
  owner: 0 | 1 = 0
  readonly counts = { saved: 0, whole: 0, lost: 0, restored: 0, torn: 0 }
  /** What goes on while a checkpoint is on its way. */
  meanwhile: () => Promise<void> = async () => {}
  #followedSeq = 0
  readonly #build: Build
  readonly #atOnceMax: number

  constructor(build: Build, atOnceMax: number) {
    this.#build = build
    this.#atOnceMax = atOnceMax
    this.nodes = [this.#newNode(), this.#newNode()]
  }

  get standby(): 0 | 1 {
    return this.owner === 0 ? 1 : 0
  }

  /** Feeds a node up to an input, from where it stands. */
  async feed(which: 0 | 1, inputs: readonly Keyed[]): Promise<void> {
    const { partition } = this.nodes[which]
    const { position } = partition
    for (const input of inputs) if (input.input.seq > position) await this.nodes[which].apply(input)
  }

  async checkpoint(which: 0 | 1): Promise<void> {
    const result = await saveCheckpoint(this.#context(which), PARTITION, undefined, undefined)
    if (result.kind === 'saved') this.counts.saved += 1
    if (result.kind === 'saved' && result.isWhole) {
      this.counts.whole += 1
      await this.snapshots.removeBefore(PARTITION, result.firstPlace)
    }
    if (result.kind === 'lost') this.counts.lost += 1
  }

  /** The standby lets go what the owner has saved. */
  async follow(): Promise<void> {
    this.#followedSeq = await followCheckpoint(this.#context(this.standby), PARTITION, this.#followedSeq)
  }

  /** A node with an empty disk, or with what is left of it, becomes what the snapshot says; at first it may be killed on the way. */
  async restore(which: 0 | 1, killAt: number): Promise<void> {
    const head = await readHead(this.snapshots, PARTITION)
    if (head === undefined) {
      this.nodes[which] = this.#newNode()
      return
    }
    const { disk } = this.nodes[which].store
    let batches = 0
    const dying = new MemoryStore({
      disk,
      gate: (stage) => {
        if (stage === 'apply' && batches++ === killAt) dying.crash()
      },
    })
    const isWhole = await Promise.race([
      restorePartition(this.#restoreOf(dying), head.checkpoint).then(() => true),
      until(() => batches > killAt),
    ])
    if (isWhole !== true) {
      this.counts.torn += 1
      // Before its first batch nothing has changed.
      if (killAt > 0) throws(() => this.#newNode(disk), /was being restored/u)
      await restorePartition(this.#restoreOf(new MemoryStore({ disk })), head.checkpoint)
    }
    this.nodes[which] = this.#newNode(disk)
    this.counts.restored += 1
    strictEqual(this.nodes[which].partition.position, head.checkpoint.coveredSeq)
  }

  #restoreOf(store: MemoryStore): Parameters<typeof restorePartition>[0] {
    const bounds = (): Promise<never> => Promise.reject(new Error('not asked'))
    return {
      store,
      decoded: store,
      snapshots: this.snapshots,
      log: { bounds },
      clock: systemClock,
      logger: silentLogger,
    }
  }

  #context(which: 0 | 1): CheckpointContext {
    return {
      store: this.nodes[which].store,
      snapshots: this.snapshots,
      identity: IDENTITY,
      writer: `node ${which}`,
      // At every look at the clock others go on.
      clock: { ...systemClock, yield: () => this.meanwhile() },
      logger: silentLogger,
      pace: { ...CHECKPOINT_PACE, bytesPerS: Infinity, messagesPerS: Infinity, sliceMs: 0, restMs: 0 },
      reach: () => {},
      isOwner: () => true,
    }
  }

  #newNode(disk = new MemoryDisk()): Fold {
    return new Fold(disk, this.#build, this.#atOnceMax)
  }
}

async function until(condition: () => boolean): Promise<undefined> {
  while (!condition()) await systemClock.yield()
  await systemClock.yield()
}

describe('remote snapshots', () => {
  it('law 7, G4: a snapshot and the rest of the journal are the whole fold, whoever saves, stops, takes over, comes late or loses its disk', async () => {
    const sums = { saved: 0, whole: 0, lost: 0, restored: 0, torn: 0 }
    let covered = 0
    await fc.assert(
      fc.asyncProperty(
        moves,
        fc.array(fc.tuple(fc.constantFrom(...SNAP_EVENTS), fc.nat(9)), { minLength: 60, maxLength: 60 }),
        fc.option(fc.nat(60), { nil: undefined }),
        fc.nat(3),
        async (program, events, patchAt, atOnceMax) => {
          const build = patchAt === undefined ? FIRST_BUILD : NEXT_BUILD
          const inputs = await inputsOf(program, true, patchAt === undefined ? undefined : patchAt % program.length)
          const world = new TwoNodes(build, atOnceMax)
          let at = 0
          const step = async (): Promise<void> => {
            if (at < inputs.length) await world.feed(world.owner, inputs.slice(0, ++at))
          }
          while (at < inputs.length) {
            await step()
            const [event, argument] = events[at % events.length] ?? ['nothing', 0]
            const owner = world.nodes[world.owner]
            const before = (await readHead(world.snapshots, PARTITION))?.checkpoint.coveredSeq ?? 0
            switch (event) {
              case 'commit':
                await owner.commit()
                break
              case 'commit both':
                await world.feed(world.standby, inputs.slice(0, Math.max(0, at - argument)))
                for (const node of world.nodes) await node.commit()
                break
              case 'checkpoint':
                // The owner goes on meanwhile: what is saved is of one moment all the same.
                world.meanwhile = async () => {
                  if (argument % 2 === 0) await step()
                  if (argument % 3 === 0) await world.nodes[world.owner].commit()
                }
                await world.checkpoint(world.owner)
                world.meanwhile = async () => {}
                break
              case 'crash':
                owner.crash()
                await world.feed(world.owner, inputs.slice(0, at))
                break
              case 'take over':
                world.owner = world.standby
                await world.feed(world.owner, inputs.slice(0, at))
                break
              case 'late checkpoint': {
                // A node that does not know yet that it lost the partition: the new owner saves first, or it does.
                let isLate = true
                world.meanwhile = async () => {
                  if (!isLate) return
                  isLate = false
                  world.meanwhile = async () => {}
                  await world.feed(world.owner, inputs.slice(0, at))
                  await world.nodes[world.owner].commit()
                  await world.checkpoint(world.owner)
                }
                await world.checkpoint(world.standby)
                world.meanwhile = async () => {}
                break
              }
              case 'follow':
                await world.follow()
                break
              case 'wipe':
                await world.restore(world.standby, argument)
                break
              case 'passivate':
                await owner.commit()
                owner.partition.passivate(() => false)
                break
              case 'hold':
                owner.hold(...(argument % 2 === 0 ? ['entity', 'clock'] : []))
                break
              case 'nothing':
            }
            const after = (await readHead(world.snapshots, PARTITION))?.checkpoint.coveredSeq ?? 0
            expect(after).toBeGreaterThanOrEqual(before)
            covered = Math.max(covered, after)
          }
          const whole = await foldOnce(inputs, build)
          await world.nodes[world.owner].commit()
          for (const which of [0, 1] as const) {
            // What was saved last, by whomever, and then what this node saves upon it.
            if (which === 1) await world.checkpoint(world.owner)
            await world.restore(world.standby, 9 - which)
            await world.feed(world.standby, inputs)
            expect(await world.nodes[world.standby].outcome()).toEqual(whole)
          }
          await world.feed(world.owner, inputs)
          expect(await world.nodes[world.owner].outcome()).toEqual(whole)
          for (const what of Object.keys(sums) as (keyof typeof sums)[]) sums[what] += world.counts[what]
        },
      ),
      { numRuns: SNAP_RUNS },
    )
    // Else the programs would prove nothing about what they are for.
    expect(covered).toBeGreaterThan(100)
    expect(sums.saved - sums.whole).toBeGreaterThan(SNAP_RUNS)
    expect(sums.whole).toBeGreaterThan(SNAP_RUNS / 2)
    expect(sums.lost).toBeGreaterThan(SNAP_RUNS / 10)
    expect(sums.restored).toBeGreaterThan(SNAP_RUNS)
    expect(sums.torn).toBeGreaterThan(SNAP_RUNS / 5)
  }, 60_000)
})
