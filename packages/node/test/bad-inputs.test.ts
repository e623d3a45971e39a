/** What a node makes of bad inputs: one real server, one node in this process, the client, and a producer that publishes whatever it likes. */
import { mkdtemp, rm } from 'node:fs/promises'
import { connect as connectSocket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Carillon, connect } from '@carillon/client'
import { defineWorkflow, implement, implementActivities, type } from '@carillon/runtime'
import { type Logger, silentLogger } from '@carillon/runtime/ports'
import {
  decodeValue,
  encodeToken,
  encodeValue,
  HEADERS,
  type InputKind,
  type ReplyPayload,
} from '@carillon/runtime/protocol'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect as connectNats, createInbox, headers, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { type CarillonNode, openNode } from '../src/node.ts'
import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'

const Cart = defineWorkflow('cart', {
  signals: {
    add: type<unknown>(),
    boom: type<string>(),
    grow: type<number>(),
    socket: type<'open' | 'keep'>(),
    clock: type<void>(),
    work: type<string>(),
  },
  updates: { take: { input: type<number>(), output: type<number>() } },
  queries: { items: { output: type<readonly unknown[]>() } },
  activities: { ship: { input: type<string>(), output: type<string>() } },
})
const cart = implement(Cart, {
  startOnSignal: true,
  state: () => ({ items: [] as unknown[], left: 10, big: '', kept: undefined as unknown }),
  on: {
    add: (ctx, item) => void ctx.state.items.push(item ?? null),
    boom(_, what) {
      throw new Error(what)
    },
    grow: (ctx, megabytes) => void (ctx.state.big = 'x'.repeat(megabytes * 1024 * 1024)),
    socket: (ctx, how) => void (ctx.state.kept = how === 'open' ? connectSocket(1) : keptSocket),
    clock: (ctx) => void ctx.state.items.push(Date.now(), new Date().getTime(), ctx.now()),
    async work(ctx, what) {
      ctx.state.items.push(await ctx.activities.ship(what))
    },
  },
  updates: { take: (ctx, n) => (ctx.state.left -= n) },
  queries: { items: (state) => state.items },
})
const Order = defineWorkflow('order', {
  signals: { note: type<string>(), finish: type<string>() },
  queries: { notes: { output: type<readonly string[]>() } },
})
const order = implement(Order, {
  state: () => ({ notes: [] as string[] }),
  on: { note: (ctx, note) => void ctx.state.notes.push(note), finish: (ctx, result) => ctx.complete(result) },
  queries: { notes: (state) => state.notes },
})

/** Not open: it only is what a state cannot hold. */
const keptSocket: unknown = new (class Socket {
  readonly fd = 3
})()

let server: TestServer
let dataDir: string
let node: CarillonNode
let carillon: Carillon
let producer: NatsConnection
const held: (() => void)[] = []

const ships = implementActivities(Cart, {
  async ship(what) {
    if (what === 'held') await new Promise<void>((resolve) => held.push(resolve))
    return `${what} shipped`
  },
})

async function open(logger: Logger = silentLogger): Promise<CarillonNode> {
  const opened = await openNode({
    servers: server.url,
    dataDir,
    workflows: { implementations: [cart, order], activities: [ships] },
    logger,
    limits: { residentsMax: 2000 },
  })
  await opened.caughtUp
  return opened
}

beforeAll(async () => {
  server = await startTestServer()
  dataDir = await mkdtemp(join(tmpdir(), 'carillon-node-'))
  node = await open()
  carillon = await connect({ servers: server.url })
  producer = await connectNats({ servers: server.url })
})
afterAll(async () => {
  await carillon?.close()
  await producer?.close()
  await node?.close()
  await server?.stop()
  await rm(dataDir, { recursive: true, force: true })
})

interface RawOptions {
  readonly id?: string
  readonly encoding?: string
  readonly more?: Readonly<Record<string, string>>
}

function subjectOf(workflow: string, id: string, kind: InputKind, name: string): string {
  return node.subjects.log(encodeToken(workflow), encodeToken(id), kind, encodeToken(name))
}

/** Publishes as anybody may; gives the sequence, or the server's refusal. */
async function publish(
  subject: string,
  payload: Uint8Array,
  { id, encoding, more = {} }: RawOptions = {},
): Promise<number> {
  const own = headers()
  if (id !== undefined) own.set(HEADERS.id, id)
  if (encoding !== undefined) own.set(HEADERS.encoding, encoding)
  for (const [name, value] of Object.entries(more)) own.set(name, value)
  return (await jetstream(producer).publish(subject, payload, { headers: own })).seq
}

