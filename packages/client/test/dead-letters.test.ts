import { CarillonError, codeOf } from '@carillon/runtime'
import { encodeToken, encodeValue, HEADERS, type InstanceKey, Subjects } from '@carillon/runtime/protocol'
import { headers as natsHeaders } from '@nats-io/transport-node'
import { jetstream } from '@nats-io/jetstream'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import { deadLetterMessage } from '../../runtime/src/engine/dead-letter.ts'
import { type Carillon, connect, type DeadLetter, type DeadLetterOptions } from '../src/index.ts'
import { PARTITIONS, type ScriptedCluster, startScriptedCluster, until } from './scripted-cluster.ts'

const subjects = new Subjects('carillon', PARTITIONS)
let cluster: ScriptedCluster
let carillon: Carillon

beforeAll(async () => {
  cluster = await startScriptedCluster()
})
afterAll(() => cluster.stop())
beforeEach(async () => {
  cluster.inputs.length = 0
  delete cluster.script.onInput
  await cluster.serve()
  carillon = await connect({ servers: cluster.server.url })
})
afterEach(async () => {
  await carillon.close()
  await cluster.leave()
})

interface Buried {
  readonly type?: string
  readonly id?: string
  readonly kind?: 'start' | 'signal' | 'update' | 'activity' | 'admin'
  readonly name?: string
  readonly inputId?: string | undefined
  readonly payload?: Uint8Array
  readonly encoding?: 'json' | 'msgpack'
  readonly version?: string
  readonly seq?: number
  readonly subject?: string
}

let lastSeq = 1000
let lastEffect = 0

/** Stores a dead letter as a node does; gives its sequence. */
async function bury(buried: Buried = {}): Promise<number> {
  const { type = 'loyalty', id = 'c', kind = 'signal', name = kind === 'start' ? '' : 'note', subject } = buried
  const typeToken = encodeToken(type)
  const idToken = encodeToken(id)
  const key: InstanceKey = `${typeToken}.${idToken}`
  const message = deadLetterMessage(subjects, subjects.partitionOf(typeToken, idToken), {
    kind: 'dead',
    key: subject === undefined ? key : undefined,
    id: `${++lastEffect}.0`,
    subject,
    reason: { code: 'NOT_FOUND', message: 'nobody is there' },
    input: {
      seq: buried.seq ?? ++lastSeq,
      timeMs: 1,
      kind,
      name,
      id: 'inputId' in buried ? buried.inputId : 'i-1',
      encoding: buried.encoding ?? 'msgpack',
      payload: buried.payload ?? encodeValue({ n: 1 }),
      reply: undefined,
      trace: undefined,
      version: buried.version ?? '1',
    },
  })
  const headers = natsHeaders()
  for (const [header, value] of Object.entries(message.headers)) headers.set(header, value)
  return (await jetstream(cluster.nc).publish(message.subject, message.payload, { headers })).seq
}

async function letters(options: DeadLetterOptions): Promise<DeadLetter[]> {
  const all = []
  for await (const letter of carillon.deadLetters(options)) all.push(letter)
  return all
}

const codeFrom = (call: Promise<unknown>): Promise<unknown> => call.then(() => 'no error', codeOf)

