import { describe, expect, it } from 'vitest'

import { createCodecs, decodeValue, encodeValue, HEADERS, Subjects } from '../protocol/index.ts'
import type { ActivityCall } from './activity-call.ts'
import { type CallMessage, encodeCall, parseCallMessage } from './call-message.ts'

const subjects = new Subjects('test', 4)
const CALL: ActivityCall = {
  kind: 'activity',
  key: 'a=2Eb.c_1',
  id: '12.3',
  name: 'größe>1',
  input: encodeValue({ n: 7n, at: new Date(5) }),
  options: { retry: { nonRetryable: ['Łódź'] } },
}
/** Bytes are turned by one bit, and say where they belong. */
const codecs = createCodecs([
  {
    name: 'flip',
    encode: (bytes, { key }) => Uint8Array.from([key.length, ...bytes.map((byte) => byte ^ 1)]),
    decode: (bytes, { key }) => {
      if (bytes[0] !== key.length) throw new Error('of another place')
      return bytes.subarray(1).map((byte) => byte ^ 1)
    },
  },
])

function parse({ subject, headers, payload }: CallMessage) {
  return parseCallMessage(subjects, { subject, payload, header: (name) => headers[name] })
}

describe('the message of a call', () => {
  it('is read as it was made, whatever the names are', () => {
    const message = encodeCall(subjects, 'g p u', CALL, undefined)
    expect(message.subject).toBe('test.task.g=20p=20u.a=2Eb.gr=C3=B6=C3=9Fe=3E1')
    // Headers hold ASCII.
    for (const text of Object.values(message.headers)) expect(text).toMatch(/^[\x20-\x7e]*$/)
    expect(parse(message).open(undefined)).toEqual(CALL)
  })

  it('may be JSON of anybody', () => {
    const message = encodeCall(subjects, 'gpu', CALL, undefined)
    const headers = { [HEADERS.call]: message.headers[HEADERS.call] ?? '' }
    const { input } = parse({ ...message, headers, payload: new TextEncoder().encode('{"n":1}') }).open(undefined)
    expect(decodeValue(input)).toEqual({ n: 1 })
  })

  it('passes the codecs, and is not taken for broken where one is missing', () => {
    const message = encodeCall(subjects, 'gpu', CALL, codecs)
    expect(message.headers[HEADERS.encoding]).toBe('msgpack,flip')
    expect(Buffer.from(message.payload)).not.toEqual(Buffer.from(CALL.input))
    expect(parse(message).open(codecs)).toEqual(CALL)
    const call = parse(message)
    expect(() => call.open(undefined)).toThrow(expect.objectContaining({ code: 'UNKNOWN_CODEC' }) as Error)
  })

  it('is refused where it is none', () => {
    const message = encodeCall(subjects, 'gpu', CALL, undefined)
    for (const id of ['', 'a=2Eb.c_1', 'a=2Eb.c_1/x', 'other.c_1/12.3', 'a=2Eb.c_1/12.3/4'])
      expect(() => parse({ ...message, headers: { ...message.headers, [HEADERS.call]: id } })).toThrow('is no call')
    expect(() => parse({ ...message, subject: 'test.task.gpu.x' })).toThrow('is no call')
  })
})