/** Publishes, and waits for what the node tells the sender. */
async function ask(subject: string, payload: Uint8Array, options: RawOptions = {}): Promise<ReplyPayload> {
  const inbox = createInbox()
  const replies = producer.subscribe(inbox, { max: 1 })
  await producer.flush()
  await publish(subject, payload, { ...options, more: { ...options.more, [HEADERS.reply]: inbox } })
  const late = setTimeout(() => replies.unsubscribe(), 10_000)
  for await (const message of replies) {
    clearTimeout(late)
    return decodeValue(message.data) as ReplyPayload
  }
  throw new Error(`no answer came for ${subject}`)
}

async function until(condition: () => Promise<boolean> | boolean, what: string): Promise<void> {
  const deadline = performance.now() + 15_000
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`${what} did not happen within 15 s`)
    await new Promise((resolve) => void setTimeout(resolve, 10))
  }
}

/** Reasons of the dead letters of one instance, by the sequence of their input. */
async function deadLetters(subject: string): Promise<Readonly<Record<string, string>>> {
  const jsm = await jetstreamManager(producer)
  const found: Record<string, string> = {}
  const info = await jsm.streams.info(node.subjects.deadStream)
  for (let seq = info.state.first_seq; seq <= info.state.last_seq; seq++) {
    const message = await jsm.streams.getMessage(node.subjects.deadStream, { seq })
    if (message === null || message.subject !== subject) continue
    found[message.header.get(HEADERS.originSeq)] = message.header.get(HEADERS.reasonCode)
  }
  return found
}

function deadSubject(workflow: string, id: string): string {
  const key = `${encodeToken(workflow)}.${encodeToken(id)}` as const
  return node.subjects.dead(node.subjects.partitionOf(encodeToken(workflow), encodeToken(id)), key)
}

const items = (id: string): Promise<readonly unknown[]> => carillon.workflow(Cart, id).query('items')
/** A signal to a neighbour is applied: the partition, and the node, go on. */
async function neighbourGoesOn(id: string): Promise<void> {
  await carillon.workflow(Cart, id).signal('add', 'alive', { wait: 'applied' })
  expect((await items(id)).at(-1)).toBe('alive')
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value)

describe('ids', () => {
  it.each([
    'a b',
    '*',
    '>',
    '.',
    '..',
    '/',
    '../../etc/passwd',
    '__proto__',
    'constructor',
    'a=b',
    'Zo\u00eb',
    '\u{1F680}',
    'x'.repeat(200),
  ])('of any harmless text name an instance of their own: %j', async (id) => {
    const handle = carillon.workflow(Cart, id)
    await handle.signal('add', id, { wait: 'applied', id: `first ${id.slice(0, 50)}` })
    expect(await handle.query('items')).toEqual([id])
    expect(await handle.describe()).toMatchObject({ type: 'cart', id })
  })

  it.each(['', 'a\r\nPUB x 0\r\n\r\n', 'a\u0000b', 'x'.repeat(5000), 'a\ud800', 'Zoe\u0308'])(
    'that break a rule are refused at the sender: %j',
    async (id) => {
      expect(() => carillon.workflow(Cart, id)).toThrow(expect.objectContaining({ code: 'INVALID_ID' }))
      await expect(carillon.workflow(Cart, 'fine').signal('add', 1, { id })).rejects.toMatchObject({
        code: 'INVALID_ID',
      })
    },
  )

  it('on the wire that are not canonical, or of another partition, reach no instance', async () => {
    const good = subjectOf('cart', 'canonical', 'signal', 'add')
    const before = node.counts.dead
    const bad = [
      good.replace('.canonical.', '.=63anonical.'),
      good.replace('.canonical.', '.canonicaL.'),
      good.replace('.signal.', '.bogus.'),
      `${good}.more`,
    ]
    for (const subject of bad) await publish(subject, text('1'))
    await until(() => node.counts.dead === before + bad.length, 'a dead letter for each')
    await until(
      async () => Object.keys(await deadLetters(node.subjects.deadMalformed)).length >= bad.length,
      'their storing',
    )
    await expect(items('canonical')).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await neighbourGoesOn('canonical')
  })

  it.each(['bell \u0007', 'x'.repeat(300), 'Zoe\u0308'])(
    'of inputs that break a rule make a dead letter, and the sender is told: %j',
    async (id) => {
      const answer = await ask(subjectOf('cart', 'badid', 'signal', 'add'), text('1'), { id })
      expect(answer.outcome).toMatchObject({ ok: false, error: { code: 'INVALID_ID' } })
      await until(
        async () => (await deadLetters(deadSubject('cart', 'badid')))[String(answer.seq)] === 'INVALID_ID',
        'the dead letter',
      )
      await neighbourGoesOn('badid')
    },
  )
})

