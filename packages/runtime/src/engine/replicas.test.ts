/** What engines do for partitions that they follow: reads, beside the owner and while it changes, and digests that are compared. */
import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, type } from '../index.ts'
import {
  decodeValue,
  encodeDigests,
  isRarelySampled,
  isSampled,
  parseDigests,
  type Partition,
  type RpcRequest,
  type RpcResponse,
} from '../protocol/index.ts'
import { EngineWorld, keyOf } from '../testing/engine-world.ts'

const Sum = defineWorkflow('sum', {
  signals: { add: type<number>(), wait: type<number>(), odd: type<void>() },
  updates: { take: { input: type<number>(), output: type<number>() } },
  queries: { total: { output: type<number>() } },
})
/** `skew`: what this build adds to every `odd`: builds with another one come to another state. */
const sum = (skew: number) =>
  implement(Sum, {
    startOnSignal: true,
    state: () => ({ total: 0 }),
    on: {
      add: (ctx, n) => void (ctx.state.total += n),
      async wait(ctx, ms) {
        await ctx.sleep(ms)
        ctx.state.total += 1
      },
      odd: (ctx) => void (ctx.state.total += skew),
    },
    updates: { take: (ctx, n) => (ctx.state.total -= n) },
    queries: { total: ({ total }) => total },
  })

const P = 0 as Partition
const key = keyOf('sum', 's')

/** Two engines over one journal of one partition: the first owns it, the second stands by. */
class Pair {
  readonly a: EngineWorld
  readonly b: EngineWorld

  constructor(deliveryDelay: () => number) {
    this.a = new EngineWorld({ partitions: 1, deliveryDelay })
    this.b = new EngineWorld({ beside: this.a })
  }

  static async open({ skewOfB = 0, deliveryDelay = (): number => 0 } = {}): Promise<Pair> {
    const pair = new Pair(deliveryDelay)
    await pair.a.open({ implementations: [sum(0)], partitions: [], node: { name: 'a', build: '1.0' } })
    await pair.b.open({ implementations: [sum(skewOfB)], partitions: [], node: { name: 'b', build: '1.1' } })
    await pair.done(pair.a.engine.follow(P).then(() => pair.a.engine.promote(P)))
    await pair.done(pair.b.engine.follow(P))
    return pair
  }

  async done<T>(task: Promise<T>): Promise<T> {
    let isDone = false
    const over = (): void => void (isDone = true)
    task.then(over, over)
    await this.a.until(() => isDone)
    return task
  }

  add(n: number, id = 's'): number {
    return this.a.send('sum', id, 'signal', 'add', n)
  }

  async both(seq = this.a.log.lastSeq): Promise<void> {
    await this.a.until(() => this.a.engine.position >= seq && this.b.engine.position >= seq)
  }

  async ask(subject: string, request: RpcRequest): Promise<RpcResponse> {
    const bytes = await this.done(this.a.bus.request(subject, this.a.seal(request)))
    return decodeValue(bytes) as RpcResponse
  }

  any(request: RpcRequest): Promise<RpcResponse> {
    return this.ask(this.a.subjects.rpcAny(P), request)
  }

  of(node: 'a' | 'b', request: RpcRequest): Promise<RpcResponse> {
    return this.ask(this.a.subjects.rpcOfNode(node as never, P), request)
  }
}

const total = (minSeq: number): RpcRequest => ({ op: 'query', key, name: 'total', minSeq })

describe('a standby', () => {
  it('answers reads, as far as the reader asks for', async () => {
    const pair = await Pair.open()
    const seq = pair.add(3)
    expect(await pair.of('b', total(seq))).toEqual({ ok: true, value: 3, seq })
    expect(await pair.of('b', { op: 'describe', key, minSeq: seq })).toMatchObject({
      ok: true,
      value: { status: 'running' },
    })
    expect(await pair.of('b', { op: 'list', limit: 10, minSeq: seq })).toMatchObject({
      value: { rows: [{ id: 's', seq }] },
    })
    expect(await pair.of('b', { op: 'count', minSeq: seq })).toMatchObject({ value: { groups: [{ count: 1 }] } })
    // Whoever of the two it is.
    for (let i = 1; i <= 4; i++) expect(await pair.any(total(pair.add(1)))).toMatchObject({ value: 3 + i })
  })

  it('G7: gives a linearizable read the end of the journal, and waits until it has come so far', async () => {
    const pair = await Pair.open()
    for (let i = 1; i <= 50; i++) {
      pair.add(1)
      expect(await pair.of('b', total(pair.a.log.lastSeq))).toMatchObject({ ok: true, value: i })
    }
  })

  it('says TIMEOUT when it does not come so far in the time that it was given', async () => {
    const pair = await Pair.open()
    const answer = await pair.of('b', { op: 'query', key, name: 'total', minSeq: 99, waitMs: 200 })
    expect(answer).toMatchObject({ ok: false, error: { code: 'TIMEOUT' } })
  })

  it('leaves to the owner what only an owner knows', async () => {
    const pair = await Pair.open()
    const seq = pair.add(1)
    await pair.both()
    for (const request of [
      { op: 'outcome', key, id: 'x', seq, waitMs: 100 },
      { op: 'wanted', key, effect: `${seq}.0` },
    ] satisfies RpcRequest[])
      expect(await pair.any(request)).toMatchObject({ ok: false, error: { code: 'NOT_OWNER' } })
  })

  it('sends whoever waits elsewhere when it follows the partition no more', async () => {
    const pair = await Pair.open()
    const asked = pair.of('b', total(99))
    await pair.done(pair.b.engine.drop(P))
    expect(await asked).toMatchObject({ ok: false, error: { code: 'NOT_OWNER' } })
    expect(await pair.any(total(pair.add(1)))).toMatchObject({ ok: true, value: 1 })
    await expect(pair.of('b', total(0))).rejects.toThrow('nobody serves')
  })

  it('reads on while it becomes the owner, and while the owner becomes a standby', async () => {
    const pair = await Pair.open()
    for (let round = 0; round < 6; round++) {
      const [from, to] = round % 2 === 0 ? [pair.a, pair.b] : [pair.b, pair.a]
      const moved = from.engine.demote(P).then(() => to.engine.promote(P))
      for (let i = 1; i <= 4; i++)
        expect(await pair.any(total(pair.add(1)))).toMatchObject({ ok: true, value: round * 4 + i })
      await pair.done(moved)
      expect(await pair.ask(pair.a.subjects.rpc(P), total(pair.a.log.lastSeq))).toMatchObject({ value: round * 4 + 4 })
    }
  })
})

