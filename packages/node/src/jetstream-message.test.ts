import { type Msg, MsgHdrsImpl, MsgImpl, Parser } from '@nats-io/transport-node'
import { assert, dictionary, property, string, stringMatching, uint8Array } from 'fast-check'
import { describe, expect, it } from 'vitest'

import { type DeliveryInfo, deliveryTail, JetStreamMessage, parseDelivery } from './jetstream-message.ts'

const info = (): DeliveryInfo => ({ seq: 0, consumerSeq: 0, timeMs: 0, pending: 0 })

/** A message as the client parses it from the wire. */
function received(subject: string, reply: string, block: Uint8Array, payload: Uint8Array): Msg {
  const messages: MsgImpl[] = []
  const publisher = { publish: () => undefined }
  const parser = new Parser({
    push(event) {
      if ('msg' in event && event.msg !== undefined)
        messages.push(new MsgImpl(event.msg, event.data ?? new Uint8Array(0), publisher))
    },
  })
  const size = block.length + payload.length
  const line =
    block.length > 0
      ? `HMSG ${subject} 1 ${reply} ${block.length} ${size}\r\n`
      : `MSG ${subject} 1 ${reply} ${size}\r\n`
  parser.parse(Buffer.concat([Buffer.from(line), block, payload, Buffer.from('\r\n')]))
  const [message] = messages
  if (message === undefined) throw new Error('the parser gave no message')
  // The client's own class is stricter on absent headers than its interface.
  return message as Msg
}

function blockOf(own: Record<string, string>): Uint8Array {
  const headers = new MsgHdrsImpl()
  for (const [name, value] of Object.entries(own)) headers.set(name, value)
  return headers.encode()
}

const messageOf = (block: string, payload = 'payload'): JetStreamMessage =>
  new JetStreamMessage(
    received('demo.log.0.a.b.start', '$JS.ACK.s.c.1.1.1.1.0', Buffer.from(block), Buffer.from(payload)),
    { ...info(), seq: 1 },
  )

describe('parseDelivery', () => {
  it.each([
    '$JS.ACK.demo-log.c1.1.15.7.1795399675236533585.1013',
    '$JS.ACK.hub.ACCHASH.demo-log.c1.1.15.7.1795399675236533585.1013',
    '$JS.ACK.hub.ACCHASH.demo-log.c1.1.15.7.1795399675236533585.1013.token',
  ])('reads %s', (reply) => {
    const read = info()
    expect(parseDelivery(reply, deliveryTail(reply, 'demo-log', 'c1'), read)).toBe(true)
    expect(read).toEqual({ seq: 15, consumerSeq: 7, timeMs: 1795399675236, pending: 1013 })
  })

  it('knows what is no delivery', () => {
    expect(deliveryTail('_INBOX.x', 'demo-log', 'c1')).toBe(-1)
    expect(deliveryTail('$JS.ACK.other.c1.1.1.1.1.0', 'demo-log', 'c1')).toBe(-1)
    expect(parseDelivery('$JS.ACK.demo-log.c1.1.15', 20, info())).toBe(false)
  })
})

describe('JetStreamMessage', () => {
  it('gives payload and headers, whatever is in them', () => {
    const value = string({ unit: 'binary', minLength: 1, maxLength: 20 }).filter(
      (text) => text.isWellFormed() && !/[\r\n]/.test(text) && text.trim() === text && text !== '',
    )
    const headers = dictionary(stringMatching(/^[A-Za-z][A-Za-z-]{0,8}$/), value, { maxKeys: 5, noNullPrototype: true })
    assert(
      property(headers, uint8Array({ maxLength: 50 }), (own, payload) => {
        const block = Object.keys(own).length === 0 ? new Uint8Array(0) : blockOf(own)
        const message = new JetStreamMessage(received('a.b', 'r', block, payload), info())
        expect(Buffer.compare(message.payload, payload)).toBe(0)
        for (const [name, text] of Object.entries(own)) expect(message.header(name)).toBe(text)
        expect(message.header('Absent-Header-Name')).toBeUndefined()
      }),
    )
  })

  it('takes the first of several values, without the space around it', () => {
    const message = messageOf('NATS/1.0\r\nA:one\r\nB: \t two \r\nA: other\r\nC:\r\n\r\n')
    expect([message.header('A'), message.header('B'), message.header('C'), message.header('D')]).toEqual([
      'one',
      'two',
      '',
      undefined,
    ])
  })

  it('does not find a header in the value of another, or in the payload', () => {
    const message = messageOf('NATS/1.0\r\nX: A: no\r\nY: 1\r\n\r\n', '\r\nA: no\r\n')
    expect(message.header('A')).toBeUndefined()
    expect(message.header('Y')).toBe('1')
  })

  it('reads headers of a subject that is not ASCII', () => {
    const message = new JetStreamMessage(
      received('ü.ö', 'r', Buffer.from('NATS/1.0\r\nA: 1\r\n\r\n'), Buffer.from('p')),
      info(),
    )
    expect(message.header('A')).toBe('1')
  })
})