describe('names that nobody registered', () => {
  it('are an error to a waiting sender, and a dead letter with the reason', async () => {
    const unknownType = await ask(subjectOf('ghost', 'g', 'signal', 'x'), text('1'))
    expect(unknownType.outcome).toMatchObject({ ok: false, error: { code: 'UNKNOWN_TYPE' } })
    const unknownSignal = await ask(subjectOf('cart', 'names', 'signal', 'nope'), text('1'))
    expect(unknownSignal.outcome).toMatchObject({
      ok: false,
      error: { code: 'UNKNOWN_NAME', message: expect.stringContaining('it has: add') as string },
    })
    await until(
      async () => (await deadLetters(deadSubject('ghost', 'g')))[String(unknownType.seq)] === 'UNKNOWN_TYPE',
      'the dead letter',
    )
    await until(
      async () => (await deadLetters(deadSubject('cart', 'names')))[String(unknownSignal.seq)] === 'UNKNOWN_NAME',
      'the dead letter',
    )
    await carillon.workflow(Cart, 'names').signal('add', 1, { wait: 'applied' })
    await expect(carillon.workflow('cart', 'names').query('nope')).rejects.toMatchObject({ code: 'UNKNOWN_NAME' })
    await expect(carillon.workflow(Cart, 'names').query('nope' as never)).rejects.toMatchObject({
      code: 'UNKNOWN_NAME',
    })
  })
})

describe('payloads', () => {
  const nested = (levels: number): Uint8Array => Uint8Array.from([...new Uint8Array(levels).fill(0x91), 1])
  it.each<readonly [string, 'json' | 'msgpack' | 'xml', Uint8Array]>([
    ['random bytes', 'json', Uint8Array.of(0, 255, 3, 7)],
    ['random bytes', 'msgpack', Uint8Array.of(0xc1, 255, 3, 7)],
    ['truncated', 'msgpack', encodeValue({ a: [1, 2, 3] }).subarray(0, 4)],
    ['truncated', 'json', text('{"a":[1')],
    ['trailing garbage', 'msgpack', Uint8Array.of(1, 2)],
    ['trailing garbage', 'json', text('1 2')],
    ['nested 5,000 deep', 'msgpack', nested(5000)],
    ['nested 5,000 deep', 'json', text('['.repeat(5000) + ']'.repeat(5000))],
    ['0.5 MB of nils', 'msgpack', new Uint8Array(500_000).fill(0xc0)],
    [
      'arrays that claim gigabytes',
      'msgpack',
      Uint8Array.from({ length: 400 }, (_, i) => [0xdd, 0x01, 0x80, 0, 0][i % 5] as number),
    ],
    ['a key __proto__', 'json', text('{"__proto__":{"polluted":1}}')],
    ['a key __proto__ behind an escape', 'json', text('{"\\u005f_proto__":{"polluted":1}}')],
    ['a lone surrogate', 'json', text('"\\ud800"')],
    ['NaN', 'json', text('NaN')],
    ['an unknown encoding', 'xml', text('<a/>')],
  ])('that cannot be read make a dead letter, and the sender is told: %s as %s', async (_, encoding, payload) => {
    const answer = await ask(subjectOf('cart', 'payloads', 'signal', 'add'), payload, { encoding })
    expect(answer.outcome).toMatchObject({ ok: false, error: { code: 'INVALID_PAYLOAD' } })
    await until(
      async () => (await deadLetters(deadSubject('cart', 'payloads')))[String(answer.seq)] === 'INVALID_PAYLOAD',
      'the dead letter',
    )
    await neighbourGoesOn('payloads')
  })

  it('over the limit are refused at the sender, and by the journal', async () => {
    await expect(carillon.workflow(Cart, 'large').signal('add', 'x'.repeat(600_000))).rejects.toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
    })
    await expect(
      publish(subjectOf('cart', 'large', 'signal', 'add'), text(JSON.stringify('x'.repeat(600_000)))),
    ).rejects.toThrow(/size exceeds/)
    await neighbourGoesOn('large')
  })

  it('that are odd but harmless are applied, and read back the same after a restart', async () => {
    const subject = subjectOf('cart', 'odd', 'signal', 'add')
    await publish(subject, new Uint8Array())
    await publish(subject, text('9007199254740993'))
    await publish(subject, Uint8Array.of(0xcf, 0, 0x20, 0, 0, 0, 0, 0, 1), { encoding: 'msgpack' })
    await publish(subject, encodeValue([NaN, -0, new Map([[1, 2n]])]), { encoding: 'msgpack' })
    await ask(subject, text('{"constructor":1,"toString":2}'))
    const expected = [null, 2 ** 53, 2 ** 53, [NaN, -0, new Map([[1, 2n]])], { constructor: 1, toString: 2 }]
    expect(await items('odd')).toEqual(expected)
    await node.close()
    node = await open()
    expect(await items('odd')).toEqual(expected)
  })
})