describe('two owners for a moment', () => {
  it('G7: never show a reader less than it has seen, whichever of them answers first', async () => {
    // Now one of them is behind, now the other.
    let delay = 1
    const pair = await Pair.open({ deliveryDelay: () => (delay = (delay * 37) % 101) % 20 })
    // Both believe that they own it.
    await pair.done(pair.b.engine.promote(P))
    let seen = 0
    for (let i = 0; i < 60; i++) {
      pair.add(1)
      const answer = await pair.of(i % 2 === 0 ? 'a' : 'b', { op: 'query', key, name: 'total', minSeq: 0, seen })
      if (!answer.ok) continue
      expect(answer.seq).toBeGreaterThanOrEqual(seen)
      expect(answer.value).toBe(answer.seq)
      seen = answer.seq ?? seen
    }
    await pair.both()
    const last = await pair.ask(pair.a.subjects.rpc(P), total(pair.a.log.lastSeq))
    expect(last).toMatchObject({ ok: true, value: 60 })
  })
})

describe('digests', () => {
  const samples = (count: number): number[] => {
    const seqs: number[] = []
    for (let seq = 1; seqs.length < count; seq++) if (isSampled(seq)) seqs.push(seq)
    return seqs
  }

  it('are taken of one input of 256, spread over all of them', () => {
    let count = 0
    let rare = 0
    for (let seq = 1; seq <= 2 ** 20; seq++) {
      if (isSampled(seq)) count += 1
      if (isRarelySampled(seq)) rare += 1
      if (isRarelySampled(seq)) expect(isSampled(seq)).toBe(true)
    }
    expect(count / 2 ** 20).toBeCloseTo(1 / 256, 4)
    expect(rare / 2 ** 20).toBeCloseTo(1 / 4096, 4)
    // No instance that is signalled in turn with 255 others goes unlooked at.
    const rests = new Set(samples(2000).map((seq) => seq % 256))
    expect(rests.size).toBeGreaterThan(200)
  })

  it('of a standby are those of the owner, code that waits and inputs that were held included', async () => {
    const pair = await Pair.open()
    const last = samples(8).at(-1) ?? 0
    for (let seq = 1; seq <= last; seq++) {
      // Every fifth handler waits, and holds back those behind it.
      if (seq % 5 === 0) pair.a.send('sum', `s${seq % 7}`, 'signal', 'wait', 20)
      else pair.add(seq, `s${seq % 7}`)
      if (seq === 100) pair.a.controls.setType('sum', true)
      if (seq === 600) pair.a.controls.setType('sum', false)
      if (seq % 200 === 0) await pair.a.clock.advance(50)
    }
    await pair.both(last)
    await pair.a.until(() => pair.b.engine.counts.digestsCompared >= 8)
    expect(pair.b.engine.counts).toMatchObject({ digestsDiffering: 0 })
    expect(pair.b.lines.filter(({ level }) => level === 'error')).toEqual([])
  })

  it('raise an alarm that names the instance, the input and both builds, once, and nothing stops', async () => {
    const pair = await Pair.open({ skewOfB: 1 })
    const [first = 0, second = 0, third = 0] = samples(3)
    for (let seq = 1; seq <= third; seq++) pair.a.send('sum', 's', 'signal', seq === first + 1 ? 'odd' : 'add', 1)
    await pair.both(third)
    await pair.a.until(() => pair.b.engine.counts.digestsDiffering === 2)
    expect(pair.b.engine.counts.digestsCompared).toBe(3)
    const alarms = pair.b.lines.filter(({ level }) => level === 'error')
    expect(alarms).toHaveLength(1)
    expect(alarms[0]).toMatchObject({
      message: expect.stringContaining('another state here than at the owner'),
      fields: {
        type: 'sum',
        id: 's',
        partition: 0,
        seq: second,
        here: { node: 'b', build: '1.1' },
        there: { node: 'a', build: '1.0' },
      },
    })
    expect(pair.a.engine.counts.digestsDiffering).toBe(0)
    expect(await pair.of('b', total(pair.add(1)))).toMatchObject({ ok: true })
  })

  it('are read back as they were sent, and nothing else is', () => {
    const message = { node: 'a', build: '1', samples: [{ seq: 5, key, digest: 'd', stateVersion: 1 }] }
    expect(parseDigests(encodeDigests(message))).toEqual(message)
    const junk: readonly Uint8Array[] = [
      new Uint8Array(),
      new Uint8Array([0xc1]),
      encodeDigests({ ...message, samples: [{ seq: -1, key, digest: 'd', stateVersion: 1 }] }),
      encodeDigests({ ...message, samples: Array.from({ length: 257 }, () => message.samples[0] as never) }),
    ]
    for (const bytes of junk) expect(parseDigests(bytes)).toBe(undefined)
  })
})