describe('dead letters', () => {
  it('are listed with what they are, why, and where they came from', async () => {
    const seq = await bury({ type: 'größe', id: 'a b', kind: 'signal', name: 'näm.e', inputId: 'ü-1', seq: 77 })
    const [letter] = await letters({ type: 'größe', id: 'a b' })
    expect(letter).toEqual({
      seq,
      time: expect.any(Date),
      type: 'größe',
      id: 'a b',
      kind: 'signal',
      name: 'näm.e',
      inputId: 'ü-1',
      reason: { code: 'NOT_FOUND', message: 'nobody is there' },
      originSeq: 77,
      payload: { n: 1 },
      bytes: new Uint8Array(encodeValue({ n: 1 })),
      encoding: 'msgpack',
      version: undefined,
    })
    expect(await carillon.deadLetter(seq)).toEqual(letter)
  })

  it('are listed of one instance, of a type, or all, from one on and at most so many, over several requests', async () => {
    const sent: number[] = []
    for (let i = 0; i < 150; i++) sent.push(await bury({ type: 'paged', id: i % 2 === 0 ? 'even' : 'odd' }))
    await bury({ type: 'pagedAlso', id: 'even' })
    expect((await letters({ type: 'paged' })).map(({ seq }) => seq)).toEqual(sent)
    expect((await letters({ type: 'paged', id: 'odd' })).map(({ seq }) => seq)).toEqual(
      sent.filter((_, i) => i % 2 === 1),
    )
    expect((await letters({ after: sent[9]!, limit: 3 })).map(({ seq }) => seq)).toEqual(sent.slice(10, 13))
    expect(await letters({ type: 'nothing' })).toEqual([])
  })

  it('are listed whole though the server cuts a batch that has too many bytes', async () => {
    const payload = encodeValue('x'.repeat(500_000))
    const sent: number[] = []
    for (let i = 0; i < 150; i++) sent.push(await bury({ type: 'large', payload }))
    let count = 0
    for await (const { seq } of carillon.deadLetters({ type: 'large' })) expect(seq).toBe(sent[count++])
    expect(count).toBe(150)
  })

  it('are listed where they cannot be read, or name no instance', async () => {
    const unreadable = await bury({ type: 'bad', payload: Buffer.from('{'), encoding: 'json' })
    const malformed = await bury({ subject: 'carillon.log.x' })
    const foreign = (await jetstream(cluster.nc).publish('carillon.dead.0.bad.c', 'x')).seq
    const [first, second, third] = await letters({ after: unreadable - 1 })
    expect(first).toMatchObject({ seq: unreadable, payload: undefined, bytes: new Uint8Array(Buffer.from('{')) })
    expect(first?.unreadable).toMatch(/cannot be read/)
    expect(second).toMatchObject({ seq: malformed, type: undefined, kind: undefined, name: 'carillon.log.x' })
    expect(third).toMatchObject({ seq: foreign, type: 'bad', kind: undefined, name: '', reason: { code: '' } })
    for (const seq of [malformed, foreign]) expect(await codeFrom(carillon.redrive(seq))).toBe('CONFIG_INVALID')
  })

  it('are asked for by options that make sense', async () => {
    for (const options of [{ id: 'x' }, { after: -1 }, { limit: 0 }])
      expect(await codeFrom(letters(options))).toBe('CONFIG_INVALID')
    expect(await codeFrom(letters({ type: '' }))).toBe('INVALID_ID')
    expect(await codeFrom(carillon.deadLetter(999_999))).toBe('NOT_FOUND')
    expect(await codeFrom(carillon.redrive(0))).toBe('CONFIG_INVALID')
  })
})

describe('a dead letter that is driven again', () => {
  it('goes to its instance byte for byte', async () => {
    const start = encodeValue({ input: { n: 2 } })
    for (const buried of [
      { kind: 'signal', name: 'näm.e', payload: Buffer.from('{"n":   1}'), encoding: 'json' },
      { kind: 'update', name: 'take', payload: encodeValue(new Date(5)), version: '7' },
      { kind: 'start', payload: start },
      { kind: 'signal', payload: new Uint8Array(), encoding: 'json' },
    ] as const) {
      const { seq } = await carillon.redrive(await bury({ ...buried, id: 'again' }))
      const got = await cluster.nc.request(`$JS.API.DIRECT.GET.carillon-log`, JSON.stringify({ seq }))
      expect(Buffer.from(got.data)).toEqual(Buffer.from(buried.payload))
      expect(got.headers?.get(HEADERS.encoding) || 'json').toBe('encoding' in buried ? buried.encoding : 'msgpack')
      expect(got.headers?.get(HEADERS.version)).toBe('version' in buried ? buried.version : '')
      const name = buried.kind === 'start' ? '' : `.${encodeToken('name' in buried ? buried.name : 'note')}`
      expect(got.headers?.get('Nats-Subject')).toMatch(new RegExp(`\\.loyalty\\.again\\.${buried.kind}${name}$`))
    }
  })

  it('has an id of the input alone, so that doing it twice, or by its other copy, is a repeat', async () => {
    const seq = await bury({ inputId: 'order-1', seq: 40 })
    const copy = await bury({ inputId: 'order-1', seq: 40 })
    for (const letter of [seq, seq, copy]) expect((await carillon.redrive(letter)).id).toBe('order-1~40')
    expect((await carillon.redrive(await bury({ inputId: undefined, seq: 41 }))).id).toBe('redriven~41')
  })

  it.each([
    ['is as long as an id may be', 'x'.repeat(200)],
    ['is not in normal form', 'e\u0301'],
    ['holds a control character', 'a\u0085b'],
  ])('gets an id that can be sent, though its own %s', async (_, inputId) => {
    const seq = ++lastSeq
    const { id } = await carillon.redrive(await bury({ inputId, seq }))
    expect(id).toMatch(new RegExp(`~${seq}$`))
  })

  it('tells its outcome when it is waited for', async () => {
    const seq = await bury({ seq: 50 })
    let isGood = true
    cluster.script.onInput = ({ reply }) =>
      cluster.reply(reply, 9, isGood ? { ok: true } : { ok: false, error: { code: 'CLOSED', message: 'too late' } })
    expect(await carillon.redrive(seq, { wait: 'applied' })).toEqual({ seq: 9, id: 'i-1~50', duplicate: false })
    isGood = false
    expect(await codeFrom(carillon.redrive(seq, { wait: 'applied' }))).toBe('CLOSED')
    await until('both are seen', () => cluster.inputs.length === 2)
  })

  it.each(['activity', 'admin'] as const)('is refused where it is of kind %s', async (kind) => {
    const error = await carillon.redrive(await bury({ kind })).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(CarillonError)
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining(kind) as string })
  })
})