describe('the same id again', () => {
  // JetStream knows nothing of Carillon-Id, so only the instance's own memory can answer, as it does behind every window.
  const take = (instance: string, n: number): Promise<ReplyPayload> =>
    ask(subjectOf('cart', instance, 'update', 'take'), text(String(n)), { id: 'order 7' })

  it('gets the first outcome: at once, later, with another payload, after a restart; another instance is independent', async () => {
    const [first, second] = await Promise.all([take('ids', 3), take('ids', 3)])
    expect(first?.duplicate).not.toBe(second?.duplicate)
    for (const answer of [first, second]) expect(answer?.outcome).toEqual({ ok: true, value: 7 })
    expect(await take('ids', 5)).toMatchObject({ duplicate: true, outcome: { ok: true, value: 7 } })
    expect(await take('other', 5)).toMatchObject({ duplicate: false, outcome: { ok: true, value: 5 } })
    await node.close()
    node = await open()
    const { duplicate } = node.counts
    expect(await take('ids', 1)).toMatchObject({ duplicate: true, outcome: { ok: true, value: 7 } })
    expect(node.counts.duplicate).toBe(duplicate + 1)
  })
})

describe('a signal to an instance', () => {
  it('that was never started, or has closed, is told so and becomes a dead letter', async () => {
    const handle = carillon.workflow(Order, 'o1')
    await expect(handle.signal('note', 'early', { wait: 'applied' })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await handle.start(undefined, { wait: 'applied' })
    await handle.signal('finish', 'done', { wait: 'applied' })
    await expect(handle.signal('note', 'late', { wait: 'applied' })).rejects.toMatchObject({ code: 'CLOSED' })
    expect(await handle.result()).toBe('done')
    await until(
      async () =>
        Object.values(await deadLetters(deadSubject('order', 'o1')))
          .toSorted()
          .join() === 'CLOSED,NOT_FOUND',
      'both dead letters',
    )
  })
})

describe('activity results from anybody', () => {
  it('are ignored and counted when unknown or late; malformed ones are dead letters', async () => {
    const { ignored, dead } = node.counts
    const subject = subjectOf('cart', 'forged', 'activity', 'ship')
    await carillon.workflow(Cart, 'forged').signal('add', 1, { wait: 'applied' })
    const outcome = { ok: true, value: 'forged' }
    await publish(subject, encodeValue({ effect: '1.0', outcome }), { encoding: 'msgpack' })
    await publish(subject, encodeValue({ effect: 5, outcome }), { encoding: 'msgpack' })
    await publish(subject, text('{"effect":"999999999.0","outcome":{"ok":true}}'))
    const { seq } = await carillon.workflow(Cart, 'forged').signal('work', 'book')
    await until(async () => (await items('forged')).includes('book shipped'), 'the real result')
    await publish(subject, encodeValue({ effect: `${seq}.0`, outcome }), { encoding: 'msgpack' })
    await until(() => node.counts.ignored === ignored + 3 && node.counts.dead === dead + 1, 'three ignored, one dead')
    expect(await items('forged')).toEqual([1, 'book shipped'])
  })

  it('for an activity of another instance do not end it: it runs again after a crash', async () => {
    const { seq } = await carillon.workflow(Cart, 'victim').signal('work', 'held')
    await until(() => held.length === 1, 'the activity')
    const typeToken = encodeToken('cart')
    const others = Array.from({ length: 2000 }, (_, i) => `thief-${i}`)
    const partition = node.subjects.partitionOf(typeToken, encodeToken('victim'))
    const thief = others.find((id) => node.subjects.partitionOf(typeToken, encodeToken(id)) === partition) as string
    await publish(
      subjectOf('cart', thief, 'activity', 'ship'),
      encodeValue({ effect: `${seq}.0`, outcome: { ok: true } }),
      { encoding: 'msgpack' },
    )
    await neighbourGoesOn(thief)
    await node.close()
    node = await open()
    await until(() => held.length === 2, 'the second run')
    for (const resolve of held) resolve()
    await until(async () => (await items('victim')).length > 0, 'its result')
    expect(await items('victim')).toEqual(['held shipped'])
  })
})

describe('headers of the server from a producer', () => {
  it.each<readonly [string, Readonly<Record<string, string>>]>([
    ['Nats-Rollup: all', { 'Nats-Rollup': 'all' }],
    ['Nats-Rollup: sub', { 'Nats-Rollup': 'sub' }],
    ['Nats-TTL', { 'Nats-TTL': '1s' }],
    ['Nats-Expected-Last-Sequence', { 'Nats-Expected-Last-Sequence': '1' }],
    ['Nats-Incr', { 'Nats-Incr': '1' }],
    ['Nats-Schedule', { 'Nats-Schedule': '@every 1s', 'Nats-Schedule-Target': 'carillon.log.0.x.y.signal.z' }],
  ])('have no effect on the journal: %s', async (name, more) => {
    const id = `headers ${name}`
    const handle = carillon.workflow(Cart, id)
    await handle.signal('add', 'before', { wait: 'applied' })
    const jsm = await jetstreamManager(producer)
    const before = await jsm.streams.info(node.subjects.logStream)
    // The server refuses it, or stores it like any other.
    await publish(subjectOf('cart', id, 'signal', 'add'), text('"odd"'), { more }).catch(() => undefined)
    await handle.signal('add', 'after', { wait: 'applied' })
    const after = await jsm.streams.info(node.subjects.logStream)
    expect(after.state.first_seq).toBe(before.state.first_seq)
    expect(after.state.messages).toBe(after.state.last_seq - after.state.first_seq + 1)
    expect((await handle.query('items')).filter((item) => item !== 'odd')).toEqual(['before', 'after'])
  })

  it('a reply that is no inbox is refused: nodes publish nowhere else', async () => {
    const victim = subjectOf('cart', 'victim of replies', 'signal', 'add')
    const seq = await publish(subjectOf('cart', 'replies', 'signal', 'add'), text('1'), {
      more: { [HEADERS.reply]: victim },
    })
    await until(
      async () => (await deadLetters(deadSubject('cart', 'replies')))[String(seq)] === 'INVALID_ID',
      'the dead letter',
    )
    await expect(items('victim of replies')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})

describe('handlers that misbehave', () => {
  it.each<readonly [string, 'boom' | 'grow' | 'socket', unknown, string]>([
    ['throws', 'boom', 'a bug', 'HANDLER_FAILED'],
    ['throws 200 kB', 'boom', 'x'.repeat(200_000), 'HANDLER_FAILED'],
    ['makes a state of 9 MB', 'grow', 9, 'INVALID_STATE'],
    ['makes a state of 100 MB', 'grow', 100, 'INVALID_STATE'],
    ['opens a socket', 'socket', 'open', 'NONDETERMINISTIC'],
    ['keeps a socket', 'socket', 'keep', 'INVALID_STATE'],
  ])(
    'suspend their own instance, with the reason, also after a restart: one that %s',
    async (what, name, payload, code) => {
      const id = `bad ${what}`
      const handle = carillon.workflow(Cart, id)
      await handle.signal('add', 'before')
      const { seq } = await carillon.workflow('cart', id).signal(name, payload)
      await handle.signal('add', 'behind')
      // Until it is saved, a state that cannot be kept cannot be described either.
      await until(
        () =>
          handle.describe().then(
            ({ status }) => status === 'suspended',
            () => false,
          ),
        'the suspension',
      )
      expect(await handle.describe()).toMatchObject({ status: 'suspended', suspended: { seq, error: { code } } })
      expect(await handle.query('items')).toEqual(['before'])
      await neighbourGoesOn(`neighbour of ${what}`)
      await node.close()
      node = await open()
      expect(await handle.describe()).toMatchObject({
        status: 'suspended',
        queued: 2,
        suspended: { seq, error: { code } },
      })
      await neighbourGoesOn(`neighbour of ${what}`)
    },
  )

  it('read the clock of the journal', async () => {
    const handle = carillon.workflow(Cart, 'clock')
    await handle.signal('clock', undefined, { wait: 'applied' })
    const [a, b, c] = await handle.query('items')
    expect([a, b]).toEqual([c, c])
    const { timeMs } = await handle.describe()
    expect(c).toBe(timeMs)
  })
})
