import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, type } from '../index.ts'
import { InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'

installGuards()

const Desk = defineWorkflow('desk', {
  signals: {
    work: type<string>(),
    price: type<number>(),
    order: type<number>(),
    tick: type<number>(),
    alarm: type<number>(),
    close: type<void>(),
    renew: type<void>(),
    stop: type<void>(),
  },
  activities: { call: { input: type<string>(), output: type<void>() } },
})

const desk = implement(Desk, {
  startOnSignal: true,
  state: () => ({ log: [] as unknown[] }),
  on: {
    work: (ctx, what) => ctx.activities.call(what),
    price: (ctx, n) => void ctx.state.log.push(['price', n]),
    order: (ctx, n) => void ctx.state.log.push(['order', n]),
    tick: (ctx, n) => void ctx.state.log.push(['tick', n]),
    alarm: (ctx, n) => void ctx.state.log.push(['alarm', n]),
    async close(ctx) {
      ctx.complete()
      await ctx.activities.call('closing')
    },
    stop: (ctx) => ctx.complete(),
    async renew(ctx) {
      ctx.continueAsNew()
      await ctx.activities.call('renewing')
    },
  },
  concurrent: ['alarm', 'stop'],
  mailbox: {
    price: { max: 1, overflow: 'latest' },
    order: { max: 2, overflow: 'reject' },
    tick: { max: 2, overflow: 'drop-oldest' },
    alarm: { max: 1, overflow: 'reject' },
  },
})

const idle = { work() {}, price() {}, order() {}, tick() {}, alarm() {}, close() {}, renew() {}, stop() {} }

const Reader = defineWorkflow('reader', {
  signals: {
    item: type<number>(),
    price: type<number>(),
    order: type<number>(),
    tick: type<number>(),
    go: type<void>(),
  },
  activities: { call: { input: type<string>(), output: type<void>() } },
})

const reader = implement(Reader, {
  startOnSignal: true,
  state: () => ({ log: [] as unknown[] }),
  async run(ctx) {
    await ctx.receive('go')
    for (;;) {
      const { name, payload } = await ctx.receive('item', 'price', 'order', 'tick')
      ctx.state.log.push([name, payload])
    }
  },
  mailbox: {
    price: { max: 1, overflow: 'latest' },
    order: { max: 1, overflow: 'reject' },
    tick: { max: 1, overflow: 'drop-oldest' },
  },
})

const full = { ok: false, error: { code: 'MAILBOX_FULL' } }

describe('mailbox policies', () => {
  it('count only what waits: a signal that nothing is in front of starts at once', async () => {
    const bench = new InstanceBench(desk)
    for (const n of [1, 2, 3]) await bench.signal('order', n)
    await bench.signal('work', 'a')
    await bench.signal('order', 4)
    await bench.signal('order', 5)
    expect(bench.kinds).toEqual([])
    await bench.result('4.0')
    expect(bench.state).toEqual({ log: [1, 2, 3, 4, 5].map((n) => ['order', n]) })
  })

  it('reject: one too many is a dead letter, and its sender is told; the ones that wait stay', async () => {
    const bench = new InstanceBench(desk)
    await bench.signal('work', 'a')
    await bench.signal('order', 1)
    await bench.signal('order', 2)
    await bench.signal('order', 3, { reply: '_INBOX.3' })
    expect(bench.effects).toMatchObject([
      { kind: 'dead', input: { kind: 'signal', name: 'order', seq: 4 }, reason: { code: 'MAILBOX_FULL' } },
      { kind: 'reply', inbox: '_INBOX.3', payload: { outcome: full } },
    ])
    await bench.result('1.0')
    expect(bench.state).toEqual({
      log: [
        ['order', 1],
        ['order', 2],
      ],
    })
  })

  it('drop-oldest: the one that has waited longest is a dead letter, and its sender is told', async () => {
    const bench = new InstanceBench(desk)
    await bench.signal('work', 'a')
    await bench.signal('tick', 1, { reply: '_INBOX.1' })
    await bench.signal('tick', 2)
    await bench.signal('tick', 3)
    expect(bench.effects).toMatchObject([
      { kind: 'dead', input: { seq: 2 }, reason: { code: 'MAILBOX_FULL' } },
      { kind: 'reply', inbox: '_INBOX.1', payload: { seq: 2, outcome: full } },
    ])
    await bench.result('1.0')
    expect(bench.state).toEqual({
      log: [
        ['tick', 2],
        ['tick', 3],
      ],
    })
  })

  it('latest: the one that waits is done with, its sender is told which stands for it, and that one keeps its own place in the order', async () => {
    const bench = new InstanceBench(desk)
    await bench.signal('work', 'a')
    await bench.signal('price', 1, { id: 'p1', reply: '_INBOX.1' })
    await bench.signal('order', 7)
    await bench.signal('price', 2)
    expect(bench.effects).toEqual([
      {
        kind: 'reply',
        inbox: '_INBOX.1',
        payload: { seq: 2, duplicate: false, outcome: { ok: true, value: { supersededBy: 4 } } },
      },
    ])
    await bench.result('1.0')
    expect(bench.state).toEqual({
      log: [
        ['order', 7],
        ['price', 2],
      ],
    })
  })

  it('a repeat of a superseded id gets its outcome, in memory or not, and changes nothing', async () => {
    const bench = new InstanceBench(desk)
    await bench.signal('work', 'a')
    await bench.signal('price', 1, { id: 'p1' })
    await bench.signal('price', 1, { id: 'p1', reply: '_INBOX.early' })
    expect(bench.kinds).toEqual(['duplicate'])
    await bench.signal('price', 2, { id: 'p2' })
    expect(bench.effects).toMatchObject([
      { kind: 'reply', inbox: '_INBOX.early', payload: { duplicate: true, outcome: { value: { supersededBy: 4 } } } },
    ])
    await bench.signal('price', 1, { id: 'p1', reply: '_INBOX.late' })
    expect(bench.effects).toMatchObject([
      { kind: 'duplicate' },
      { kind: 'reply', inbox: '_INBOX.late', payload: { duplicate: true, outcome: { value: { supersededBy: 4 } } } },
    ])
    await bench.result('1.0')
    expect(bench.state).toEqual({ log: [['price', 2]] })
  })

  it('hold in the mailbox for receive, each signal by itself', async () => {
    const bench = new InstanceBench(reader)
    for (const name of ['item', 'price', 'order', 'tick']) await bench.signal(name, 1)
    await bench.signal('item', 2)
    expect(bench.kinds).toEqual([])
    await bench.signal('price', 2)
    expect(bench.kinds).toEqual([])
    await bench.signal('order', 2)
    expect(bench.effects).toMatchObject([{ kind: 'dead', input: { seq: 7 } }])
    await bench.signal('tick', 2)
    expect(bench.effects).toMatchObject([{ kind: 'dead', input: { seq: 4 } }])
    await bench.signal('go')
    expect(bench.state).toEqual({
      log: [
        ['item', 1],
        ['order', 1],
        ['item', 2],
        ['price', 2],
        ['tick', 2],
      ],
    })
  })

  it('bury a signal that came with a start under its own name', async () => {
    const bench = new InstanceBench(desk)
    await bench.signal('work', 'a')
    await bench.send('start', '', { ifRunning: 'use', signal: { name: 'tick', payload: 1 } })
    await bench.signal('tick', 2)
    await bench.signal('tick', 3)
    expect(bench.effects).toMatchObject([{ kind: 'dead', input: { kind: 'signal', name: 'tick', seq: 2 } }])
  })

  it('count what is behind a close apart: it is of the next life, and stands for nothing of this one', async () => {
    const bench = new InstanceBench(desk)
    await bench.signal('work', 'a')
    await bench.signal('price', 1, { reply: '_INBOX.1' })
    await bench.signal('stop')
    // The handlers in front of it hold the close back: what comes now is behind it.
    await bench.signal('price', 2)
    expect(bench.kinds).toEqual([])
    await bench.signal('price', 3)
    await bench.signal('order', 1)
    await bench.signal('order', 2)
    await bench.signal('order', 3)
    expect(bench.effects).toMatchObject([{ kind: 'dead', input: { name: 'order', seq: 8 } }])
    await bench.result('1.0')
    expect(bench.effects).toContainEqual(
      expect.objectContaining({ kind: 'reply', payload: { seq: 2, duplicate: false, outcome: { ok: true } } }),
    )
    expect(bench.state).toEqual({
      log: [
        ['price', 3],
        ['order', 1],
        ['order', 2],
      ],
    })
    expect(bench.instance.data.incarnation).toBe(2)
  })

  it('count what is behind a renewal apart too', async () => {
    const bench = new InstanceBench(desk)
    await bench.signal('renew')
    for (const n of [1, 2, 3]) await bench.signal('tick', n)
    expect(bench.effects).toMatchObject([{ kind: 'dead', input: { seq: 2 } }])
    await bench.result('1.0')
    expect(bench.state).toEqual({
      log: [
        ['tick', 2],
        ['tick', 3],
      ],
    })
  })

  it('do not hold up concurrent signals, which do not wait; behind a close they do', async () => {
    const bench = new InstanceBench(desk)
    await bench.signal('work', 'a')
    for (const n of [1, 2, 3]) await bench.signal('alarm', n)
    expect(bench.state).toEqual({
      log: [
        ['alarm', 1],
        ['alarm', 2],
        ['alarm', 3],
      ],
    })
    await bench.result('1.0')
    await bench.signal('close')
    await bench.signal('alarm', 4)
    await bench.signal('alarm', 5)
    expect(bench.effects).toMatchObject([{ kind: 'dead', input: { name: 'alarm', seq: 8 } }])
  })

  it('with max 0 and reject take a signal only when nothing is in front of it', async () => {
    const busy = implement(Desk, {
      startOnSignal: true,
      state: () => ({}),
      on: { ...idle, work: (ctx, what) => ctx.activities.call(what) },
      mailbox: { work: { max: 0, overflow: 'reject' } },
    })
    const bench = new InstanceBench(busy)
    await bench.signal('work', 'a')
    expect(bench.kinds).toEqual(['activity'])
    await bench.signal('work', 'b')
    expect(bench.kinds).toEqual(['dead'])
    await bench.result('1.0')
    await bench.signal('work', 'c')
    expect(bench.kinds).toEqual(['activity'])
  })

  it('are refused where they make no sense', () => {
    const declare = (mailbox: object) => () => implement(Desk, { state: () => ({}), on: idle, mailbox })
    expect(declare({ nope: { max: 1, overflow: 'latest' } })).toThrow(/bounds the signal nope, which/)
    expect(declare({ price: { max: 0, overflow: 'latest' } })).toThrow(/max 0: give a whole number from 1/)
    expect(declare({ price: { max: 1.5, overflow: 'reject' } })).toThrow(/max 1.5/)
    expect(declare({ price: { max: 1, overflow: 'newest' } })).toThrow(/overflow newest: give 'reject'/)
    expect(declare({ price: 1 })).toThrow(/overflow undefined/)
    expect(implement(Desk, { state: () => ({}), on: idle, mailbox: {} }).mailbox).toBeUndefined()
  })
})

describe('signals without a handler', () => {
  it('that come behind a close that is not yet there are of the next life', async () => {
    const bench = new InstanceBench(both)
    await bench.signal('item', 1)
    await bench.signal('close')
    await bench.signal('item', 2)
    await bench.signal('item', 3)
    expect(bench.kinds).toEqual([])
    expect(bench.state).toEqual({ log: [1] })
    await bench.result('2.0')
    expect(bench.state).toEqual({ log: [2, 3] })
    expect(bench.instance.data.incarnation).toBe(2)
  })
})

const Both = defineWorkflow('both', {
  signals: { item: type<number>(), close: type<void>() },
  activities: { call: { output: type<void>() } },
})

const both = implement(Both, {
  startOnSignal: true,
  state: () => ({ log: [] as unknown[] }),
  on: {
    async close(ctx) {
      ctx.complete()
      await ctx.activities.call()
    },
  },
  async run(ctx) {
    for (;;) ctx.state.log.push((await ctx.receive('item')).payload)
  },
})
