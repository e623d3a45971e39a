import { describe, expect, it } from 'vitest'

import { compression, createCodecs, encryption, type PayloadCodecs } from '../codecs/index.ts'
import { defineWorkflow, implement, implementActivities, type Schema, type } from '../index.ts'
import { TABLES } from '../ports/index.ts'
import { encodeValue, HEADERS, openText, placeOfInput } from '../protocol/index.ts'
import { EngineWorld, keyOf, type LifeOptions } from '../testing/engine-world.ts'
import type { MemoryDisk } from '../testing/memory-store.ts'
import { MemoryStore } from '../testing/memory-store.ts'

const SECRET = 'the secret of ada'
const K1 = Buffer.alloc(32, 1)
const K2 = Buffer.alloc(32, 2)
const withKeys = (keys: Record<string, Uint8Array>, current: string, options = {}): PayloadCodecs =>
  createCodecs([compression(), encryption({ keys, current })], options)
const codecs = withKeys({ k1: K1 }, 'k1')
const rotated = withKeys({ k1: K1, k2: K2 }, 'k2')

/** Its errors quote what was sent. */
const quoting: Schema<string> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) => ({ issues: [{ message: `${String(value)} will not do` }] }),
  },
}

const Safe = defineWorkflow('safe', {
  input: type<string | undefined>(),
  result: type<string>(),
  signals: {
    put: type<string>(),
    pass: type<string>(),
    adopt: type<string>(),
    close: type<void>(),
    later: type<string>(),
    refused: type<string>(),
    strict: quoting,
  },
  updates: { swap: { input: type<string>(), output: type<string>() } },
  queries: { all: { output: type<readonly string[]>() } },
  activities: { call: { input: type<string>(), output: type<string>() } },
})
const safe = implement(Safe, {
  startOnSignal: true,
  state: (input) => ({ all: input === undefined ? [] : [input] }),
  on: {
    async put(ctx, text) {
      ctx.state.all.push(await ctx.activities.call(text))
    },
    async pass(ctx, text) {
      ctx.workflow(Safe, 'other').signal('put', text)
      ctx.state.all.push(await ctx.workflow(Safe, 'third').update('swap', text))
    },
    async adopt(ctx, text) {
      ctx.state.all.push(await ctx.children.start(Safe, 'child', text).result())
    },
    close: (ctx) => ctx.complete(ctx.state.all.join()),
    strict: () => undefined,
    refused(ctx) {
      ctx.fail(`it failed on ${SECRET}`)
    },
  },
  updates: {
    swap(ctx, text) {
      ctx.state.all.push(text)
      return `${text}!`
    },
  },
  queries: { all: (state) => state.all },
  run: async (ctx) => {
    await ctx.condition(() => false)
    return ''
  },
})
const calls = implementActivities(Safe, { call: (text) => `${text}?` })
const life: LifeOptions = { implementations: [safe], activities: [calls] }

/** Every byte that left the engine, as text. */
function everything(world: EngineWorld): string {
  const journal = world.log.messages.map(({ payload }) => [payload])
  const bus = world.bus.published.map(({ payload }) => [payload])
  const dead = world.buried.map(({ headers, payload }) => [JSON.stringify(headers), payload])
  return [...journal, ...bus, ...dead, rowsOf(world.disk)]
    .flat()
    .map((part) => (typeof part === 'string' ? part : Buffer.from(part).toString('latin1')))
    .join('\n')
}

function rowsOf(disk: MemoryDisk): readonly Uint8Array[] {
  const store = new MemoryStore({ disk })
  return TABLES.flatMap((table) => [...store.range(table, { from: '', to: '~' })].map(({ value }) => value))
}

async function allOf(world: EngineWorld, id: string): Promise<unknown> {
  return world.ask({ op: 'query', key: keyOf('safe', id), name: 'all', minSeq: 0 })
}

