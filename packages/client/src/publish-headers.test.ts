import { headers, MsgHdrsImpl } from '@nats-io/transport-node'
import { assert, property, string } from 'fast-check'
import { describe, expect, it } from 'vitest'

import { batchHeaderText, EncodedHeaders, hasHeaders, headerText } from './publish-headers.ts'

const decode = (text: string): Record<string, string[]> =>
  MsgHdrsImpl.decode(new EncodedHeaders().with(text).encode()).toRecord()

describe('headerText', () => {
  it('is what the stock encoder writes', () => {
    const stock = headers()
    stock.set('Carillon-Id', 'Größe 42')
    stock.set('Carillon-Encoding', 'msgpack')
    const own = new EncodedHeaders()
      .with(headerText({ 'Carillon-Id': 'Größe 42', 'Carillon-Encoding': 'msgpack' }))
      .encode()
    expect(Buffer.from(own).equals((stock as MsgHdrsImpl).encode())).toBe(true)
  })

  it('tells that there are none', () => {
    expect(hasHeaders(headerText(undefined))).toBe(false)
    expect(hasHeaders(headerText({}))).toBe(false)
    expect(hasHeaders(headerText({ a: '1' }))).toBe(true)
  })

  it('carries a value unchanged, or refuses it: never as another header', () => {
    assert(
      property(string({ unit: 'binary', maxLength: 30 }), (value) => {
        let text: string
        try {
          text = headerText({ 'Carillon-Id': value, Last: '1' })
        } catch (error) {
          expect(error).toMatchObject({ code: 'INVALID_ID' })
          return
        }
        if (value !== '') expect(decode(text)).toEqual({ 'Carillon-Id': [value], Last: ['1'] })
      }),
    )
  })

  it.each(['a\r\nNats-Rollup: all', 'a\nb', 'a\rb', 'a\u0000', '\u007f', ' a', 'a\u00a0', '\ud800'])(
    'refuses the value %j',
    (value) => {
      expect(() => headerText({ 'Carillon-Id': value })).toThrow(expect.objectContaining({ code: 'INVALID_ID' }))
    },
  )

  it.each(['', 'a b', 'a:b', 'a\r\nb', 'ä'])('refuses the name %j', (name) => {
    expect(() => headerText({ [name]: 'x' })).toThrow(expect.objectContaining({ code: 'INVALID_ID' }))
  })
})

describe('batchHeaderText', () => {
  it('adds the headers of an atomic batch', () => {
    const text = headerText({ a: '1' })
    expect(decode(batchHeaderText(text, 'b', 1, false))).toEqual({
      a: ['1'],
      'Nats-Batch-Id': ['b'],
      'Nats-Batch-Sequence': ['1'],
    })
    expect(decode(batchHeaderText(text, 'b', 2, true))).toMatchObject({
      'Nats-Batch-Sequence': ['2'],
      'Nats-Batch-Commit': ['1'],
    })
  })
})