describe('with codecs', () => {
  it('nothing of a value leaves the process as it is: journal, replies, reads, dead letters, the store', async () => {
    const world = new EngineWorld({ codecs })
    await world.start(life)
    world.send('safe', 'ada', 'start', '', { input: SECRET })
    world.send('safe', 'ada', 'signal', 'put', SECRET)
    world.send('safe', 'ada', 'signal', 'pass', SECRET)
    world.send('safe', 'ada', 'update', 'swap', SECRET, { id: 'u1', reply: '_INBOX.x.1' })
    world.send('safe', 'ada', 'signal', 'adopt', SECRET)
    world.send('safe', 'ada', 'start', '', { ifRunning: 'use', signal: { name: 'later', payload: SECRET } })
    await world.settled()
    world.send('safe', 'child', 'signal', 'close')
    await world.settled()
    expect(await allOf(world, 'ada')).toEqual([SECRET, `${SECRET}?`, `${SECRET}!`, SECRET, SECRET])
    expect(await allOf(world, 'other')).toEqual([`${SECRET}?`])
    expect(world.replies('_INBOX.x.1')).toMatchObject([{ outcome: { ok: true, value: `${SECRET}!` } }])
    // What waits for receive, and what no handler takes, is buried with its payload and its reason.
    world.send('safe', 'ada', 'signal', 'strict', SECRET)
    world.send('safe', 'ada', 'signal', 'refused', SECRET)
    world.send('safe', 'ada', 'signal', SECRET.replaceAll(' ', ''), SECRET)
    await world.settled()
    expect(world.buried.map(({ headers }) => headers[HEADERS.encoding])).toEqual(
      Array.from({ length: 3 }).fill('msgpack,aes-gcm'),
    )
    const [reason = ''] = world.buried.map(({ headers }) => headers[HEADERS.reasonText])
    expect(openText(codecs, reason, keyOf('safe', 'ada'))).toContain(`${SECRET} will not do`)
    await world.stop()
    expect(everything(world)).not.toContain(SECRET)
    // The world itself would show it.
    const plain = new EngineWorld()
    await plain.start(life)
    plain.send('safe', 'ada', 'signal', 'later', SECRET)
    await plain.settled()
    await plain.stop()
    expect(everything(plain)).toContain(SECRET)
  })

  it('a node without codecs refuses a store that passed some; one that leaves its store out reads it, and writes plain rows', async () => {
    const world = new EngineWorld({ codecs })
    await world.start(life)
    world.send('safe', 'ada', 'update', 'swap', SECRET)
    await world.settled()
    await world.stop()
    await expect(world.open({ ...life, codecs: null })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    await world.crash()
    await world.start({ ...life, codecs: withKeys({ k1: K1 }, 'k1', { store: false }) })
    world.send('safe', 'ada', 'update', 'swap', 'more')
    await world.settled()
    expect(await allOf(world, 'ada')).toEqual([SECRET, 'more'])
    world.send('safe', 'bob', 'start', '', { input: 'in the clear' })
    world.send('safe', 'bob', 'signal', 'close')
    await world.settled()
    await world.stop()
    const rows = rowsOf(world.disk).map((row) => Buffer.from(row).toString('latin1'))
    expect(rows.some((row) => row.includes('in the clear'))).toBe(true)
  })

  it('plain JSON of producers without codecs is taken as it is, and answered so', async () => {
    const world = new EngineWorld({ codecs })
    await world.start(life)
    world.log.store(world.subjects.log('safe' as never, 'ada' as never, 'update', 'swap' as never), {
      headers: { [HEADERS.reply]: '_INBOX.plain.1' },
      payload: Buffer.from('"json"'),
    })
    await world.settled()
    expect(world.replies('_INBOX.plain.1')).toMatchObject([{ outcome: { value: 'json!' } }])
    expect(Buffer.from(world.bus.published[0]?.payload ?? []).toString('latin1')).toContain('json!')
    await world.stop()
  })

  it('an input by a missing key suspends its instance alone, and is applied in its place once the key is there', async () => {
    const world = new EngineWorld({ codecs: rotated })
    await world.start({ ...life, codecs })
    world.send('safe', 'ada', 'signal', 'put', 'new key', { reply: '_INBOX.x.1', id: 'p' })
    world.send('safe', 'ada', 'update', 'swap', 'behind', { plain: true })
    world.send('safe', 'bob', 'update', 'swap', 'as ever', { plain: true })
    await world.settled()
    expect(world.replies('_INBOX.x.1')).toMatchObject([{ outcome: { error: { details: { code: 'UNKNOWN_CODEC' } } } }])
    expect(world.deadLetters).toEqual([])
    await world.stop()
    await world.start({ ...life, codecs: rotated })
    expect(await world.describe('safe', 'ada')).toMatchObject({ status: 'suspended', queued: 2 })
    expect(await allOf(world, 'bob')).toEqual(['as ever'])
    world.send('safe', 'ada', 'admin', 'resume')
    await world.settled()
    expect(await allOf(world, 'ada')).toEqual(['new key?', 'behind'])
    await world.stop()
  })

  it('what an old key has encrypted, journal and store, is read after a rotation', async () => {
    const world = new EngineWorld({ codecs: withKeys({ k1: K1, k2: K2 }, 'k1') })
    await world.start({ ...life, codecs })
    world.send('safe', 'ada', 'update', 'swap', 'old')
    await world.settled()
    await world.stop()
    await world.start({ ...life, codecs: rotated })
    world.send('safe', 'ada', 'update', 'swap', 'still')
    await world.settled()
    expect(await allOf(world, 'ada')).toEqual(['old', 'still'])
    const seen = rowsOf(world.disk).map((row) => Buffer.from(row).toString('latin1'))
    expect(seen.some((row) => row.includes('\u0002k2'))).toBe(true)
    await world.stop()
  })

  it('a forged or moved payload costs that input alone: it is a dead letter', async () => {
    const world = new EngineWorld({ codecs })
    await world.start(life)
    const elsewhere = codecs.encode(encodeValue('moved'), 'msgpack', placeOfInput('safe.bob', 'update', 'swap'))
    const forge = (payload: Uint8Array, encoding: string): number =>
      world.log.store(world.subjects.log('safe' as never, 'ada' as never, 'update', 'swap' as never), {
        headers: { [HEADERS.encoding]: encoding },
        payload,
      })
    forge(elsewhere.bytes, elsewhere.encoding)
    forge(Buffer.from('not encrypted'), 'msgpack,aes-gcm')
    forge(Buffer.from('not zlib'), 'json,zlib')
    forge(Buffer.from('{}'), 'json,ZLIB')
    world.send('safe', 'ada', 'update', 'swap', 'good')
    await world.settled()
    expect(world.deadLetters.map(({ reason }) => reason)).toEqual(Array.from({ length: 4 }).fill('INVALID_PAYLOAD'))
    expect(await allOf(world, 'ada')).toEqual(['good'])
    await world.stop()
  })

  it('an input that is sent again has other bytes and the same id: a repeat', async () => {
    const world = new EngineWorld({ codecs })
    await world.start(life)
    world.send('safe', 'ada', 'update', 'swap', 'once', { id: 'same' })
    world.send('safe', 'ada', 'update', 'swap', 'once', { id: 'same' })
    await world.settled()
    const [first, second] = world.log.messages.map(({ payload }) => Buffer.from(payload).toString('hex'))
    expect(second).not.toBe(first)
    expect(await allOf(world, 'ada')).toEqual(['once'])
    expect(world.engine.counts.duplicate).toBe(1)
    await world.stop()
  })

  it('a required codec buries plain inputs from its moment on, the same way each time the journal is folded', async () => {
    const world = new EngineWorld({ codecs })
    await world.start(life)
    world.send('safe', 'ada', 'update', 'swap', 'before', { plain: true })
    await world.settled()
    await world.stop()
    const since = new Date(world.clock.nowMs() + 1)
    const strict = withKeys({ k1: K1 }, 'k1', { require: { codec: 'aes-gcm', since } })
    await world.clock.advance(10)
    await world.start({ ...life, codecs: strict })
    world.send('safe', 'ada', 'update', 'swap', 'plain', { plain: true })
    world.send('safe', 'ada', 'update', 'swap', 'sealed')
    await world.settled()
    expect(world.deadLetters).toMatchObject([{ reason: 'CODEC_REQUIRED', seq: 2 }])
    const { digest } = await world.describe('safe', 'ada')
    await world.crash()
    world.disk = new MemoryStore().disk
    await world.start({ ...life, codecs: strict })
    expect(await world.describe('safe', 'ada')).toMatchObject({ digest })
    expect(await allOf(world, 'ada')).toEqual(['before', 'sealed'])
    // A reader without codecs is refused what an instance holds, not the list.
    const reader = world.bus.request(
      world.subjects.rpc(world.subjects.partitionOfKey(keyOf('safe', 'ada'))),
      encodeValue({ op: 'query', key: keyOf('safe', 'ada'), name: 'all', minSeq: 0 }),
    )
    expect(Buffer.from(await reader).toString('latin1')).toContain('CODEC_REQUIRED')
    await world.stop()
  })
})
